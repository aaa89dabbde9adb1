from __future__ import annotations

from sockudo.hub.view import AppCounts, ChannelEntry, HubView
from support.inside import Node, live_app
from support.world import World

APP = live_app()


def test_an_app_without_connections_has_nothing() -> None:
    view = HubView(World().hub)
    assert view.totals() == (0, 0)
    assert view.counts("unknown") == AppCounts()
    assert view.connection_count("unknown") == 0
    assert list(view.entries("unknown")) == []
    assert view.members_page("unknown", "presence-x", 0, 10) == ([], 0)
    assert view.subscribers_page("unknown", "news", 0, 10) == ([], 0)
    assert view.cached("unknown", "cache-x", 0.0) is None
    assert view.occupied_kinds("unknown") == {}


def test_everything_is_counted_by_app() -> None:
    node = Node(APP, live_app("other"))
    for user in ("ana", "ana", "ben"):
        node.connect().subscribe("presence-room", {"user_id": user})
    node.connect().subscribe("news")
    node.connect(node.apps.by_id("other"))
    view = node.view
    assert view.totals() == (5, 2)
    assert view.counts(APP.id) == AppCounts(4, 0, 0, 2, 4, 1, 3, 2)
    assert sorted(view.connection_counts()) == [("app", 4), ("other", 1)]
    assert view.occupied_kinds(APP.id) == {"presence": 1, "public": 1}
    assert [app_id for app_id, _ in view.traffic()] == ["app", "other"]


def test_entries_are_made_when_they_are_asked_for() -> None:
    node = Node(APP)
    node.connect().subscribe("presence-room", {"user_id": "ana"})
    client = node.connect()
    client.subscribe("news")
    entries = node.view.entries()
    assert list(entries) == [
        ChannelEntry("app", "presence-room", "presence", 1, 1),
        ChannelEntry("app", "news", "public", 1, None),
    ]
    assert list(entries[1:]) == [entries[1]]
    node.connect().subscribe("news")
    client.subscribe("later")
    assert entries[1].subscription_count == 2
    assert len(entries) == 2


def test_pages_are_no_longer_than_asked_for() -> None:
    node = Node(APP)
    for number in range(7):
        node.connect().subscribe("presence-room", {"user_id": f"user-{number}"})
    page, total = node.view.members_page(APP.id, "presence-room", 2, 3)
    assert ([entry.user_id for entry in page], total) == (["user-2", "user-3", "user-4"], 7)
    subscribers, total = node.view.subscribers_page(APP.id, "presence-room", 5, 3)
    assert ([entry.user_id for entry in subscribers], total) == (["user-5", "user-6"], 7)
