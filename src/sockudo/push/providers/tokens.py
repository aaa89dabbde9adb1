"""Provider tokens: fetched once for all who send, renewed before they end (spec: push § 8)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import urlencode

from sockudo.outbound.ports import ExchangeError, HttpExchange, Reply
from sockudo.push.delivery import Sent
from sockudo.push.providers.answers import FailedError, failed, json_of, retry_after_ms

__all__ = ["RenewedToken", "SingleFlight", "StaticToken", "Token", "TokenSource", "access_token"]

_Result = TypeVar("_Result")

_EARLY: Final = 300.0
# When a new token is rejected like the one before it, the account is wrong, and more tokens would change nothing.
_PAUSE: Final = 30.0

_SECONDS: Final = 10.0
_LASTS_UNLESS_SAID: Final = 3600.0
_HEADERS: Final = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))


class SingleFlight(Generic[_Result]):
    """Runs each key's work in a task of its own, so that one who gives up takes nothing from the others."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[_Result]] = {}

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """The result of the work that is under way for ``key``, or is started now; what it raises reaches all."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.get_running_loop().create_task(work())
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: Hashable, task: asyncio.Task[_Result]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled():
            # Its waiters may have given up; then no task handles its failure.
            task.exception()


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
    """A fixed token: it does not expire and is not renewed."""

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
            # Another task may have renewed it meanwhile: that token stays.
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


async def access_token(http: HttpExchange, url: str, form: Mapping[str, str], now: float) -> Token:
    """Raises FailedError: one to be tried again when the server is down or busy, else ``auth_failure``."""
    deadline = asyncio.get_running_loop().time() + _SECONDS
    try:
        reply = await http.post(url, _HEADERS, urlencode(form).encode(), deadline=deadline)
    except ExchangeError as error:
        raise FailedError(failed("network_transport", f"token server: {error.problem}")) from None
    body = json_of(reply)
    value, lasts = body.get("access_token"), body.get("expires_in", _LASTS_UNLESS_SAID)
    if not 200 <= reply.status < 300 or not isinstance(value, str) or not value.isprintable() or not value:
        raise FailedError(_failure(reply, now))
    try:
        seconds = float(lasts)
    except (TypeError, ValueError):
        seconds = _LASTS_UNLESS_SAID
    return Token(value, seconds if seconds > 0 else _LASTS_UNLESS_SAID)


def _failure(reply: Reply, now: float) -> Sent:
    said = f"token server: status {reply.status}"
    if reply.status == 429:
        return failed("quota", said, retry_after_ms=retry_after_ms(reply, now))
    if reply.status >= 500:
        return failed("unavailable", said, retry_after_ms=retry_after_ms(reply, now))
    if 200 <= reply.status < 300:
        return failed("unavailable", "token server: no token in its answer")
    return failed("auth_failure", said)
