"""Huawei Mobile Services (spec: push § 8)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from sockudo.config.sections.push_providers import PushHms
from sockudo.outbound.ports import Reply
from sockudo.push.delivery import Material, Materials, Sent
from sockudo.push.providers.accounts import AccountError, Own, StaticToken, checked_endpoint, given
from sockudo.push.providers.answers import accepted, failed, is_unread, json_of, refused
from sockudo.push.providers.base import (
    JSON_HEADERS,
    HttpProvider,
    Outgoing,
    Shapes,
    Surroundings,
    TokenAccount,
    encode,
    message_shape,
)

__all__ = ["HmsProvider", "hms_meaning"]

_SUCCESS: Final = "80000000"
_AUTH_CODES: Final = frozenset({"80200001", "80200003"})
_MISSING: Final = (
    "set HMS_APP_ID and HMS_PROVIDER_TOKEN, or store a credential: POST /apps/{appId}/push/credentials/hms"
)


class HmsProvider(HttpProvider[PushHms, TokenAccount]):
    """A `PushProvider` for HMS."""

    provider = "hms"

    def __init__(self, settings: PushHms, materials: Materials, around: Surroundings) -> None:
        super().__init__(settings, materials, around)
        self._shapes = Shapes(lambda payload: message_shape(payload, _as_text, b"[", b"]}}"))

    async def _send(self, account: TokenAccount, outgoing: Outgoing) -> Sent:
        shape = self._shapes.of(outgoing.payload)
        body = shape.before + encode(outgoing.recipient.token) + shape.after

        def meaning(reply: Reply) -> Sent:
            return hms_meaning(reply, outgoing.recipient.token, self._around.time())

        return await self._with_bearer(account, account.url, outgoing.deadline, JSON_HEADERS, body, meaning)

    def _account(self, material: Material, theirs: bool) -> TokenAccount:
        fields = material.fields
        app = fields.get("hmsAppId", "").strip()
        if not app:
            raise AccountError("there is no app id: set HMS_APP_ID")
        base = checked_endpoint(self._settings.endpoint, "HMS_ENDPOINT", self._around.http)
        url = f"{base}/v1/{quote(app, safe='')}/messages:send"
        static = fields.get("providerToken")
        if static is not None:
            return TokenAccount(StaticToken(static), url)
        form = {"grant_type": "client_credentials", "client_id": app, "client_secret": fields.get("clientSecret", "")}
        return TokenAccount(self._granted(self._settings.oauth_endpoint, form), url)

    def _own(self) -> Own:
        app, token = given(self._settings.app_id), given(self._settings.provider_token)
        if app is None or token is None:
            raise AccountError(_MISSING)
        return Own("HMS_PROVIDER_TOKEN", Material("process", 0, {"hmsAppId": app, "providerToken": token}))


def hms_meaning(reply: Reply, token: str, now: float) -> Sent:
    """The table of spec: push § 8; the first row that matches, those of the account before all others.

    A 200 may be a refusal: one whose body cannot be read is neither, and the notification is sent again rather than
    counted as delivered.
    """
    status, body = reply.status, json_of(reply)
    if 200 <= status < 300 and is_unread(reply):
        return failed("network_transport", "protocol_error" if reply.whole else "connection_reset")
    given = body.get("code")
    code = None if given is None else str(given)
    if code in _AUTH_CODES:
        return refused("auth_failure", reply, now, token=token)
    if 200 <= status < 300 and code in (None, _SUCCESS):
        return accepted(body.get("msg") or body.get("requestId"), token=token)
    return refused(_kind(status, code, reply.body), reply, now, token=token)


def _kind(status: int, code: str | None, body: bytes) -> str:
    if status in (404, 410) or code == "80300007":
        return "invalid_token"
    if status == 413 or code == "80100003":
        return "invalid_payload"
    if status == 429 or b"quota" in body.lower():
        return "quota"
    if status in (401, 403):
        return "auth_failure"
    return "unavailable" if 500 <= status < 600 else "provider_rejected"


def _as_text(data: Any) -> Any:
    """HMS takes one text as ``data``."""
    return data if data is None or isinstance(data, str) else encode(data).decode()
