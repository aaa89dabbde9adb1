"""What filters cannot be, and expressions that want too much (spec: filters-deltas § 1.2, 1.6, 1.7 and 1.11)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blackbox.filters import leaf, publish, refused
from support.server import ServerProcess, start_server
from support.websocket import Connect, Event
from support.wire import WIRES, Wire, compact

# Lists of four, in lists of four: 65,536 in the end.
BOMB = " | ".join(["[@,@,@,@][]"] * 8)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server({"tag_filtering": {"enabled": True}}) as running:
        yield running


@pytest.fixture(scope="module")
def roomy() -> Iterator[ServerProcess]:
    """A server that takes large messages from clients."""
    with start_server({"websocket_max_payload_kb": 4096}) as running:
        yield running


def nested(depth: int, node: Event | None = None) -> Event:
    found = node or leaf("ex")
    for _ in range(depth - 1):
        found = {"op": "not", "nodes": [found]}
    return found


# ---- what a filter cannot be ----


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        5,
        "x",
        True,
        {"op": "xor", "nodes": [leaf("ex")]},
        {"op": "AND", "nodes": [leaf("ex")]},
        {"op": "and"},
        {"op": "and", "nodes": []},
        {"op": "and", "nodes": {}},
        {"op": "and", "nodes": [5]},
        {"op": "and", "nodes": [{}]},
        {"op": "not", "nodes": []},
        {"op": "not", "nodes": [leaf("ex"), leaf("ex")]},
        {"op": "and", "nodes": [leaf("ex")], "key": "k"},
        {"op": "and", "nodes": [leaf("ex")], "cmp": "ex"},
        {"op": "and", "nodes": [leaf("ex")], "val": "x"},
        {"op": "and", "nodes": [leaf("ex")], "vals": ["x"]},
        {"op": 5, "nodes": [leaf("ex")]},
        {"cmp": "ex"},
        {"key": "", "cmp": "ex"},
        {"key": 5, "cmp": "ex"},
        {"key": "k"},
        leaf("regex", val="x"),
        leaf("EQ", val="x"),
        {"key": "k", "cmp": ["eq"], "val": "x"},
        leaf("eq"),
        leaf("eq", val=""),
        leaf("eq", val=None),
        leaf("in"),
        leaf("in", vals=[]),
        leaf("in", vals="x"),
        leaf("in", val="x"),
        leaf("ex", nodes=[leaf("ex")]),
        {"events": "tide"},
        {"events": [""]},
        {"events": [5]},
        {"events": {}},
        {"tags": []},
        {"tags": {}},
        {"expression": ""},
        {"expression": 5},
        {"expression": []},
        {"expression": {}},
        {"expression": {"language": "cel", "source": "a"}},
        {"expression": {"source": 5}},
        {"expression": "a ||"},
        {"expression": "]["},
        {"expression": "`word`"},
        {"expression": "a.b.[c"},
        {"expression": "'unterminated"},
    ],
    ids=compact,
)
def test_shapes_that_are_refused(connect_v2: Connect, server: ServerProcess, value: object) -> None:
    client = connect_v2()
    client.subscribe("news", filter={"events": ["mine"]})
    for name in ("filter", "tags_filter"):
        refused(client, "news", **{name: value})
        refused(client, "private-news", **{name: value})
    publish(server, ["news", "private-news"], "x", "other")
    publish(server, ["news", "private-news"], "y", "mine")
    assert client.event()["data"] == "y"
    client.hears_nothing()


def test_v1_is_not_filtered_whatever_it_sends(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.subscribe(unique, filter={"op": "nonsense"}, tags_filter=5)
    publish(server, [unique], "1")
    assert client.event()["data"] == "1"


@pytest.mark.parametrize(
    ("fits", "exceeds"),
    [
        ({"op": "or", "nodes": [leaf("ex")] * 127}, {"op": "or", "nodes": [leaf("ex")] * 128}),
        (nested(16), nested(17)),
        (leaf("in", vals=[*map(str, range(128))]), leaf("in", vals=[*map(str, range(129))])),
        (leaf("in", vals=["a"] * 200), leaf("in", vals=["a"] * 2000)),
        ({"key": "ö" * 128, "cmp": "ex"}, {"key": "ö" * 128 + "x", "cmp": "ex"}),
        (leaf("eq", val="ö" * 512), leaf("eq", val="ö" * 512 + "x")),
        ({"events": [*map(str, range(50))]}, {"events": [*map(str, range(51))]}),
        ({"events": ["ö" * 100]}, {"events": ["ö" * 100 + "x"]}),
        ({"expression": f"'{'x' * 4094}'"}, {"expression": f"'{'x' * 4095}'"}),
        ({"expression": "a" + ".a" * 31}, {"expression": "a" + ".a" * 32}),
        (
            {"expression": "[" + ",".join(["a"] * 255) + "]"},
            {"expression": "[" + ",".join(["a"] * 256) + "]"},
        ),
    ],
    ids=lambda value: compact(value)[:30],
)
def test_limits(connect_v2: Connect, unique: str, fits: Event, exceeds: Event) -> None:
    client = connect_v2()
    client.subscribe("limits", filter=fits)
    assert refused(client, "limits", filter=exceeds)


@pytest.mark.parametrize(
    "text",
    [
        '{"op":"or","nodes":[' + ",".join(['{"key":"k","cmp":"ex"}'] * 40_000) + "]}",
        '{"op":"not","nodes":[' * 100_000 + "{}" + "]}" * 100_000,
        '{"key":"k","cmp":"in","vals":[' + ",".join(f'"{n}"' for n in range(100_000)) + "]}",
        '{"expression":"' + "(" * 5000 + '"}',
        '{"expression":"' + "!" * 4000 + 'a"}',
        '{"expression":"' + "[" * 4000 + '"}',
        '{"key":"k","cmp":"eq","val":"' + "x" * 1_000_000 + '"}',
        '{"events":[' + ",".join(['"x"'] * 200_000) + "]}",
    ],
    ids=lambda text: text[:24],
)
def test_giants_are_refused_in_no_time(connect_v2: Connect, roomy: ServerProcess, text: str) -> None:
    client = connect_v2(server=roomy)
    client.until_pong()
    before = roomy.cpu_seconds
    client.say_text(f'{{"event":"sockudo:subscribe","data":{{"channel":"news","filter":{text}}}}}')
    error = client.event()
    # Reading and decoding a megabyte is in it.
    assert roomy.cpu_seconds - before < 1
    assert error["data"]["code"] == 4000
    client.subscribe("news")


# ---- expressions that want too much ----


@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_a_bomb_hurts_only_its_own_subscription(
    connect_v2: Connect, server: ServerProcess, unique: str, wire: Wire
) -> None:
    bomber, sane = connect_v2(wire=wire), connect_v2(wire=wire)
    bomber.subscribe(unique, filter={"expression": f"event == 'calm' || ({BOMB})"})
    sane.subscribe(unique, filter={"expression": "event == 'tide' || event == 'calm'"})
    publish(server, [unique], "1", "calm")
    assert bomber.event()["data"] == "1"
    before = server.cpu_seconds
    for number in range(2):
        publish(server, [unique], str(number), "tide")
    publish(server, [unique], "2", "calm")
    assert bomber.event()["data"] == "2"
    for number in range(3):
        publish(server, [unique], str(number), "tide")
    # Three in a row: it is given up, also for what it would have wanted.
    publish(server, [unique], "3", "calm")
    bomber.hears_nothing()
    assert len(sane.until_pong()) == 8
    assert server.cpu_seconds - before < 3
    bomber.subscribe(unique, filter={"expression": f"event == 'calm' || ({BOMB})"})
    publish(server, [unique], "4", "calm")
    assert bomber.event()["data"] == "4"


def test_a_message_that_is_too_large_to_ask_about(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    asking, plain = connect_v2(), connect_v2()
    asking.subscribe(unique, filter={"expression": "event"})
    plain.subscribe(unique, filter={"events": ["tide"]})
    for size in (60_000, 65_536, 10):
        publish(server, [unique], "x" * size)
    assert [len(each["data"]) for each in asking.until_pong()] == [60_000, 10]
    assert [len(each["data"]) for each in plain.until_pong()] == [60_000, 65_536, 10]
