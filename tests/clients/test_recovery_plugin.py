"""The recovery plug-in in stock pusher-js: what is published while a client is away arrives once, in order, or the
application is told of a gap."""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.line import Line
from clients.node import JsClient, Node, open_pusher
from sockudo.testing.loop_thread import LoopThread
from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import PATIENCE, wait_until

BUFFERED = DEFAULT_APP
"""Its channels keep their last messages in memory."""
DURABLE = NUMERIC_APP
"""Its channels are stored."""
PLAIN = Credentials("plain-id", "plain-key", "plain-secret")
"""Protocol V1 as everybody knows it."""
BRIEF = Credentials("brief-id", "brief-key", "brief-secret")
"""Its channels keep two messages."""

V1_RECOVERY = {"channels": {"v1_recovery": True}}
NO_HISTORY = {"history": {"enabled": False}}
ANA = {"user_id": "ana", "user_info": {"name": "Ana"}}

_names = itertools.count(1)


def config(**changes: Any) -> dict[str, Any]:
    apps = [
        app_record(BUFFERED, **V1_RECOVERY, **NO_HISTORY),
        app_record(DURABLE, **V1_RECOVERY),
        app_record(PLAIN, **NO_HISTORY),
        app_record(BRIEF, **V1_RECOVERY, **NO_HISTORY, connection_recovery={"enabled": True, "max_buffer_size": 2}),
    ]
    return {
        "connection_recovery": {"enabled": True, "max_buffer_size": 500},
        "history": {"enabled": True, "backend": "sqlite"},
        "app_manager": {"array": {"apps": apps}},
        **changes,
    }


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(config()) as running:
        yield running


@pytest.fixture
def lines() -> Iterator[Callable[[ServerProcess], Line]]:
    loop = LoopThread("lines")
    opened: list[Line] = []

    def open_one(server: ServerProcess) -> Line:
        opened.append(Line(loop, server))
        return opened[-1]

    yield open_one
    for line in opened:
        line.close()
    loop.close()


@pytest.fixture
def line(lines: Callable[[ServerProcess], Line], server: ServerProcess) -> Line:
    return lines(server)


class Client:
    """A pusher-js client behind a line, and what its application was told."""

    def __init__(self, js: JsClient, line: Line) -> None:
        self.js = js
        self.line = line
        self.do = js.do
        self.subscribe = js.subscribe

    def cut(self) -> None:
        """Cuts the line; the client has noticed, and stays away."""
        self.do("away")
        self.line.cut()
        self.js.expect("cut")

    def back(self) -> None:
        self.do("back")
        self.js.connected()

    def outcome(self, channel: str) -> tuple[str, dict[str, Any]]:
        """Waits for what comes of a channel, which the client object is told as well."""

        def matches(report: dict[str, Any]) -> bool:
            return report.get("channel") == channel and report.get("event") in ("recovered", "gap")

        report = self.js.mailbox.next(matches, f"the outcome of {channel}")
        assert report["data"]["channel"] == channel
        assert self.js.expect("told", event=report["event"], data=report["data"])
        return report["event"], report["data"]

    def recovered(self, channel: str) -> int:
        event, data = self.outcome(channel)
        assert event == "recovered", data
        count: int = data["count"]
        return count

    def gap(self, channel: str) -> tuple[str, str]:
        event, data = self.outcome(channel)
        assert event == "gap", data
        return data["code"], data["reason"]

    def events(self, channel: str) -> list[str]:
        """The names of all events on the channel so far."""
        return [report["event"] for report in self.js.reports("event", channel=channel)]

    def publish(self, channel: str, *numbers: int) -> None:
        """Publishes as the app's backend does, with its SDK, which encrypts what has to be."""
        for number in numbers:
            self.do("publish", channel=channel, event="said", data=number)

    def heard(self, channel: str) -> list[Any]:
        """The data of what was published on the channel, as far as it has arrived."""
        return [report["data"] for report in self.js.reports("event", channel=channel, event="said")]

    def has_heard(self, channel: str, expected: list[Any]) -> None:
        """Waits for these messages, and insists on nothing but these, in this order."""
        wait_until(lambda: len(self.heard(channel)) >= len(expected), f"{len(expected)} messages on {channel}")
        assert self.heard(channel) == expected


@pytest.fixture
def connect(recovery_node: Node, line: Line) -> Iterator[Callable[..., Client]]:
    opened: list[JsClient] = []

    def open_one(app: Credentials = BUFFERED, *, line: Line = line, **fields: Any) -> Client:
        target = {"id": app.id, "key": app.key, "secret": app.secret}
        js = open_pusher(recovery_node, line, f"recovery-{next(_names)}", app=target, **fields)  # type: ignore[arg-type]  # where it listens
        opened.append(js)
        js.connected()
        return Client(js, line)

    yield open_one
    for each in opened:
        each.close()


Connect = Callable[..., Client]


def say(server: ServerProcess, channel: str, *numbers: int, app: Credentials = BUFFERED) -> None:
    for number in numbers:
        server.publish(channel, "said", str(number), app=app)


# ---- what is recovered ----

KINDS = ["", "private-", "presence-", "private-encrypted-"]


@pytest.mark.parametrize("version", [7, 8])
@pytest.mark.parametrize("app", [BUFFERED, DURABLE], ids=["buffered", "durable"])
@pytest.mark.parametrize("auth_takes", [None, 40], ids=["authorized at once", "authorized later"])
def test_what_was_missed_arrives_once_and_in_order(
    connect: Connect, unique: str, app: Credentials, auth_takes: int | None, version: int
) -> None:
    client = connect(app, version=version, member=ANA, authTakes=auth_takes)
    channels = [f"{kind}{unique}" for kind in KINDS]
    for channel in channels:
        client.subscribe(channel)
    for channel in channels:
        client.publish(channel, 1, 2)
        client.has_heard(channel, [1, 2])
    client.cut()
    for channel in channels:
        client.publish(channel, 3, 4, 5)
    client.back()
    for channel in channels:
        assert client.recovered(channel) == 3
        client.has_heard(channel, [1, 2, 3, 4, 5])
        client.publish(channel, 6)
        client.has_heard(channel, [1, 2, 3, 4, 5, 6])
        events = client.events(channel)
        # Each subscribe is acknowledged as ever, and the outcome is told to a channel that is subscribed.
        assert events.count("pusher:subscription_succeeded") == 2
        assert events[events.index("pusher:subscription_succeeded", 1) :].count("recovered") == 1
        assert "gap" not in events


@pytest.mark.parametrize("app", [BUFFERED, DURABLE], ids=["buffered", "durable"])
def test_nothing_was_missed(connect: Connect, server: ServerProcess, unique: str, app: Credentials) -> None:
    """The acknowledgement alone says where a client is: one that has never got a message can be recovered too."""
    client = connect(app)
    client.subscribe(unique)
    client.cut()
    client.back()
    assert client.recovered(unique) == 0
    client.cut()
    say(server, unique, 1, app=app)
    client.back()
    assert client.recovered(unique) == 1
    client.has_heard(unique, [1])


def test_client_that_disconnects_for_a_while(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.subscribe(unique)
    say(server, unique, 1)
    client.has_heard(unique, [1])
    client.do("disconnect")
    client.js.expect("state", state="disconnected")
    say(server, unique, 2)
    client.do("connect")
    assert client.recovered(unique) == 1
    client.has_heard(unique, [1, 2])


def test_new_subscription_of_the_same_name_starts_afresh(connect: Connect, server: ServerProcess, unique: str) -> None:
    """What was published between an unsubscribe and the next subscribe was not missed."""
    client = connect()
    client.subscribe(unique)
    say(server, unique, 1)
    client.has_heard(unique, [1])
    client.do("unsubscribe", channel=unique)
    client.subscribe(f"{unique}-marker")
    say(server, unique, 2)
    client.subscribe(unique)
    client.cut()
    say(server, unique, 3)
    client.back()
    assert client.recovered(unique) == 1
    client.has_heard(unique, [1, 3])


def test_channel_that_is_left_while_away(connect: Connect, server: ServerProcess, unique: str) -> None:
    left, kept = f"{unique}-left", f"private-{unique}-kept"
    client = connect(authTakes=20)
    client.subscribe(left)
    client.subscribe(kept)
    client.cut()
    client.do("unsubscribe", channel=left)
    say(server, left, 1)
    say(server, kept, 1)
    client.back()
    assert client.recovered(kept) == 1
    client.has_heard(kept, [1])
    assert client.events(left) == ["pusher:subscription_succeeded"]
    # It may be joined again, as a new one.
    client.subscribe(left)
    say(server, left, 2)
    client.has_heard(left, [2])
    assert "gap" not in client.events(left)


def test_channel_that_is_left_while_it_is_authorized(connect: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"private-{unique}"
    client = connect()
    client.subscribe(channel)
    client.subscribe(f"{unique}-kept")
    client.cut()
    say(server, f"{unique}-kept", 1)
    client.do("authTakes", milliseconds=100)
    client.back()
    client.do("unsubscribe", channel=channel)
    assert client.recovered(f"{unique}-kept") == 1
    say(server, channel, 1)
    assert client.heard(channel) == []
    assert client.events(channel) == ["pusher:subscription_succeeded"]


def test_presence_members_after_a_cut(connect: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"presence-{unique}"
    ana = connect(member=ANA, authTakes=20)
    ana.subscribe(channel)
    ben = connect(member={"user_id": "ben"})
    ben.subscribe(channel)
    assert ana.js.data(channel, "pusher:member_added")["id"] == "ben"
    ana.cut()
    say(server, channel, 1)
    ben.do("unsubscribe", channel=channel)
    ana.back()
    assert ana.recovered(channel) == 1
    ana.has_heard(channel, [1])
    assert ana.do("members", channel=channel) == ["ana"]


@pytest.mark.parametrize("kind", ["cache-", "private-cache-"])
@pytest.mark.parametrize("app", [BUFFERED, DURABLE], ids=["buffered", "durable"])
def test_cached_event_is_not_said_again(
    connect: Connect, server: ServerProcess, unique: str, kind: str, app: Credentials
) -> None:
    channel = f"{kind}{unique}"
    say(server, channel, 1, app=app)
    client = connect(app, authTakes=20)
    client.subscribe(channel)
    client.has_heard(channel, [1])
    for first in (2, 4):
        client.cut()
        say(server, channel, first, first + 1, app=app)
        client.back()
        assert client.recovered(channel) == 2
        client.has_heard(channel, list(range(1, first + 2)))
    # A cut in which nothing is said.
    client.cut()
    client.back()
    assert client.recovered(channel) == 0
    say(server, channel, 6, app=app)
    client.has_heard(channel, [1, 2, 3, 4, 5, 6])


def test_cached_event_that_is_not_recovered_is_delivered(connect: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"cache-{unique}"
    client = connect(BRIEF)
    client.subscribe(channel)
    client.cut()
    say(server, channel, 1, 2, 3, app=BRIEF)
    client.back()
    client.gap(channel)
    client.has_heard(channel, [3])


def test_many_channels(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    channels = [f"{unique}-{number}" for number in range(200)]
    for channel in channels:
        client.do("subscribe", channel=channel)
    for channel in channels:
        client.js.data(channel, "pusher:subscription_succeeded")
    client.cut()
    for channel in channels:
        say(server, channel, 1)
    client.back()
    for channel in channels:
        assert client.recovered(channel) == 1
        assert client.heard(channel) == [1]


def test_more_channels_than_fit_into_one_resume(connect: Connect, unique: str) -> None:
    """The rest is told of a gap; a resume that is too large would end the connection, again and again."""
    client = connect()
    channels = [f"{unique}-{number}" for number in range(600)]
    for channel in channels:
        client.do("subscribe", channel=channel)
    for channel in channels:
        client.js.data(channel, "pusher:subscription_succeeded")
    client.cut()
    client.back()
    outcomes = [client.outcome(channel) for channel in channels]
    recovered = [event for event, _ in outcomes].count("recovered")
    assert 300 < recovered < 600
    assert {data["reason"] for event, data in outcomes if event == "gap"} == {"too_many_channels"}
    assert len(client.js.reports("state", state="connected")) == 2


def test_server_that_takes_only_small_messages(
    connect: Connect, lines: Callable[[ServerProcess], Line], unique: str
) -> None:
    with start_server(config(websocket_max_payload_kb=4)) as small:
        client = connect(line=lines(small))
        channels = [f"{unique}-{number}" for number in range(100)]
        for channel in channels:
            client.do("subscribe", channel=channel)
        for channel in channels:
            client.js.data(channel, "pusher:subscription_succeeded")
        client.cut()
        client.do("back")
        outcomes = [client.outcome(channel)[0] for channel in channels]
        assert 10 < outcomes.count("recovered") < 90
        say(small, unique + "-0", 1)
        client.has_heard(unique + "-0", [1])
        client.js.close()


# ---- gaps ----


def test_more_was_missed_than_is_kept(connect: Connect, server: ServerProcess, unique: str) -> None:
    channels = [unique, f"private-{unique}"]
    client = connect(BRIEF, authTakes=20)
    for channel in channels:
        client.subscribe(channel)
    client.cut()
    for channel in channels:
        say(server, channel, 1, 2, 3, app=BRIEF)
    client.back()
    for channel in channels:
        reason = "hot_replay_expired_and_durable_history_disabled"
        assert client.gap(channel) == ("position_expired", reason)
        # It is told once the channel is subscribed: what is fetched then misses nothing.
        events = client.events(channel)
        assert events.index("gap") > events.index("pusher:subscription_succeeded", 1)
        say(server, channel, 4, app=BRIEF)
        client.has_heard(channel, [4])
    # From there it goes on.
    client.cut()
    for channel in channels:
        say(server, channel, 5, 6, app=BRIEF)
    client.back()
    for channel in channels:
        assert client.recovered(channel) == 2
        client.has_heard(channel, [4, 5, 6])


def test_stream_that_was_reset(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect(DURABLE)
    client.subscribe(unique)
    say(server, unique, 1, 2, app=DURABLE)
    client.has_heard(unique, [1, 2])
    client.cut()
    reset = {"confirm_channel": unique, "confirm_operation": "reset", "reason": "a test", "requested_by": "a test"}
    reply = server.signed("POST", f"/apps/{DURABLE.id}/channels/{unique}/history/reset", body=reset, app=DURABLE)
    assert reply.status == 200, reply.text
    client.back()
    code, _ = client.gap(unique)
    assert code == "stream_reset"
    say(server, unique, 3, app=DURABLE)
    client.has_heard(unique, [1, 2, 3])
    client.cut()
    say(server, unique, 4, app=DURABLE)
    client.back()
    assert client.recovered(unique) == 1
    client.has_heard(unique, [1, 2, 3, 4])


@pytest.mark.parametrize("app", [BUFFERED, DURABLE], ids=["buffered", "durable"])
def test_server_restarts(
    connect: Connect, lines: Callable[[ServerProcess], Line], tmp_path: Path, unique: str, app: Credentials
) -> None:
    """What is stored is still there, what was in memory alone is not."""
    data = {"SOCKUDO_DATA_DIR": str(tmp_path)}
    channels = [unique, f"private-{unique}"]
    with start_server(config(), env=data) as first:
        client = connect(app, line=lines(first), authTakes=20)
        for channel in channels:
            client.subscribe(channel)
            say(first, channel, 1, app=app)
            client.has_heard(channel, [1])
        client.do("away")
        # Published by the old server after the client has left it.
        client.cut()
        for channel in channels:
            say(first, channel, 2, app=app)
    with start_server(config(port=first.port), env=data) as second:
        for channel in channels:
            say(second, channel, 3, app=app)
        client.back()
        for channel in channels:
            if app is DURABLE:
                assert client.recovered(channel) == 2
                client.has_heard(channel, [1, 2, 3])
            else:
                code, _ = client.gap(channel)
                assert code in ("stream_reset", "position_expired")
                assert client.heard(channel) == [1]
        client.js.close()


CHANGED_POLICIES = {
    "resuming is not allowed any more": config(app_manager={"array": {"apps": [app_record(BUFFERED)]}}),
    "nothing is kept any more": config(connection_recovery={"enabled": False}),
}


@pytest.mark.parametrize("changed", list(CHANGED_POLICIES))
def test_server_that_no_longer_recovers(
    connect: Connect, lines: Callable[[ServerProcess], Line], unique: str, changed: str
) -> None:
    with start_server(config()) as first:
        client = connect(line=lines(first))
        client.subscribe(unique)
        client.cut()
    with start_server({**CHANGED_POLICIES[changed], "port": first.port}) as second:
        client.back()
        code, reason = client.gap(unique)
        assert code == "recovery_unavailable"
        assert reason in ("refused_by_server", "server_does_not_recover")
        say(second, unique, 1)
        client.has_heard(unique, [1])
        assert client.events(unique).count("gap") == 1
        client.js.close()


def test_server_that_does_not_recover(connect: Connect, server: ServerProcess, unique: str) -> None:
    """Nothing is asked for, and every reconnect is a gap."""
    client = connect(PLAIN)
    client.subscribe(unique)
    say(server, unique, 1, app=PLAIN)
    client.has_heard(unique, [1])
    for number in (2, 3):
        client.cut()
        client.back()
        assert client.gap(unique) == ("recovery_unavailable", "server_does_not_recover")
        say(server, unique, number, app=PLAIN)
        client.has_heard(unique, [*range(1, number + 1)])
    refusals = [report["error"] for report in client.js.reports("error") if "message" in report["error"]]
    assert refusals == []


def test_channel_that_may_not_be_joined_again(connect: Connect, server: ServerProcess, unique: str) -> None:
    """The application hears of the refusal as ever, the other channels lose nothing, and when it may join again it is
    told that it has missed something."""
    refused, other = f"private-{unique}", f"{unique}-other"
    client = connect(authTakes=20)
    client.subscribe(refused)
    client.subscribe(other)
    client.cut()
    say(server, refused, 1)
    say(server, other, 1)
    client.do("deny", channel=refused, denied=True)
    client.back()
    client.has_heard(other, [1])
    client.js.data(refused, "pusher:subscription_error")
    # The server waits ten seconds for the channel before it says what became of the others.
    client.js.expect("event", channel=other, event="recovered", timeout=20)
    assert "gap" not in client.events(refused)
    client.do("deny", channel=refused, denied=False)
    client.subscribe(refused)
    assert client.gap(refused) == ("continuity_unverifiable", "channel_not_authorized")
    assert client.heard(refused) == []


# ---- beside the application ----


def test_stock_client_notices_nothing(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect(plugin=False)
    client.subscribe(unique)
    say(server, unique, 1)
    client.has_heard(unique, [1])
    client.cut()
    say(server, unique, 2)
    client.back()
    client.js.data(unique, "pusher:subscription_succeeded")
    say(server, unique, 3)
    client.has_heard(unique, [1, 3])
    assert client.events(unique) == ["pusher:subscription_succeeded", "said", "pusher:subscription_succeeded", "said"]


def test_switched_on_late_and_twice(connect: Connect, server: ServerProcess, unique: str) -> None:
    """A channel of which nothing was heard since may have missed something; one that got a message is known."""
    quiet, busy = f"{unique}-quiet", f"{unique}-busy"
    client = connect(late=True)
    client.subscribe(quiet)
    client.subscribe(busy)
    client.do("enable")
    client.do("enable")
    say(server, busy, 1)
    client.has_heard(busy, [1])
    client.cut()
    say(server, busy, 2)
    client.back()
    assert client.recovered(busy) == 1
    assert client.gap(quiet) == ("recovery_unavailable", "no_position")
    client.has_heard(busy, [1, 2])


def test_events_can_be_called_something_else(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect(late=True)
    client.do("enable", options={"prefix": "sockudo:"})
    client.subscribe(unique)
    client.cut()
    client.back()
    assert client.js.data(unique, "sockudo:recovered") == {"channel": unique, "count": 0, "source": "hot"}
    assert client.js.reports("told") == []


@pytest.mark.parametrize("event", ["said", "recovered"])
def test_listener_with_a_mistake(connect: Connect, server: ServerProcess, unique: str, event: str) -> None:
    """It costs no other channel anything, and is reported as the platform reports it."""
    channels = [f"{unique}-{number}" for number in range(3)]
    client = connect()
    for channel in channels:
        client.subscribe(channel)
    client.cut()
    for channel in channels:
        say(server, channel, 1)
    client.do("stumble", channel=channels[0], event=event)
    client.back()
    for channel in channels:
        client.js.expect("event", channel=channel, event="recovered")
        client.has_heard(channel, [1])
    assert client.js.expect("uncaught")["message"] == f"stumbled over {event}"


# ---- again and again ----

CUTS = 50


@pytest.mark.parametrize("app", [BUFFERED, DURABLE], ids=["buffered", "durable"])
def test_cut_at_random_moments(
    connect: Connect, server: ServerProcess, line: Line, unique: str, app: Credentials
) -> None:
    """Wherever the line is cut, in the middle of a frame too, every message arrives once and in order."""
    chance = random.Random(20260)
    channels = [unique, f"private-{unique}", f"presence-{unique}"]
    client = connect(app, member=ANA, authTakes=3)
    # A stock client that is cut off before it was greeted waits for a quarter of a minute.
    greeting = line.proxy.bytes_to_client + 20
    for channel in channels:
        client.subscribe(channel)
    client.do("away")
    stop = threading.Event()
    published = dict.fromkeys(channels, 0)

    def publish() -> None:
        for channel in itertools.cycle(channels):
            if stop.wait(0.002):
                return
            say(server, channel, published[channel] + 1, app=app)
            published[channel] += 1

    publisher = threading.Thread(target=publish, name="publisher")
    publisher.start()
    try:
        for _ in range(CUTS):
            # In the acknowledgements, in the replay, or in what is live.
            count = greeting + chance.choice([chance.randrange(1200), chance.randrange(6000)])
            line.loop.call(functools.partial(line.proxy.cut_after, count))
            client.js.expect("cut")
            line.loop.call(line.proxy.heal)
            client.do("back", away=True)
            client.js.connected()
    finally:
        stop.set()
        publisher.join(PATIENCE)
    for channel in channels:
        say(server, channel, published[channel] + 1, app=app)
        client.has_heard(channel, list(range(1, published[channel] + 2)))
        assert "gap" not in client.events(channel)
        assert "recovered" in client.events(channel)
    assert len(client.js.reports("cut")) == CUTS
