"""Windows Notification Service (spec: push § 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sockudo.config.sections.push_providers import PushWns
from sockudo.errors import SockudoError
from sockudo.outbound.ports import Reply
from sockudo.push.delivery import Material, Materials, Sent
from sockudo.push.endpoints import EndpointRules
from sockudo.push.providers.accounts import AccountError, Accounts, Own, given
from sockudo.push.providers.answers import accepted, failed, refused
from sockudo.push.providers.base import HttpProvider, Shapes, Surroundings, TokenAccount, credential_rejected, encode
from sockudo.push.providers.oauth import access_token
from sockudo.push.providers.toasts import tile_xml, toast_xml
from sockudo.push.providers.tokens import RenewedToken, StaticToken, Token
from sockudo.push.recipients import Recipient

__all__ = ["WnsProvider", "wns_meaning"]

_SCOPE: Final = "notify.windows.com"
_MISSING: Final = "set WNS_PROVIDER_TOKEN, or store a credential: POST /apps/{appId}/push/credentials/wns"
_KINDS: Final[Mapping[int, str]] = {
    404: "invalid_token",
    410: "invalid_token",
    413: "invalid_payload",
    429: "quota",
    406: "quota",
    401: "auth_failure",
    403: "auth_failure",
}


class Shape(NamedTuple):
    kind: str
    content_type: str
    body: bytes


class WnsProvider(HttpProvider[TokenAccount]):
    """A `PushProvider` for WNS."""

    def __init__(self, settings: PushWns, rules: EndpointRules, materials: Materials, around: Surroundings) -> None:
        accounts: Accounts[TokenAccount] = Accounts(
            "wns", materials, self._account, lambda: _own(settings), monotonic=around.monotonic
        )
        super().__init__(accounts, around)
        self._settings = settings
        self._rules = rules
        self._shapes = Shapes(_shape)

    async def _send(
        self,
        account: TokenAccount,
        payload: Mapping[str, Any],
        recipient: Recipient,
        expires_at_ms: int | None,
        deadline: float,
    ) -> Sent:
        url = recipient.token
        try:
            self._rules.check(url)
        except SockudoError:
            return failed("invalid_token", "its address may not be called")
        shape = self._shapes.of(payload)
        headers = [("content-type", shape.content_type), ("x-wns-type", f"wns/{shape.kind}")]
        if expires_at_ms is not None:
            left = int(expires_at_ms / 1000 - self._around.time())
            headers.append(("x-wns-ttl", str(max(1, left))))
        http = self._around.http

        async def request(token: str) -> Reply:
            return await http.post(url, [("authorization", f"Bearer {token}"), *headers], shape.body, deadline=deadline)

        def meaning(reply: Reply) -> Sent:
            return wns_meaning(reply, url, self._around.time())

        return await self._with_token(account.tokens, deadline, request, meaning, credential_rejected)

    def _account(self, material: Material, theirs: bool) -> TokenAccount:
        fields = material.fields
        static = fields.get("providerToken")
        if static is not None:
            return TokenAccount(StaticToken(static))
        sid, secret = fields.get("packageSid", "").strip(), fields.get("clientSecret", "")
        if not sid or not secret:
            raise AccountError("it needs packageSid and clientSecret")
        form = {"grant_type": "client_credentials", "client_id": sid, "client_secret": secret, "scope": _SCOPE}

        async def fetch() -> Token:
            return await access_token(self._around.http, self._settings.oauth_endpoint, form, self._around.time())

        return TokenAccount(RenewedToken(fetch, self._around.monotonic))


def wns_meaning(reply: Reply, url: str, now: float) -> Sent:
    """The table of spec: push § 8; the first row that matches."""
    status = reply.status
    if 200 <= status <= 202:
        return accepted(reply.headers.get("x-wns-msg-id"), token=url)
    kind = _KINDS.get(status) or ("unavailable" if 500 <= status < 600 else "provider_rejected")
    return refused(kind, reply, now, token=url)


def _shape(payload: Mapping[str, Any]) -> Shape:
    kind = payload.get("type")
    if kind == "raw":
        return Shape("raw", "application/octet-stream", _raw(payload))
    if kind == "tile":
        return Shape("tile", "text/xml", _bytes(tile_xml(payload.get("tile"))))
    return Shape("toast", "text/xml", _bytes(toast_xml(payload.get("toast"), payload.get("data"))))


def _raw(payload: Mapping[str, Any]) -> bytes:
    """What ``raw`` has, else ``data``, else the payload: a text as it is, anything else as JSON."""
    content: Any = next((payload[name] for name in ("raw", "data") if payload.get(name) is not None), payload)
    return _bytes(content) if isinstance(content, str) else encode(content)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _own(settings: PushWns) -> Own:
    token = given(settings.provider_token)
    if token is None:
        raise AccountError(_MISSING)
    return Own("WNS_PROVIDER_TOKEN", Material("process", 0, {"providerToken": token}))
