"""A topic is heard from its first reason to its last one."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from sockudo.publishing.topics import Place, Topics, user_place


class Bus:
    """Writes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        self.asked.append(("subscribe", topic))
        return None

    def unsubscribe(self, topic: str) -> None:
        self.asked.append(("unsubscribe", topic))


def test_the_last_reason_ends_it_and_more_ends_are_ignored() -> None:
    bus = Bus()
    topics = Topics(cast(Any, bus))
    topics.want("c:app:room")
    topics.want("c:app:room")
    topics.unwant("c:app:room")
    assert "c:app:room" in topics
    topics.unwant("c:app:room")
    topics.unwant("c:app:room")
    topics.unwant("c:app:never")
    assert "c:app:room" not in topics
    assert [asked for asked in bus.asked if asked[0] == "unsubscribe"] == [("unsubscribe", "c:app:room")]


def test_places_have_the_topics_of_channels_and_users() -> None:
    assert Place("app", "presence-room").topic == "c:app:presence-room"
    assert user_place("app", "ana").topic == "u:app:ana"
