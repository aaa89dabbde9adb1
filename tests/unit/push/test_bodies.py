"""Bodies in both spellings, what may be left out, and what is refused (spec: push § 2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.push.bodies import (
    batch_from,
    device_from,
    payload_from,
    publish_from,
    subscription_from,
    template_from,
)
from sockudo.push.recipients import ApnsRecipient, FcmRecipient, WebRecipient
from sockudo.push.records import Localized, Override, Payload, RatePolicy, Target

PLANTED = "planted-secret"
LEAST: dict[str, Any] = {
    "id": "tablet-7",
    "formFactor": "tablet",
    "platform": "android",
    "timezone": "Asia/Tokyo",
    "locale": "ja-JP",
    "push": {"recipient": {"transportType": "gcm", "registrationToken": PLANTED}},
}


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def refusal(read: Callable[[], object], spec: ErrorSpec) -> str:
    with pytest.raises(SockudoError) as caught:
        read()
    assert caught.value.spec is spec
    assert PLANTED not in caught.value.text
    return caught.value.text


def test_the_least_of_a_device() -> None:
    device = device_from(text(LEAST), "app")
    assert (device.app_id, device.state, device.failure_count) == ("app", "ACTIVE", 0)
    assert (device.metadata, device.last_active_at_ms, device.client_id) == (None, 0, None)
    assert device.recipient == FcmRecipient(PLANTED)
    assert device.secret_hash is None


def test_the_whole_of_a_device_and_what_is_not_taken_over() -> None:
    whole = {
        **LEAST,
        "appId": "another",
        "deviceSecret": PLANTED,
        "secretHash": PLANTED,
        "clientId": "u-91",
        "metadata": {"a_b": 1, "aB": 2},
        "lastActiveAtMs": 1_760_000_000_000,
        "push": {**LEAST["push"], "state": "FAILING", "failureCount": 2, "errorReason": f"token {PLANTED}"},
        "pushRatePolicy": {"capacity": 5, "refillPerSecond": 0.5},
    }
    device = device_from(text(whole), "app")
    assert (device.app_id, device.client_id, device.secret_hash) == ("app", "u-91", None)
    assert (device.state, device.failure_count, device.last_active_at_ms) == ("FAILING", 2, 1_760_000_000_000)
    assert device.metadata == {"a_b": 1, "aB": 2}
    assert device.rate_policy == RatePolicy(capacity=5, refill_per_second=0.5)
    assert device.error_reason is not None
    assert device.error_reason.startswith("[REDACTED:")
    assert PLANTED not in repr(device)


def test_nulls_are_what_is_left_out() -> None:
    nulls = {"clientId": None, "metadata": None, "lastActiveAtMs": None, "pushRatePolicy": None}
    push = {**LEAST["push"], "state": None, "failureCount": None, "errorReason": None}
    assert device_from(text({**LEAST, **nulls, "push": push}), "app") == device_from(text(LEAST), "app")


def snake(value: Any) -> Any:
    """The same with every name in snake_case."""
    if isinstance(value, dict):
        return {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): snake(v) for name, v in value.items()}
    return [snake(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (lambda body: device_from(body, "app"), {**LEAST, "clientId": "u", "lastActiveAtMs": 5}),
        (
            lambda body: device_from(body, "app"),
            {**LEAST, "push": {"failureCount": 1, "recipient": {"transportType": "apns", "deviceToken": "x"}}},
        ),
        (
            lambda body: device_from(body, "app"),
            {**LEAST, "push": {"recipient": {"transportType": "wns", "channelUri": "x"}}},
        ),
        (
            subscription_from,
            {"channel": "c", "deviceId": "d", "clientId": "u", "tokenHash": "h", "provider": "fcm",
             "credentialVersion": 2},
        ),
        (
            lambda body: template_from(body, "app"),
            {"templateId": "t", "defaultLocale": "en", "locales": {"en": {"title": "t", "body": "b",
             "collapseKey": "k"}}, "providerOverrides": {"apns": {"payload": {}}}},
        ),
        (
            publish_from,
            {"publishId": "p", "recipients": [{"type": "device", "deviceId": "d"}, {"type": "client",
             "clientId": "u"}, {"type": "recipient", "recipient": {"transportType": "hms",
             "registrationToken": "x"}}], "payload": {"templateId": "t", "templateData": {"n": 1},
             "collapseKey": "k"}, "providerOverrides": [{"provider": "wns", "payload": {}}], "notBeforeMs": 5,
             "expiresAtMs": 6},
        ),
    ],
)  # fmt: skip
def test_both_spellings_are_the_same(read: Callable[[bytes], Any], body: dict[str, Any]) -> None:
    assert snake(body) != body
    assert read(text(snake(body))) == read(text(body))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": None}, "Wrong shape of the JSON body: field 'id': expected string, got null"),
        ({"id": 5}, "Wrong shape of the JSON body: field 'id': expected string, got integer"),
        (
            {"lastActiveAtMs": 1.5},
            "Wrong shape of the JSON body: field 'lastActiveAtMs': expected integer or null, got number",
        ),
        ({"client_id": "a", "clientId": "b"}, "Wrong shape of the JSON body: the field 'clientId' is repeated"),
        ({"push": {}}, "Wrong shape of the JSON body: field 'push': the required field 'recipient' is missing"),
        ({"push": PLANTED}, "Wrong shape of the JSON body: field 'push': expected object, got string"),
        (
            {"push": {"recipient": {"transportType": "gcm", "deviceToken": PLANTED}}},
            "Wrong shape of the JSON body: field 'push.recipient': the required field 'registrationToken' is missing",
        ),
        (
            {"push": {"recipient": {"registrationToken": PLANTED}}},
            "Wrong shape of the JSON body: field 'push.recipient': the required field 'transportType' is missing",
        ),
    ],
)
def test_shapes_that_are_refused(change: dict[str, Any], told: str) -> None:
    assert refusal(lambda: device_from(text({**LEAST, **change}), "app"), errors.WRONG_SHAPE) == told


@pytest.mark.parametrize("field", ["id", "formFactor", "platform", "timezone", "locale", "push"])
def test_what_a_device_must_have(field: str) -> None:
    body = {name: value for name, value in LEAST.items() if name != field}
    told = refusal(lambda: device_from(text(body), "app"), errors.WRONG_SHAPE)
    assert told == f"Wrong shape of the JSON body: the required field '{field}' is missing"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"push": {"recipient": {"transportType": PLANTED}}},
            "push.recipient.transportType must be one of gcm, apns, web, hms, wns, realtime",
        ),
        ({"push": {**LEAST["push"], "state": "active"}}, "push.state must be one of ACTIVE, FAILING, FAILED"),
        (
            {"push": {**LEAST["push"], "failureCount": -1}},
            "push.failureCount must be a whole number of 0 or more",
        ),
        ({"lastActiveAtMs": -1}, "lastActiveAtMs must be a whole number of 0 or more"),
        ({"lastActiveAtMs": 2**60}, "lastActiveAtMs must be a whole number of 0 or more"),
    ],
)
def test_values_that_are_refused(change: dict[str, Any], told: str) -> None:
    assert refusal(lambda: device_from(text({**LEAST, **change}), "app"), errors.INVALID_INPUT) == told


@pytest.mark.parametrize("body", [b"", b"{", b"{]", b'{"id": "\xff"}', b"[" * 300, b'{"id": "\\ud800"}'])
def test_what_is_no_json(body: bytes) -> None:
    refusal(lambda: device_from(body, "app"), errors.MALFORMED_JSON)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"5"])
def test_what_is_no_object(body: bytes) -> None:
    for read in (lambda: device_from(body, "app"), lambda: subscription_from(body), lambda: template_from(body, "a")):
        refusal(read, errors.WRONG_SHAPE)


def test_a_repeated_field() -> None:
    body = text(LEAST)[:-1] + b', "locale": "x"}'
    assert "'locale' is repeated" in refusal(lambda: device_from(body, "app"), errors.WRONG_SHAPE)


def test_subscriptions() -> None:
    least = subscription_from(text({"channel": "c", "deviceId": "d", "appId": "x"}))
    assert least == ("c", "d", None, None, None, None)
    assert subscription_from(text({"channel": "c", "deviceId": "d", "provider": "web_push"})).provider == "webPush"
    told = refusal(
        lambda: subscription_from(text({"channel": "c", "deviceId": "d", "provider": "x"})), errors.INVALID_INPUT
    )
    assert told == "provider must be one of fcm, apns, webPush, hms, wns, realtime"
    refusal(lambda: subscription_from(text({"channel": "c"})), errors.WRONG_SHAPE)


def test_templates() -> None:
    body = {
        "appId": "x",
        "templateId": "shipped",
        "defaultLocale": "en",
        "locales": {"en": {"title": "T", "body": "B", "sound": "s"}},
        "providerOverrides": {
            "webpush": {"payload": {"a_b": 1}},
            "apns": {"provider": "fcm", "payload": {}},
        },
    }
    template = template_from(text(body), "app")
    assert template.locales == {"en": Localized(title="T", body="B", sound="s")}
    assert template.provider_overrides == {
        "webPush": Override(provider="webPush", payload={"a_b": 1}),
        "apns": Override(provider="fcm", payload={}),
    }
    twice = {**body, "providerOverrides": {"webpush": {"payload": {}}, "webPush": {"payload": {}}}}
    assert "two entries for webPush" in refusal(lambda: template_from(text(twice), "app"), errors.WRONG_SHAPE)
    unknown = {**body, "providerOverrides": {"pigeon": {"payload": {}}}}
    assert "a key of providerOverrides" in refusal(lambda: template_from(text(unknown), "app"), errors.INVALID_INPUT)
    no_title = {**body, "locales": {"en": {"body": "b"}}}
    assert "'title'" in refusal(lambda: template_from(text(no_title), "app"), errors.WRONG_SHAPE)


PUBLISH = {"recipients": [{"type": "channel", "channel": "c"}], "payload": {"title": "t"}}


def test_the_least_of_a_publish() -> None:
    request = publish_from(text({"payload": {}}))
    assert request == (None, [], Payload(), [], None, None, False)


def test_the_whole_of_a_publish() -> None:
    request = publish_from(
        text(
            {
                "publishId": "ship",
                "recipients": [
                    {"type": "device", "deviceId": "d"},
                    {"type": "recipient", "recipient": {"transportType": "web", "endpoint": PLANTED, "p256dh": "p",
                     "auth": "a"}},
                    {"type": "providerTopic", "provider": "webpush", "topic": "t"},
                ],
                "payload": {"title": "t", "templateData": {"a_b": {"c_d": 1}}},
                "providerOverrides": [{"provider": "apns", "payload": {"collapse_key": 1}}],
                "notBeforeMs": 5,
                "expiresAtMs": 6,
                "sync": True,
            }
        )
    )  # fmt: skip
    assert request.publish_id == "ship"
    assert request.targets == [
        Target(type="device", device_id="d"),
        Target(type="recipient", recipient=WebRecipient(PLANTED, "p", "a")),
        Target(type="providerTopic", provider="webPush", topic="t"),
    ]
    assert request.payload.template_data == {"a_b": {"c_d": 1}}
    assert request.overrides == [Override(provider="apns", payload={"collapse_key": 1})]
    assert (request.not_before_ms, request.expires_at_ms, request.sync) == (5, 6, True)
    assert PLANTED not in repr(request)


def test_what_the_documentation_calls_otherwise() -> None:
    given = {**PUBLISH, "idempotency_key": "k", "payload": {"data": {"a": 1}}}
    assert publish_from(text(given))[:3] == (
        "k",
        [Target(type="channel", channel="c")],
        Payload(template_data={"a": 1}),
    )
    own = {**given, "publishId": "p", "payload": {"data": {"a": 1}, "templateData": {"b": 2}}}
    assert publish_from(text(own))[0] == "p"
    assert publish_from(text(own)).payload.template_data == {"b": 2}


@pytest.mark.parametrize("field", ["notBeforeMs", "expiresAtMs", "not_before_ms"])
@pytest.mark.parametrize("value", [-1, 1.5, "1790000000000", True, 2**53, [], {}])
def test_times_that_are_none(field: str, value: Any) -> None:
    told = refusal(lambda: publish_from(text({**PUBLISH, field: value})), errors.SCHEDULED_PUSH_INVALID)
    assert told.endswith("Ms must be a Unix time in whole milliseconds")


@pytest.mark.parametrize(
    ("change", "spec", "told"),
    [
        ({"payload": None}, errors.WRONG_SHAPE, "field 'payload'"),
        ({"payload": {"title": 5}}, errors.WRONG_SHAPE, "field 'payload.title'"),
        ({"recipients": {}}, errors.WRONG_SHAPE, "field 'recipients'"),
        ({"recipients": [{"channel": "c"}]}, errors.WRONG_SHAPE, "the required field 'type' is missing"),
        ({"recipients": [{"type": PLANTED}]}, errors.INVALID_INPUT, "recipients.type must be one of device, client,"),
        (
            {"recipients": [{"type": "recipient", "recipient": {"transportType": PLANTED}}]},
            errors.INVALID_INPUT,
            "recipients.recipient.transportType must be one of",
        ),
        ({"providerOverrides": [{"payload": {}}]}, errors.WRONG_SHAPE, "missing required field 'provider'"),
        ({"providerOverrides": [{"provider": "x", "payload": {}}]}, errors.INVALID_INPUT, "providerOverrides.provider"),
    ],
)
def test_publishes_that_are_refused(change: dict[str, Any], spec: ErrorSpec, told: str) -> None:
    assert told in refusal(lambda: publish_from(text({**PUBLISH, **change})), spec)


def test_batches() -> None:
    assert batch_from(b"[]") == []
    assert [request.publish_id for request in batch_from(text([{**PUBLISH, "publishId": name} for name in "ab"]))] == [
        "a",
        "b",
    ]
    refusal(lambda: batch_from(b"{}"), errors.WRONG_SHAPE)
    told = refusal(lambda: batch_from(text([PUBLISH, {**PUBLISH, "notBeforeMs": "x"}])), errors.SCHEDULED_PUSH_INVALID)
    assert told == "Item 1: notBeforeMs must be a Unix time in whole milliseconds"


def test_the_payload_of_an_event() -> None:
    assert payload_from({"title": "t", "collapse_key": "k"}) == Payload(title="t", collapse_key="k")
    refusal(lambda: payload_from([]), errors.WRONG_SHAPE)


def test_raw_recipients_of_every_kind() -> None:
    device = {**LEAST, "push": {"recipient": {"transport_type": "apns", "device_token": "x"}}}
    assert device_from(text(device), "app").recipient == ApnsRecipient("x")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4) | st.floats(-1, 1),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "push", "recipient", "transportType", "payload", "recipients", "type", "locales", "en"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_anything_else_is_refused_in_our_own_words(value: Any) -> None:
    for read in (lambda b: device_from(b, "a"), subscription_from, lambda b: template_from(b, "a"), batch_from):
        try:
            read(text(value))
        except SockudoError as problem:
            refused = problem
        else:
            assert read is batch_from
            continue
        assert refused.spec in (errors.WRONG_SHAPE, errors.INVALID_INPUT, errors.SCHEDULED_PUSH_INVALID)
