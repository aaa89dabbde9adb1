"""Routes of messages that change and of annotations while the feature is off: it is named (spec: messages § 7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.raw import assert_error
from support.server import ServerProcess, start_server

MESSAGE = "/apps/app-id/channels/room/messages/m1"
ROUTES = [
    ("GET", "", None),
    ("GET", "/versions", None),
    ("POST", "/update", {"data": "x"}),
    ("POST", "/delete", {}),
    ("POST", "/append", {"data": "x"}),
    ("GET", "/annotations", None),
    ("POST", "/annotations", {"type": "x"}),
    ("DELETE", "/annotations/a1", None),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server() as running:
        yield running


@pytest.mark.parametrize(("method", "suffix", "body"), ROUTES)
def test_the_feature_is_named(server: ServerProcess, method: str, suffix: str, body: Any) -> None:
    answer = server.signed(method, f"{MESSAGE}{suffix}", body=body)
    text = (
        "Annotations are not part of this version of the server: messages of channel 'room' have none"
        if "annotations" in suffix
        else "Messages of channel 'room' cannot change: that needs versioned_messages.enabled, and a history: "
        "history.enabled, for the server or the app"
    )
    assert_error(answer, 403, "feature_disabled", text)


@pytest.mark.parametrize(("method", "suffix", "body"), ROUTES)
def test_a_channel_that_cannot_be_is_refused_first(server: ServerProcess, method: str, suffix: str, body: Any) -> None:
    path = MESSAGE.replace("room", "bad%20room") + suffix
    answer = server.signed(method, path, body=body)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize(("method", "suffix"), [route[:2] for route in ROUTES])
def test_strangers_learn_nothing(server: ServerProcess, method: str, suffix: str) -> None:
    answer = server.request(method, f"{MESSAGE}{suffix}")
    assert (answer.status, answer.json()["code"]) == (400, "invalid_input")


def test_another_method_is_not_allowed(server: ServerProcess) -> None:
    answer = server.signed("POST", f"{MESSAGE}/versions", body={})
    assert (answer.status, answer.headers["allow"]) == (405, "GET,HEAD")
