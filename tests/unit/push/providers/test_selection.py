"""Channels of this server as a provider."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.config.sections.push import Push
from sockudo.config.sections.push_providers import PushApns, PushFcm, PushHms, PushWebpush, PushWns
from sockudo.errors import ErrorSpec
from sockudo.outbound.exchange import Exchange
from sockudo.push.delivery import PushProvider
from sockudo.push.providers import push_providers
from sockudo.push.providers.selection import RealtimeProvider
from sockudo.push.recipients import (
    ApnsRecipient,
    FcmRecipient,
    HmsRecipient,
    Provider,
    RealtimeRecipient,
    Recipient,
    WebRecipient,
    WnsRecipient,
)
from sockudo.testing import ProviderAnswer
from support.push_accounts import Desk, Stored, apns_key, desk, preview, service_account, vapid_key

PLANTED = "pl4nted-s3cret"


async def test_a_payload_is_published_on_the_channel() -> None:
    published: list[tuple[str, str, Mapping[str, Any]]] = []

    async def publish(app_id: str, channel: str, payload: Mapping[str, Any]) -> str | None:
        published.append((app_id, channel, payload))
        return "m-1"

    provider = RealtimeProvider(publish)
    sent = await provider.send("app", {"data": 1}, RealtimeRecipient("news"), expires_at_ms=None)
    assert (sent.outcome, sent.message_id) == ("accepted", "m-1")
    assert published == [("app", "news", {"data": 1})]
    assert (await provider.readiness("app")).ready
    await provider.close()


@pytest.mark.parametrize(
    ("spec", "kind", "outcome"),
    [
        (errors.SERVICE_UNAVAILABLE, "unavailable", "retryable"),
        (errors.INVALID_INPUT, "invalid_payload", "rejected"),
    ],
)
async def test_refusals(spec: ErrorSpec, kind: str, outcome: str) -> None:
    async def publish(*_: Any) -> str | None:
        raise spec("no, secret-channel")

    sent = await RealtimeProvider(publish).send("app", {}, RealtimeRecipient("secret-channel"), expires_at_ms=None)
    assert sent.error is not None
    assert (sent.error.kind, sent.outcome) == (kind, outcome)
    assert "secret-channel" not in str(sent)


async def no_publish(*_: Any) -> str | None:
    return None


@pytest.fixture
async def here() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def all_of_them(here: Desk) -> Mapping[Provider, PushProvider]:
    url = here.mock.url
    settings = Push(
        fcm_enabled=True,
        apns_enabled=True,
        webpush_enabled=True,
        hms_enabled=True,
        wns_enabled=True,
        fcm=PushFcm(endpoint=url, service_account_json=service_account(f"{url}/token?{PLANTED}")),
        apns=PushApns(endpoint=url, topic="t", team_id="T", key_id="K", private_key=apns_key()),
        webpush=PushWebpush(vapid_private_key=vapid_key()),
        hms=PushHms(endpoint=url, app_id="1", provider_token=f"hms-{PLANTED}"),
        wns=PushWns(provider_token=f"wns-{PLANTED}"),
    )
    return push_providers(settings, here.rules, Stored(), no_publish, here.around)


def recipients(here: Desk) -> dict[Provider, Recipient]:
    keys = here.mock.browser(PLANTED)
    return {
        "fcm": FcmRecipient(PLANTED),
        "apns": ApnsRecipient(PLANTED),
        "webPush": WebRecipient(here.mock.endpoint_of(PLANTED), keys.p256dh, keys.auth),
        "hms": HmsRecipient(PLANTED),
        "wns": WnsRecipient(here.mock.endpoint_of(PLANTED, "wns")),
    }


async def test_those_that_are_enabled(here: Desk) -> None:
    none = push_providers(Push(), here.rules, Stored(), no_publish, here.around)
    assert list(none) == ["realtime"]
    assert list(all_of_them(here)) == ["fcm", "apns", "webPush", "hms", "wns", "realtime"]


async def test_all_are_ready_and_deliver(here: Desk) -> None:
    providers = all_of_them(here)
    for name, recipient in recipients(here).items():
        assert (await providers[name].readiness("app")).ready
        sent = await providers[name].send("app", preview(name), recipient, expires_at_ms=None)
        assert (name, sent.outcome) == (name, "accepted")
        await providers[name].close()


ANSWERS = [
    ProviderAnswer(400, {}, f'{{"reason":"about {PLANTED}","error":{{"status":"{PLANTED}"}}}}'.encode()),
    ProviderAnswer(200, {"location": PLANTED, "apns-id": PLANTED, "x-wns-msg-id": PLANTED}, b'{"name":"%b"}' % b"x"),
    ProviderAnswer(503, {"retry-after": PLANTED}, PLANTED.encode()),
    ProviderAnswer(broken="cut"),
    ProviderAnswer(broken="garbage"),
]


@pytest.mark.parametrize("number", range(len(ANSWERS)))
async def test_no_text_holds_a_token_an_endpoint_or_a_secret(
    here: Desk, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    here.mock.script(PLANTED, ANSWERS[number], forever=True)
    providers = all_of_them(here)
    shown: list[str] = []
    with capture_logs() as logged:
        for name, recipient in recipients(here).items():
            sent = await providers[name].send("app", preview(name, body=PLANTED), recipient, expires_at_ms=None)
            shown += [repr(sent), repr(recipient), repr(providers[name]), repr(await providers[name].readiness("app"))]
            await providers[name].close()
    shown += [repr(logged), caplog.text]
    for secret in (PLANTED, "PRIVATE KEY", vapid_key(), here.mock.url):
        assert not [text for text in shown if secret in text]


async def test_an_endpoint_without_tls_is_named_unless_local_ones_are_allowed(here: Desk) -> None:
    http = Exchange()
    around = here.around._replace(http=http)
    settings = Push(fcm_enabled=True, fcm=PushFcm(endpoint="http://fcm.test", provider_token="x", project_id="p"))
    fcm = push_providers(settings, here.rules, Stored(), no_publish, around)["fcm"]
    assert "FCM_ENDPOINT must be https" in str((await fcm.readiness("app")).missing)
    await http.close()
