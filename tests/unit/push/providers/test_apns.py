"""APNs: HTTP/2 over TLS, every row of its table, and the three ways to prove who sends."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    NoEncryption,
    load_pem_private_key,
    pkcs12,
)

from sockudo.config.sections.push_providers import PushApns
from sockudo.push.delivery import Sent
from sockudo.push.providers.apns import ApnsProvider
from sockudo.push.recipients import ApnsRecipient
from sockudo.testing import MockPushProvider, ProviderAnswer
from support.certificates import write_certificate
from support.push_accounts import Desk, Stored, apns_key, apns_p12, desk, preview, public_key_of

TOKEN = "ab12" * 16


@pytest.fixture
async def here() -> AsyncIterator[Desk]:
    """Without TLS, and so HTTP/1.1."""
    async with desk() as made:
        yield made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("apns"))


def server_context(files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    return context


@pytest.fixture
async def secure(files: tuple[Path, Path]) -> AsyncIterator[Desk]:
    async with desk(MockPushProvider(tls=server_context(files)), cafile=str(files[0])) as made:
        yield made


def provider(here: Desk, stored: Stored | None = None, **settings: Any) -> ApnsProvider:
    own = {"team_id": "TEAM", "key_id": "KEY9", "private_key": apns_key()}
    chosen = {"topic": "test.harbour", **(settings or own)}
    return ApnsProvider(PushApns(endpoint=here.mock.url, **chosen), stored or Stored(), here.around)


async def send(
    apns: ApnsProvider, payload: dict[str, Any] | None = None, token: str = TOKEN, expires_at_ms: int | None = None
) -> Sent:
    sent = await apns.send("app", payload or preview("apns"), ApnsRecipient(token), expires_at_ms=expires_at_ms)
    await apns.close()
    return sent


async def test_a_send_over_http2(secure: Desk) -> None:
    payload = preview("apns", body="Parcel 8841", sound="bell", collapse_key="p-1", template_data={"no": 1})
    sent = await send(provider(secure), payload)
    assert sent.outcome == "accepted"
    (request,) = secure.mock.requests
    assert request.http_version == "2"
    assert (request.method, request.path) == ("POST", f"/3/device/{TOKEN}")
    assert json.loads(request.body) == {"aps": payload["aps"], "data": {"no": 1}}
    headers = {name: value for name, value in request.headers.items() if name.startswith("apns-")}
    assert headers == {
        "apns-topic": "test.harbour",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-collapse-id": "p-1",
    }
    assert request.headers["authorization"].startswith("bearer ")
    assert sent.message_id is not None
    assert len(sent.message_id) == 32


async def test_one_connection_for_all(secure: Desk) -> None:
    apns = provider(secure)
    sends = (apns.send("app", preview("apns"), ApnsRecipient(f"{n:064x}"), expires_at_ms=None) for n in range(120))
    assert {sent.outcome for sent in await asyncio.gather(*sends)} == {"accepted"}
    assert secure.mock.connections == 1
    assert len({request.headers["authorization"] for request in secure.mock.requests}) == 1
    await apns.close()


async def test_the_token_is_apples(secure: Desk) -> None:
    await send(provider(secure))
    token = secure.mock.requests[0].headers["authorization"].removeprefix("bearer ")
    claims = jwt.decode(token, public_key_of("ec"), algorithms=["ES256"])
    assert claims == {"iss": "TEAM", "iat": int(secure.clock.time())}
    assert jwt.get_unverified_header(token)["kid"] == "KEY9"


async def test_a_token_is_used_for_55_minutes(here: Desk) -> None:
    apns = provider(here)
    for pause in (0, 54 * 60, 2 * 60):
        here.clock.advance(pause)
        await apns.send("app", preview("apns"), ApnsRecipient(TOKEN), expires_at_ms=None)
    first, second, third = (request.headers["authorization"] for request in here.mock.requests)
    assert first == second != third
    await apns.close()


async def test_headers_of_an_override(here: Desk) -> None:
    headers = {
        "apns-push-type": "background",
        "apns-priority": "5",
        "apns-expiration": 1790000000,
        "apns-topic": "somebody.else",
    }
    await send(provider(here), {"headers": headers, "aps": {"content-available": 1}}, expires_at_ms=1)
    (request,) = here.mock.requests
    assert request.headers["apns-push-type"] == "background"
    assert request.headers["apns-priority"] == "5"
    assert request.headers["apns-expiration"] == "1790000000"
    assert request.headers["apns-topic"] == "test.harbour"
    assert "apns-collapse-id" not in request.headers
    assert json.loads(request.body) == {"aps": {"content-available": 1}, "data": None}


async def test_a_payload_without_aps_is_sent_as_it_is(here: Desk) -> None:
    await send(provider(here), {"mdm": "x"})
    assert json.loads(here.mock.requests[0].body) == {"mdm": "x"}


async def test_what_expires_is_not_kept_by_apple_any_longer(here: Desk) -> None:
    await send(provider(here), expires_at_ms=1_790_000_123_456)
    assert here.mock.requests[0].headers["apns-expiration"] == "1790000123"


async def test_a_long_collapse_key_still_collapses(here: Desk) -> None:
    apns = provider(here)
    for key in ("x" * 65, "x" * 65, "größe"):
        await apns.send("app", preview("apns", collapse_key=key), ApnsRecipient(TOKEN), expires_at_ms=None)
    first, second, third = (request.headers["apns-collapse-id"] for request in here.mock.requests)
    assert first == second != third
    assert len(first) <= 64
    await apns.close()


ROWS = [
    (400, "BadDeviceToken", "invalid_token", "device_terminal", False),
    (410, "Unregistered", "invalid_token", "device_terminal", False),
    (410, None, "invalid_token", "device_terminal", False),
    (400, "BadTopic", "apns_topic_mismatch", "credential_auth", False),
    (400, "DeviceTokenNotForTopic", "apns_topic_mismatch", "credential_auth", False),
    (400, "TopicDisallowed", "apns_topic_mismatch", "credential_auth", False),
    (400, "BadCertificateEnvironment", "apns_topic_mismatch", "credential_auth", False),
    (400, "PayloadEmpty", "invalid_payload", "caller_payload", False),
    (413, "PayloadTooLarge", "invalid_payload", "caller_payload", False),
    (403, "TooManyProviderTokenUpdates", "auth_failure", "credential_auth", True),
    (403, "InvalidProviderToken", "auth_failure", "credential_auth", False),
    (429, "TooManyRequests", "quota", "provider_quota", True),
    (500, "InternalServerError", "unavailable", "provider_transient", True),
    (502, None, "unavailable", "provider_transient", True),
    (503, "Shutdown", "unavailable", "provider_transient", True),
    (504, None, "unavailable", "provider_transient", True),
    (405, "MethodNotAllowed", "provider_rejected", "unknown", False),
]


@pytest.mark.parametrize(("status", "reason", "kind", "failure_class", "again"), ROWS)
async def test_rows_of_the_table(
    here: Desk, status: int, reason: str | None, kind: str, failure_class: str, again: bool
) -> None:
    body = b"" if reason is None else json.dumps({"reason": reason}).encode()
    here.mock.script(TOKEN, ProviderAnswer(status, {}, body))
    sent = await send(provider(here))
    assert sent.error is not None
    assert (sent.error.kind, sent.error.failure_class) == (kind, failure_class)
    assert sent.outcome == ("retryable" if again else "rejected")
    about = ", sent with apns-topic " + here.mock.requests[0].headers["apns-topic"]
    said = reason or f"provider status {status}"
    assert sent.error.reason == (said + about if kind == "apns_topic_mismatch" else said)
    assert len(here.mock.requests) == 1


EXPIRED = ProviderAnswer(403, {}, b'{"reason":"ExpiredProviderToken"}')


async def test_an_expired_token_is_made_anew_once(secure: Desk) -> None:
    secure.mock.script(TOKEN, EXPIRED)
    apns = provider(secure)
    await apns.send("app", preview("apns"), ApnsRecipient("00"), expires_at_ms=None)
    secure.clock.advance(60)
    assert (await send(apns)).outcome == "accepted"
    first, second = secure.mock.sent(TOKEN)
    assert first.headers["authorization"] != second.headers["authorization"]


async def test_a_token_that_stays_expired_is_tried_again_later(here: Desk) -> None:
    here.mock.script(TOKEN, EXPIRED, forever=True)
    sent = await send(provider(here))
    assert sent.error is not None
    assert (sent.outcome, sent.error.kind) == ("retryable", "auth_failure")
    assert len(here.mock.requests) == 2


async def test_a_ready_token_is_not_made_anew(here: Desk) -> None:
    here.mock.script(TOKEN, EXPIRED)
    sent = await send(provider(here, provider_token="ready"))
    assert sent.outcome == "retryable"
    (request,) = here.mock.requests
    assert request.headers["authorization"] == "bearer ready"


@pytest.mark.parametrize("broken", ["cut", "cut_within", "garbage"])
async def test_broken_answers(secure: Desk, broken: Any) -> None:
    secure.mock.script(TOKEN, ProviderAnswer(400, {}, b'{"reason":"BadDeviceToken"}', broken=broken))
    sent = await send(provider(secure))
    assert sent.error is not None
    assert (sent.outcome, sent.error.kind) == ("retryable", "network_transport")


# ---- certificates instead of tokens ----


@pytest.fixture
async def mutual(files: tuple[Path, Path]) -> AsyncIterator[Desk]:
    """Takes connections only from those who show the certificate."""
    context = server_context(files)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files[0])
    async with desk(MockPushProvider(tls=context), cafile=str(files[0])) as made:
        yield made


async def test_a_certificate_in_pem_form(mutual: Desk, files: tuple[Path, Path]) -> None:
    stored = Stored()
    stored.put("app", "apns", {"pem": files[0].read_text() + files[1].read_text()})
    assert (await send(provider(mutual, stored))).outcome == "accepted"
    assert "authorization" not in mutual.mock.requests[0].headers


@pytest.mark.parametrize("password", [None, "sesame"])
async def test_a_certificate_in_a_p12_file(mutual: Desk, files: tuple[Path, Path], password: str | None) -> None:
    certificate = x509.load_pem_x509_certificate(files[0].read_bytes())
    key = load_pem_private_key(files[1].read_bytes(), None)
    how = NoEncryption() if password is None else BestAvailableEncryption(password.encode())
    data = pkcs12.serialize_key_and_certificates(b"push", key, certificate, None, how)  # type: ignore[arg-type]
    fields = {"p12": base64.b64encode(data).decode()} | ({} if password is None else {"p12Password": password})
    stored = Stored()
    stored.put("app", "apns", fields)
    assert (await send(provider(mutual, stored))).outcome == "accepted"
    assert "authorization" not in mutual.mock.requests[0].headers


async def test_a_certificate_that_has_ended_since_it_was_stored(here: Desk) -> None:
    stored = Stored()
    now = here.clock.time()
    stored.put("app", "apns", {"p12": apns_p12(ends=datetime.fromtimestamp(now + 60, UTC))})
    apns = provider(here, stored)
    assert (await apns.readiness("app")).ready
    here.clock.advance(61)
    found = await apns.readiness("app")
    day = f"{datetime.fromtimestamp(now + 60, UTC):%Y-%m-%d}"
    assert not found.ready
    assert found.missing is not None
    assert found.missing.startswith("stored credential ")
    assert found.missing.endswith(f"the certificate in p12 expired on {day}: make a new one")
    stored.put("app", "apns", {"p12": apns_p12(ends=datetime.fromtimestamp(now + 86_400, UTC))})
    here.clock.advance(3)
    assert (await apns.readiness("app")).ready
    await apns.close()


async def test_a_key_comes_before_certificates(here: Desk) -> None:
    stored = Stored()
    stored.put("app", "apns", {"teamId": "T2", "keyId": "K2", "privateKey": apns_key(), "p12": "??", "pem": "??"})
    await send(provider(here, stored))
    token = here.mock.requests[0].headers["authorization"].removeprefix("bearer ")
    assert jwt.get_unverified_header(token)["kid"] == "K2"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"pem": "-----BEGIN nothing"}, "pem holds no private key"),
        ({"p12": "AAAA"}, "p12 is no PKCS #12 file"),
        ({"teamId": "T", "keyId": "K", "privateKey": "x"}, "privateKey holds no private key"),
        ({"teamId": "T"}, "it needs teamId, keyId and privateKey"),
    ],
)
async def test_useless_credentials_are_named(here: Desk, fields: dict[str, str], says: str) -> None:
    stored = Stored()
    stored.put("app", "apns", fields)
    readiness = await provider(here, stored).readiness("app")
    assert not readiness.ready
    assert says in str(readiness.missing)
    assert "stored credential own" in str(readiness.missing)


async def test_a_topic_is_required(here: Desk) -> None:
    apns = ApnsProvider(PushApns(endpoint=here.mock.url, provider_token="x"), Stored(), here.around)
    assert "APNS_TOPIC" in str((await apns.readiness("app")).missing)


async def test_a_key_file(here: Desk, tmp_path: Path) -> None:
    path = tmp_path / "AuthKey.p8"
    path.write_text(apns_key())
    apns = provider(here, team_id="T", key_id="K", private_key_path=str(path))
    assert (await apns.readiness("app")).source == "APNS_PRIVATE_KEY_PATH"
    assert (await send(apns)).outcome == "accepted"
