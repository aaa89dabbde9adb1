"""What a publish says by itself: times that can be kept, and that each part is checked (spec: push § 3)."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.push.bodies import PublishRequest
from sockudo.push.recipients import WebRecipient
from sockudo.push.records import Override, Target
from sockudo.push.requests import check_request
from support.push_service import RULES, a_publish
from support.push_stores import NOW


def refusal(request: PublishRequest) -> tuple[ErrorSpec, str]:
    with pytest.raises(SockudoError) as caught:
        check_request(request, RULES, NOW)
    return caught.value.spec, caught.value.text


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"not_before_ms": NOW + 1},
        # It is sent now.
        {"not_before_ms": NOW - 1},
        {"not_before_ms": 0},
        {"expires_at_ms": NOW + 1},
        {"not_before_ms": NOW + 1, "expires_at_ms": NOW + 2},
    ],
)
def test_times_that_can_be_kept(times: dict[str, int]) -> None:
    check_request(a_publish(**times), RULES, NOW)


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ({"expires_at_ms": NOW}, f"expiresAtMs is in the past: {NOW}, and now is {NOW}"),
        (
            {"expires_at_ms": NOW // 1000 + 60},
            f"expiresAtMs is in the past: {NOW // 1000 + 60}, and now is {NOW}; it looks like seconds",
        ),
        (
            {"expires_at_ms": NOW + 5, "not_before_ms": NOW + 5},
            f"expiresAtMs ({NOW + 5}) must be after notBeforeMs ({NOW + 5})",
        ),
        (
            {"expires_at_ms": NOW + 5, "not_before_ms": NOW + 9},
            f"expiresAtMs ({NOW + 5}) must be after notBeforeMs ({NOW + 9})",
        ),
    ],
)
def test_times_that_cannot(times: dict[str, int], text: str) -> None:
    assert refusal(a_publish(**times)) == (errors.SCHEDULED_PUSH_INVALID, text)


@pytest.mark.parametrize(
    ("request_", "spec", "text"),
    [
        (a_publish(publish_id=" "), errors.INVALID_INPUT, "publishId must not be empty"),
        (a_publish(publish_id="x" * 256), errors.INVALID_INPUT, "publishId exceeds 255 bytes"),
        (a_publish(title="t" * 257), errors.INVALID_INPUT, "title exceeds 256 bytes"),
        (
            a_publish(overrides=[Override(provider="wns", payload={"type": "x"})]),
            errors.INVALID_INPUT,
            "invalid wns override: type must be toast, tile or raw",
        ),
        (
            PublishRequest(None, [], a_publish().payload, []),
            errors.INVALID_INPUT,
            "targets is invalid: must contain at least one target",
        ),
        (
            a_publish(Target(type="recipient", recipient=WebRecipient("http://x.test/secret", "p", "a"))),
            errors.PROVIDER_TOKEN_INVALID,
            "endpoint must be an https URL",
        ),
    ],
)
def test_every_part_is_looked_at(request_: Any, spec: ErrorSpec, text: str) -> None:
    assert refusal(request_) == (spec, text)
