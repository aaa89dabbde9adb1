"""What can hardly have been meant is noted once a minute, and what is in order never."""

from __future__ import annotations

import pytest

from sockudo.errors import CATALOGUE
from sockudo.inspector import Entry
from sockudo.inspector.doubts import Doubts
from sockudo.protocol.names import channel_kind
from support.world import World


class Doubting:
    def __init__(self) -> None:
        self.time = 1000.0
        self.world = World()
        self.noted: list[Entry] = []
        self.doubts = Doubts(self.noted.append, lambda: self.time)

    def publish(self, channel: str = "news", event: str = "e", data: object = "x") -> None:
        self.doubts.published(self.world.app, channel, channel_kind(channel), event, data)

    @property
    def slugs(self) -> list[str | None]:
        assert all(entry.kind == "doubtful" and entry.error in CATALOGUE for entry in self.noted)
        return [entry.error for entry in self.noted]


@pytest.mark.parametrize(
    ("published", "slug"),
    [
        ({"event": ".order.shipped"}, "event_leading_dot"),
        ({"data": '"{\\"a\\": 1}"'}, "data_encoded_twice"),
        ({"data": '"[1]"'}, "data_encoded_twice"),
        ({"channel": "private-encrypted-room"}, "not_encrypted"),
        ({"channel": "private-encrypted-cache-room", "data": '{"a":1}'}, "not_encrypted"),
    ],
)
def test_what_is_doubted(published: dict[str, str], slug: str) -> None:
    doubting = Doubting()
    doubting.publish(**published)
    assert doubting.slugs == [slug]
    assert doubting.noted[0].app_id == "app"


@pytest.mark.parametrize(
    "published",
    [
        {},
        {"event": "order.shipped"},
        {"data": '{"a":"{\\"b\\":1}"}'},
        {"data": '"{quoted}"'},
        {"data": '"plain"'},
        {"data": '"{'},
        {"channel": "private-encrypted-room", "data": '{"nonce":"n","ciphertext":"c"}'},
        {"channel": "#server-to-user-ana"},
    ],
)
def test_what_is_in_order(published: dict[str, str]) -> None:
    doubting = Doubting()
    doubting.publish(**published)
    assert doubting.noted == []


def test_a_channel_with_nearly_the_same_name_is_named_with_its_subscribers() -> None:
    doubting = Doubting()
    doubting.world.subscribers(2, "private-orders")
    doubting.publish("private-Orders")
    doubting.publish("orders")
    doubting.publish("elsewhere")
    doubting.publish("private-orders")
    assert doubting.slugs == ["channel_near_miss"] * 2
    assert doubting.noted[0].text == "no client is subscribed to private-Orders, and 2 to private-orders"


def test_the_same_is_noted_once_a_minute() -> None:
    doubting = Doubting()
    for _ in range(3):
        doubting.publish(event=".a")
    doubting.publish(event=".b")
    assert doubting.slugs == ["event_leading_dot"] * 2
    doubting.time += 60
    doubting.publish(event=".a")
    assert len(doubting.noted) == 3


def test_names_are_compared_so_many_times_a_second() -> None:
    doubting = Doubting()
    doubting.world.subscribers(1, "private-orders")
    for number in range(20):
        doubting.publish(f"empty-{number}")
    doubting.publish("private-Orders")
    assert doubting.noted == []
    doubting.time += 1
    doubting.publish("private-Orders")
    assert doubting.slugs == ["channel_near_miss"]


def test_what_is_remembered_is_bounded() -> None:
    doubting = Doubting()
    for number in range(5000):
        doubting.publish(event=f".{number}")
    assert len(doubting.doubts._quiet) <= 1000


@pytest.mark.parametrize(("socket_id", "doubted"), [("undefined", True), ("", True), ("1.2", False)])
def test_a_socket_id_that_no_connection_can_have(socket_id: str, doubted: bool) -> None:
    doubting = Doubting()
    doubting.doubts.excluded("app", socket_id, "news")
    assert doubting.slugs == (["socket_id_unusable"] if doubted else [])


def test_clients_choose_the_names_of_events_and_cannot_flood_with_them() -> None:
    doubting = Doubting()
    for number in range(100):
        doubting.doubts.ignored("app", f"typing-{number}" + "x" * 1000, "private-a", "1.2", "10.0.0.1")
    [entry] = doubting.noted
    assert (entry.error, entry.socket_id, entry.address) == ("client_prefix_missing", "1.2", "10.0.0.1")
    assert len(entry.event or "") == 200
