"""Filters of subscriptions: what passes, alike in what is live, in a rewind and in a resume (spec: websocket § 11.2;
filters-deltas spec: websocket § 1)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from blackbox.filters import leaf, publish, refused
from blackbox.recovery import place, resume
from blackbox.timed import TimedServer
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, WebSocket
from support.wire import WIRES, Wire, compact

HOT_APP = Credentials("hot", "hot-key", "hot-secret")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [app_record(DEFAULT_APP), app_record(HOT_APP, history={"enabled": False})]
    with start_server({**STREAMS, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def rewound(client: WebSocket) -> list[Event]:
    """The past that a subscribe has asked for."""
    found: list[Event] = []
    while (each := client.event())["event"] != "sockudo:rewind_complete":
        found.append(each)
    assert each["data"]["historical_count"] == len(found)
    return found


# ---- tags ----

_TAGS: dict[str, dict[str, str] | None] = {
    "a": {"k": "abc"},
    "b": {"k": ""},
    "c": {"other": "abc"},
    "d": None,
    "e": {"k": "10"},
    "f": {"k": "9.5"},
    "g": {"k": "1e1"},
    "h": {"k": " 10"},
    "i": {"k": "ABC"},
    "j": {"k": "nan"},
}


@pytest.mark.parametrize(
    ("node", "passing"),
    [
        (leaf("eq", val="abc"), "a"),
        (leaf("neq", val="abc"), "bcdefghij"),
        (leaf("in", vals=["abc", "", "10"]), "abe"),
        (leaf("nin", vals=["abc", ""]), "cdefghij"),
        (leaf("ex"), "abefghij"),
        (leaf("nex"), "cd"),
        (leaf("ex", val="x", vals=["y"]), "abefghij"),
        (leaf("sw", val="ab"), "a"),
        (leaf("ew", val="bc"), "a"),
        (leaf("ct", val="b"), "a"),
        (leaf("gt", val="9.5"), "eg"),
        (leaf("gte", val=9.5), "efg"),
        (leaf("lt", val="10"), "f"),
        (leaf("lte", val=10), "efg"),
        (leaf("gt", val="abc"), ""),
        (leaf("eq", val=10), "e"),
        (leaf("in", vals=[10, 9.5, None]), "ef"),
        ({"op": "and", "nodes": [leaf("ex"), leaf("lt", val=10)]}, "f"),
        ({"op": "or", "nodes": [leaf("nex"), leaf("eq", val="abc")]}, "acd"),
        ({"op": "not", "nodes": [leaf("eq", val="abc")]}, "bcdefghij"),
        ({"op": "not", "nodes": [leaf("gt", val=0)]}, "abcdhij"),
        ({"op": "and", "nodes": [{"op": "not", "nodes": [leaf("nex")]}, leaf("ct", val="1")], "x": 1}, "egh"),
    ],
    ids=lambda value: compact(value)[:40] if isinstance(value, dict) else value,
)
def test_tags(connect_v2: Connect, server: ServerProcess, unique: str, node: Event, passing: str) -> None:
    forms = {"filter": node}, {"tags_filter": node}, {"filter": {"tags": node}}, {"tags_filter": {"tags": node}}
    client = connect_v2()
    channels = [f"{unique[-60:]}-{number}" for number in range(4)]
    for channel, form in zip(channels, forms, strict=True):
        client.subscribe(channel, **form)
    for name, tags in _TAGS.items():
        publish(server, channels, name, **({} if tags is None else {"tags": tags}))
    heard = client.until_pong()
    for channel in channels:
        assert "".join(each["data"] for each in heard if each["channel"] == channel) == passing


@pytest.mark.parametrize("value", [True, 5, 98.6, {"a": [1]}, "1.0"])
def test_values_are_compared_as_text(connect_v2: Connect, server: ServerProcess, unique: str, value: object) -> None:
    client = connect_v2()
    client.subscribe(unique, filter=leaf("eq", val=value))
    text = value if isinstance(value, str) else compact(value)
    publish(server, [unique], "yes", tags={"k": text})
    publish(server, [unique], "no", tags={"k": f"{text} "})
    assert [each["data"] for each in client.until_pong()] == ["yes"]


# ---- names and expressions ----


def test_names_are_those_that_were_published(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect(protocol=2)
    client.subscribe(unique, filter={"events": ["pusher:odd", "tide", "tide", "räksmörgås"]})
    for event in ("tide", "Tide", "tides", "pusher:odd", "sockudo:odd", "räksmörgås"):
        publish(server, [unique], event, event)
    assert [each["data"] for each in client.until_pong()] == ["tide", "pusher:odd", "räksmörgås"]


@pytest.mark.parametrize(
    ("source", "passes"),
    [
        ("event == 'tide'", True),
        ("channel != null && contains(channel, 'test')", True),
        ("data.metres > `2`", True),
        ("data.metres > '2'", False),
        ("!(data.metres > 'a')", True),
        ("(data.list[1:] | [0]) == `4`", True),
        ("data.list[?@ > `4`] | length(@) == `1`", True),
        ("tags.port", True),
        ("tags.nothing", False),
        ("headers.n == `7` && headers.b == `false` && headers.s == 'x'", True),
        ("headers.sockudo_action", False),
        ("action", False),
        ("messageId && streamId && serial > `0`", True),
        ("name == null && userId == null", True),
        ("extras", False),
        ("idempotencyKey", False),
        ("`0`", True),
        ("`false`", False),
        ("''", False),
        ("`[]`", False),
        ("`{}`", False),
        ("null", False),
        ("data.empty", False),
        ("data.zero", True),
        ("sum(data.list) == `11` && max(data.list) == `5`", True),
        ("data.metres < data.list", False),
        ("unknown(@)", False),
        ("length(data.metres)", False),
        ("starts_with(event, 'ti') || unknown(@)", True),
        ("[event, channel] | [0]", True),
        ("{a: data.metres}.a == `2.5`", True),
        ("sort_by(data.people, &age)[0].name == 'Ben'", True),
    ],
)
def test_expressions(connect_v2: Connect, server: ServerProcess, unique: str, source: str, passes: bool) -> None:
    client = connect_v2()
    channel = f"test-{unique[-60:]}"
    client.subscribe(channel, filter={"expression": source})
    client.subscribe(f"{channel}-2", filter={"expression": {"language": "jmespath", "source": source}})
    people = [{"name": "Ana", "age": 40}, {"name": "Ben", "age": 30}]
    data = {"metres": 2.5, "list": [2, 4, 5], "empty": "", "zero": 0, "people": people}
    extras = {"headers": {"n": 7, "b": False, "s": "x", "sockudo_action": "x"}, "idempotencyKey": unique[:60]}
    for name in (channel, f"{channel}-2"):
        publish(server, [name], json.dumps(data), tags={"port": "hönö"}, extras=extras)
    assert len(client.until_pong()) == (2 if passes else 0)


@pytest.mark.parametrize("data", ["plain", "5", '"quoted"', "[1", '{"a":1} x', "true"])
def test_data_that_is_no_object_is_text(connect_v2: Connect, server: ServerProcess, unique: str, data: str) -> None:
    client = connect_v2()
    client.subscribe(unique, filter={"expression": f"type(data) == 'string' && data == '{data}'"})
    publish(server, [unique], data)
    assert client.event()["data"] == data


def test_client_events_have_data_of_any_type_and_a_sender(connect_v2: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    reader, sender = connect_v2(), connect_v2(params="echo_messages=false")
    reader.subscribe(channel, "ben", filter={"expression": "userId == 'ana' && data.n == `1` && tags == null"})
    sender.subscribe(channel, "ana")
    assert reader.event()["event"] == "sockudo_internal:member_added"
    for number in (0, 1):
        sender.say("client-a", {"n": number}, channel)
    assert reader.event()["data"] == {"n": 1}


def test_all_parts_have_to_agree(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    parts = {"events": ["tide"], "tags": leaf("ex"), "expression": "data == 'a'"}
    client.subscribe(unique, filter=parts)
    for event, data, tags in (
        ("tide", "a", {}),
        ("wind", "a", {"k": ""}),
        ("tide", "b", {"k": ""}),
        ("tide", "a", {"k": ""}),
    ):
        publish(server, [unique], data, event, tags=tags)
    assert [(each["event"], each["data"], each["tags"]) for each in client.until_pong()] == [("tide", "a", {"k": ""})]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"filter": None},
        {"filter": {"events": None, "tags": None, "expression": None}},
        {"filter": {"events": []}},
        {"tags_filter": None},
        {"events": ["x"], "tags": leaf("ex"), "expression": "no"},
    ],
)
@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_what_asks_for_nothing(
    connect_v2: Connect, server: ServerProcess, unique: str, options: Event, wire: Wire
) -> None:
    """The JavaScript SDK sends what is not set as null."""
    client = connect_v2(wire=wire)
    client.subscribe(unique, **options)
    publish(server, [unique], "1")
    assert client.event()["data"] == "1"


def test_the_one_name_wins_over_the_other(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    client.subscribe(unique, filter={"events": ["tide"]}, tags_filter={"op": "nonsense"})
    client.subscribe(f"{unique}-2", filter={"events": ["tide"], "op": "and", "nodes": 5})
    for event in ("tide", "wind"):
        publish(server, [unique, f"{unique}-2"], event, event)
    assert [each["data"] for each in client.until_pong()] == ["tide", "tide"]


# ---- one rule everywhere ----


@pytest.mark.parametrize("app", [DEFAULT_APP, HOT_APP], ids=lambda app: app.id)
@pytest.mark.parametrize(
    "wanted",
    [
        {"events": ["tide"]},
        {"tags": {"op": "not", "nodes": [leaf("eq", val="1")]}},
        {"expression": "serial >= `3` && messageId && streamId"},
        {"expression": "data.n && tags.k != '1' || event == 'wind'"},
        {"expression": "headers.h == `1` && !(tags)"},
        {"events": ["wind", "tide"], "tags": leaf("ex"), "expression": "data.n > `1`"},
        {"expression": "unknown(@)"},
    ],
    ids=compact,
)
def test_the_same_passes_live_in_a_rewind_and_in_a_resume(
    connect_v2: Connect, server: ServerProcess, unique: str, wanted: Event, app: Credentials
) -> None:
    channel = unique[-60:]
    live, everything = connect_v2(app=app), connect_v2(app=app)
    start = place(live.subscribe(channel, filter=wanted))
    everything.subscribe(channel)
    for number in range(12):
        fields: Event = {}
        if number % 3:
            fields["tags"] = {"k": str(number % 3)}
        if number % 4 == 1:
            fields["extras"] = {"headers": {"h": 1}}
        data = compact({"n": number}) if number % 5 else "plain"
        server.publish(channel, "tide" if number % 2 else "wind", data, app=app, **fields)
    heard = live.until_pong()
    assert len(everything.until_pong()) == 12
    late = connect_v2(app=app)
    late.subscribe(channel, filter=wanted)
    answer = resume(late, **{channel: start})
    assert answer.replayed == heard
    assert answer.recovered[channel]["position"]["serial"] == 12
    if app is DEFAULT_APP:
        again = connect_v2()
        again.subscribe(channel, filter=wanted, rewind=100)
        assert rewound(again) == heard


def test_members_come_and_go_whatever_is_filtered(connect_v2: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    client, member = connect_v2(), connect_v2()
    client.subscribe(channel, "ana", filter={"events": ["nothing"], "expression": "`false`"})
    member.subscribe(channel, "ben")
    member.say("sockudo:presence_update", {"channel": channel, "data": {"away": True}})
    member.event()
    member.say("sockudo:unsubscribe", {"channel": channel})
    due = [f"sockudo_internal:{event}" for event in ("member_added", "presence_update", "member_removed")]
    assert [client.event()["event"] for _ in due] == due


def test_the_last_event_of_a_cache_channel_is_always_shown(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    channel = f"cache-{unique}"
    publish(server, [channel], "1")
    client = connect_v2()
    client.subscribe(channel, filter={"events": ["nothing"]})
    assert client.event()["data"] == "1"


# ---- switches ----


@pytest.mark.parametrize(
    ("config", "passing"),
    [
        ({"tag_filtering": {"enabled": True}}, ["both"]),
        ({"tag_filtering": {"enabled": False}}, ["both", "event"]),
        ({"tag_filtering": {"enabled": True}, "event_name_filtering": {"enabled": False}}, ["both", "tag"]),
        (
            {"tag_filtering": {"enabled": False}, "event_name_filtering": {"enabled": False}},
            ["both", "event", "tag", "neither"],
        ),
    ],
)
def test_switches_hold_everywhere(config: Event, passing: list[str]) -> None:
    with TimedServer({**STREAMS, **config}) as server:
        wanted = {"events": ["tide"], "tags": leaf("ex"), "expression": "tags"}
        client = server.connect()
        start = place(client.subscribe("news", filter=wanted))
        for data, event, tags in (
            ("both", "tide", {"k": "1"}),
            ("event", "tide", {}),
            ("tag", "wind", {"k": "1"}),
            ("neither", "wind", {}),
        ):
            server.publish("news", event, data, tags=tags)
        assert [each["data"] for each in client.until_pong()] == passing
        other = server.connect()
        other.subscribe("news", filter=wanted, rewind=10)
        assert [each["data"] for each in rewound(other)] == passing
        assert resume(other, news=start).data == passing
        # What is not evaluated is looked at all the same.
        for broken in ({"tags": {}}, {"expression": "]["}, {"events": [1]}):
            refused(other, "news", filter=broken)


def test_as_many_names_as_the_configuration_allows() -> None:
    with TimedServer({"event_name_filtering": {"max_events_per_filter": 2, "max_event_name_length": 3}}) as server:
        client = server.connect()
        client.subscribe("news", filter={"events": ["abc", "de"]})
        refused(client, "news", filter={"events": ["a", "b", "c"]})
        refused(client, "news", filter={"events": ["abcd"]})
