"""Which account an app sends from: its stored credential, else that of the process; and the tokens of accounts, fetched
once for all who send and renewed before they end (spec: push § 8).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import urlencode

from sockudo.errors import SockudoError
from sockudo.outbound.ports import ExchangeError, HttpExchange, Reply
from sockudo.push.delivery import Material, Materials, Readiness, Sent
from sockudo.push.providers.answers import FailedError, failed, json_of, retry_after_ms
from sockudo.push.recipients import Provider

__all__ = [
    "AccountError",
    "Accounts",
    "Own",
    "RenewedToken",
    "SharedCredential",
    "SingleFlight",
    "StaticToken",
    "Token",
    "TokenSource",
    "access_token",
    "checked_endpoint",
    "given",
    "text_of",
]


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
    problem = f"token server: status {reply.status}"
    if reply.status == 429:
        return failed("quota", problem, retry_after_ms=retry_after_ms(reply, now))
    if reply.status >= 500:
        return failed("unavailable", problem, retry_after_ms=retry_after_ms(reply, now))
    if 200 <= reply.status < 300:
        return failed("unavailable", "token server: no token in its answer")
    return failed("auth_failure", problem)


# ---- accounts ----


_AGAIN_AFTER: Final = 2.0
_MOST_APPS: Final = 4096


class AccountError(Exception):
    """Nothing can be sent from this account; the text gives the remedy and holds no secret."""


def given(text: str | None) -> str | None:
    """A setting that is blank is none."""
    return text.strip() or None if text is not None else None


def checked_endpoint(url: str, setting: str, http: HttpExchange) -> str:
    """The address without its last slash. Raises AccountError for http where that is not allowed."""
    if not url.startswith("https://") and not http.allows_local:
        raise AccountError(f"{setting} must be https, unless PUSH_ALLOW_LOCAL_WEB_PUSH_ENDPOINTS is set")
    return url.rstrip("/")


class _Account(Protocol):
    async def close(self) -> None: ...


_Some = TypeVar("_Some", bound=_Account)


class Own(NamedTuple):
    """What the process itself is configured with, and which settings that is."""

    source: str
    material: Material


class SharedCredential(NamedTuple):
    """A stored credential that serves all apps (``FCM_APP_ID``, ``FCM_CREDENTIAL_ID``)."""

    app_id: str
    credential_id: str | None

    @classmethod
    def of(cls, app_id: str | None, credential_id: str | None) -> SharedCredential | None:
        app = given(app_id)
        return None if app is None else cls(app, given(credential_id))


class _Known(NamedTuple, Generic[_Some]):
    checked_at: float
    source: str
    material: Material | None
    account: _Some | None
    problem: str | None


class Accounts(Generic[_Some]):
    """Accounts as ``make`` reads them from material, kept while that stays the same.

    Looks for another credential every two seconds while it is asked; one that was stored meanwhile is used then. When
    the store cannot be reached, the account that is known stays in use. ``make`` and ``own`` raise AccountError;
    ``make`` receives whether the material is the app's own.
    """

    def __init__(
        self,
        provider: Provider,
        materials: Materials,
        make: Callable[[Material, bool], _Some],
        own: Callable[[], Own],
        *,
        monotonic: Callable[[], float],
        shared: SharedCredential | None = None,
    ) -> None:
        self._provider: Provider = provider
        self._materials = materials
        self._make = make
        self._own = own
        self._monotonic = monotonic
        self._shared = shared
        self._known: dict[str, _Known[_Some]] = {}
        # Of the process: one account and one token for all apps.
        self._common: _Known[_Some] | None = None
        self._flight: SingleFlight[_Known[_Some]] = SingleFlight()

    def at_hand(self, app_id: str) -> _Some | None:
        """The account, where it is there without looking."""
        known = self._known.get(app_id)
        if known is None or self._monotonic() - known.checked_at >= _AGAIN_AFTER:
            return None
        return known.account

    async def find(self, app_id: str) -> _Some:
        """Raises FailedError when there is none."""
        known = await self._look(app_id)
        if known.account is None:
            raise FailedError(failed("auth_failure", "credential_missing"))
        return known.account

    async def readiness(self, app_id: str) -> Readiness:
        try:
            known = await self._look(app_id)
        except FailedError:
            return Readiness(ready=False, missing="the push store that holds credentials cannot be reached")
        if known.account is None:
            return Readiness(ready=False, missing=known.problem)
        return Readiness(ready=True, source=known.source)

    async def close(self) -> None:
        await self._flight.close()
        every: list[_Known[Any]] = [*self._known.values(), *([self._common] if self._common else [])]
        for account in {id(known.account): known.account for known in every}.values():
            if account is not None:
                await account.close()

    async def _look(self, app_id: str) -> _Known[_Some]:
        known = self._known.get(app_id)
        if known is not None and self._monotonic() - known.checked_at < _AGAIN_AFTER:
            return known
        return await self._flight.run(app_id, lambda: self._looked_up(app_id))

    async def _looked_up(self, app_id: str) -> _Known[_Some]:
        before = self._known.get(app_id)
        try:
            found = await self._found(app_id, before)
        except SockudoError as error:
            if not error.spec.retry:
                found = _Known(self._monotonic(), "", None, None, error.text)
            elif before is not None and before.account is not None:
                found = before._replace(checked_at=self._monotonic())
            else:
                raise FailedError(failed("unavailable", "the push store cannot be reached")) from None
        if len(self._known) >= _MOST_APPS:
            self._known.clear()
        self._known[app_id] = found
        return found

    async def _found(self, app_id: str, before: _Known[_Some] | None) -> _Known[_Some]:
        stored = await self._materials(app_id, self._provider)
        if stored is not None:
            return self._kept(before, f"stored credential {stored.credential_id}", stored, theirs=True)
        shared = self._shared
        if shared is not None:
            stored = await self._materials(shared.app_id, self._provider, shared.credential_id)
            if stored is None:
                text = f"app {shared.app_id} has no stored credential {shared.credential_id or 'for it'}"
                return _Known(self._monotonic(), "", None, None, text)
            source = f"stored credential {stored.credential_id} of app {shared.app_id}"
            self._common = self._kept(self._common, source, stored, theirs=False)
            return self._common
        try:
            source, material = self._own()
        except AccountError as error:
            return _Known(self._monotonic(), "", None, None, str(error))
        self._common = self._kept(self._common, source, material, theirs=False)
        return self._common

    def _kept(self, before: _Known[_Some] | None, source: str, material: Material, *, theirs: bool) -> _Known[_Some]:
        """The account of before, with its token, unless the material is another."""
        now = self._monotonic()
        if before is not None and before.material == material and before.source == source:
            return before._replace(checked_at=now)
        try:
            return _Known(now, source, material, self._make(material, theirs), None)
        except AccountError as error:
            return _Known(now, source, material, None, f"{source}: {error}")


def text_of(path: str, setting: str) -> str:
    """Raises AccountError that names the setting."""
    try:
        return Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise AccountError(f"the file that {setting} names cannot be read: {reason}") from None
