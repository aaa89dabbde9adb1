"""Subscriptions that begin with the past, and the place at which a subscription begins
(spec: websocket § 13.1 and 13.2; history spec: websocket § 5)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from blackbox.timed import TimedServer
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, WebSocket, compact

FEW_APP = Credentials("few", "few-key", "few-secret")
STORED_APP = Credentials("stored", "stored-key", "stored-secret")
NAMED_APP = Credentials("named", "named-key", "named-secret")
OFF_APP = Credentials("off", "off-key", "off-secret")
NO_REWIND_APP = Credentials("no-rewind", "no-rewind-key", "no-rewind-secret")

PAGE = 4
INVALID = "Invalid message format: Invalid rewind option in subscription data"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    namespaces = [{"name": "still", "history": {"rewind_enabled": False}}, {"name": "open"}]
    apps = [
        app_record(DEFAULT_APP),
        app_record(FEW_APP, history={"max_messages_per_channel": 2}),
        app_record(STORED_APP, connection_recovery={"enabled": False}),
        app_record(NAMED_APP, channels={"channel_namespaces": namespaces}),
        app_record(OFF_APP, history={"enabled": False}),
        app_record(NO_REWIND_APP, history={"rewind_enabled": False}),
    ]
    config = {**STREAMS, "history": {**STREAMS["history"], "max_page_size": PAGE}}
    with start_server({**config, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def publish(server: ServerProcess, channel: str, count: int, **fields: Any) -> None:
    """Publishes 1, 2, 3 …, odd ones as ``odd``."""
    for number in range(1, count + 1):
        server.publish(channel, "odd" if number % 2 else "even", str(number), **fields)


def rewound(client: WebSocket, channel: str) -> tuple[list[Event], Event]:
    """What came behind the acknowledgement, and what the frame that ends it says."""
    found: list[Event] = []
    while (frame := client.event())["event"] != "sockudo:rewind_complete":
        assert frame["channel"] == channel
        found.append(frame)
    assert list(frame) == ["event", "channel", "data"]
    assert frame["channel"] == channel
    data = frame["data"]
    fields = ["historical_count", "live_count", "complete", "truncated_by_retention", "truncated_by_limit"]
    assert list(data) == fields
    assert data["complete"] == (not data["truncated_by_retention"] and not data["truncated_by_limit"])
    assert data["historical_count"] + data["live_count"] == len(found)
    return found, data


def subscribe(client: WebSocket, channel: str, rewind: object, **options: Any) -> tuple[list[str], list[str]]:
    """What a subscription begins with, and which truncations it tells of."""
    client.subscribe(channel, "ana", rewind=rewind, **options)
    found, data = rewound(client, channel)
    truncated = [name.removeprefix("truncated_by_") for name in data if name.startswith("truncated") and data[name]]
    return [each["data"] for each in found], truncated


# ---- how much ----


def test_the_whole_exchange_to_the_byte(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    witness = connect_v2()
    start = witness.subscribe(unique)
    publish(server, unique, 3, tags={"a": "1"}, extras={"headers": {"n": 1}})
    live = [witness.event() for _ in range(3)]
    client = connect_v2()
    client.say("sockudo:subscribe", {"channel": unique, "rewind": 2})
    acknowledgement = {"event": "sockudo_internal:subscription_succeeded", "channel": unique}
    place = {"stream_id": start["stream_id"], "serial": 3}
    assert client.text() == compact({**acknowledgement, "data": '{"attach_serial":3}', **place})
    assert [client.event(), client.event()] == live[1:]
    counts = {"historical_count": 2, "live_count": 0, "complete": False}
    data = {**counts, "truncated_by_retention": False, "truncated_by_limit": True}
    assert client.text() == compact({"event": "sockudo:rewind_complete", "channel": unique, "data": data})
    client.hears_nothing()


@pytest.mark.parametrize(
    "rewind",
    [2, "2", {"count": 2}, {"count": "2"}, {"count": 2, "seconds": 1}, {"count": 2, "duration_seconds": "x"}],
)
def test_a_number_of_messages(connect_v2: Connect, server: ServerProcess, unique: str, rewind: object) -> None:
    publish(server, unique, 3)
    assert subscribe(connect_v2(), unique, rewind) == (["2", "3"], ["limit"])


@pytest.mark.parametrize("rewind", [{"seconds": 30}, {"duration_seconds": 30}, {"seconds": "30"}])
def test_a_stretch_of_time(connect_v2: Connect, server: ServerProcess, unique: str, rewind: object) -> None:
    publish(server, unique, 3)
    assert subscribe(connect_v2(), unique, rewind) == (["1", "2", "3"], [])


def test_a_stretch_of_time_begins_when_it_says() -> None:
    with TimedServer(STREAMS) as server:
        for number in range(3):
            server.publish("news", "tide", str(number))
            server.advance(10)
        client = server.connect()
        for seconds, due in ((35, ["0", "1", "2"]), (25, ["1", "2"]), (5, [])):
            assert subscribe(client, "news", {"seconds": seconds}) == (due, [])


@pytest.mark.parametrize("rewind", [3, 100, 10**9, {"seconds": 10**9}])
def test_all_there_is(connect_v2: Connect, server: ServerProcess, unique: str, rewind: object) -> None:
    publish(server, unique, 3)
    found, truncated = subscribe(connect_v2(), unique, rewind)
    assert found == ["1", "2", "3"]
    # More was asked for than a page may hold: whether that would have been more is not looked up.
    assert truncated == (["limit"] if isinstance(rewind, int) and rewind > PAGE else [])


@pytest.mark.parametrize("rewind", [10, {"seconds": 60}])
def test_never_more_than_a_page_and_always_the_newest(
    connect_v2: Connect, server: ServerProcess, unique: str, rewind: object
) -> None:
    publish(server, unique, 6)
    assert subscribe(connect_v2(), unique, rewind) == (["3", "4", "5", "6"], ["limit"])


def test_an_empty_channel_has_an_empty_past(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    assert subscribe(client, unique, 3) == ([], [])
    publish(server, unique, 1)
    assert client.event()["serial"] == 1


def test_what_retention_took_is_told(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, 3, app=FEW_APP)
    client = connect_v2(app=FEW_APP)
    assert subscribe(client, unique, 4) == (["2", "3"], ["retention"])
    assert subscribe(client, unique, 1) == (["3"], ["retention", "limit"])
    assert subscribe(client, unique, {"seconds": 60}) == (["2", "3"], ["retention"])


def test_what_a_purge_took_is_told(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, 3)
    body = {"confirm_channel": unique, "confirm_operation": "purge", "reason": "test", "mode": "all"}
    assert server.signed("POST", f"/apps/app-id/channels/{unique}/history/purge", body=body).status == 200
    assert subscribe(connect_v2(), unique, 4) == ([], ["retention"])


def test_passing_messages_have_no_past(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, 1)
    server.publish(unique, "passing", "x", extras={"ephemeral": True})
    publish(server, unique, 1)
    assert subscribe(connect_v2(), unique, 3) == (["1", "1"], [])


# ---- with a filter ----


def test_as_many_as_pass_the_filter(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, 7)
    client = connect_v2()
    assert subscribe(client, unique, 2, filter={"events": ["even"]}) == (["4", "6"], ["limit"])
    assert subscribe(client, unique, 4, filter={"events": ["odd"]}) == (["1", "3", "5", "7"], [])
    assert subscribe(client, unique, 4, filter={"events": ["none"]}) == ([], [])


def test_a_search_has_an_end(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    server.publish(unique, "needle", "found")
    batch = [{"channel": unique, "name": "hay", "data": "x"} for _ in range(10)]
    for _ in range(16 * PAGE // 10 + 1):
        assert server.signed("POST", "/apps/app-id/batch_events", body={"batch": batch}).status == 200
    assert subscribe(connect_v2(), unique, 1, filter={"events": ["needle"]}) == ([], ["limit"])


# ---- where ----


@pytest.mark.parametrize("prefix", ["private-", "presence-", "private-encrypted-"])
def test_every_kind_of_channel(connect_v2: Connect, server: ServerProcess, unique: str, prefix: str) -> None:
    channel = f"{prefix}{unique[-60:]}"
    publish(server, channel, 2)
    assert subscribe(connect_v2(), channel, 2) == (["1", "2"], [])


def test_the_last_event_of_a_cache_channel_comes_behind_its_past(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    channel = f"cache-{unique}"
    publish(server, channel, 2)
    client = connect_v2()
    assert subscribe(client, channel, 2) == (["1", "2"], [])
    assert client.event() == {"event": "even", "channel": channel, "data": "2"}


def test_history_alone_is_enough(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, 2, app=STORED_APP)
    assert subscribe(connect_v2(app=STORED_APP), unique, 2) == (["1", "2"], [])


def test_subscribing_again_rewinds_again(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"presence-{unique}"
    client, other = connect_v2(), connect_v2()
    client.subscribe(channel, "ana")
    other.subscribe(channel, "ben")
    client.event()
    publish(server, channel, 2)
    assert [client.event()["data"], client.event()["data"]] == ["1", "2"]
    assert subscribe(client, channel, 1) == (["2"], ["limit"])
    assert [each["event"] for each in other.until_pong()] == ["odd", "even"]


@pytest.mark.parametrize("app", [DEFAULT_APP, STORED_APP], ids=lambda app: app.id)
def test_the_past_and_what_is_said_meanwhile_are_one_whole(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    publisher = threading.Thread(target=lambda: publish(server, unique, 60, app=app))
    publisher.start()
    newest = 0
    for _ in range(1000):
        client = connect_v2(app=app)
        head = json.loads(client.subscribe(unique, rewind=PAGE)["data"])["attach_serial"]
        found, data = rewound(client, unique)
        serials = [each["serial"] for each in (*found, *client.until_pong())]
        assert serials == list(range(max(head - PAGE, 0) + 1, head + len(serials) - min(head, PAGE) + 1))
        assert data["historical_count"] == min(head, PAGE)
        newest = serials[-1] if serials else 0
        client.close()
        if newest == 60:
            break
    publisher.join()
    assert newest == 60


# ---- refusals ----


@pytest.mark.parametrize(
    "rewind",
    [0, -1, "0", "-1", "x", "", 1.5, True, [], [1], {}, {"count": 0}, {"seconds": 0}, {"minutes": 1}, "1" * 99],
)
def test_another_shape_subscribes_to_nothing(
    connect_v2: Connect, server: ServerProcess, unique: str, rewind: object
) -> None:
    client = connect_v2()
    client.say("sockudo:subscribe", {"channel": unique, "rewind": rewind})
    client.refused(4000, INVALID)
    publish(server, unique, 1)
    client.hears_nothing()


def test_null_asks_for_nothing(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, 1)
    client = connect_v2()
    client.subscribe(unique, rewind=None)
    client.hears_nothing()


@pytest.mark.parametrize(
    ("app", "channel"),
    [
        (OFF_APP, "news"),
        (NO_REWIND_APP, "news"),
        (NAMED_APP, "still:news"),
        (NAMED_APP, "private-still:news"),
        (DEFAULT_APP, "news*"),
        (DEFAULT_APP, "[meta]news"),
    ],
)
def test_where_there_is_no_rewind(connect_v2: Connect, server: ServerProcess, app: Credentials, channel: str) -> None:
    client = connect_v2(app=app)
    client.say("sockudo:subscribe", {"channel": channel, "rewind": 1})
    client.refused(4300, f"Channel error: Channel rewind is disabled by policy for channel '{channel}'")
    publish(server, "news", 1, app=DEFAULT_APP if app is NAMED_APP else app)
    client.hears_nothing()


def test_a_namespace_without_a_rule_of_its_own(connect_v2: Connect, server: ServerProcess) -> None:
    publish(server, "open:news", 2, app=NAMED_APP)
    assert subscribe(connect_v2(app=NAMED_APP), "open:news", 2) == (["1", "2"], [])


def test_v1_cannot_rewind(connect: Connect) -> None:
    client = connect()
    client.say("pusher:subscribe", {"channel": "news", "rewind": 1})
    client.refused(4300, "Channel error: Channel rewind is only supported on protocol V2")


def test_a_refused_signature_shows_nothing(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"private-{unique}"
    publish(server, channel, 1)
    client = connect_v2()
    client.say("sockudo:subscribe", {"channel": channel, "rewind": 1, "auth": "app-key:x"})
    client.refused(4009, "Authentication error: Channel requires authentication")
    client.hears_nothing()
