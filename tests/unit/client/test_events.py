"""What an application sees of a frame."""

from __future__ import annotations

import pytest

from sockudo.client.events import Event, read_event
from sockudo.client.failures import ClientError


def test_all_of_a_frame_is_read() -> None:
    text = (
        '{"event":"sockudo:message.update","channel":"harbor","data":"{\\"n\\":1}","name":"tide","user_id":"crew-8",'
        '"tags":{"venue":"ldn"},"message_id":"m-1","stream_id":"s-1","serial":7,"extras":{"headers":{"a":1}},'
        '"__delta_seq":4}'
    )
    assert read_event(text) == Event(
        "sockudo:message.update", "harbor", {"n": 1}, "crew-8", text, "tide", {"venue": "ldn"}, "m-1", "s-1", 7,
        {"headers": {"a": 1}},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "system", "is_app_event"),
    [
        ("tide", None, True),
        ("client-typing", None, True),
        ("a:b", None, True),
        ("pusher:error", "error", False),
        ("sockudo:error", "error", False),
        ("pusher_internal:member_added", "member_added", False),
        ("sockudo_internal:subscription_succeeded", "subscription_succeeded", False),
        ("sockudo:message.append", "message.append", True),
        ("sockudo_internal:message", "message", False),
    ],
)
def test_names(name: str, system: str | None, is_app_event: bool) -> None:
    event = Event(name, None, None, None, "")
    assert (event.system, event.is_app_event) == (system, is_app_event)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"event":1}', '{"event":"x","serial":"y"}'])
def test_what_is_no_frame(text: str) -> None:
    with pytest.raises(ClientError, match="not a frame of the protocol"):
        read_event(text)
