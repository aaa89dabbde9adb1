"""Every state and every class of a provider's answer has words, and those that are failures a row of the catalogue."""

from __future__ import annotations

from typing import get_args

import pytest

from sockudo import errors
from sockudo.errors import CATALOGUE, ErrorSpec
from sockudo.push.diagnosis.advice import STATE_WORDS, row_of_class, row_of_status, state_sentence
from sockudo.push.records import State

CLASSES = (
    "invalid_token",
    "quota",
    "unavailable",
    "auth_failure",
    "project_mismatch",
    "apns_topic_mismatch",
    "invalid_payload",
    "network_transport",
    "provider_rejected",
)


def test_every_state_has_words() -> None:
    assert set(STATE_WORDS) == set(get_args(State))


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_is_explained(kind: str) -> None:
    row = row_of_class(kind)
    assert row is not None
    assert row.slug in CATALOGUE
    assert row.remedy


def test_what_is_set_up_wrongly_has_a_remedy_for_each_cause() -> None:
    assert row_of_class("apns_topic_mismatch", "apns") is errors.PROVIDER_TOPIC_MISMATCH
    assert row_of_class("project_mismatch", "fcm") is errors.PROVIDER_PROJECT_MISMATCH
    assert row_of_class("auth_failure", "fcm") is errors.PROVIDER_AUTH_FAILED
    for spelling in ("webPush", "webpush"):
        assert row_of_class("auth_failure", spelling) is errors.PROVIDER_VAPID_REFUSED


def test_an_unknown_class_is_not() -> None:
    assert row_of_class("something") is None


@pytest.mark.parametrize(
    ("state", "code", "reason", "row"),
    [
        ("failed", "no_recipients", "no_recipients", errors.NO_RECIPIENTS),
        ("failed", None, "no_recipients", errors.NO_RECIPIENTS),
        ("quota_exceeded", "quota_exceeded", "fanout_max exceeded", errors.PUSH_QUOTA_EXCEEDED),
        ("expired", None, None, errors.PUSH_EXPIRED),
        ("dead_lettered", None, "retry attempts exhausted: quota", errors.PUSH_RETRIES_EXHAUSTED),
        ("partiallySucceeded", None, "retry attempts exhausted: quota", errors.PROVIDER_THROTTLED),
        ("succeeded", None, None, None),
        ("dispatching", None, None, None),
    ],
)
def test_a_status_is_explained(state: str, code: str | None, reason: str | None, row: ErrorSpec | None) -> None:
    assert row_of_status(state, code, reason) is row


def test_states_are_sentences() -> None:
    assert state_sentence("failed") == "It failed"
    assert state_sentence("expired") == "It expired before it was sent"
    assert state_sentence("dispatching") == "It is being sent"
    for state in STATE_WORDS:
        assert "is failed" not in state_sentence(state)
