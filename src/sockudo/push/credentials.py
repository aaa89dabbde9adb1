"""What an app has to prove itself with to the providers: stored encrypted, opened for sending (spec: push § 2.3)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.errors import SockudoError
from sockudo.push.delivery import Material
from sockudo.push.paging import Page, PageRequest, as_page
from sockudo.push.ports import PushStore
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import Credential
from sockudo.push.secrecy import Envelopes
from sockudo.push.spellings import decoded
from sockudo.push.telemetry import audit
from sockudo.push.validation import check_id

__all__ = ["RENEWED_AFTER", "CredentialCheck", "CredentialRequest", "Credentials", "credential_from", "credential_view"]

RENEWED_AFTER: Final = 3.0
"""Seconds until a change that another process made is seen."""

_MOST_REMEMBERED: Final = 10_000
_PAGE: Final = 100
_ENVELOPE: Final = "envelope:"
_OPEN_FIELDS: Final = frozenset({"teamId", "keyId", "publicKey", "hmsAppId", "packageSid"})


class CredentialRequest(NamedTuple):
    """A credential as it was sent; ``fields`` by the names of spec: push § 2.3, none of them encrypted."""

    provider: Provider
    credential_id: str
    version: int
    fields: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<CredentialRequest {self.provider} {self.credential_id}>"


class CredentialCheck(Protocol):
    """What knows the keys and certificates of each provider."""

    async def __call__(self, provider: Provider, fields: Mapping[str, str], now: float) -> None:
        """Raises errors.CREDENTIAL_INVALID for fields that nothing can be sent with; ``now`` is Unix seconds."""


class _Body(msgspec.Struct, rename="camel", kw_only=True):
    credential_id: str | None = None
    version: int | None = None


class _Fcm(_Body, kw_only=True):
    service_account_json: dict[str, Any] | str


class _Apns(_Body, kw_only=True):
    p12: str | None = None
    p12_password: str | None = None
    pem: str | None = None
    team_id: str | None = None
    key_id: str | None = None
    private_key: str | None = None


class _Webpush(_Body, kw_only=True):
    public_key: str
    private_key: str


class _Hms(_Body, kw_only=True):
    hms_app_id: str
    client_secret: str


class _Wns(_Body, kw_only=True):
    package_sid: str
    client_secret: str


_BODIES: Final[Mapping[Provider, type[_Body]]] = {
    "fcm": _Fcm,
    "apns": _Apns,
    "webPush": _Webpush,
    "hms": _Hms,
    "wns": _Wns,
}


def credential_from(body: bytes, provider: Provider) -> CredentialRequest:
    """Reads a body in either spelling. Raises what `sockudo.push.bodies.decoded` does."""
    kind = _BODIES[provider]
    given = decoded(body, kind)
    fields: dict[str, str] = {}
    for name, wire in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        value = getattr(given, name)
        if name in ("credential_id", "version") or value is None:
            continue
        fields[wire] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    version = 1 if given.version is None else given.version
    identifier = ROUTE_NAMES[provider] if given.credential_id is None else given.credential_id
    return CredentialRequest(provider, identifier, version, fields)


def credential_view(credential: Credential) -> dict[str, Any]:
    """A credential as it is answered: which one it is, and nothing of what is in it."""
    return {
        "app_id": credential.app_id,
        "credential_id": credential.credential_id,
        "provider": credential.provider,
        "version": credential.version,
    }


class _Remembered(NamedTuple):
    found: Material | SockudoError | None
    until: float


class Credentials:
    """Raises what the store does, and what is named at each method."""

    def __init__(self, store: PushStore, envelopes: Envelopes, clock: Clock, check: CredentialCheck) -> None:
        self._store = store
        self._envelopes = envelopes
        self._clock = clock
        self._check = check
        self._remembered: OrderedDict[tuple[str, str, str | None], _Remembered] = OrderedDict()
        self._writes = 0

    async def put(self, app_id: str, wanted: CredentialRequest) -> dict[str, Any]:
        """Replaces the one of that id, and is used within seconds.

        Raises errors.INVALID_INPUT, errors.CREDENTIAL_INVALID and errors.ENCRYPTION_KEY_MISSING: nothing is stored.
        """
        _check(wanted)
        await self._check(wanted.provider, wanted.fields, self._clock.time())
        now_ms = int(self._clock.time() * 1000)
        credential = Credential(
            app_id=app_id,
            credential_id=wanted.credential_id,
            provider=wanted.provider,
            version=wanted.version,
            material={name: self._sealed(name, value) for name, value in wanted.fields.items()},
            updated_at_ms=now_ms,
        )
        await self._store.put_credential(credential)
        self.forget(app_id)
        subject = f"credential:{ROUTE_NAMES[wanted.provider]}:{wanted.credential_id}:{wanted.version}"
        await self._store.note_operator(app_id, subject, now_ms)
        audit(
            "credentialWrite",
            app_id,
            provider=wanted.provider,
            credential_id=wanted.credential_id,
            version=wanted.version,
        )
        return credential_view(credential)

    async def page(self, request: PageRequest) -> Page:
        rows = await self._store.credentials(request.app_id, request.after, request.ask)
        now_ms = int(self._clock.time() * 1000)
        return as_page(request, rows, lambda row: row.credential_id, credential_view, now_ms)

    async def material_for(self, app_id: str, provider: Provider, credential_id: str | None = None) -> Material | None:
        """The app's credential with its secrets opened: the one of that id, else the one that was written last.

        None when there is none. Raises errors.CREDENTIAL_UNREADABLE for one that cannot be opened. What was found is
        remembered for `RENEWED_AFTER` seconds, and forgotten when this process writes another.
        """
        key = (app_id, provider, credential_id)
        known = self._remembered.get(key)
        if known is None or self._clock.monotonic() >= known.until:
            known = await self._look_up(app_id, provider, credential_id)
        if isinstance(known.found, SockudoError):
            raise known.found.spec(known.found.text)
        return known.found

    def forget(self, app_id: str) -> None:
        """The next question about this app goes to the store."""
        self._writes += 1
        for key in [key for key in self._remembered if key[0] == app_id]:
            del self._remembered[key]

    async def _look_up(self, app_id: str, provider: Provider, credential_id: str | None) -> _Remembered:
        writes = self._writes
        until = self._clock.monotonic() + RENEWED_AFTER
        if credential_id is not None:
            credential = await self._store.credential(app_id, credential_id)
            if credential is not None and credential.provider != provider:
                credential = None
        else:
            credential = await self._newest(app_id, provider)
        known = _Remembered(None if credential is None else self._opened(credential), until)
        # The answer may be older than what was written while the store was asked.
        if writes == self._writes:
            key = (app_id, provider, credential_id)
            self._remembered[key] = known
            self._remembered.move_to_end(key)
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return known

    async def _newest(self, app_id: str, provider: Provider) -> Credential | None:
        newest: Credential | None = None
        after = ""
        while True:
            rows = await self._store.credentials(app_id, after, _PAGE)
            for row in rows:
                if row.provider == provider and (newest is None or row.updated_at_ms > newest.updated_at_ms):
                    newest = row
            if len(rows) < _PAGE:
                return newest
            after = rows[-1].credential_id

    def _opened(self, credential: Credential) -> Material | SockudoError:
        fields: dict[str, str] = {}
        try:
            for name, value in credential.material.items():
                fields[name] = self._envelopes.open(value) if value.startswith(_ENVELOPE) else value
        except SockudoError as problem:
            return problem.spec(f"{credential.provider} credential '{credential.credential_id}': {problem.text}")
        return Material(credential.credential_id, credential.version, fields)

    def _sealed(self, name: str, value: str) -> str:
        # Plain text that looks like an envelope would be opened as one.
        plain = name in _OPEN_FIELDS and not value.startswith(_ENVELOPE)
        return value if plain else self._envelopes.seal(value)


def _check(wanted: CredentialRequest) -> None:
    check_id(wanted.credential_id, "credentialId")
    if not 1 <= wanted.version < 2**31:
        raise errors.INVALID_INPUT("version must be 1 or more")
    for name, value in wanted.fields.items():
        if name != "p12Password" and not value.strip():
            raise errors.CREDENTIAL_INVALID(f"{name} must not be empty")
