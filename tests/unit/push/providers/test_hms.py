"""HMS: one text as data, codes before statuses, and access tokens for stored credentials."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from sockudo.config.sections.push_providers import PushHms
from sockudo.push.delivery import Sent
from sockudo.push.providers.hms import HmsProvider
from sockudo.push.recipients import HmsRecipient
from sockudo.testing import ProviderAnswer
from support.push_accounts import Desk, Stored, desk, preview

TOKEN = "huawei-token"


@pytest.fixture
async def here() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def provider(here: Desk, stored: Stored | None = None, **settings: Any) -> HmsProvider:
    chosen = settings or {"app_id": "1045", "provider_token": "static"}
    oauth = f"{here.mock.url}/oauth2/v3/token"
    return HmsProvider(PushHms(endpoint=here.mock.url, oauth_endpoint=oauth, **chosen), stored or Stored(), here.around)


async def send(hms: HmsProvider, payload: dict[str, Any] | None = None) -> Sent:
    return await hms.send("app", payload or preview("hms"), HmsRecipient(TOKEN), expires_at_ms=None)


async def test_the_body_is_the_preview_with_a_list_of_one_token(here: Desk) -> None:
    payload = preview("hms", body="Parcel", template_data={"parcel": {"no": 1}})
    sent = await send(provider(here), payload)
    assert (sent.outcome, sent.message_id) == ("accepted", "Success")
    (request,) = here.mock.requests
    assert request.path == "/v1/1045/messages:send"
    assert request.headers["authorization"] == "Bearer static"
    expected = {**payload["message"], "data": '{"parcel":{"no":1}}', "token": [TOKEN]}
    assert json.loads(request.body) == {"message": expected}


async def test_no_data_stays_none_and_a_text_stays_a_text(here: Desk) -> None:
    await send(provider(here))
    await send(provider(here), {"message": {"data": "ready"}})
    assert [json.loads(request.body)["message"]["data"] for request in here.mock.requests] == [None, "ready"]


ROWS: list[tuple[int, Any, str | None]] = [
    (200, {"code": "80000000", "msg": "Success", "requestId": "1"}, None),
    (200, {"requestId": "1"}, None),
    (200, b"", None),
    (200, {"code": "80200001", "msg": "OAuth authentication error"}, "auth_failure"),
    (200, {"code": "80200003", "msg": "OAuth token invalid"}, "auth_failure"),
    (404, {"code": "80200003"}, "auth_failure"),
    (404, b"", "invalid_token"),
    (410, b"", "invalid_token"),
    (200, {"code": "80300007", "msg": "All tokens are invalid"}, "invalid_token"),
    (400, {"code": 80300007}, "invalid_token"),
    (400, {"code": "80300002", "msg": "the token is invalid"}, "provider_rejected"),
    (413, b"", "invalid_payload"),
    (200, {"code": "80100003", "msg": "Incorrect message structure"}, "invalid_payload"),
    (429, b"", "quota"),
    (200, {"code": "80300010", "msg": "Quota exceeded"}, "quota"),
    (401, b"", "auth_failure"),
    (403, b"", "auth_failure"),
    (500, b"", "unavailable"),
    (503, {"code": "81000001"}, "unavailable"),
    (200, {"code": "80100000", "msg": "partly"}, "provider_rejected"),
    (302, b"", "provider_rejected"),
]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ProviderAnswer(200, {}, b'{"code":"80300007","msg":"All tokens are invalid"}', broken="cut_within"), "reset"),
        (ProviderAnswer(200, {}, b'{"code":"80000000","msg":"Success"}', broken="cut_within"), "reset"),
        (ProviderAnswer(200, {}, b"<html>Log in to the network</html>"), "protocol_error"),
        (ProviderAnswer(200, {}, b'["80000000"]'), "protocol_error"),
        (ProviderAnswer(200, {}, b'{"code":"\xff"}'), "protocol_error"),
    ],
)
async def test_a_verdict_that_cannot_be_read_is_none(here: Desk, answer: ProviderAnswer, reason: str) -> None:
    """A 200 of HMS may be a refusal, so what says that is what counts: without it nobody is said to have been reached,
    no device is deleted, and the notification is sent again.
    """
    here.mock.script(TOKEN, answer)
    sent = await send(provider(here))
    assert sent.outcome == "retryable"
    assert sent.error is not None
    assert sent.error.kind == "network_transport"
    assert str(sent.error.reason).endswith(reason)
    assert (await send(provider(here))).outcome == "accepted"


async def test_an_object_without_a_code_is_a_success(here: Desk) -> None:
    here.mock.script(TOKEN, ProviderAnswer(200, {}, b"{}"))
    assert (await send(provider(here))).outcome == "accepted"


@pytest.mark.parametrize(("status", "body", "kind"), ROWS)
async def test_rows_of_the_table(here: Desk, status: int, body: Any, kind: str | None) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    here.mock.script(TOKEN, ProviderAnswer(status, {}, data))
    sent = await send(provider(here))
    assert (None if sent.error is None else sent.error.kind) == kind
    assert sent.outcome == (
        "accepted" if kind is None else "retryable" if kind in {"quota", "unavailable"} else "rejected"
    )


async def test_a_stored_credential_is_exchanged(here: Desk) -> None:
    stored = Stored()
    stored.put("app", "hms", {"hmsAppId": "77", "clientSecret": "s&cret"})
    hms = provider(here, stored)
    here.mock.script(TOKEN, ProviderAnswer(200, {}, b'{"code":"80200003"}'))
    assert (await send(hms)).outcome == "accepted"
    grants = here.mock.sent("oauth")
    assert len(grants) == 2
    form = parse_qs(grants[0].body.decode())
    assert form == {"grant_type": ["client_credentials"], "client_id": ["77"], "client_secret": ["s&cret"]}
    assert {request.path for request in here.mock.sent(TOKEN)} == {"/v1/77/messages:send"}
    await hms.close()


@pytest.mark.parametrize("settings", [{"app_id": "1"}, {"provider_token": "x"}, {"app_id": " ", "provider_token": "x"}])
async def test_what_is_missing_is_said(here: Desk, settings: dict[str, str]) -> None:
    readiness = await provider(here, **settings).readiness("app")
    assert not readiness.ready
    assert "HMS_APP_ID and HMS_PROVIDER_TOKEN" in str(readiness.missing)
