"""Windows Notification Service, whose toasts and tiles are XML (spec: push § 8)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape

import msgspec

from sockudo.config.sections.push_providers import PushWns
from sockudo.errors import SockudoError
from sockudo.outbound.ports import Reply
from sockudo.push.delivery import Material, Materials, Sent
from sockudo.push.endpoints import EndpointRules
from sockudo.push.providers.accounts import AccountError, Own, StaticToken, given
from sockudo.push.providers.answers import accepted, failed, kind_of, refused
from sockudo.push.providers.base import HttpProvider, Outgoing, Shapes, Surroundings, TokenAccount, encode

__all__ = ["WnsProvider", "tile_xml", "toast_xml", "wns_meaning"]

# Letters that XML cannot hold, escaped or not.
_NOT_XML: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")

_SCOPE: Final = "notify.windows.com"
_MISSING: Final = "set WNS_PROVIDER_TOKEN, or store a credential: POST /apps/{appId}/push/credentials/wns"


# ---- XML ----


def toast_xml(toast: Any, data: Any) -> str:
    """What ``toast`` describes; a text is XML already. ``data`` is what the app is started with when it is touched."""
    if isinstance(toast, str):
        return toast
    described = toast if isinstance(toast, dict) else {}
    sound = _member(described.get("audio"), "src")
    audio = _element("audio", src=sound) if sound is not None else ""
    launch = data if data is None or isinstance(data, str) else msgspec.json.encode(data).decode()
    return f"<toast{_attributes(launch=launch)}>{_visual(described, 'ToastGeneric')}{audio}</toast>"


def tile_xml(tile: Any) -> str:
    if isinstance(tile, str):
        return tile
    return f"<tile>{_visual(tile if isinstance(tile, dict) else {}, 'TileMedium')}</tile>"


def _visual(described: Mapping[str, Any], template: str) -> str:
    bindings = _member(described.get("visual"), "binding")
    listed: Sequence[Any] = bindings if isinstance(bindings, list) else [bindings]
    return f"<visual>{''.join(_binding(one, template) for one in listed if isinstance(one, dict))}</visual>"


def _binding(described: Mapping[str, Any], template: str) -> str:
    texts = described.get("text")
    lines = texts if isinstance(texts, list) else [texts]
    inner = "".join(f"<text>{escape(_clean(line))}</text>" for line in lines if line is not None)
    image = described.get("image")
    source = _member(image, "src") if isinstance(image, dict) else image
    if source is not None:
        inner += _element("image", src=source)
    return f"<binding{_attributes(template=described.get('template') or template)}>{inner}</binding>"


def _element(name: str, **attributes: Any) -> str:
    return f"<{name}{_attributes(**attributes)}/>"


def _attributes(**attributes: Any) -> str:
    pairs = ((name, value) for name, value in attributes.items() if value is not None)
    return "".join(f' {name}="{escape(_clean(value), {chr(34): "&quot;"})}"' for name, value in pairs)


def _clean(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return _NOT_XML.sub("", text)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


# ---- requests ----


class Shape(NamedTuple):
    kind: str
    content_type: str
    body: bytes


class WnsProvider(HttpProvider[PushWns, TokenAccount]):
    """A `PushProvider` for WNS."""

    provider = "wns"

    def __init__(self, settings: PushWns, rules: EndpointRules, materials: Materials, around: Surroundings) -> None:
        super().__init__(settings, materials, around)
        self._rules = rules
        self._shapes = Shapes(_shape)

    async def _send(self, account: TokenAccount, outgoing: Outgoing) -> Sent:
        url = outgoing.recipient.token
        try:
            self._rules.check(url)
        except SockudoError:
            return failed("invalid_token", "its address may not be called")
        shape = self._shapes.of(outgoing.payload)
        headers = [("content-type", shape.content_type), ("x-wns-type", f"wns/{shape.kind}")]
        if outgoing.expires_at_ms is not None:
            left = int(outgoing.expires_at_ms / 1000 - self._around.time())
            headers.append(("x-wns-ttl", str(max(1, left))))

        def meaning(reply: Reply) -> Sent:
            return wns_meaning(reply, url, self._around.time())

        return await self._with_bearer(account, url, outgoing.deadline, headers, shape.body, meaning)

    def _account(self, material: Material, theirs: bool) -> TokenAccount:
        fields = material.fields
        static = fields.get("providerToken")
        if static is not None:
            return TokenAccount(StaticToken(static))
        sid, secret = fields.get("packageSid", "").strip(), fields.get("clientSecret", "")
        if not sid or not secret:
            raise AccountError("it needs packageSid and clientSecret")
        form = {"grant_type": "client_credentials", "client_id": sid, "client_secret": secret, "scope": _SCOPE}
        return TokenAccount(self._granted(self._settings.oauth_endpoint, form))

    def _own(self) -> Own:
        token = given(self._settings.provider_token)
        if token is None:
            raise AccountError(_MISSING)
        return Own("WNS_PROVIDER_TOKEN", Material("process", 0, {"providerToken": token}))


def wns_meaning(reply: Reply, url: str, now: float) -> Sent:
    """The table of spec: push § 8; the first row that matches."""
    status = reply.status
    if 200 <= status <= 202:
        return accepted(reply.headers.get("x-wns-msg-id"), token=url)
    kind = "quota" if status == 406 else kind_of(status)
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
