"""FCM: what is sent, every row of its table, and tokens that are exchanged, kept and renewed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest

from sockudo import errors
from sockudo.config.sections.push_providers import PushFcm
from sockudo.push.delivery import Sent
from sockudo.push.providers.fcm import FcmProvider
from sockudo.push.recipients import FcmRecipient
from sockudo.testing import ProviderAnswer
from support.push_accounts import Desk, Stored, desk, preview, public_key_of, service_account

TOKEN = "device-token-4711"


@pytest.fixture
async def here() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def provider(here: Desk, stored: Stored | None = None, **settings: Any) -> FcmProvider:
    static = {"provider_token": "static-secret", "project_id": "harbour"}
    return FcmProvider(PushFcm(endpoint=here.mock.url, **(settings or static)), stored or Stored(), here.around)


def exchanged(here: Desk) -> FcmProvider:
    return provider(here, service_account_json=service_account(f"{here.mock.url}/token"))


async def send(fcm: FcmProvider, payload: dict[str, Any] | None = None, token: str = TOKEN) -> Sent:
    sent = await fcm.send("app", payload or preview("fcm"), FcmRecipient(token), expires_at_ms=None)
    await fcm.close()
    return sent


def error_body(status: str, code: str = "", message: str = "") -> bytes:
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    return json.dumps({"error": {"status": status, "message": message, "details": details}}).encode()


async def test_the_body_is_the_preview_with_the_token(here: Desk) -> None:
    payload = preview("fcm", body="Parcel 8841", icon="https://x.test/i.png", sound="bell", collapse_key="p-1")
    sent = await send(provider(here), payload)
    assert sent.outcome == "accepted"
    assert sent.message_id is not None
    assert sent.message_id.startswith("projects/mock/messages/")
    (request,) = here.mock.requests
    assert (request.method, request.path) == ("POST", "/v1/projects/harbour/messages:send")
    assert request.headers["authorization"] == "Bearer static-secret"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"message": {**payload["message"], "token": TOKEN}}


@pytest.mark.parametrize("token", ['quote"s', "back\\slash", "naïve-☂"])
async def test_any_token_arrives_as_it_is(here: Desk, token: str) -> None:
    await send(provider(here), token=token)
    assert json.loads(here.mock.requests[0].body)["message"]["token"] == token


async def test_data_is_texts_alone(here: Desk) -> None:
    data = {"parcel": {"no": 8841}, "text": "as it is", "count": 3, "on": True, "none": None}
    await send(provider(here), preview("fcm", template_data=data))
    got = json.loads(here.mock.requests[0].body)["message"]["data"]
    assert got == {"parcel": '{"no":8841}', "text": "as it is", "count": "3", "on": "true", "none": "null"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"validate_only": True}, {"validate_only": True, "message": {"token": TOKEN}}),
        ({"message": {"token": "another", "topic": "t"}}, {"message": {"topic": "t", "token": TOKEN}}),
        ({"message": {}}, {"message": {"token": TOKEN}}),
    ],
)
async def test_an_override_gets_a_message_with_this_token(
    here: Desk, override: dict[str, Any], expected: dict[str, Any]
) -> None:
    await send(provider(here), override)
    assert json.loads(here.mock.requests[0].body) == expected


ROWS = [
    (404, error_body("NOT_FOUND", "UNREGISTERED"), "invalid_token", "device_terminal"),
    (400, b"registration-token-not-registered", "invalid_token", "device_terminal"),
    (
        400,
        error_body("INVALID_ARGUMENT", message="The registration token is not a valid FCM registration token"),
        "invalid_token",
        "device_terminal",
    ),
    (400, error_body("INVALID_ARGUMENT", message="Malformed Registration Token"), "invalid_token", "device_terminal"),
    (403, error_body("PERMISSION_DENIED", "SENDER_ID_MISMATCH"), "project_mismatch", "credential_auth"),
    (400, error_body("INVALID_ARGUMENT", message="The registration token field is fine"), "invalid_payload", None),
    (400, error_body("INVALID_ARGUMENT", message="Invalid value at 'message.data'"), "invalid_payload", None),
    (413, b"", "invalid_payload", "caller_payload"),
    (404, error_body("NOT_FOUND"), "project_mismatch", "credential_auth"),
    (412, error_body("NOT_FOUND"), "project_mismatch", "credential_auth"),
    (401, error_body("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), "auth_failure", "credential_auth"),
    (403, error_body("PERMISSION_DENIED", message="unregistered callers must use an API key"), "auth_failure", None),
    (429, error_body("RESOURCE_EXHAUSTED"), "quota", "provider_quota"),
    (500, b"<html>", "unavailable", "provider_transient"),
    (502, b"", "unavailable", None),
    (503, error_body("UNAVAILABLE"), "unavailable", None),
    (504, b"\xff\xfe", "unavailable", None),
    (501, b"", "provider_rejected", "unknown"),
    (302, b"", "provider_rejected", "unknown"),
    (418, b"[]", "provider_rejected", None),
]


@pytest.mark.parametrize(("status", "body", "kind", "failure_class"), ROWS)
async def test_rows_of_the_table(here: Desk, status: int, body: bytes, kind: str, failure_class: str | None) -> None:
    here.mock.script(TOKEN, ProviderAnswer(status, {"location": "http://127.0.0.1:9/"}, body))
    sent = await send(provider(here))
    assert sent.error is not None
    assert sent.error.kind == kind
    assert failure_class in (None, sent.error.failure_class)
    assert sent.outcome == ("retryable" if kind in {"quota", "unavailable"} else "rejected")
    assert len(here.mock.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, error_body("PERMISSION_DENIED", "SENDER_ID_MISMATCH"), "sender_id_mismatch, sent with project harbour"),
        (503, error_body("UNAVAILABLE"), "UNAVAILABLE"),
        (503, b"", "provider status 503"),
        (500, error_body(f"about {TOKEN}"), "provider status 500"),
    ],
)
async def test_reasons(here: Desk, status: int, body: bytes, reason: str) -> None:
    here.mock.script(TOKEN, ProviderAnswer(status, {}, body))
    sent = await send(provider(here))
    assert sent.error is not None
    assert sent.error.reason == reason


async def test_retry_after_is_a_moment(here: Desk) -> None:
    here.mock.script(TOKEN, ProviderAnswer(429, {"retry-after": "7"}))
    sent = await send(provider(here))
    assert sent.error is not None
    assert sent.error.retry_after_ms == int((here.clock.time() + 7) * 1000)


async def test_retry_after_of_a_rejection_is_not_read(here: Desk) -> None:
    here.mock.script(TOKEN, ProviderAnswer(400, {"retry-after": "7"}))
    sent = await send(provider(here))
    assert sent.error is not None
    assert sent.error.retry_after_ms is None


# ---- access tokens ----


async def test_the_assertion_is_googles(here: Desk) -> None:
    assert (await send(exchanged(here))).outcome == "accepted"
    grant, request = here.mock.requests
    form = parse_qs(grant.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    (assertion,) = form["assertion"]
    claims = jwt.decode(assertion, public_key_of("rsa"), algorithms=["RS256"], audience=f"{here.mock.url}/token")
    assert claims["iss"] == "push@harbour.test"
    assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
    assert claims["exp"] == claims["iat"] + 3600
    assert jwt.get_unverified_header(assertion)["kid"] == "key-7"
    assert request.headers["authorization"].startswith("Bearer mock-")
    assert request.path == "/v1/projects/harbour/messages:send"


async def test_a_key_with_escaped_line_ends_works(here: Desk) -> None:
    account = json.loads(service_account(f"{here.mock.url}/token"))
    account["private_key"] = account["private_key"].replace("\n", "\\n")
    assert (await send(provider(here, service_account_json=json.dumps(account)))).outcome == "accepted"


async def test_one_exchange_for_many_who_send_at_once(here: Desk) -> None:
    fcm = exchanged(here)
    here.mock.script("oauth", ProviderAnswer(delay=0.05))
    sends = (fcm.send("app", preview("fcm"), FcmRecipient(f"t-{n}"), expires_at_ms=None) for n in range(40))
    assert {sent.outcome for sent in await asyncio.gather(*sends)} == {"accepted"}
    assert len(here.mock.sent("oauth")) == 1
    await fcm.close()


async def test_a_token_is_renewed_five_minutes_before_its_end(here: Desk) -> None:
    fcm = exchanged(here)
    recipient = FcmRecipient(TOKEN)
    await fcm.send("app", preview("fcm"), recipient, expires_at_ms=None)
    here.clock.advance(3299)
    await fcm.send("app", preview("fcm"), recipient, expires_at_ms=None)
    assert len(here.mock.sent("oauth")) == 1
    here.clock.advance(2)
    await fcm.send("app", preview("fcm"), recipient, expires_at_ms=None)
    assert len(here.mock.sent("oauth")) == 2
    await fcm.close()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_rejected_token_is_renewed_once(here: Desk, status: int) -> None:
    here.mock.script(TOKEN, ProviderAnswer(status))
    assert (await send(exchanged(here))).outcome == "accepted"
    assert len(here.mock.sent("oauth")) == 2
    first, second = here.mock.sent(TOKEN)
    assert first.headers["authorization"] != second.headers["authorization"]


async def test_a_wrong_account_does_not_fetch_a_token_for_every_device(here: Desk) -> None:
    here.mock.use_profile("auth-failure")
    fcm = exchanged(here)
    for n in range(10):
        sent = await fcm.send("app", preview("fcm"), FcmRecipient(f"t-{n}"), expires_at_ms=None)
        assert sent.error is not None
        assert sent.error.kind == "auth_failure"
    assert len(here.mock.sent("oauth")) == 2
    assert len(here.mock.requests) == 2 + 11
    await fcm.close()


@pytest.mark.parametrize(
    ("answer", "kind", "outcome"),
    [
        (ProviderAnswer(503), "unavailable", "retryable"),
        (ProviderAnswer(429, {"retry-after": "3"}), "quota", "retryable"),
        (ProviderAnswer(broken="cut"), "network_transport", "retryable"),
        (ProviderAnswer(broken="garbage"), "network_transport", "retryable"),
        (ProviderAnswer(400, {}, b'{"error":"invalid_grant"}'), "auth_failure", "rejected"),
        (ProviderAnswer(401), "auth_failure", "rejected"),
        (ProviderAnswer(403), "auth_failure", "rejected"),
        (ProviderAnswer(200, {}, b"[]"), "unavailable", "retryable"),
    ],
)
async def test_failing_exchanges(here: Desk, answer: ProviderAnswer, kind: str, outcome: str) -> None:
    """Only what the token server says about the account is final."""
    here.mock.script("oauth", answer)
    sent = await send(exchanged(here))
    assert sent.error is not None
    assert (sent.error.kind, sent.outcome) == (kind, outcome)
    assert here.mock.sent(TOKEN) == []


# ---- whose account ----


async def test_an_apps_own_credential_comes_first(here: Desk) -> None:
    stored = Stored()
    stored.put("app", "fcm", {"serviceAccountJson": service_account(f"{here.mock.url}/token", "theirs")})
    fcm = provider(here, stored)
    await fcm.send("app", preview("fcm"), FcmRecipient("a"), expires_at_ms=None)
    await fcm.send("other", preview("fcm"), FcmRecipient("b"), expires_at_ms=None)
    assert here.mock.sent("a")[0].path == "/v1/projects/theirs/messages:send"
    assert here.mock.sent("b")[0].path == "/v1/projects/harbour/messages:send"
    assert (await fcm.readiness("app")).source == "stored credential own"
    assert (await fcm.readiness("other")).source == "FCM_PROVIDER_TOKEN"
    await fcm.close()


async def test_a_new_credential_is_used_within_seconds(here: Desk) -> None:
    stored = Stored()
    fcm = provider(here, stored)
    recipient = FcmRecipient(TOKEN)
    await fcm.send("app", preview("fcm"), recipient, expires_at_ms=None)
    stored.put("app", "fcm", {"serviceAccountJson": service_account(f"{here.mock.url}/token", "rotated")})
    here.clock.advance(2.1)
    await fcm.send("app", preview("fcm"), recipient, expires_at_ms=None)
    assert [request.path.split("/")[3] for request in here.mock.sent(TOKEN)] == ["harbour", "rotated"]
    await fcm.close()


async def test_an_unchanged_credential_keeps_its_token(here: Desk) -> None:
    stored = Stored()
    stored.put("app", "fcm", {"serviceAccountJson": service_account(f"{here.mock.url}/token")})
    fcm = provider(here, stored)
    for _ in range(4):
        await fcm.send("app", preview("fcm"), FcmRecipient(TOKEN), expires_at_ms=None)
        here.clock.advance(5)
    assert len(here.mock.sent("oauth")) == 1
    assert len(stored.asked) == 4
    await fcm.close()


async def test_a_credential_of_one_app_may_serve_all(here: Desk) -> None:
    stored = Stored()
    stored.put("main", "fcm", {"serviceAccountJson": service_account(f"{here.mock.url}/token", "main")}, name="shared")
    fcm = provider(here, stored, app_id="main", credential_id="shared")
    for app in ("a", "b"):
        await fcm.send(app, preview("fcm"), FcmRecipient(TOKEN), expires_at_ms=None)
    assert {request.path for request in here.mock.sent(TOKEN)} == {"/v1/projects/main/messages:send"}
    assert len(here.mock.sent("oauth")) == 1
    await fcm.close()


async def test_a_file_is_an_account(here: Desk, tmp_path: Any) -> None:
    path = tmp_path / "key.json"
    fcm = provider(here, service_account_json_path=str(path))
    missing = await fcm.readiness("app")
    assert not missing.ready
    assert "FCM_SERVICE_ACCOUNT_JSON_PATH" in str(missing.missing)
    path.write_text(service_account(f"{here.mock.url}/token"))
    here.clock.advance(3)
    assert (await fcm.readiness("app")).ready
    assert (await send(fcm)).outcome == "accepted"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"project_id": "p"}, "set FCM_SERVICE_ACCOUNT_JSON"),
        ({"provider_token": "  "}, "set FCM_SERVICE_ACCOUNT_JSON"),
        ({"provider_token": "static"}, "set FCM_PROJECT_ID"),
        ({"service_account_json": "{"}, "not the JSON of a key file"),
        ({"service_account_json": '{"client_email":"e","private_key":"k","project_id":"p"}'}, "no private key in PEM"),
    ],
)
async def test_what_is_missing_is_said(here: Desk, settings: dict[str, str], says: str) -> None:
    fcm = provider(here, **settings)
    readiness = await fcm.readiness("app")
    assert not readiness.ready
    assert says in str(readiness.missing)
    sent = await send(fcm)
    assert sent.error is not None
    assert (sent.outcome, sent.error.kind, sent.error.reason) == ("rejected", "auth_failure", "credential_missing")
    assert not here.mock.requests


async def test_a_store_that_is_down_is_no_verdict(here: Desk) -> None:
    stored = Stored()
    stored.error = errors.SERVICE_UNAVAILABLE("the store is down")
    fcm = provider(here, stored)
    assert (await fcm.readiness("app")).ready is False
    sent = await fcm.send("app", preview("fcm"), FcmRecipient(TOKEN), expires_at_ms=None)
    assert sent.outcome == "retryable"
    stored.error = None
    here.clock.advance(3)
    assert (await send(fcm)).outcome == "accepted"


async def test_an_account_that_is_known_outlives_its_store(here: Desk) -> None:
    stored = Stored()
    fcm = provider(here, stored)
    await fcm.send("app", preview("fcm"), FcmRecipient(TOKEN), expires_at_ms=None)
    stored.error = errors.SERVICE_UNAVAILABLE("the store is down")
    here.clock.advance(3)
    assert (await send(fcm)).outcome == "accepted"


async def test_a_credential_that_cannot_be_opened_is_not_passed_over(here: Desk) -> None:
    """An app that has its own must not send from the account of others, whatever is wrong with its own."""
    stored = Stored()
    stored.error = errors.CREDENTIAL_UNREADABLE("fcm credential 'own': set the key that it was stored with")
    fcm = provider(here, stored)
    assert (await fcm.readiness("app")).missing == "fcm credential 'own': set the key that it was stored with"
    sent = await send(fcm)
    assert sent.error is not None
    assert (sent.outcome, sent.error.kind) == ("rejected", "auth_failure")
    assert not here.mock.requests


@pytest.mark.parametrize(
    "answer",
    [
        ProviderAnswer(200, {}, b'{"name":"projects/p/messages/1"}', broken="cut_within"),
        ProviderAnswer(200, {}, b"<html>"),
        ProviderAnswer(200, {}, b""),
    ],
)
async def test_a_200_is_the_verdict_whatever_becomes_of_its_body(here: Desk, answer: ProviderAnswer) -> None:
    """FCM refuses by the status alone; all that is lost is the id, and sending again would notify twice."""
    here.mock.script(TOKEN, answer)
    assert await send(exchanged(here)) == Sent("accepted")
    assert len(here.mock.sent(TOKEN)) == 1
