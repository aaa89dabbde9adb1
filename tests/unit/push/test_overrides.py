"""Overrides: what a provider would not understand is refused before it is kept (spec: push § 4)."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.overrides import check_override
from sockudo.push.recipients import Provider
from sockudo.push.records import Override
from support.push_service import RULES

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
