"""WNS: XML for toasts and tiles, bytes for raw ones, every row of its table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest

from sockudo.config.sections.push_providers import PushWns
from sockudo.outbound.addresses import is_public
from sockudo.push.delivery import Sent
from sockudo.push.endpoints import EndpointRules
from sockudo.push.providers.wns import WnsProvider
from sockudo.push.recipients import WnsRecipient
from sockudo.testing import ProviderAnswer
from support.push_accounts import Desk, Stored, desk, preview


@pytest.fixture
async def here() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def provider(here: Desk, stored: Stored | None = None, **settings: Any) -> WnsProvider:
    chosen = PushWns(oauth_endpoint=f"{here.mock.url}/accesstoken.srf", **(settings or {"provider_token": "static"}))
    return WnsProvider(chosen, here.rules, stored or Stored(), here.around)


async def send(here: Desk, payload: dict[str, Any] | None = None, wns: WnsProvider | None = None) -> Sent:
    to = WnsRecipient(here.mock.endpoint_of("desk", "wns"))
    return await (wns or provider(here)).send("app", payload or preview("wns"), to, expires_at_ms=None)


async def test_a_toast(here: Desk) -> None:
    payload = preview(
        "wns", title="<Shipped> & gone", body='8841 "now"', icon="https://x.test/?a=1&b=2", sound="ms-w:bell"
    )
    sent = await send(here, payload)
    assert sent.outcome == "accepted"
    assert len(str(sent.message_id)) == 16
    (request,) = here.mock.requests
    assert request.headers["x-wns-type"] == "wns/toast"
    assert request.headers["content-type"] == "text/xml"
    assert request.headers["authorization"] == "Bearer static"
    toast = ElementTree.fromstring(request.body)  # noqa: S314 - our own
    binding = toast.find("visual/binding")
    assert binding is not None
    assert binding.attrib == {"template": "ToastGeneric"}
    assert [text.text for text in binding.findall("text")] == ["<Shipped> & gone", '8841 "now"']
    image, audio = binding.find("image"), toast.find("audio")
    assert image is not None
    assert audio is not None
    assert (image.attrib, audio.attrib) == ({"src": "https://x.test/?a=1&b=2"}, {"src": "ms-w:bell"})


async def test_what_is_unset_is_left_out(here: Desk) -> None:
    await send(here, preview("wns", title="Only\x0b this"))
    toast = here.mock.requests[0].body.decode()
    assert toast == '<toast><visual><binding template="ToastGeneric"><text>Only this</text></binding></visual></toast>'


async def test_data_comes_with_the_touch(here: Desk) -> None:
    await send(here, preview("wns", template_data={"no": 8841, "text": 'say "hi"'}))
    toast = ElementTree.fromstring(here.mock.requests[0].body)  # noqa: S314 - our own
    assert toast.attrib == {"launch": '{"no":8841,"text":"say \\"hi\\""}'}


@pytest.mark.parametrize(
    ("payload", "kind", "content_type", "body"),
    [
        ({"type": "toast", "toast": "<toast/>"}, "toast", "text/xml", b"<toast/>"),
        ({"toast": "<toast/>"}, "toast", "text/xml", b"<toast/>"),
        ({"type": "tile", "tile": "<tile/>"}, "tile", "text/xml", b"<tile/>"),
        (
            {"type": "tile", "tile": {"visual": {"binding": [{"template": "TileWide", "text": "a"}, {"text": ["b"]}]}}},
            "tile",
            "text/xml",
            (
                b'<tile><visual><binding template="TileWide"><text>a</text></binding>'
                b'<binding template="TileMedium"><text>b</text></binding></visual></tile>'
            ),
        ),
        ({"type": "raw", "raw": "bytes ☂"}, "raw", "application/octet-stream", "bytes ☂".encode()),
        ({"type": "raw", "data": {"a": 1}}, "raw", "application/octet-stream", b'{"a":1}'),
        ({"type": "raw"}, "raw", "application/octet-stream", b'{"type":"raw"}'),
    ],
)
async def test_overrides(here: Desk, payload: dict[str, Any], kind: str, content_type: str, body: bytes) -> None:
    await send(here, payload)
    (request,) = here.mock.requests
    assert request.headers["x-wns-type"] == f"wns/{kind}"
    assert request.headers["content-type"] == content_type
    assert request.body == body


ROWS = [
    (200, None),
    (202, None),
    (404, "invalid_token"),
    (410, "invalid_token"),
    (413, "invalid_payload"),
    (429, "quota"),
    (406, "quota"),
    (401, "auth_failure"),
    (403, "auth_failure"),
    (500, "unavailable"),
    (503, "unavailable"),
    (400, "provider_rejected"),
    (204, "provider_rejected"),
]


@pytest.mark.parametrize(("status", "kind"), ROWS)
async def test_rows_of_the_table(here: Desk, status: int, kind: str | None) -> None:
    here.mock.script("desk", ProviderAnswer(status))
    sent = await send(here)
    assert (None if sent.error is None else sent.error.kind) == kind
    assert sent.outcome == (
        "accepted" if kind is None else "retryable" if kind in {"quota", "unavailable"} else "rejected"
    )


async def test_a_stored_credential_is_exchanged(here: Desk) -> None:
    stored = Stored()
    stored.put("app", "wns", {"packageSid": "ms-app://s-1", "clientSecret": "secret"})
    wns = provider(here, stored)
    assert (await send(here, wns=wns)).outcome == "accepted"
    (grant,) = [request for request in here.mock.requests if request.path == "/accesstoken.srf"]
    assert parse_qs(grant.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["ms-app://s-1"],
        "client_secret": ["secret"],
        "scope": ["notify.windows.com"],
    }
    await wns.close()


async def test_addresses_are_checked_again(here: Desk) -> None:
    rules = EndpointRules(is_public, allowed=(".notify.windows.com",))
    wns = WnsProvider(PushWns(provider_token="static"), rules, Stored(), here.around)
    for url in ("https://evil.test/a", "https://10.0.0.1/", here.mock.endpoint_of("desk", "wns")):
        sent = await wns.send("app", preview("wns"), WnsRecipient(url), expires_at_ms=None)
        assert sent.error is not None
        assert (sent.outcome, sent.error.kind) == ("rejected", "invalid_token")
    assert not here.mock.requests


async def test_what_is_missing_is_said(here: Desk) -> None:
    assert "WNS_PROVIDER_TOKEN" in str((await provider(here, provider_token="").readiness("app")).missing)
