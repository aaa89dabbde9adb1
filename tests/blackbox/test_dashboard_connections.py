"""Connections at the dashboard: found by what is known of them, shown as they are, and closed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.operators import PASSWORD, Operator
from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, start_server
from support.waiting import wait_until
from support.websocket import Connect, WebSocket
from support.wire import MSGPACK

MARKUP = "<img src=x onerror=alert(1)>"
CLOSED = "You got disconnected by the app."


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    config = {
        "dashboard": {"password": PASSWORD},
        "tag_filtering": {"enabled": True},
        "delta_compression": {"enabled": True},
        "rate_limiter": {"websocket_rate_limit": {"trust_hops": 1}},
    }
    with start_server(config) as running:
        yield running


@pytest.fixture(scope="module")
def operator(server: ServerProcess) -> Operator:
    return Operator(server)


def found(operator: Operator, query: str) -> set[str]:
    return {item["socket_id"] for item in operator.api("GET", f"/connections?{query}")["items"]}


def about(operator: Operator, socket: WebSocket) -> dict[str, object]:
    shown: dict[str, object] = operator.api("GET", f"/connections/{socket.socket_id}")["connection"]
    return shown


def test_connections_are_found_by_each_key(operator: Operator, connect: Connect, unique: str) -> None:
    alice = connect(headers={"X-Forwarded-For": "198.51.100.77"})
    bob = connect(headers={"X-Forwarded-For": "203.0.113.5, 2001:db8::17"})
    room = f"room-{unique}"
    alice.sign_in(f"{unique}-Alice")
    alice.subscribe(room)
    bob.subscribe(f"presence-{unique}", f"{unique}-bob")
    for by, text in (
        ("socket_id", alice.socket_id),
        ("user_id", f"{unique.lower()}-alice"),
        ("channel", room),
        ("address", "198.51.100.77"),
    ):
        assert found(operator, f"by={by}&q={text}") == {alice.socket_id}
        assert found(operator, f"q={text}") == {alice.socket_id}
        assert alice.socket_id in operator.page(f"/dashboard/connections?by={by}&q={text}").text
    for by, text in (
        ("user_id", f"{unique}-bob"),
        ("address", "2001:db8::17"),
        ("channel", f"presence-{unique}"),
    ):
        assert found(operator, f"by={by}&q={text}") == {bob.socket_id}
    # Only what a trusted proxy has added is believed.
    assert found(operator, "by=address&q=203.0.113.5") == set()
    assert found(operator, f"by=user_id&q={unique}") == {alice.socket_id, bob.socket_id}
    assert found(operator, f"q={unique}-nobody") == set()
    assert found(operator, f"q={unique}&app_id={NUMERIC_APP.id}") == set()


def test_the_list_comes_in_pages(operator: Operator, connect: Connect, unique: str) -> None:
    sockets = []
    for _ in range(5):
        sockets.append(connect())
        sockets[-1].subscribe(unique)
    seen: list[str] = []
    for page in (1, 2, 3):
        listed = operator.api("GET", f"/connections?by=channel&q={unique}&per_page=2&page={page}&sort=oldest")
        assert (listed["total"], listed["pages"]) == (5, 3)
        seen += [item["socket_id"] for item in listed["items"]]
    assert seen == [socket.socket_id for socket in sockets]
    page = operator.page(f"/dashboard/connections?by=channel&q={unique}&per_page=2&page=2")
    assert "3–4 of 5 connections" in page.text
    beyond = operator.api("GET", f"/connections?by=channel&q={unique}&per_page=2&page=9")
    assert (beyond["items"], beyond["total"]) == ([], 5)


def test_what_is_said_of_a_connection(operator: Operator, connect: Connect, unique: str) -> None:
    before = time.time() * 1000
    socket = connect(params="client=js&version=8.4.0")
    socket.sign_in(unique, user_info={"name": MARKUP})
    shown = about(operator, socket)
    assert (shown["client"], shown["client_version"]) == ("js", "8.4.0")
    assert (shown["protocol"], shown["format"], shown["user_id"]) == (1, "json", unique)
    assert (shown["messages_received"], shown["signed_in"]) == (1, True)
    assert shown["user_info"] == {"name": MARKUP}
    assert (shown["buffered_bytes"], shown["subscription_count"]) == (0, 0)
    assert before - 1000 <= float(str(shown["connected_at_ms"])) <= time.time() * 1000 + 1000
    assert float(str(shown["last_seen_at_ms"])) >= float(str(shown["connected_at_ms"]))
    page = operator.page(f"/dashboard/connections/{socket.socket_id}")
    assert MARKUP in page.text
    assert "<img src=x" not in page.source
    links = page.tags(r'href="([^"]*)"')
    assert f"/dashboard/inspector?app_id=app-id&socket_id={socket.socket_id}" in links
    assert f"/dashboard/inspector?app_id=app-id&user_id={unique}" in links


def test_clients_and_users_with_markup_are_text(operator: Operator, connect: Connect, unique: str) -> None:
    socket = connect(params="client=%3Cimg%20src%3Dx%3E&version=%3Cb%3E")
    socket.subscribe(f"presence-{unique}", MARKUP)
    for path in (f"/dashboard/connections/{socket.socket_id}", f"/dashboard/connections?q={socket.socket_id}"):
        page = operator.page(path)
        assert MARKUP in page.text
        assert "<img src=x>" in page.text
        assert "<img src=x" not in page.source
        assert "<b>" not in page.source


def test_subscriptions_are_told_with_member_filter_and_format(
    operator: Operator, connect_v2: Connect, unique: str
) -> None:
    socket = connect_v2()
    socket.subscribe(f"presence-{unique}", "alice")
    socket.subscribe(f"{unique}-filtered", filter={"key": "kind", "cmp": "eq", "val": "x"})
    socket.say("sockudo:subscribe", {"channel": f"{unique}-delta", "delta": {"enabled": True}})
    socket.joined(f"{unique}-delta")
    shown = operator.api("GET", f"/connections/{socket.socket_id}")
    assert (shown["connection"]["protocol"], shown["connection"]["recoverable"]) == (2, True)
    presence, filtered, delta = shown["subscriptions"]["items"]
    assert (presence["kind"], presence["user_id"], presence["filter"]) == ("presence", "alice", None)
    assert filtered["filter"]["events"] == []
    assert "kind" in str(filtered["filter"]["tags"])
    assert (filtered["delta"], delta["delta"]) == (None, "fossil")
    page = operator.page(f"/dashboard/connections/{socket.socket_id}?per_page=2")
    assert "1–2 of 3 subscriptions" in page.text
    other = connect_v2(wire=MSGPACK)
    assert about(operator, other)["format"] == "msgpack"


def test_bytes_that_a_slow_reader_leaves_are_counted(
    server: ServerProcess, operator: Operator, connect: Connect, unique: str
) -> None:
    slow = connect(receive_buffer=4096)
    slow.subscribe(unique)

    def waiting() -> bool:
        batch = [{"name": "ev", "channel": unique, "data": "x" * 9_000}] * 10
        for _ in range(5):
            assert server.signed("POST", f"/apps/{server.app.id}/batch_events", body={"batch": batch}).status == 200
        return int(str(about(operator, slow)["buffered_bytes"])) > 0

    wait_until(waiting, "bytes to wait")
    listed = operator.api("GET", "/connections?sort=buffered&per_page=1")["items"]
    assert listed[0]["socket_id"] == slow.socket_id


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_closing_over_the_api_sends_4009(operator: Operator, connect: Connect, method: str) -> None:
    socket, other = connect(), connect()
    tail = "" if method == "DELETE" else "/close"
    assert operator.api(method, f"/connections/{socket.socket_id}{tail}?app_id={DEFAULT_APP.id}") == {"ok": True}
    socket.ended(4009, CLOSED)
    assert found(operator, f"q={socket.socket_id}") == set()
    assert operator.api(method, f"/connections/{socket.socket_id}{tail}", status=404)["code"] == "not_found"
    assert other.until_pong() == []


def test_closing_with_the_form_sends_4009(operator: Operator, connect: Connect, unique: str) -> None:
    socket, witness = connect(), connect()
    name = f"presence-{unique}"
    witness.subscribe(name, "witness")
    socket.subscribe(name, "leaver")
    assert witness.event()["event"] == "pusher_internal:member_added"
    path = f"/dashboard/connections/{socket.socket_id}"
    after = operator.submit(operator.page(path), f"{path}/close")
    assert f"Connection {socket.socket_id} was closed" in after.text
    socket.ended(4009, CLOSED)
    assert witness.event()["event"] == "pusher_internal:member_removed"
    gone = operator.page(path, status=404)
    assert "No open connection has this socket id" in gone.text


def test_a_connection_that_has_gone_ends_the_renewal_of_its_page(
    server: ServerProcess, operator: Operator, opened: ExitStack
) -> None:
    socket = opened.enter_context(WebSocket(server)).greeting()
    path = f"/dashboard/connections/{socket.socket_id}?app_id={DEFAULT_APP.id}"

    def part() -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {PASSWORD}", "HX-Request": "true"}
        reply = server.request("GET", path, headers=headers, port=server.metrics_port)
        return reply.status, reply.text

    status, text = part()
    assert status == 200
    assert 'hx-trigger="every 5s"' in text
    socket.close()
    wait_until(lambda: part()[0] == 286, "the connection to go")
    text = part()[1]
    assert "No open connection" in text
    assert "hx-trigger" not in text


def test_a_connection_of_another_app_is_not_found(operator: Operator, connect: Connect) -> None:
    socket = connect()
    path = f"/connections/{socket.socket_id}?app_id={NUMERIC_APP.id}"
    assert operator.api("GET", path, status=404)["code"] == "not_found"
    assert operator.api("DELETE", path, status=404)["code"] == "not_found"
    assert operator.api("GET", f"/connections/{socket.socket_id}?app_id=nobody", status=404)["code"] == "app_not_found"
    assert socket.until_pong() == []


def test_nobody_closes_without_the_token_of_the_session(
    server: ServerProcess, operator: Operator, connect: Connect
) -> None:
    socket = connect()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": operator.cookie}
    reply = server.request(
        "POST",
        f"/dashboard/connections/{socket.socket_id}/close",
        body=b"app_id=app-id",
        headers=headers,
        port=server.metrics_port,
    )
    assert reply.status == 403
    assert socket.until_pong() == []
