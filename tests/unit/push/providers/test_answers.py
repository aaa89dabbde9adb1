"""From what a provider answers to the words of push."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.outbound.ports import Reply
from sockudo.push.providers.answers import accepted, json_of, reason_of, refused, retry_after_ms

NOW = 1_790_000_000.25


def reply(status: int = 503, body: bytes = b"", **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 12 ", 12),
        ("86400", 86_400),
        ("99999999999999", 86_400),
        (formatdate(NOW + 60, usegmt=True), 59.75),
        (formatdate(NOW - 60, usegmt=True), 0),
        (formatdate(NOW + 10**6, usegmt=True), 86_400),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after_ms(reply(retry_after=value), NOW) == int((NOW + seconds) * 1000)


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "٣", "Wed, 99 Xxx 2026 00:00:00 GMT"])
def test_retry_after_that_says_nothing(value: str) -> None:
    assert retry_after_ms(reply(retry_after=value), NOW) is None


@given(st.binary(max_size=200), st.text(max_size=40))
def test_no_answer_is_too_odd(body: bytes, header: str) -> None:
    """Whatever a provider answers is classified, and its reason is a text of bounded length."""
    sent = refused("quota", reply(429, body, retry_after=header), NOW, token="token-1")
    assert sent.error is not None
    assert sent.error.reason
    assert len(sent.error.reason) <= 128
    json_of(reply(200, body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error":{"status":"UNAVAILABLE"},"reason":"other"}', "UNAVAILABLE"),
        (b'{"error":{"status":7},"reason":"BadTopic"}', "BadTopic"),
        (b'{"error":"text","reason":" Shutdown "}', "Shutdown"),
        (b'{"reason":""}', "provider status 503"),
        (b"[1]", "provider status 503"),
        (b"\xff", "provider status 503"),
    ],
)
def test_reasons(body: bytes, reason: str) -> None:
    assert reason_of(reply(503, body)) == reason


def test_a_reason_is_redacted() -> None:
    sent = refused("quota", reply(429, b'{"reason":"see https://push.test/send/abc"}'), NOW)
    assert sent.error is not None
    assert str(sent.error.reason).startswith("[REDACTED:")


@pytest.mark.parametrize("message_id", [None, 7, "", "a\nb", "x" * 513, "about-token-1"])
def test_ids_that_are_left_out(message_id: object) -> None:
    assert accepted(message_id, token="token-1").message_id is None


def test_a_refusal_that_was_cut_is_no_verdict() -> None:
    cut = Reply(400, {}, b'{"reason":"BadDe', whole=False)
    sent = refused("invalid_payload", cut, NOW)
    assert sent.error is not None
    assert (sent.outcome, sent.error.kind) == ("retryable", "network_transport")
    busy = refused("unavailable", Reply(503, {}, b"", whole=False), NOW)
    assert busy.error is not None
    assert busy.error.kind == "unavailable"
