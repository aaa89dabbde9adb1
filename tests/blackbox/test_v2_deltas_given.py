"""Messages as differences: who gets them, of what, and what an operator decides
(spec: filters-deltas § 2.2 to 2.4 and 2.10)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blackbox.deltas import CHOSEN_APP, ENABLED, DeltaReader, Witness, confirmed, delta_server, enable, publish
from blackbox.timed import TimedServer
from support.server import ServerProcess
from support.websocket import Connect, Event
from support.wire import compact


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with delta_server() as running:
        yield running


# ---- who gets them, and in which form ----


@pytest.mark.parametrize(
    ("data", "algorithm"),
    [
        (None, "fossil"),
        ({}, "fossil"),
        ({"algorithms": ["xdelta3"]}, "xdelta3"),
        ({"algorithms": ["VCDIFF", "x"]}, "xdelta3"),
        ({"algorithms": ["fossil", "xdelta3"]}, "fossil"),
        ({"algorithms": ["x"]}, "fossil"),
        ({"algorithms": []}, "fossil"),
        ({"algorithms": "xdelta3"}, "fossil"),
        ({"algorithms": None}, "fossil"),
        ('{"algorithms":["xdelta3"]}', "xdelta3"),
        ("x", "fossil"),
        (5, "fossil"),
        ({"algorithms": ["x" * 1000] * 50}, "fossil"),
    ],
)
def test_enabling(connect_v2: Connect, server: ServerProcess, unique: str, data: object, algorithm: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    for _ in range(2):
        reader = enable(client, data, algorithm)
    publish(server, unique, 1, 2, 3)
    reader.messages(3)
    assert (reader.kinds, reader.algorithms) == ("FFD", {algorithm})


@pytest.mark.parametrize(
    ("value", "algorithm"),
    [
        (True, "fossil"),
        ("fossil", "fossil"),
        ("xdelta3", "xdelta3"),
        ("VcDiff", "xdelta3"),
        ("whatever", "fossil"),
        ({}, "fossil"),
        ({"enabled": True, "algorithm": "xdelta3"}, "xdelta3"),
        ({"algorithm": "x"}, "fossil"),
        (False, None),
        ("disabled", None),
        ("none", None),
        ("False", None),
        ({"enabled": False, "algorithm": "fossil"}, None),
    ],
    ids=compact,
)
@pytest.mark.parametrize("connection", ["before", "after", "never"])
def test_one_subscription_may_choose(
    connect_v2: Connect, server: ServerProcess, unique: str, value: object, algorithm: str | None, connection: str
) -> None:
    channel, other = unique[-60:], f"{unique[-60:]}-2"
    client = connect_v2()
    reader = DeltaReader(client)
    if connection == "before":
        reader = enable(client)
    client.subscribe(channel, delta=value)
    if algorithm is not None:
        confirmed(client, channel, algorithm)
    client.subscribe(other)
    if connection == "after":
        reader = enable(client)
    publish(server, channel, 1, 2, 3)
    reader.messages(3)
    assert reader.kinds == ("PPP" if algorithm is None else "FFD")
    publish(server, other, 1, 2, 3)
    reader.messages(3)
    assert reader.kinds[3:] == ("PPP" if connection == "never" else "FFD")
    if algorithm is not None and connection == "never":
        assert reader.algorithms == {algorithm}


@pytest.mark.parametrize("value", [5, None, [], 1.5])
def test_other_wishes_are_none(connect_v2: Connect, server: ServerProcess, unique: str, value: object) -> None:
    client = connect_v2()
    client.subscribe(unique, delta=value)
    publish(server, unique, 1, 2, 3)
    reader = DeltaReader(client)
    reader.messages(3)
    assert reader.kinds == "PPP"


@pytest.mark.parametrize("channel", ["private-encrypted-{}", "private-encrypted-cache-{}", "none-{}"])
def test_channels_that_never_have_them(connect_v2: Connect, server: ServerProcess, unique: str, channel: str) -> None:
    name = channel.format(unique[-50:])
    client = connect_v2(app=CHOSEN_APP)
    reader = enable(client)
    client.subscribe(name, delta=True)
    client.until_pong()
    publish(server, name, *range(4), app=CHOSEN_APP)
    reader.messages(4)
    assert reader.kinds == "PPPP"


@pytest.mark.parametrize("channel", ["private-{}", "presence-{}", "cache-{}", "private-cache-{}"])
def test_channels_that_do(connect_v2: Connect, server: ServerProcess, unique: str, channel: str) -> None:
    name = channel.format(unique[-50:])
    client = connect_v2()
    reader = enable(client)
    client.subscribe(name, "ana")
    client.until_pong()
    publish(server, name, 1, 2, 3)
    reader.messages(3)
    assert reader.kinds == "FFD"
    late = connect_v2()
    late_reader = enable(late)
    late.subscribe(name, "ana")
    if "cache" in channel:
        # The last event of a cache channel is no message.
        assert "__delta_seq" not in late.event()
    publish(server, name, 4, 5, 6)
    late_reader.messages(3)
    assert late_reader.kinds == "FFD"


def test_v1_has_none(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.say("pusher:enable_delta_compression")
    assert client.event()["event"] == "pusher:delta_compression_enabled"
    client.subscribe(unique, delta=True)
    publish(server, unique, *range(4))
    assert [list(client.event()) for _ in range(4)] == [["event", "channel", "data"]] * 4


def test_client_events_are_whole(connect_v2: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    client = connect_v2()
    reader = enable(client)
    client.subscribe(channel)
    for _ in range(4):
        client.say("client-a", {"text": "x" * 300}, channel)
    reader.messages(4)
    assert reader.kinds == "PPPP"


def test_the_past_is_whole(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    first = connect_v2()
    place = {name: first.subscribe(unique)[name] for name in ("stream_id", "serial")}
    publish(server, unique, *range(4))
    client = connect_v2()
    reader = enable(client)
    client.subscribe(unique, rewind=4)
    reader.messages(4)
    assert client.event()["event"] == "sockudo:rewind_complete"
    client.say("sockudo:resume", {"channel_positions": {unique: place}})
    reader.messages(4)
    assert client.event()["event"] == "sockudo:resume_success"
    assert reader.kinds == "P" * 8
    publish(server, unique, 1, 2, 3)
    reader.messages(3)
    assert reader.kinds[8:] == "FFD"


def test_tags_that_are_not_shown_are_not_in_the_texts_either(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    name = f"bare-{unique}"
    client, witness = connect_v2(app=CHOSEN_APP), Witness(connect_v2(app=CHOSEN_APP))
    reader = enable(client)
    client.subscribe(name, filter={"key": "n", "cmp": "ex"})
    witness.client.subscribe(name)
    for number in range(4):
        publish(server, name, number, app=CHOSEN_APP, tags={"n": str(number)})
    found = reader.messages(4)
    assert found == witness.messages(4)
    assert not any(b'"tags"' in each for each in found)
    assert reader.kinds == "FFDD"


# ---- what the operator decides ----


@pytest.mark.parametrize(
    ("config", "kinds", "algorithms"),
    [
        ({"full_message_interval": 0}, "FFFFFF", set()),
        ({"full_message_interval": 1}, "FFDFDF", {"fossil"}),
        ({"full_message_interval": 3, "algorithm": "xdelta3"}, "FFDDDF", {"xdelta3"}),
        ({"min_message_size": 5000}, "PPPPPP", set()),
        ({"conflation_key_path": "pair"}, "FFDDDD", {"fossil"}),
        ({"omit_delta_algorithm": True}, "FFDDDD", {"fossil"}),
    ],
    ids=lambda value: compact(value) if isinstance(value, dict) else "",
)
def test_settings(config: Event, kinds: str, algorithms: set[str]) -> None:
    with TimedServer({"delta_compression": config}) as server:
        client, witness = server.connect(), Witness(server.connect())
        reader = enable(client, algorithm=config.get("algorithm", "fossil"))
        for each in (client, witness.client):
            each.subscribe("news")
        publish(server, "news", *range(6))
        assert reader.messages(6) == witness.messages(6)
        assert (reader.kinds, reader.algorithms) == (kinds, algorithms)


def test_switched_off() -> None:
    with TimedServer({"delta_compression": {"enabled": False}}) as server:
        client = server.connect()
        client.say("sockudo:enable_delta_compression", {"algorithms": ["fossil"]})
        assert client.event() == {"event": ENABLED, "data": {"enabled": False, "algorithm": "fossil"}}
        client.subscribe("news", delta=True)
        publish(server, "news", 1, 2, 3)
        reader = DeltaReader(client)
        reader.messages(3)
        assert reader.kinds == "PPP"


def test_an_old_base_is_none() -> None:
    quiet = {"websocket": {"auto_ping": False, "idle_timeout": 0}}
    with TimedServer({"delta_compression": {"max_state_age_secs": 10}, **quiet}) as server:
        client, witness = server.connect(), Witness(server.connect())
        reader = enable(client)
        for each in (client, witness.client):
            each.subscribe("news")
        publish(server, "news", *range(3))
        for seconds in (9, 11, 1000):
            server.advance(seconds)
            publish(server, "news", 3, 4, 5)
        assert reader.messages(12) == witness.messages(12)
        assert reader.kinds == "FFD" + "DDD" + "FDD" + "FFD"
