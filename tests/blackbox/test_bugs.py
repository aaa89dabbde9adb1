"""What such servers are known to get wrong: counts that drift, members that linger, one bad peer that hurts others."""

from __future__ import annotations

import json
import re
import resource
import threading
from collections.abc import Callable, Iterator

import pytest

from support.raw import Dial, request_bytes, signed_target
from support.server import ServerProcess, start_server
from support.waiting import wait_until
from support.websocket import CLOSE, PING, Connect, Event, WebSocket, frame, handshake

ADDED, REMOVED = "pusher_internal:member_added", "pusher_internal:member_removed"


def gauge(server: ServerProcess, name: str) -> float:
    """The sum of a metric over all apps; 0 while there is no sample."""
    lines = [line for line in server.metrics().splitlines() if re.match(rf"sockudo_{name}\{{", line)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def descriptors(server: ServerProcess) -> float:
    found = re.search(r"^process_open_fds (\S+)$", server.metrics(), re.MULTILINE)
    assert found
    return float(found[1])


def occupied(server: ServerProcess, channel: str) -> bool:
    reply = server.signed("GET", f"/apps/app-id/channels/{channel}").json()
    return bool(reply["occupied"])


def goodbye(client: WebSocket) -> None:
    client.send(frame((1000).to_bytes(2, "big"), CLOSE))
    client.closed(1000)


# ---- coming and going ----


def test_quick_leaving_and_coming_back_leaves_nothing_behind(
    connect: Connect, server: ServerProcess, unique: str
) -> None:
    presence = f"presence-{unique}"
    watcher, client = connect(), connect()
    watcher.subscribe(presence, "watcher")
    leave = frame(json.dumps({"event": "pusher:unsubscribe", "data": {"channel": presence}}))
    join = frame(json.dumps({"event": "pusher:subscribe", "data": client.subscription(presence, "ana")}))
    client.send((join + leave) * 50 + join)
    assert [client.event()["event"] for _ in range(51)] == ["pusher_internal:subscription_succeeded"] * 51
    seen = [event["event"] for event in watcher.until_pong()]
    assert seen == [ADDED, REMOVED] * 50 + [ADDED]
    users = server.signed("GET", f"/apps/app-id/channels/{presence}/users").json()["users"]
    assert users == [{"id": "watcher"}, {"id": "ana"}]
    client.send(leave)
    assert watcher.event()["event"] == REMOVED
    watcher.say("pusher:unsubscribe", {"channel": presence})
    watcher.hears_nothing()
    assert not occupied(server, presence)


def test_a_reload_of_the_page_is_one_leaving_and_one_coming(connect: Connect, unique: str) -> None:
    """The old connection's end and the new one's start are handled in the order in which they came."""
    presence = f"presence-{unique}"
    watcher = connect()
    watcher.subscribe(presence, "watcher")
    page = connect()
    page.subscribe(presence, "ana")
    for _ in range(20):
        goodbye(page)
        page = connect()
        page.subscribe(presence, "ana")
    events = [event["event"] for event in watcher.until_pong()]
    assert events == [ADDED, REMOVED] * 20 + [ADDED]


def test_three_tabs_are_one_member(connect: Connect, unique: str) -> None:
    presence = f"presence-{unique}"
    watcher, *tabs = (connect() for _ in range(4))
    watcher.subscribe(presence, "watcher")
    for tab in tabs:
        tab.subscribe(presence, "ana")
    for tab, leave in zip(tabs, (goodbye, WebSocket.close, WebSocket.reset), strict=True):
        leave(tab)
    events = [(event["event"], json.loads(event["data"])["user_id"]) for event in (watcher.event(), watcher.event())]
    assert events == [(ADDED, "ana"), (REMOVED, "ana")]
    watcher.hears_nothing()


def test_a_lost_member_may_come_back_in_time(connect: Connect, serve: Callable[..., ServerProcess]) -> None:
    patient = serve({"presence": {"ungraceful_timeout_seconds": 600}})
    watcher, first, second = (connect(server=patient) for _ in range(3))
    watcher.subscribe("presence-x", "watcher")
    first.subscribe("presence-x", "ana")
    assert watcher.event()["event"] == ADDED
    first.reset()
    wait_until(lambda: gauge(patient, "connected") == 2, "the loss to be noticed")
    assert len(patient.signed("GET", "/apps/app-id/channels/presence-x/users").json()["users"]) == 2
    second.subscribe("presence-x", "ana")
    watcher.hears_nothing()
    goodbye(second)
    assert watcher.event()["event"] == REMOVED


def test_a_lost_member_goes_when_its_time_is_over(connect: Connect, serve: Callable[..., ServerProcess]) -> None:
    hasty = serve({"presence": {"ungraceful_timeout_seconds": 1}})
    watcher, client = connect(server=hasty), connect(server=hasty)
    watcher.subscribe("presence-x", "watcher")
    client.subscribe("presence-x", "ana")
    assert watcher.event()["event"] == ADDED
    client.reset()
    assert watcher.event()["event"] == REMOVED


def test_a_channel_is_vacated_by_every_way_of_leaving(connect: Connect, server: ServerProcess, unique: str) -> None:
    def unsubscribe(client: WebSocket) -> None:
        client.say("pusher:unsubscribe", {"channel": unique})

    for leave in (unsubscribe, goodbye, WebSocket.close, WebSocket.reset):
        client = connect()
        client.subscribe(unique)
        assert occupied(server, unique)
        leave(client)
        wait_until(lambda: not occupied(server, unique), f"{leave.__name__} to vacate the channel")


# ---- gauges ----


def test_aborted_handshakes_leave_no_trace(connect: Connect, dial: Dial, server: ServerProcess) -> None:
    whole = handshake("/app/app-key?protocol=7")
    wait_until(lambda: gauge(server, "connected") == 0, "the connections of other tests to end")
    before = descriptors(server)
    for number in range(200):
        connection = dial()
        connection.send(whole[: 1 + number * len(whole) // 200])
        if number % 3 == 0:
            connection.reset()
        elif number % 3 == 1:
            connection.half_close()
        else:
            connection.close()
    for _ in range(50):
        connection = dial()
        connection.send(whole)
        connection.reset()
    client = connect()
    wait_until(lambda: gauge(server, "connected") == 1, "one connection to be left")
    goodbye(client)
    wait_until(lambda: gauge(server, "connected") == 0, "no connection to be left")
    wait_until(lambda: descriptors(server) <= before + 1, "the descriptors of the aborted handshakes")


def test_more_connections_than_the_usual_limit_of_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1200
    if hard < wanted + 200:
        pytest.skip(f"this machine allows {hard} descriptors for one process")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with start_server() as roomy:
            clients = [WebSocket(roomy) for _ in range(wanted)]
            for client in clients:
                client.greeting()
                client.say("pusher:subscribe", {"channel": "all"})
            for client in clients:
                assert client.event()["event"] == "pusher_internal:subscription_succeeded"
            assert gauge(roomy, "connected") == wanted
            assert descriptors(roomy) > wanted
            roomy.publish("all", "event", "everyone")
            assert all(client.event()["data"] == "everyone" for client in clients)
            assert "descriptor limit" in roomy.log
            for client in clients:
                client.reset()
            wait_until(lambda: gauge(roomy, "connected") == 0, "all to be gone")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- silence ----


@pytest.fixture(scope="module")
def alert() -> Iterator[ServerProcess]:
    with start_server({"activity_timeout": 1}) as running:
        yield running


def test_a_silent_peer_is_pinged_and_an_answer_is_enough(connect: Connect, alert: ServerProcess) -> None:
    client = connect(server=alert)
    for event in ("pusher:ping", "anything"):
        assert client.text() == '{"event":"pusher:ping"}'
        client.say(event)
        if event == "pusher:ping":
            assert client.text() == '{"event":"pusher:pong"}'


def test_a_native_ping_is_a_sign_of_life(connect: Connect, alert: ServerProcess) -> None:
    client = connect(server=alert)
    assert client.text() == '{"event":"pusher:ping"}'
    client.send(frame(b"", PING))
    assert client.frame().payload == b""
    assert client.text() == '{"event":"pusher:ping"}'


# ---- slow readers ----

COUNT = 3000
# Together more than the largest send buffer, which the system may give a connection at once when it remembers others.
DATA = "x" * 2500


def publish_many(server: ServerProcess, dial: Dial, channel: str) -> None:
    """So much that it cannot wait in the buffers of the system alone."""
    body = json.dumps({"name": "e", "channel": channel, "data": DATA}).encode()
    target = signed_target(server.app, "POST", "/apps/app-id/events", body)
    request = request_bytes("POST", target, {"Content-Type": "application/json"}, body)
    connection = dial(server=server)
    for _ in range(COUNT // 100):
        connection.send(request * 100)
        assert all(connection.answer().status == 200 for _ in range(100))


@pytest.mark.parametrize("others", [3, 8], ids=["a few", "many"])
def test_a_slow_reader_is_closed_and_the_others_lose_nothing(
    connect: Connect, dial: Dial, serve: Callable[..., ServerProcess], others: int
) -> None:
    own = serve({"websocket": {"max_messages": 100, "max_backpressure": 65_536}})
    slow = connect(server=own, receive_buffer=4096)
    quick = [connect(server=own) for _ in range(others)]
    for client in (slow, *quick):
        client.subscribe("busy")
    heard = [_Listener(client) for client in quick]
    publish_many(own, dial, "busy")
    assert [listener.wait() for listener in heard] == [COUNT] * others
    wait_until(lambda: gauge(own, "connected") == others, "the slow one to be given up")
    assert gauge(own, "ws_messages_dropped_total") > 0
    received: list[Event] = []
    while (event := slow.event())["event"] == "e":
        received.append(event)
    assert 0 < len(received) < COUNT
    assert event == {
        "event": "pusher:error",
        "data": {"code": 4100, "message": "Client buffer full, disconnecting slow consumer"},
    }
    slow.closed(4100, "Client buffer full, disconnecting slow consumer")


def test_a_slow_reader_may_be_left_connected(connect: Connect, dial: Dial, serve: Callable[..., ServerProcess]) -> None:
    """With disconnect_on_buffer_full off it misses messages, and goes on with later ones."""
    limits = {"max_messages": 100, "max_backpressure": 65_536, "disconnect_on_buffer_full": False}
    own = serve({"websocket": limits})
    slow = connect(server=own, receive_buffer=4096)
    slow.subscribe("busy")
    publish_many(own, dial, "busy")
    dropped = gauge(own, "ws_messages_dropped_total")
    assert dropped > 0
    received = [slow.event() for _ in range(COUNT - int(dropped))]
    assert all(event["data"] == DATA for event in received)
    own.publish("busy", "e", "later")
    assert slow.event()["data"] == "later"


class _Listener:
    """Reads a connection in a thread of its own until it has heard everything."""

    def __init__(self, client: WebSocket) -> None:
        self._client = client
        self._count = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while self._count < COUNT and self._client.event()["data"] == DATA:
            self._count += 1

    def wait(self) -> int:
        self._thread.join(30)
        return self._count


def test_pings_of_a_peer_that_does_not_read_their_answers(
    connect: Connect, serve: Callable[..., ServerProcess]
) -> None:
    own = serve({"websocket": {"max_messages": 100, "max_backpressure": 65_536}})
    rude = connect(server=own, receive_buffer=4096)
    rude.send_until_full(frame(b"p" * 125, PING), limit=50_000)
    wait_until(lambda: gauge(own, "connected") == 0, "the peer to be given up")
