"""Overrides: what a provider would not understand is refused before it is kept (spec: push § 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from sockudo import errors
from sockudo.errors import SockudoError
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
from sockudo.push.records import Device, Localized, Override, Payload, RatePolicy, Subscription, Target, Template
from sockudo.push.validation import (
    check_app_id,
    check_device,
    check_override,
    check_payload,
    check_subscription,
    check_targets,
    check_template,
)
from unit.push.nodes import RULES

GOOD: list[tuple[Provider, dict[str, Any]]] = [
    ("fcm", {"anything": [1], "headers": "x"}),
    ("hms", {"message": None}),
    ("realtime", {}),
    ("apns", {}),
    ("apns", {"headers": None, "aps": {}}),
    ("apns", {"headers": {"apns-push-type": "liveactivity", "apns-priority": "5", "apns-expiration": "0"}}),
    ("apns", {"headers": {"apns-expiration": 1_790_000_000, "apns-topic": "com.x", "apns-collapse-id": "c"}}),
    ("webPush", {"headers": {"ttl": 0, "urgency": "very-low", "topic": "t"}}),
    ("webPush", {"headers": {"ttl": "43200", "vapidAudience": "https://push.example.com"}}),
    ("webPush", {"headers": {"topic": None, "ttl": None}}),
    ("wns", {"type": "raw"}),
    ("wns", {}),
]
BAD: list[tuple[Provider, dict[str, Any], str]] = [
    ("apns", {"headers": []}, "headers must be an object"),
    ("apns", {"headers": {"apns-push-type": "loud"}}, "apns-push-type must be one of alert, background"),
    ("apns", {"headers": {"apns-priority": 10}}, "apns-priority must be the string 5 or 10"),
    ("apns", {"headers": {"apns-priority": "7"}}, "apns-priority must be the string 5 or 10"),
    ("apns", {"headers": {"apns-expiration": True}}, "apns-expiration must be a string or a number"),
    ("apns", {"headers": {"apns-topic": 1}}, "apns-topic must be a string"),
    ("apns", {"headers": {"apns-collapse-id": "a\r\nb: c"}}, "apns-collapse-id must have no control characters"),
    ("webPush", {"headers": {"ttl": -1}}, "ttl must be a whole number of seconds, 0 or more"),
    ("webPush", {"headers": {"ttl": 1.5}}, "ttl must be"),
    ("webPush", {"headers": {"ttl": "x"}}, "ttl must be"),
    ("webPush", {"headers": {"ttl": "²"}}, "ttl must be"),
    ("webPush", {"headers": {"ttl": False}}, "ttl must be"),
    ("webPush", {"headers": {"urgency": "now"}}, "urgency must be very-low, low, normal or high"),
    ("webPush", {"headers": {"urgency": {}}}, "urgency must be"),
    ("webPush", {"headers": {"topic": 1}}, "topic must be a string"),
    ("webPush", {"headers": {"vapidAudience": 1}}, "vapidAudience must be a string"),
    ("webPush", {"headers": {"vapidAudience": "https://127.0.0.1/"}}, "vapidAudience: endpoint must not have a local"),
    ("wns", {"type": "badge"}, "type must be toast, tile or raw"),
    ("wns", {"type": []}, "type must be toast, tile or raw"),
]

DEVICE = Device(
    app_id="app",
    id="tablet-7",
    form_factor="tablet",
    platform="android",
    timezone="Asia/Tokyo",
    locale="ja-JP",
    recipient=FcmRecipient("token"),
)
SUBSCRIPTION = Subscription(app_id="app", channel="c", device_id="d", provider="fcm", token_hash="h")
TEMPLATE = Template(
    app_id="app", template_id="shipped", default_locale="en", locales={"en": Localized(title="t", body="b")}
)


@pytest.mark.parametrize(("provider", "payload"), GOOD)
def test_what_is_understood(provider: Provider, payload: dict[str, Any]) -> None:
    check_override(Override(provider=provider, payload=payload), RULES.check)


@pytest.mark.parametrize(("provider", "payload", "reason"), BAD)
def test_what_is_not(provider: Provider, payload: dict[str, Any], reason: str) -> None:
    with pytest.raises(SockudoError) as caught:
        check_override(Override(provider=provider, payload=payload), RULES.check)
    assert caught.value.spec is errors.INVALID_INPUT
    assert caught.value.text.startswith(f"invalid {provider} override: {reason}")


def test_its_size_is_bounded_in_bytes_of_compact_json() -> None:
    exact = {"a": "é" * 2044}
    check_override(Override(provider="fcm", payload=exact), RULES.check)
    with pytest.raises(SockudoError) as caught:
        check_override(Override(provider="fcm", payload={"a": exact["a"] + "x"}), RULES.check)
    assert caught.value.spec is errors.PUSH_PAYLOAD_TOO_LARGE
    assert caught.value.text == "fcm override exceeds 4096 bytes: it has 4097"


def told(check: Callable[[], None]) -> str | None:
    try:
        check()
    except SockudoError as problem:
        refused = problem
    else:
        return None
    if refused.spec is errors.PUSH_PAYLOAD_TOO_LARGE:
        assert refused.spec.status == 413
        return refused.text
    assert refused.spec in (errors.INVALID_INPUT, errors.PROVIDER_TOKEN_INVALID)
    assert refused.spec.status == 400
    return refused.text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"id": " "}, "id must not be empty"),
        ({"id": "a\0b"}, "id must have no control characters"),
        ({"id": "é" * 127}, None),
        ({"id": "é" * 128}, "id exceeds 255 bytes"),
        ({"id": "__sockudo_client_scope__:x"}, "id must not start with __sockudo_client_scope__:"),
        ({"client_id": None}, None),
        ({"client_id": ""}, "clientId must not be empty"),
        ({"client_id": "x" * 256}, "clientId exceeds 255 bytes"),
        (
            {"form_factor": "fridge"},
            "formFactor must be one of phone, tablet, desktop, tv, car, watch, embedded, other",
        ),
        (
            {"platform": "dos"},
            "platform must be one of android, ios, browser, windows, macos, watchos, tvos, other",
        ),
        ({"timezone": ""}, "timezone must not be empty"),
        ({"locale": "\t"}, "locale must not be empty"),
        ({"metadata": "x" * 4094}, None),
        ({"metadata": "x" * 4095}, "metadata exceeds 4096 bytes"),
        ({"metadata": {"k": "é" * 2044}}, None),
        ({"metadata": {"k": "é" * 2045}}, "metadata exceeds 4096 bytes"),
        ({"rate_policy": RatePolicy(capacity=0.5, refill_per_second=0.1)}, None),
        (
            {"rate_policy": RatePolicy(capacity=0, refill_per_second=1)},
            "pushRatePolicy.capacity must be greater than 0",
        ),
        (
            {"rate_policy": RatePolicy(capacity=1, refill_per_second=-1)},
            "pushRatePolicy.refillPerSecond must be greater than 0",
        ),
        (
            {"rate_policy": RatePolicy(capacity=float("nan"), refill_per_second=1)},
            "pushRatePolicy.capacity must be greater than 0",
        ),
    ],
)
def test_devices(change: dict[str, Any], problem: str | None) -> None:
    assert told(lambda: check_device(replace(DEVICE, **change), RULES)) == problem


@pytest.mark.parametrize(
    ("recipient", "problem"),
    [
        (FcmRecipient(" "), "registrationToken must not be empty"),
        (FcmRecipient("x" * 4096), None),
        (FcmRecipient("x" * 4097), "registrationToken exceeds 4096 bytes"),
        (ApnsRecipient(""), "deviceToken must not be empty"),
        (WebRecipient("", "p", "a"), "endpoint must not be empty"),
        (WebRecipient("https://push.test/x", "", "a"), "p256dh must not be empty"),
        (WebRecipient("https://push.test/x", "p", ""), "auth must not be empty"),
        (WebRecipient("https://push.test/x", "p", "a"), None),
        (WebRecipient("http://push.test/x", "p", "a"), "endpoint must be an https URL"),
        (WebRecipient("https://127.0.0.1/x", "p", "a"), "endpoint must not have a local or private host"),
        (HmsRecipient(""), "registrationToken must not be empty"),
        (WnsRecipient("https://wns.test/?t=1"), None),
        (WnsRecipient("https://printer.local/"), "channelUri must not have a local or private host"),
        (RealtimeRecipient(""), "channel must not be empty"),
        (RealtimeRecipient("a\nb"), "channel must have no control characters"),
    ],
)
def test_recipients(recipient: Recipient, problem: str | None) -> None:
    assert told(lambda: check_device(replace(DEVICE, recipient=recipient), RULES)) == problem
    target = Target(type="recipient", recipient=recipient)
    assert told(lambda: check_targets([target], RULES)) == problem


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"channel": ""}, "channel must not be empty"),
        ({"device_id": ""}, "deviceId must not be empty"),
        ({"client_id": ""}, "clientId must not be empty"),
        ({"token_hash": ""}, "tokenHash must not be empty"),
        ({"credential_version": 0}, "credentialVersion must be 1 or more"),
        ({"device_id": "__sockudo_client_scope__:abc", "provider": "realtime"}, None),
    ],
)
def test_subscriptions(change: dict[str, Any], problem: str | None) -> None:
    assert told(lambda: check_subscription(replace(SUBSCRIPTION, **change))) == problem


def texts(**fields: Any) -> dict[str, Localized]:
    return {"en": Localized(**{"title": "t", "body": "b", **fields})}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"template_id": ""}, "templateId must not be empty"),
        ({"default_locale": "de"}, "defaultLocale must be a key of locales"),
        ({"default_locale": ""}, "defaultLocale must not be empty"),
        ({"locales": {}}, "defaultLocale must be a key of locales"),
        ({"locales": {**texts(), " ": Localized(title="t", body="b")}}, "a key of locales must not be empty"),
        ({"locales": texts(title=" ")}, "locales.en.title must not be empty"),
        ({"locales": texts(body="")}, "locales.en.body must not be empty"),
        ({"locales": texts(title="x" * 257)}, "locales.en.title exceeds 256 bytes"),
        ({"locales": texts(icon="http://x.test/i.png")}, "locales.en.icon must be an https URL"),
        (
            {"provider_overrides": {"apns": Override(provider="fcm", payload={})}},
            "providerOverrides.fcm is under the key of another provider",
        ),
        ({"provider_overrides": {"webpush": Override(provider="webPush", payload={})}}, None),
    ],
)
def test_templates(change: dict[str, Any], problem: str | None) -> None:
    assert told(lambda: check_template(replace(TEMPLATE, **change), RULES)) == problem


def test_overrides_of_templates_are_checked() -> None:
    override = Override(provider="apns", payload={"headers": {"apns-priority": "7"}})
    template = replace(TEMPLATE, provider_overrides={"apns": override})
    found = told(lambda: check_template(template, RULES))
    assert found is not None
    assert found.startswith("invalid apns override: ")


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (Payload(), None),
        (Payload(title="é" * 128, body="x" * 4096), None),
        (Payload(title="é" * 128 + "x"), "title exceeds 256 bytes"),
        (
            Payload(body="é" * 2049),
            "body exceeds 4096 bytes, the bound of fcm, apns, webPush and hms: it has 4098",
        ),
        (Payload(icon="https://x.test/" + "i" * 2033), None),
        (Payload(icon="https://x.test/" + "i" * 2034), "icon exceeds 2048 bytes"),
        (Payload(icon="http://x.test/i.png"), "icon must be an https URL"),
        (Payload(icon="https:///i.png"), "icon must be an https URL"),
        (Payload(icon="https://[x"), "icon must be an https URL"),
        (Payload(icon="https://x.test/{{ data.icon }}"), None),
        (Payload(template_data={"k": "x" * 8184}), None),
        (Payload(template_data={"k": "x" * 8185}), "templateData exceeds 8192 bytes"),
        (Payload(template_id=""), "templateId must not be empty"),
    ],
)
def test_payloads(payload: Payload, problem: str | None) -> None:
    assert told(lambda: check_payload(payload)) == problem


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        ([], "targets is invalid: must contain at least one target"),
        ([Target(type="channel", channel="c")] * 1024, None),
        ([Target(type="channel", channel="c")] * 1025, "targets is invalid: must contain at most 1024 targets"),
        ([Target(type="device")], "deviceId is required for a device target"),
        ([Target(type="device", device_id="")], "deviceId must not be empty"),
        ([Target(type="client", client_id=" ")], "clientId must not be empty"),
        ([Target(type="client", client_id="u")], None),
        ([Target(type="channel")], "channel is required for a channel target"),
        ([Target(type="channel", channel="x" * 256)], "channel exceeds 255 bytes"),
        ([Target(type="recipient")], "recipient is required for a recipient target"),
        ([Target(type="registeredTopic", topic="")], "topic must not be empty"),
        ([Target(type="userTopic")], "topic is required for a userTopic target"),
        ([Target(type="providerTopic", topic="t")], "provider is required for a providerTopic target"),
        ([Target(type="providerTopic", topic="t", provider="fcm")], None),
        ([Target(type="providerCondition", provider="fcm")], "condition is required for a providerCondition target"),
        ([Target(type="indexedFilter", filter="x" * 4096)], None),
        ([Target(type="indexedFilter", filter="x" * 4097)], "filter exceeds 4096 bytes"),
    ],
)
def test_targets(targets: list[Target], problem: str | None) -> None:
    assert told(lambda: check_targets(targets, RULES)) == problem


@pytest.mark.parametrize("app_id", ["app-5", "A_b", "x" * 128])
def test_apps_that_can_have_push(app_id: str) -> None:
    check_app_id(app_id)


@pytest.mark.parametrize("app_id", ["", "a.b", "a b", "x" * 129, "é", "a\n"])
def test_apps_that_cannot(app_id: str) -> None:
    assert told(lambda: check_app_id(app_id)) == (
        "appId must be 1 to 128 bytes of letters, digits, '_' and '-' to be used with push"
    )
