"""Which account an app sends from: its stored credential, else that of the process (spec: push § 8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from sockudo.errors import SockudoError
from sockudo.outbound.ports import HttpExchange
from sockudo.push.delivery import Material, Materials, Readiness
from sockudo.push.providers.answers import FailedError, failed
from sockudo.push.providers.tokens import SingleFlight
from sockudo.push.recipients import Provider

__all__ = ["AccountError", "Accounts", "Own", "SharedCredential", "checked_endpoint", "given", "text_of"]

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
