"""Publishing (spec: http-api § 5, 6 and 9), over every road: what is delivered, what is answered, what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from blackbox.api import LANES, Api, Lane
from support.raw import Answer, assert_error
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, WebSocket, compact

TIGHT_APP = Credentials("tight", "tight-key", "tight-secret")
FREE_APP = Credentials("free", "free-key", "free-secret")
KEYLESS_APP = Credentials("keyless", "keyless-key", "keyless-secret")
TIGHT = {
    "max_event_name_length": 10,
    "max_event_payload_in_kb": 1,
    "max_event_channels_at_once": 2,
    "max_event_batch_size": 2,
    "max_channel_name_length": 20,
}
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
OK = b'{"ok":true}'
NO_CHANNEL = "Request must contain 'channels' (list) or 'channel' (string)"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [
        app_record(DEFAULT_APP),
        app_record(TIGHT_APP, limits=TIGHT),
        app_record(FREE_APP, limits=dict.fromkeys(TIGHT, 0)),
        app_record(KEYLESS_APP, idempotency={"enabled": False}),
    ]
    with start_server({"app_manager": {"array": {"apps": apps}}}) as running:
        yield running


@pytest.fixture(params=LANES, ids=str)
def lane(request: pytest.FixtureRequest) -> Lane:
    found: Lane = request.param
    return found


@pytest.fixture
def api(server: ServerProcess, lane: Lane) -> Api:
    return Api(server, lane)


@pytest.fixture
def listen(connect: Connect) -> Callable[..., WebSocket]:
    """A connection that is subscribed to these channels."""

    def open_one(*channels: str, app: Credentials = DEFAULT_APP) -> WebSocket:
        client = connect(app=app)
        for channel in channels:
            client.subscribe(channel, "listener")
            if channel.startswith(("cache-", "private-cache-")):
                client.event()
        return client

    return open_one


Listen = Callable[..., WebSocket]


def assert_ok(answer: Answer) -> None:
    assert (answer.status, answer.header("content-type"), answer.body) == (200, "application/json", OK)


# ---- delivery ----


def test_the_event_as_subscribers_get_it(api: Api, listen: Listen, unique: str) -> None:
    client = listen(unique)
    assert_ok(api.events({"name": "tide-rise", "channels": [unique], "data": '{"ü": "😀"}'}))
    assert client.text() == compact({"event": "tide-rise", "channel": unique, "data": '{"ü": "😀"}'})


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('"text"', "text"),
        ('""', ""),
        ('"null"', "null"),
        ('"\\u00e9 \\ud83d\\ude00"', "é 😀"),
        ("null", "null"),
        ("true", "true"),
        ("7", "7"),
        ("-1.5", "-1.5"),
        ("12345678901234567890", "12345678901234567890"),
        ("[1, 2, {}]", "[1,2,{}]"),
        ('{"b": 1, "a": {"c": [null]}}', '{"b":1,"a":{"c":[null]}}'),
        ('{"é": "ü"}', '{"é":"ü"}'),
    ],
)
def test_data_of_every_type_arrives_as_text(api: Api, listen: Listen, unique: str, data: str, text: str) -> None:
    client = listen(unique)
    assert_ok(api.events(f'{{"name":"e","channel":"{unique}","data":{data}}}'.encode()))
    assert client.event() == {"event": "e", "channel": unique, "data": text}
    assert api.batch(f'{{"batch":[{{"name":"e","channel":"{unique}","data":{data}}}]}}'.encode()).body == b"{}"
    assert client.event() == {"event": "e", "channel": unique, "data": text}


def test_no_data_is_the_text_null(api: Api, listen: Listen, unique: str) -> None:
    client = listen(unique)
    assert_ok(api.events({"name": "e", "channel": unique}))
    assert client.event()["data"] == "null"


@pytest.mark.parametrize("name", ["", "pusher:ping", "client-x", "ü 😀\n", "x" * 200, "pusher_internal:member_added"])
def test_any_event_name(api: Api, listen: Listen, unique: str, name: str) -> None:
    client = listen(unique[-60:])
    assert_ok(api.events({"name": name, "channel": unique[-60:], "data": "x"}))
    assert client.event()["event"] == name


@pytest.mark.parametrize(
    "pattern",
    ["{}", "private-{}", "private-encrypted-{}", "presence-{}", "cache-{}", "private-cache-{}", "market:{}"],
)
def test_every_kind_of_channel(api: Api, listen: Listen, unique: str, pattern: str) -> None:
    channel = pattern.format(unique[-60:] + api.lane.name)
    client = listen(channel)
    assert_ok(api.events({"name": "e", "channel": channel, "data": '{"nonce":"x","ciphertext":"y"}'}))
    assert client.event() == {"event": "e", "channel": channel, "data": '{"nonce":"x","ciphertext":"y"}'}


def test_channels_outrank_channel(api: Api, listen: Listen, unique: str) -> None:
    listed, single = listen(f"{unique}-listed"), listen(f"{unique}-single")
    body = {"name": "e", "channels": [f"{unique}-listed"], "channel": f"{unique}-single", "data": "x"}
    assert_ok(api.events(body))
    assert listed.event()["data"] == "x"
    single.hears_nothing()
    assert_ok(api.events({**body, "channels": None}))
    assert single.event()["data"] == "x"


def test_several_channels_and_one_named_twice(api: Api, listen: Listen, unique: str) -> None:
    channels = [f"{unique}-{number}" for number in range(3)]
    client = listen(*channels)
    assert_ok(api.events({"name": "e", "channels": [*channels, channels[0]], "data": "x"}))
    heard = [client.event()["channel"] for _ in range(4)]
    assert sorted(heard) == sorted([*channels, channels[0]])
    client.hears_nothing()


def test_a_connection_can_be_left_out(api: Api, connect: Connect, listen: Listen, unique: str) -> None:
    sender, other = listen(unique), listen(unique)
    for socket_id in (sender.socket_id, "1.2", "nonsense", ""):
        assert_ok(api.events({"name": "e", "channel": unique, "data": "x", "socket_id": socket_id}))
    assert [other.event()["data"] for _ in range(4)] == ["x"] * 4
    assert len(sender.until_pong()) == 3


def test_events_arrive_in_the_order_of_their_replies(api: Api, listen: Listen, unique: str) -> None:
    client = listen(unique)
    for number in range(50):
        assert_ok(api.events({"name": "e", "channel": unique, "data": str(number)}))
    assert [client.event()["data"] for _ in range(50)] == [str(number) for number in range(50)]


@pytest.mark.parametrize(
    "more",
    [
        {"unknown": {"any": [1]}, "NAME": 7},
        {"tags": {"a": "b"}, "delta": False, "extras": {"headers": {"a": "b", "c": 1.5, "d": True}, "ephemeral": True}},
        {"extras": {"echo": True, "push": None, "more": [1], "idempotencyKey": "k", "headers": {}}},
        dict.fromkeys(("tags", "delta", "extras", "info", "socket_id", "idempotency_key", "message_id", "channels")),
    ],
)
def test_fields_that_change_nothing_on_version_one(api: Api, listen: Listen, unique: str, more: object) -> None:
    client = listen(unique)
    fields = {"name": "e", "channel": unique, "data": "x"}
    assert isinstance(more, dict)
    assert_ok(api.events({**fields, **more}))
    assert client.event() == {"event": "e", "channel": unique, "data": "x"}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=latin-1",
        "application/vnd.x+json",
    ],
)
def test_content_types_that_are_json(api: Api, content_type: str) -> None:
    assert_ok(api.events({"name": "e", "channel": "x", "data": "é"}, {"Content-Type": content_type}))


# ---- what is refused ----


@pytest.mark.parametrize("content_type", [None, "", "text/json", "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("endpoint", ["events", "batch_events"])
def test_content_types_that_are_not(api: Api, endpoint: str, content_type: str | None) -> None:
    answer = api.post(endpoint, b"{}", {"Content-Type": content_type})
    assert_error(answer, 415, "invalid_input", "Expected request with Content-Type: application/json")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"name":"e",}',
        b'{"name":"e"} x',
        b'\xef\xbb\xbf{"name":"e","channel":"x"}',
        b'{"name":"e","channel":"x","data":NaN}',
        b'{"name":"e","channel":"x","data":"\xff"}',
        b'{"name":"e","channel":"x","unknown":"\xff"}',
        b'{"name":"e","channel":"x","data":"\\ud800"}',
        b'{"name":"e","channel":"x","data":"\x01"}',
        b"'name'",
        b"\x1f\x8b\x08\x00gzip",
        b'{"name":"e","channel":"x","data":' + b"[" * 20_000,
        b'{"name":"e","channel":"x","unknown":' + b"[" * 20_000,
        b"[" * 20_000 + b"]" * 20_000,
    ],
)
@pytest.mark.parametrize("endpoint", ["events", "batch_events"])
def test_bodies_that_are_not_json(api: Api, endpoint: str, body: bytes) -> None:
    if endpoint == "batch_events" and body.startswith(b'{"name'):
        body = b'{"batch":[' + body + b"]}"
    answer = api.post(endpoint, body, {"Content-Type": "application/json"})
    assert answer.status == 400, answer
    found = answer.json()
    assert found["code"] == "invalid_input"
    assert len(found["error"]) < 200
    assert "\n" not in found["error"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"[]", "object"),
        (b'"text"', "object"),
        (b"null", "object"),
        (b'{"name":7,"channel":"x"}', "name"),
        (b'{"name":"e","channel":"x","data":1e400}', "data"),
        (b'{"name":"e","channel":7}', "channel"),
        (b'{"name":"e","channel":["x"]}', "channel"),
        (b'{"name":"e","channels":"x"}', "channels"),
        (b'{"name":"e","channels":["x",7]}', "channels"),
        (b'{"name":"e","channels":["x",null]}', "channels"),
        (b'{"name":"e","channel":"x","socket_id":7}', "socket_id"),
        (b'{"name":"e","channel":"x","info":["a"]}', "info"),
        (b'{"name":"e","channel":"x","tags":{"a":1}}', "tags"),
        (b'{"name":"e","channel":"x","tags":[]}', "tags"),
        (b'{"name":"e","channel":"x","delta":"no"}', "delta"),
        (b'{"name":"e","channel":"x","extras":7}', "extras"),
        (b'{"name":"e","channel":"x","extras":{"headers":{"a":{}}}}', "headers"),
        (b'{"name":"e","channel":"x","extras":{"ephemeral":1}}', "ephemeral"),
        (b'{"name":"e","channel":"x","idempotency_key":7}', "idempotency_key"),
        (b'{"name":"e","channel":"x","message_id":7}', "message_id"),
        (b'{"name":"e","name":"f","channel":"x"}', "name"),
        (b'{"name":"e","channel":"x","data":"x","data":"y"}', "data"),
        (b'{"name":"e","channel":"x","channel":"x"}', "channel"),
        (b'{"name":"e","channel":"x","info":null,"info":null}', "info"),
    ],
)
@pytest.mark.parametrize("endpoint", ["events", "batch_events"])
def test_json_of_the_wrong_shape(api: Api, endpoint: str, body: bytes, named: str) -> None:
    answer = api.post(endpoint, b'{"batch":[' + body + b"]}" if endpoint == "batch_events" else body)
    assert answer.status == 422, answer
    found = answer.json()
    assert found["code"] == "invalid_input"
    assert named in found["error"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": None, "channel": "x"}, "Event name is required"),
        ({"channel": ""}, "Channel name must not be empty"),
        ({"channels": ["x", "a b"]}, "Channel name contains invalid characters: 'a b' (invalid chars: [' '])"),
        ({"channel": "news-*"}, "Channel name contains invalid characters: 'news-*' (invalid chars: ['*'])"),
        ({"channel": "x" * 201}, "Channel name too long. Max length is 200"),
        ({"channel": "x", "idempotency_key": ""}, "Idempotency key must not be empty"),
        (
            {"channel": "x", "idempotency_key": "ü" * 65},
            "Idempotency key exceeds maximum length of 128 characters",
        ),
    ],
)
def test_events_that_are_refused(api: Api, fields: dict[str, object], text: str) -> None:
    assert_error(api.events({"name": "e", **fields}), 400, "invalid_input", text)


@pytest.mark.parametrize("fields", [{}, {"channels": []}, {"channels": [], "channel": "x"}, {"channel": None}])
def test_an_event_without_a_channel(api: Api, fields: dict[str, object]) -> None:
    assert_error(api.events({"name": "e", **fields}), 400, "missing_channel_info", NO_CHANNEL)


@pytest.mark.parametrize("fields", [{"name": "ai-input"}, {"name": "ai-step-end"}, {"extras": {"ai": {}}}])
def test_events_of_the_ai_transport(api: Api, fields: dict[str, object]) -> None:
    answer = api.events({"name": "e", "channel": "x", **fields})
    found = answer.json()
    assert (answer.status, found["code"], found["ai_code"]) == (403, "ai_event_not_permitted", 104003)
    assert found["error"] == "AI events are not permitted on channel 'x'"


def tight(server: ServerProcess, lane: Lane, fields: dict[str, object]) -> Answer:
    body = {"name": "e", "channels": ["x"], "data": "x", **fields}
    return Api(server, lane, TIGHT_APP).events(body)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "x" * 11}, "Event name 'xxxxxxxxxxx' exceeds maximum length of 10"),
        ({"name": "ü" * 6}, "Event name 'üüüüüü' exceeds maximum length of 10"),
        ({"channels": ["a", "b", "c"]}, "Number of channels (3) exceeds limit (2)"),
    ],
)
def test_the_limits_of_an_app(server: ServerProcess, lane: Lane, fields: dict[str, object], text: str) -> None:
    assert_error(tight(server, lane, fields), 400, "limit_exceeded", text)


@pytest.mark.parametrize(("data", "size"), [("x" * 1025, 1025), ("ü" * 513, 1026), (["x" * 1021], 1025)])
def test_the_payload_limit_of_an_app(server: ServerProcess, lane: Lane, data: object, size: int) -> None:
    text = f"Event payload size ({size} bytes) for event 'e' exceeds limit (1KB)"
    assert_error(tight(server, lane, {"data": data}), 413, "payload_too_large", text)


def test_the_channel_name_limit_of_an_app(server: ServerProcess, lane: Lane) -> None:
    answer = tight(server, lane, {"channels": ["x" * 21]})
    assert_error(answer, 400, "invalid_input", "Channel name too long. Max length is 20")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 10},
        {"name": "ü" * 5},
        {"data": "x" * 1024},
        {"data": ["x" * 1020]},
        {"channels": ["a", "x" * 20]},
    ],
)
def test_the_edges_of_these_limits(server: ServerProcess, lane: Lane, fields: dict[str, object]) -> None:
    assert_ok(tight(server, lane, fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 5000},
        {"data": "x" * 300_000},
        {"channels": [f"c{n}" for n in range(300)]},
        {"channels": ["x" * 500]},
    ],
)
def test_an_app_without_limits(server: ServerProcess, lane: Lane, fields: dict[str, object]) -> None:
    assert_ok(Api(server, lane, FREE_APP).events({"name": "e", "channels": ["x"], "data": "x", **fields}))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"name": "x" * 200}, 200),
        ({"name": "x" * 201}, 400),
        ({"data": "x" * 100 * 1024}, 200),
        ({"data": "x" * (100 * 1024 + 1)}, 413),
        ({"channels": [f"c{n}" for n in range(100)]}, 200),
        ({"channels": [f"c{n}" for n in range(101)]}, 400),
        ({"channels": ["x" * 164]}, 200),
        ({"channels": ["x" * 165]}, 200),
        ({"channels": ["x" * 200]}, 200),
        ({"channels": ["x" * 201]}, 400),
    ],
)
def test_the_servers_own_limits_hold_where_the_app_sets_none(api: Api, fields: dict[str, object], status: int) -> None:
    answer = api.events({"name": "e", "channels": ["x"], "data": "x", **fields})
    assert answer.status == status, answer


def test_the_order_of_the_checks(server: ServerProcess, lane: Lane) -> None:
    """Everything is wrong at first; each step mends what was refused."""
    api = Api(server, lane, TIGHT_APP)
    fields: dict[str, object] = {"data": "x" * 2000, "channels": ["a b", "b", "c"], "idempotency_key": ""}
    assert api.events(fields).json()["error"] == "Idempotency key must not be empty"
    del fields["idempotency_key"]
    assert api.events(fields).json()["error"] == "Event name is required"
    fields["name"] = "x" * 11
    assert api.events(fields).json()["code"] == "limit_exceeded"
    fields["name"] = "ai-input"
    assert api.events(fields).json()["code"] == "payload_too_large"
    fields["data"] = "x"
    assert api.events(fields).json()["error"] == "Number of channels (3) exceeds limit (2)"
    fields["channels"] = ["a b", "b"]
    assert api.events(fields).json()["error"].startswith("Channel name contains invalid characters")
    fields["channels"] = ["b"]
    assert api.events(fields).json()["code"] == "ai_event_not_permitted"


def test_one_failing_channel_does_not_stop_the_others(api: Api, listen: Listen, unique: str) -> None:
    first, last = f"{unique}-1", f"{unique}-2"
    client = listen(first, last)
    answer = api.events({"name": "e", "channels": [first, "a b", "x" * 201, last], "data": "x"})
    assert_error(answer, 400, "invalid_input", "Channel name contains invalid characters: 'a b' (invalid chars: [' '])")
    assert [client.event()["channel"] for _ in range(2)] == [first, last]


# ---- what the reply tells ----


def test_info_counts_after_the_publish(api: Api, listen: Listen, unique: str) -> None:
    public, presence, empty = f"{unique}-public", f"presence-{unique}", f"{unique}-empty"
    clients = [listen(public, presence), listen(public)]
    answer = api.events(
        {
            "name": "e",
            "channels": [public, presence, empty, public],
            "data": "x",
            "info": " user_count , subscription_count,more",
        }
    )
    channels = answer.json()["channels"]
    assert list(channels) == [public, presence, empty]
    for entry in channels.values():
        assert UUID4.fullmatch(entry.pop("acknowledgement_id"))
    assert channels == {
        public: {"subscription_count": 2},
        presence: {"user_count": 1, "subscription_count": 1},
        empty: {"subscription_count": 0},
    }
    assert len(clients[0].until_pong()) == 3


@pytest.mark.parametrize("info", ["", "nothing", "USER_COUNT"])
def test_any_info_gets_an_acknowledgement(api: Api, info: str) -> None:
    channels = api.events({"name": "e", "channel": "x", "data": "x", "info": info}).json()["channels"]
    assert list(channels["x"]) == ["acknowledgement_id"]


def test_a_message_id_is_acknowledged(api: Api, unique: str) -> None:
    body = {"name": "e", "channel": unique, "data": "x", "message_id": f"m-{api.lane.name}"}
    assert api.events(body).json() == {"channels": {unique: {"acknowledgement_id": f"m-{api.lane.name}"}}}


# ---- batches ----


def test_a_batch_is_delivered_in_order(api: Api, listen: Listen, unique: str) -> None:
    client = listen(f"{unique}-a", f"{unique}-b")
    items = [{"name": f"e{n}", "channel": f"{unique}-{'ab'[n % 2]}", "data": str(n)} for n in range(10)]
    answer = api.batch({"batch": items})
    assert (answer.status, answer.body) == (200, b"{}")
    heard = [client.event() for _ in items]
    assert sorted(event["event"] for event in heard) == sorted(f"e{n}" for n in range(10))
    for channel in "ab":
        numbers = [int(event["data"]) for event in heard if event["channel"] == f"{unique}-{channel}"]
        assert numbers == sorted(numbers)


def test_an_empty_batch(api: Api) -> None:
    answer = api.batch({"batch": []})
    assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"batch":{}}', b'{"batch":null}', b'{"batch":[7]}', b'{"batch":[[]]}']
)
def test_a_batch_of_the_wrong_shape(api: Api, body: bytes) -> None:
    assert api.batch(body).status == 422


def test_entries_of_a_batch(api: Api, listen: Listen, unique: str) -> None:
    presence = f"presence-{unique}"
    client = listen(presence, unique)
    items = [
        {"name": "e", "channel": presence, "data": "x", "info": "user_count"},
        {"name": "e", "channel": unique, "data": "x"},
        {"name": "e", "channels": [unique, presence], "data": "x", "info": "subscription_count"},
        {"name": "e", "channel": unique, "data": "x", "message_id": "m"},
    ]
    batch = api.batch({"batch": items}).json()["batch"]
    assert UUID4.fullmatch(batch[0].pop("acknowledgement_id"))
    assert UUID4.fullmatch(batch[2].pop("acknowledgement_id"))
    assert batch == [{"user_count": 1}, {}, {"subscription_count": 1}, {"acknowledgement_id": "m"}]
    assert len(client.until_pong()) == 5


def test_a_batch_over_the_limit(server: ServerProcess, lane: Lane) -> None:
    item = {"name": "e", "channel": "x", "data": "x"}
    api = Api(server, lane, TIGHT_APP)
    assert api.batch({"batch": [item] * 2}).status == 200
    assert_error(api.batch({"batch": [item] * 3}), 400, "limit_exceeded", "Batch size (3) exceeds limit (2)")
    assert Api(server, lane).batch({"batch": [item] * 10}).status == 200
    assert Api(server, lane).batch({"batch": [item] * 11}).status == 400
    assert Api(server, lane, FREE_APP).batch({"batch": [item] * 500}).status == 200


def test_the_first_failing_item_ends_the_batch(api: Api, listen: Listen, unique: str) -> None:
    client = listen(unique)
    items = [
        {"name": "first", "channel": unique, "data": "x"},
        {"name": "bad", "channel": "a b", "data": "x"},
        {"name": "third", "channel": unique, "data": "x"},
    ]
    text = "Channel name contains invalid characters: 'a b' (invalid chars: [' ']) (item 1 of the batch)"
    assert_error(api.batch({"batch": items}), 400, "invalid_input", text)
    assert [event["event"] for event in client.until_pong()] == ["first"]


def test_an_item_of_the_wrong_type_refuses_all(api: Api, listen: Listen, unique: str) -> None:
    client = listen(unique)
    answer = api.batch({"batch": [{"name": "e", "channel": unique, "data": "x"}, {"name": 7, "channel": unique}]})
    assert answer.status == 422
    client.hears_nothing()


# ---- idempotency ----


def key_of(lane: Lane, unique: str) -> str:
    return f"{unique[-60:]}-{lane.name}"


@pytest.mark.parametrize("in_header", [False, True])
def test_the_same_key_publishes_once_and_answers_alike(
    api: Api, lane: Lane, listen: Listen, unique: str, in_header: bool
) -> None:
    client = listen(unique)
    key = key_of(lane, unique)
    body = {"name": "e", "channel": unique, "data": "x", "info": "subscription_count"}
    headers = {"X-Idempotency-Key": key} if in_header else {}
    if not in_header:
        body["idempotency_key"] = key
    first, again = api.events(body, headers), api.events(body, headers)
    assert first.status == again.status == 200
    assert first.body == again.body
    assert len(client.until_pong()) == 1


def test_the_key_of_the_body_outranks_the_header(api: Api, lane: Lane, listen: Listen, unique: str) -> None:
    client = listen(unique)
    key = key_of(lane, unique)
    body = {"name": "e", "channel": unique, "data": "x", "idempotency_key": key}
    for number in range(3):
        assert_ok(api.events(body, {"X-Idempotency-Key": f"{key}-{number}"}))
    assert len(client.until_pong()) == 1


def test_a_key_with_other_content_is_a_conflict(api: Api, lane: Lane, listen: Listen, unique: str) -> None:
    client = listen(unique)
    body = {"name": "e", "channel": unique, "data": "x", "idempotency_key": key_of(lane, unique)}
    assert_ok(api.events(body))
    text = "The idempotency key was already used with a different payload; make a new key for each new event"
    for change in ({"data": "y"}, {"name": "f"}, {"channel": f"{unique}-2"}, {"tags": {"a": "b"}}):
        assert_error(api.events({**body, **change}), 409, "idempotency_conflict", text)
    assert_ok(api.events({**body, "socket_id": "1.2"}))
    assert len(client.until_pong()) == 1


@pytest.mark.parametrize("failure", [{"channel": "a b"}, {"data": "x" * 200_000}, {"name": "ai-input"}])
def test_a_failed_publish_gives_its_key_back(
    api: Api, lane: Lane, listen: Listen, unique: str, failure: dict[str, str]
) -> None:
    client = listen(unique)
    body = {"name": "e", "channel": unique, "data": "x", "idempotency_key": key_of(lane, unique)}
    for _ in range(2):
        assert api.events({**body, **failure}).status in {400, 403, 413}
    assert_ok(api.events(body))
    assert len(client.until_pong()) == 1


def test_keys_belong_to_one_app(server: ServerProcess, lane: Lane, unique: str) -> None:
    body = {"name": "e", "channel": "x", "data": "x", "idempotency_key": key_of(lane, unique)}
    assert_ok(Api(server, lane).events(body))
    assert_ok(Api(server, lane, FREE_APP).events({**body, "data": "other"}))


def test_an_app_may_switch_keys_off(server: ServerProcess, lane: Lane, listen: Listen, unique: str) -> None:
    client = listen(unique, app=KEYLESS_APP)
    api = Api(server, lane, KEYLESS_APP)
    for number in range(2):
        assert_ok(api.events({"name": "e", "channel": unique, "data": str(number), "idempotency_key": "k"}))
        assert_ok(api.events({"name": "e", "channel": unique, "data": "x", "idempotency_key": ""}))
    assert len(client.until_pong()) == 4


def test_a_whole_batch_can_have_a_key(api: Api, lane: Lane, listen: Listen, unique: str) -> None:
    client = listen(unique)
    body = {"batch": [{"name": "e", "channel": unique, "data": "x", "info": "subscription_count"}] * 2}
    headers = {"X-Idempotency-Key": key_of(lane, unique)}
    first, again = api.batch(body, headers), api.batch(body, headers)
    assert first.body == again.body
    assert json.loads(first.body)["batch"][0]["subscription_count"] == 1
    assert len(client.until_pong()) == 2
    assert api.batch({"batch": []}, headers).json()["code"] == "idempotency_conflict"
    single = {"name": "e", "channel": unique, "data": "x"}
    assert_ok(api.events(single, headers))
    assert len(client.until_pong()) == 1


def test_an_empty_key_in_the_header(api: Api) -> None:
    for answer in (
        api.events({"name": "e", "channel": "x", "data": "x"}, {"X-Idempotency-Key": ""}),
        api.batch({"batch": []}, {"X-Idempotency-Key": ""}),
    ):
        assert_error(answer, 400, "invalid_input", "Idempotency key must not be empty")


def test_items_with_keys(api: Api, lane: Lane, listen: Listen, unique: str) -> None:
    client = listen(unique)
    key = key_of(lane, unique)
    item = {"name": "e", "channel": unique, "data": "x", "info": "subscription_count", "idempotency_key": key}
    batch = api.batch({"batch": [item, item]}).json()["batch"]
    assert batch[0]["subscription_count"] == 1
    assert batch[1] == {}
    assert_ok(api.events(item))
    assert len(client.until_pong()) == 1


def test_every_items_key_is_checked_first(api: Api, listen: Listen, unique: str) -> None:
    client = listen(unique)
    items = [
        {"name": "e", "channel": unique, "data": "x"},
        {"name": "e", "channel": unique, "data": "x", "idempotency_key": ""},
    ]
    answer = api.batch({"batch": items})
    assert_error(answer, 400, "invalid_input", "Idempotency key must not be empty (item 1 of the batch)")
    client.hears_nothing()


def test_a_failed_item_gives_its_key_back(api: Api, lane: Lane, listen: Listen, unique: str) -> None:
    client = listen(unique)
    good = {"name": "e", "channel": unique, "data": "x", "idempotency_key": key_of(lane, unique)}
    bad = {**good, "channel": "a b", "idempotency_key": f"{key_of(lane, unique)}-2"}
    for _ in range(2):
        assert api.batch({"batch": [good, bad]}).status == 400
    assert api.batch({"batch": [good, {**bad, "channel": unique}]}).status == 200
    assert len(client.until_pong()) == 2
