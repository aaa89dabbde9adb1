"""Provider tokens: fetched once for all who send, renewed before they end (spec: push § 8)."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from sockudo.push.providers.single_flight import SingleFlight

__all__ = ["RenewedToken", "StaticToken", "Token", "TokenSource"]

_EARLY: Final = 300.0
# When a new token is rejected like the one before it, the account is wrong, and more tokens would change nothing.
_PAUSE: Final = 30.0


class Token(NamedTuple):
    """``lasts`` seconds from the moment that it was asked for."""

    value: str
    lasts: float

    def __repr__(self) -> str:
        return f"<Token for {self.lasts:.0f} s>"


class TokenSource(Protocol):
    """Where a provider gets its token from."""

    def current(self) -> str | None:
        """The token, where it is there without waiting."""
        ...

    async def get(self) -> str: ...

    def drop(self, value: str) -> bool:
        """This token was rejected. Whether there is any use in asking for another one."""
        ...

    def despair(self) -> None:
        """The new one was rejected, too."""
        ...

    async def close(self) -> None: ...


class StaticToken:
    """A token that somebody has set: it never ends, and there is no other."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "<StaticToken>"

    def current(self) -> str:
        return self._value

    async def get(self) -> str:
        return self._value

    def drop(self, value: str) -> bool:
        return False

    def despair(self) -> None:
        return None

    async def close(self) -> None:
        return None


class RenewedToken:
    """Asks ``fetch`` for a token when there is none, or five minutes before it ends; one call at a time.

    A token that lasts ten minutes or less is renewed after half of that. What ``fetch`` raises reaches all who wait.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Token]], monotonic: Callable[[], float]) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._flight: SingleFlight[str] = SingleFlight()
        self._value: str | None = None
        self._until = -math.inf
        self._hopeless_until = -math.inf

    def __repr__(self) -> str:
        return "<RenewedToken>"

    def current(self) -> str | None:
        return self._value if self._monotonic() < self._until else None

    async def get(self) -> str:
        return self.current() or await self._flight.run(None, self._renew)

    def drop(self, value: str) -> bool:
        if self._monotonic() < self._hopeless_until:
            return False
        if value == self._value:
            # Somebody else may have renewed it meanwhile: that one stays.
            self._value, self._until = None, -math.inf
        return True

    def despair(self) -> None:
        self._hopeless_until = self._monotonic() + _PAUSE

    async def close(self) -> None:
        await self._flight.close()

    async def _renew(self) -> str:
        asked_at = self._monotonic()
        token = await self._fetch()
        self._value = token.value
        self._until = asked_at + max(token.lasts - _EARLY, token.lasts / 2)
        return token.value
