"""Replies as bytes."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from sockudo import errors
from sockudo.edge.replies import Reply, error_reply, render

HEAD = b"date: now\r\n"


def test_the_parts_in_their_order() -> None:
    data = render(Reply(200, b'{"ok":true}', [(b"x-a", b"1"), (b"x-a", b"2")]), HEAD)
    assert data == (
        b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-type: application/json\r\nx-a: 1\r\nx-a: 2\r\n"
        b'content-length: 11\r\n\r\n{"ok":true}'
    )


def test_closing_is_announced() -> None:
    assert b"\r\nconnection: close\r\n" in render(Reply(400, b"{}"), HEAD, close=True)
    assert b"connection" not in render(Reply(400, b"{}"), HEAD)


@pytest.mark.parametrize("status", sorted({spec.status for spec in errors.CATALOGUE.values() if spec.status}))
def test_every_status_of_the_catalogue_has_its_line(status: int) -> None:
    phrase = HTTPStatus(status).phrase
    assert render(Reply(status, b""), b"").startswith(f"HTTP/1.1 {status} {phrase}\r\n".encode())


@pytest.mark.parametrize(
    "spec", [spec for spec in errors.CATALOGUE.values() if spec.status], ids=lambda spec: spec.slug
)
def test_every_row_becomes_the_envelope(spec: errors.ErrorSpec) -> None:
    reply = error_reply(spec('é "quoted"'))
    body = json.loads(reply.body)
    assert reply.status == spec.status == body["status"]
    assert (body["error"], body["code"]) == ('é "quoted"', spec.code)
    assert body["docs"] == f"errors.md#{spec.slug}"
    assert body.get("ai_code") == spec.ai_code
    assert body.get("reason") == spec.reason


def test_rows_that_share_a_code_for_who_asks_are_told_apart_by_their_reason() -> None:
    reasons = {spec.slug: error_reply(spec()).body for spec in errors.CATALOGUE.values() if spec.code == "auth_failed"}
    found = {slug: json.loads(body)["reason"] for slug, body in reasons.items()}
    assert found["signature_mismatch"] == "signature"
    assert found["timestamp_stale"] == found["timestamp_invalid"] == "timestamp"
    assert found["body_hash_mismatch"] == found["body_hash_missing"] == "body_md5"
    assert (found["unknown_key"], found["app_mismatch"]) == ("key", "app")
    assert found["device_token_wrong"] == "device_token"


def test_when_to_try_again_is_said_once() -> None:
    error = errors.RATE_LIMITED("slow down", retry_after=7)
    assert error_reply(error).headers == [(b"retry-after", b"7")]
    assert error_reply(error, [(b"retry-after", b"9")]).headers == [(b"retry-after", b"9")]
    assert error_reply(error, [(b"x-a", b"1")]).headers == [(b"x-a", b"1"), (b"retry-after", b"7")]
    assert error_reply(errors.DRAINING(retry_after=0)).headers == [(b"retry-after", b"0")]
    assert error_reply(errors.NOT_FOUND()).headers == []


def test_a_row_without_a_status_is_a_500() -> None:
    reply = error_reply(errors.PONG_TIMEOUT())
    assert (reply.status, json.loads(reply.body)["status"]) == (500, 500)
