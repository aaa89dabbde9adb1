"""Connections are found by each of their properties and come in the order that was asked for."""

from __future__ import annotations

import pytest

from sockudo.config.apps import Features
from sockudo.dashboard.connections.detail import FoundConnection, end_connection, find_connection
from sockudo.dashboard.connections.listing import ConnectionQuery, connection_row, find_connections
from sockudo.dashboard.paging import Paging
from sockudo.errors import SockudoError
from sockudo.hub.outgoing import Wants
from sockudo.hub.view import FilterView
from sockudo.protocol.filters import Predicate
from sockudo.protocol.formats import V2_MSGPACK
from support.desk import nodes_of
from support.inside import Client, Node, live_app


@pytest.fixture
def node() -> Node:
    return Node(live_app("app", features=Features(enable_user_authentication=True)), live_app("other"))


def connect(node: Node, address: str = "10.0.0.7", **options: object) -> Client:
    client = node.connect(**options)  # type: ignore[arg-type]
    client.peer.address = address
    return client


async def found(node: Node, page: int = 1, per_page: int = 50, **query: object) -> list[str]:
    listed = await find_connections(nodes_of(node), ConnectionQuery(**query), Paging("", page, per_page))  # type: ignore[arg-type]
    return [row.socket_id for row in listed.entries]


async def find(
    node: Node, socket_id: str, app_id: str | None = None, page: int = 1, per_page: int = 50
) -> FoundConnection:
    return await find_connection(nodes_of(node), socket_id, app_id, Paging("", page, per_page))


async def test_each_property_finds_its_connection_and_no_other(node: Node) -> None:
    one, two = connect(node, "192.0.2.1"), connect(node, "192.0.2.2")
    one.subscribe("news")
    one.subscribe("presence-room", {"user_id": "Alice"})
    two.sign_in({"id": "bob"})
    for by, text in (
        ("socket_id", one.socket_id),
        ("socket_id", one.socket_id[2:-2]),
        ("address", "192.0.2.1"),
        ("user_id", "alice"),
        ("user_id", "LIC"),
        ("channel", "news"),
        ("channel", "presence-room"),
    ):
        assert await found(node, by=by, text=text) == [one.socket_id], (by, text)
        assert await found(node, text=text) == [one.socket_id], text
    assert await found(node, by="user_id", text="bob") == [two.socket_id]
    assert sorted(await found(node, by="address", text="192.0.2.")) == sorted([one.socket_id, two.socket_id])
    for by, text in (("channel", "new"), ("channel", "News"), ("address", "alice"), ("user_id", "news")):
        assert await found(node, by=by, text=text) == [], (by, text)


async def test_apps_are_told_apart(node: Node) -> None:
    one = connect(node)
    two = connect(node, app=node.apps.by_id("other"))
    one.subscribe("news")
    two.subscribe("news")
    assert await found(node, app_id="app") == [one.socket_id]
    assert await found(node, app_id="other", by="channel", text="news") == [two.socket_id]
    assert await found(node, app_id="third") == []
    assert await found(node) == [two.socket_id, one.socket_id] or await found(node) == [one.socket_id, two.socket_id]


async def test_orders(node: Node) -> None:
    clients = []
    for _ in range(3):
        clients.append(connect(node))
        node.clock.advance(1)
    first, second, third = (client.socket_id for client in clients)
    assert await found(node) == [third, second, first]
    assert await found(node, sort="oldest") == [first, second, third]
    clients[1].subscribe("a")
    clients[1].subscribe("b")
    clients[0].subscribe("a")
    assert await found(node, sort="subscriptions") == [second, first, third]
    clients[2].peer.buffered = lambda: 10  # type: ignore[method-assign]
    assert (await found(node, sort="buffered"))[0] == third
    node.clock.advance(10)
    clients[0].send("pusher:ping")
    assert await found(node, sort="quiet") == [third, second, first]


async def test_pages_are_complete_and_repeat_nothing(node: Node) -> None:
    made = {connect(node).socket_id for _ in range(777)}
    for sort in ("newest", "oldest", "buffered"):
        seen = [one for page in range(1, 17) for one in await found(node, page, sort=sort)]
        assert len(seen) == 777
        assert set(seen) == made


async def test_an_ended_connection_is_gone(node: Node) -> None:
    client = connect(node)
    assert (await find(node, client.socket_id)).connection.app_id == "app"
    await end_connection(nodes_of(node), client.socket_id, None)
    assert client.peer.closed == (4009, "You got disconnected by the app.")
    assert await found(node) == []
    with pytest.raises(SockudoError, match="No open connection"):
        await find(node, client.socket_id, "app")


async def test_a_socket_id_of_two_apps_needs_the_app(node: Node) -> None:
    client = connect(node)
    twin = connect(node, app=node.apps.by_id("other"))
    state = node.hub.apps["other"]
    state.connections[client.socket_id] = state.connections.pop(twin.socket_id)
    with pytest.raises(SockudoError, match="app_id"):
        await find(node, client.socket_id)
    assert (await find(node, client.socket_id, "other")).connection.app_id == "other"


async def test_what_is_said_of_a_connection(node: Node) -> None:
    client = connect(node, "192.0.2.9", client="js", client_version="8.4.0")
    node.clock.advance(5)
    client.sign_in({"id": "bob", "user_info": {"name": "Bob"}})
    node.clock.advance(2.5)
    row = connection_row(client.session)
    now_ms = int(node.clock.time() * 1000)
    assert (row.address, row.client, row.client_version) == ("192.0.2.9", "js", "8.4.0")
    assert (row.connected_at_ms, row.quiet_seconds) == (now_ms - 7_500, 2.5)
    assert (row.protocol, row.format, row.user_id) == (1, "json", "bob")
    view = (await find(node, client.socket_id)).connection
    assert (view.messages_received, view.signed_in, view.last_seen_at_ms) == (1, True, now_ms - 2_500)
    assert b"Bob" in bytes(view.user_info or b"")


async def test_what_is_said_of_a_subscription(node: Node) -> None:
    client = connect(node, shape=V2_MSGPACK)
    session = client.session
    predicate = Predicate(["price"], {"key": "kind", "cmp": "eq", "val": "x"}, "data.price > `1`")
    node.hub.subscribe(session, "news", Wants(predicate))
    node.hub.join(session, "presence-x", "alice", b"{}")
    [news, presence] = (await find(node, client.socket_id)).subscriptions.entries
    assert isinstance(news.filter, FilterView)
    assert (news.filter.events, news.filter.expression) == (["price"], "data.price > `1`")
    assert (news.delta, news.catching_up, news.user_id) == (None, False, None)
    assert (presence.channel, presence.kind, presence.user_id, presence.filter) == (
        "presence-x",
        "presence",
        "alice",
        None,
    )
    row = connection_row(session)
    assert (row.protocol, row.format, row.user_id, row.subscription_count) == (2, "msgpack", "alice", 2)
    second = (await find(node, client.socket_id, page=2, per_page=1)).subscriptions
    assert [one.channel for one in second.entries] == ["presence-x"]
