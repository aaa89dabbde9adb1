"""Web Push: what a browser can read, who signs, every row of its table, and which endpoints are never called."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sockudo.config.sections.push_providers import PushWebpush
from sockudo.outbound.addresses import is_public
from sockudo.outbound.exchange import Exchange
from sockudo.outbound.resolver import Resolver
from sockudo.push.delivery import Sent
from sockudo.push.endpoints import EndpointRules
from sockudo.push.providers import Surroundings
from sockudo.push.providers.webpush import WebPushProvider, origin_of
from sockudo.push.recipients import WebRecipient
from sockudo.testing import ProviderAnswer
from support.push_accounts import Desk, Stored, desk, preview, public_key_of, vapid_key


@pytest.fixture
async def here() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def provider(here: Desk, stored: Stored | None = None, **settings: Any) -> WebPushProvider:
    chosen = PushWebpush(**{"vapid_private_key": vapid_key(), **settings})
    return WebPushProvider(chosen, here.rules, stored or Stored(), here.around)


def browser(here: Desk, name: str = "lea") -> WebRecipient:
    keys = here.mock.browser(name)
    return WebRecipient(here.mock.endpoint_of(name), keys.p256dh, keys.auth)


async def send(
    here: Desk,
    payload: dict[str, Any] | None = None,
    *,
    web: WebPushProvider | None = None,
    to: WebRecipient | None = None,
    expires_at_ms: int | None = None,
) -> Sent:
    made = web or provider(here)
    return await made.send("app", payload or preview("webPush"), to or browser(here), expires_at_ms=expires_at_ms)


async def test_a_browser_reads_the_whole_preview(here: Desk) -> None:
    payload = preview("webPush", body="Parcel 8841", collapse_key="p-1", template_data={"no": 8841})
    sent = await send(here, payload)
    assert sent.outcome == "accepted"
    assert str(sent.message_id).startswith("/messages/")
    (request,) = here.mock.requests
    assert here.mock.notification(request) == payload
    assert request.headers["content-encoding"] == "aes128gcm"
    assert request.headers["content-type"] == "application/octet-stream"
    assert request.headers["ttl"] == "2419200"
    assert request.headers["urgency"] == "normal"
    assert request.headers["topic"] == "p-1"


async def test_another_library_reads_it_too(here: Desk) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    # Padded: as some libraries of browsers' backends hand them over.
    p256dh = base64.urlsafe_b64encode(point).decode()
    auth = base64.urlsafe_b64encode(b"0123456789abcdef").decode()
    assert p256dh.endswith("=")
    assert auth.endswith("=")
    await send(here, to=WebRecipient(here.mock.endpoint_of("padded"), p256dh, auth))
    (request,) = here.mock.requests
    plain = http_ece.decrypt(request.body, private_key=private, auth_secret=b"0123456789abcdef", version="aes128gcm")
    assert b'"title":"Shipped"' in plain
    assert request.body[16:20] == (4096).to_bytes(4)
    assert request.body[20] == 65


async def test_without_a_collapse_key_there_is_no_topic(here: Desk) -> None:
    """A null header is none."""
    assert (await send(here)).outcome == "accepted"
    assert "topic" not in here.mock.requests[0].headers


async def test_headers_of_an_override(here: Desk) -> None:
    await send(here, {"headers": {"ttl": "60", "urgency": "very-low", "topic": "t"}, "x": 1})
    await send(here, {"y": 1})
    first, second = here.mock.requests
    assert [first.headers[name] for name in ("ttl", "urgency", "topic")] == ["60", "very-low", "t"]
    assert second.headers["ttl"] == "43200"
    assert "urgency" not in second.headers
    assert here.mock.notification(second) == {"y": 1}


async def test_a_key_that_is_no_topic_still_collapses(here: Desk) -> None:
    for key in ("order/8841", "order/8841", "x" * 33):
        await send(here, preview("webPush", collapse_key=key))
    first, second, third = (request.headers["topic"] for request in here.mock.requests)
    assert first == second != third
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", topic) for topic in (first, third))


async def test_what_expires_is_not_kept_any_longer(here: Desk) -> None:
    await send(here, expires_at_ms=int((here.clock.time() + 90) * 1000) + 500)
    assert here.mock.requests[0].headers["ttl"] == "90"


# ---- who signs ----


def parts_of(authorization: str) -> tuple[str, str]:
    found = re.fullmatch(r"vapid t=([^,]+), k=(\S+)", authorization)
    assert found is not None
    return found[1], found[2]


async def test_the_signature_is_for_the_endpoints_origin(here: Desk) -> None:
    await send(here, web=provider(here, vapid_contact="mailto:ops@harbour.test"))
    token, key = parts_of(here.mock.requests[0].headers["authorization"])
    # With its port, which is not the scheme's own.
    claims = jwt.decode(token, public_key_of("ec"), algorithms=["ES256"], audience=here.mock.url)
    assert claims["sub"] == "mailto:ops@harbour.test"
    assert claims["exp"] == int(here.clock.time()) + 12 * 3600
    point = public_key_of("ec").public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert key == base64.urlsafe_b64encode(point).rstrip(b"=").decode()


async def test_a_signature_is_kept_for_its_origin_until_near_its_end(here: Desk) -> None:
    web = provider(here)
    for pause in (0, 10 * 3600, 2 * 3600):
        here.clock.advance(pause)
        await send(here, web=web)
    first, second, third = (request.headers["authorization"] for request in here.mock.requests)
    assert first == second != third


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://push.test/a/b?c", "https://push.test"),
        ("https://push.test:443/a", "https://push.test"),
        ("https://Push.Test:8443/a", "https://push.test:8443"),
        ("http://[::1]:9100/a", "http://[::1]:9100"),
        ("http://push.test:80/", "http://push.test"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("pad", ["", "="])
async def test_an_apps_own_key(here: Desk, pad: str) -> None:
    stored = Stored()
    stored.put("app", "webPush", {"publicKey": "not used", "privateKey": vapid_key() + pad})
    web = WebPushProvider(PushWebpush(), here.rules, stored, here.around)
    assert (await web.readiness("app")).source == "stored credential own"
    assert (await send(here, web=web)).outcome == "accepted"
    missing = (await web.readiness("other")).missing
    assert "VAPID_PRIVATE_KEY" in str(missing)


@pytest.mark.parametrize("key", ["short", "A" * 42 + "!", "AA" * 40, "-----BEGIN PRIVATE KEY-----\nx", "A" * 43])
async def test_a_useless_key_is_the_accounts_fault(here: Desk, key: str) -> None:
    web = provider(here, vapid_private_key=key)
    sent = await send(here, web=web)
    assert sent.error is not None
    assert (sent.outcome, sent.error.kind) == ("rejected", "auth_failure")
    assert "privateKey" in str((await web.readiness("app")).missing)
    assert key not in str((await web.readiness("app")).missing)


# ---- answers ----

ROWS = [
    (200, None),
    (201, None),
    (202, None),
    (204, "provider_rejected"),
    (404, "invalid_token"),
    (410, "invalid_token"),
    (413, "invalid_payload"),
    (429, "quota"),
    (401, "auth_failure"),
    (403, "auth_failure"),
    (500, "unavailable"),
    (599, "unavailable"),
    (400, "provider_rejected"),
    (301, "provider_rejected"),
]


@pytest.mark.parametrize(("status", "kind"), ROWS)
async def test_rows_of_the_table(here: Desk, status: int, kind: str | None) -> None:
    here.mock.script("lea", ProviderAnswer(status, {"location": "/moved"}))
    sent = await send(here)
    assert (None if sent.error is None else sent.error.kind) == kind
    expected = "retryable" if kind in {"quota", "unavailable"} else "rejected"
    assert sent.outcome == ("accepted" if kind is None else expected)
    assert len(here.mock.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, b"the VAPID credentials do not correspond to those of the subscription", "vapid_key_mismatch"),
        (401, b'{"code": 401, "errno": 109, "message": "a sentence"}', "vapid_refused"),
        (403, b'{"reason": "BadJwtToken"}', "BadJwtToken"),
    ],
)
async def test_what_is_wrong_with_the_key_is_a_word_of_ours_or_a_documented_one(
    here: Desk, status: int, body: bytes, reason: str
) -> None:
    here.mock.script("lea", ProviderAnswer(status, {}, body))
    sent = await send(here)
    assert sent.error is not None
    assert sent.error.reason == reason


@pytest.mark.parametrize("seconds", [30, 90_000])
async def test_retry_after_as_a_date(here: Desk, seconds: int) -> None:
    here.mock.script("lea", ProviderAnswer(503, {"retry-after": formatdate(here.clock.time() + seconds, usegmt=True)}))
    sent = await send(here)
    assert sent.error is not None
    assert sent.error.retry_after_ms is not None
    wait = sent.error.retry_after_ms / 1000 - here.clock.time()
    assert wait == pytest.approx(min(seconds, 86_400), abs=1.1)


# ---- subscriptions that are none ----


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [
        ("", "MDEyMzQ1Njc4OWFiY2RlZg"),
        ("AAAA", "MDEyMzQ1Njc4OWFiY2RlZg"),
        ("!!!!", "MDEyMzQ1Njc4OWFiY2RlZg"),
        ("B" + "A" * 86, "MDEyMzQ1Njc4OWFiY2RlZg"),
        (None, "AAAA"),
        (None, "not base64 ☂"),
    ],
)
async def test_keys_that_are_none(here: Desk, p256dh: str | None, auth: str) -> None:
    keys = here.mock.browser("lea")
    to = WebRecipient(here.mock.endpoint_of("lea"), keys.p256dh if p256dh is None else p256dh, auth)
    sent = await send(here, to=to)
    assert sent.error is not None
    assert (sent.outcome, sent.error.kind, sent.error.failure_class) == ("rejected", "invalid_token", "device_terminal")
    assert not here.mock.requests


async def test_a_notification_that_fits_into_no_record(here: Desk) -> None:
    sent = await send(here, {"data": "x" * 4080})
    assert sent.error is not None
    assert (sent.error.kind, sent.error.failure_class) == ("invalid_payload", "caller_payload")


@pytest.mark.parametrize(
    "url",
    [
        "http://push.test/a",
        "https://user:secret@push.test/a",
        "https://127.0.0.1/a",
        "https://[::ffff:10.0.0.1]/a",
        "https://localhost/a",
        "https://denied.test/a",
        "https://push.elsewhere/a",
        "ftp://push.test/a",
        "nonsense",
    ],
)
async def test_endpoints_that_are_never_called(here: Desk, url: str) -> None:
    """The rules of registration hold again at dispatch: they may have become stricter since."""
    rules = EndpointRules(is_public, allowed=(".test",), denied=("denied.test",))
    web = WebPushProvider(PushWebpush(vapid_private_key=vapid_key()), rules, Stored(), here.around)
    keys = here.mock.browser("lea")
    sent = await send(here, web=web, to=WebRecipient(url, keys.p256dh, keys.auth))
    assert sent.error is not None
    assert (sent.outcome, sent.error.kind) == ("rejected", "invalid_token")
    assert url not in str(sent)


async def test_a_name_that_leads_to_a_private_address_is_a_failure_of_the_network(here: Desk) -> None:
    """What a name resolves to today says nothing of the subscription."""
    http = Exchange(resolver=Resolver(lambda _: ["10.0.0.7"]))
    around = Surroundings(http, here.clock.time, here.clock.monotonic)
    web = WebPushProvider(PushWebpush(vapid_private_key=vapid_key()), EndpointRules(is_public), Stored(), around)
    keys = here.mock.browser("lea")
    sent = await send(here, web=web, to=WebRecipient("https://push.test/a", keys.p256dh, keys.auth))
    assert sent.error is not None
    assert (sent.outcome, sent.error.kind) == ("retryable", "network_transport")
    assert sent.error.reason == "address_refused"
    await http.close()
