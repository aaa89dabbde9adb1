"""Messages that change: routes, frames, who may, and what readers see (spec: messages)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from blackbox.api import Api
from blackbox.changing import VERSIONED, changed, create, headers_of, message_path
from blackbox.timed import TimedServer
from support.raw import assert_error
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, WebSocket

OFF_APP = Credentials("off", "off-key", "off-secret")
FEW_APP = Credentials("few", "few-key", "few-secret")
V1_APP = Credentials("v1", "v1-key", "v1-secret")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [
        app_record(DEFAULT_APP),
        app_record(OFF_APP, history={"enabled": False}),
        app_record(
            FEW_APP,
            limits={
                "max_event_payload_in_kb": 1,
                "max_event_name_length": 10,
            },
        ),
        app_record(V1_APP, channels={"v1_recovery": True}),
    ]
    bounds = {"max_message_bytes": 20_000, "max_appends_per_message": 200}
    versioned = {**VERSIONED["versioned_messages"], **bounds}
    with start_server(
        {**VERSIONED, "versioned_messages": versioned, "app_manager": {"array": {"apps": apps}}}
    ) as running:
        yield running


def rewound(client: WebSocket, channel: str, rewind: object = 10, **options: Any) -> list[Event]:
    """The messages that a subscription with a rewind begins with."""
    client.subscribe(channel, rewind=rewind, **options)
    found = []
    while (frame := client.event())["event"] != "sockudo:rewind_complete":
        found.append(frame)
    return found


def resumed(client: WebSocket, channel: str, place: Event, serial: int) -> list[Event]:
    """What a resume sends of a channel that is not subscribed to."""
    position = {"stream_id": place["stream_id"], "serial": serial}
    client.say(f"{client.prefix}:resume", {"channel_positions": {channel: position}})
    found = []
    while (frame := client.event())["event"] != f"{client.prefix}:resume_success":
        found.append(frame)
    assert json.loads(frame["data"])["failed"] == [], frame
    return found


# ---- publishing and changing ----


def test_a_publish_is_a_create(connect: Connect, connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client, old = connect_v2(), connect()
    start = client.subscribe(unique)
    old.subscribe(unique)
    assert json.loads(start["data"]) == {"attach_serial": 0}
    fields = {"tags": {"t": "1"}, "extras": {"headers": {"k": "v", "sockudo_action": "message.update"}}}
    serials = create(server, unique, message_id="m-1", **fields)
    assert serials == {
        "acknowledgement_id": serials["message_serial"],
        "message_serial": serials["message_serial"],
        "history_serial": 1,
        "delivery_serial": 1,
        "version_serial": serials["message_serial"],
    }
    found = client.event()
    assert found == {
        "event": "said",
        "channel": unique,
        "data": "one",
        "tags": {"t": "1"},
        "message_id": "m-1",
        "stream_id": start["stream_id"],
        "serial": 1,
        "extras": {"headers": {"k": "v", **headers_of("create", serials, found)}},
    }
    assert old.event() == {"event": "said", "channel": unique, "data": "one"}


def test_a_message_grows_up_to_its_bounds(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    serial = create(server, unique, data="é" * 5000)["message_serial"]
    assert changed(server, unique, serial, "append", data="x" * 9_999).status == 200
    refused = changed(server, unique, serial, "append", data="xy", op_id="again")
    assert refused.json() == {
        "error": "With this append the data of the message exceed 20,000 bytes",
        "code": "payload_too_large",
        "status": 413,
        "docs": "errors.md#message_too_long",
        "ai_code": 40009,
    }
    assert changed(server, unique, serial, "update", data="x" * 20_001).status == 413
    assert changed(server, unique, serial, "append", data="y").json()["delivery_serial"] == 3
    assert changed(server, unique, serial, "update", data="").status == 200
    assert changed(server, unique, serial, "append", data="x", op_id="again").status == 200
    for _ in range(197):
        assert changed(server, unique, serial, "append", data="x").status == 200
    refused = changed(server, unique, serial, "append", data="x")
    assert refused.json()["error"] == "The message has 200 appends already, the most there may be"
    assert changed(server, unique, serial, "delete").json()["delivery_serial"] == 203
    assert [client.event()["serial"] for _ in range(203)] == list(range(1, 204))


def test_what_asks_for_nothing_is_answered_as_before(server: ServerProcess, unique: str) -> None:
    assert server.publish(unique, "said", "x").json() == {"ok": True}
    batch = [{"name": "x", "channel": unique, "data": "d"}, {"name": "x", "channel": unique, "data": "d", "info": ""}]
    answer = server.signed("POST", "/apps/app-id/batch_events", body={"batch": batch}).json()["batch"]
    assert answer[0] == {}
    assert (answer[1]["history_serial"], answer[1]["delivery_serial"]) == (3, 3)
    ephemeral = create(server, unique, extras={"ephemeral": True})
    assert list(ephemeral) == ["acknowledgement_id"]


def test_every_change_to_the_byte(connect: Connect, connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client, full, old = connect_v2(), connect_v2(params="append_mode=full"), connect()
    for each in (client, full, old):
        each.subscribe(unique)
    first = create(server, unique, extras={"headers": {"k": "v"}})
    for each in (client, full, old):
        each.event()
    serial = first["message_serial"]
    answer = changed(server, unique, serial, "append", data=" two")
    serials = answer.json()
    assert serials == {
        "channel": unique,
        "message_serial": serial,
        "action": "append",
        "accepted": True,
        "version_serial": serials["version_serial"],
        "history_serial": 1,
        "delivery_serial": 2,
        "status": "applied",
    }
    assert serials["version_serial"] > serial
    found, whole = client.event(), full.event()
    assert found == {
        "event": "sockudo:message.append",
        "channel": unique,
        "data": " two",
        "name": "said",
        "message_id": serials["version_serial"],
        "stream_id": found["stream_id"],
        "serial": 2,
        "extras": {"headers": {"k": "v", **headers_of("append", serials, found)}},
    }
    assert whole == {**found, "data": "one two"}
    serials = changed(
        server, unique, serial, "update", data="three", description="typo", client_id="u-9", metadata={"by": "ui"}
    ).json()
    found = client.event()
    assert (found["event"], found["data"], found["user_id"]) == ("sockudo:message.update", "three", "u-9")
    assert full.event() == found
    changed(server, unique, serial, "delete", clear_fields=["data", "extras"])
    found = client.event()
    assert (found["event"], found.get("data"), found["name"]) == ("sockudo:message.delete", None, "said")
    assert set(found["extras"]["headers"]) == set(headers_of("delete", serials, found))
    changed(server, unique, serial, "append", data="again")
    full.event()
    assert (client.event()["data"], full.event()["data"]) == ("again", "again")
    old.hears_nothing()
    client.hears_nothing()


def test_fields_that_are_absent_null_empty_and_cleared(server: ServerProcess, unique: str) -> None:
    serial = create(server, unique, extras={"headers": {"k": "v"}})["message_serial"]

    def item() -> dict[str, Any]:
        found: dict[str, Any] = server.signed("GET", message_path(unique, serial)).json()["item"]
        return found

    assert changed(server, unique, serial, "update", data="x", name=None).status == 200
    assert (item()["name"], item()["data"], item()["extras"]["headers"]["k"]) == ("said", "x", "v")
    assert changed(server, unique, serial, "update", name="").status == 200
    assert (item()["name"], item()["data"]) == ("", "x")
    assert changed(server, unique, serial, "update", data={"a": 1}, clear_fields=["name"]).status == 200
    assert ("name" in item(), item()["data"]) == (False, {"a": 1})
    assert changed(server, unique, serial, "delete").status == 200
    assert (item()["action"], item()["data"], item()["event"]) == ("delete", {"a": 1}, "sockudo:message.delete")
    answer = server.signed("POST", message_path(unique, serial, "/delete"))
    assert answer.status == 200, answer


@pytest.mark.parametrize(
    ("action", "body", "text"),
    [
        ("update", {}, "update needs one of name"),
        ("update", {"data": None, "socket_id": "1.1"}, "update needs one of name"),
        ("update", {"data": "x", "clear_fields": ["data"]}, "'data' is given twice"),
        ("delete", {"clear_fields": ["name", "name"]}, "'name' is given twice"),
        ("delete", {"clear_fields": ["tags"]}, "clear_fields has 'tags'"),
        ("update", {"data": "x", "op_id": ""}, "op_id must be 1 to 64 bytes"),
        ("update", {"data": "x", "op_id": "é" * 33}, "op_id must be 1 to 64 bytes"),
        ("append", {}, "append needs data"),
        ("append", {"data": ""}, "append needs data"),
        ("append", {"data": {"a": 1}}, "append needs data"),
    ],
)
def test_bodies_that_break_a_rule(
    server: ServerProcess, unique: str, action: str, body: dict[str, Any], text: str
) -> None:
    serial = create(server, unique)["message_serial"]
    answer = changed(server, unique, serial, action, **body)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_input")
    assert text in answer.json()["error"]


def test_a_change_has_the_bounds_of_a_publish(server: ServerProcess, unique: str) -> None:
    serial = create(server, unique, app=FEW_APP)["message_serial"]
    answer = changed(server, unique, serial, "append", app=FEW_APP, data="x" * 1100)
    assert (answer.status, answer.json()["code"]) == (413, "payload_too_large")
    answer = changed(server, unique, serial, "update", app=FEW_APP, name="n" * 11)
    assert answer.status == 400


def test_a_change_counts_as_a_publish() -> None:
    apps = [app_record(DEFAULT_APP, limits={"max_backend_events_per_second": 2})]
    with TimedServer({**VERSIONED, "app_manager": {"array": {"apps": apps}}}) as server:
        api, now = Api(server), int(server.clock.time())
        change = partial(api.post, "channels/news/messages/1:a:1/append", {"data": "x"}, timestamp=now)
        assert [change().status for _ in range(3)] == [404, 404, 429]


def test_what_cannot_be_changed(server: ServerProcess, unique: str) -> None:
    serial = create(server, unique)["message_serial"]
    assert_error(
        changed(server, unique, "1:a:1", "append", data="x"),
        404,
        "message_not_found",
        f"Channel '{unique}' has no message '1:a:1'",
    )
    assert changed(server, f"{unique}-2", serial, "update", data="x").status == 404
    assert server.signed("GET", message_path(unique, "1:a:1")).status == 404
    assert server.signed("GET", message_path(unique, "1:a:1", "/versions")).status == 404
    assert changed(server, unique, "a%20b", "update", data="x").status == 400
    off = create(server, unique, app=OFF_APP)
    assert list(off) == ["acknowledgement_id"]
    answer = changed(server, unique, serial, "update", app=OFF_APP, data="x")
    assert (answer.status, answer.json()["code"]) == (403, "feature_disabled")
    changed(server, unique, serial, "update", data={"a": 1})
    before = server.signed("GET", message_path(unique, serial)).json()["item"]["delivery_serial"]
    answer = changed(server, unique, serial, "append", data="x")
    assert (answer.status, answer.json()["code"]) == (400, "invalid_input")
    assert changed(server, unique, serial, "update", data="x").json()["delivery_serial"] == before + 1


def test_an_operation_is_done_once(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    serial = create(server, unique)["message_serial"]
    first = changed(server, unique, serial, "append", data="x", op_id="op").json()
    again = changed(server, unique, serial, "append", data="x", op_id="op").json()
    assert again == {**first, "status": "duplicate"}
    answer = changed(server, unique, serial, "append", data="y", op_id="op")
    assert (answer.status, answer.json()["code"]) == (409, "version_conflict")
    assert changed(server, unique, serial, "update", data="y", op_id="op").json()["status"] == "applied"
    assert [each["event"] for each in client.until_pong()] == [
        "said",
        "sockudo:message.append",
        "sockudo:message.update",
    ]


def test_a_client_changes_nothing_over_its_socket(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    serial = create(server, unique)["message_serial"]
    client.event()
    client.say("sockudo:message.append", {"message_serial": serial, "data": "x"}, unique)
    client.hears_nothing()
    assert server.signed("GET", message_path(unique, serial)).json()["item"]["delivery_serial"] == 1


def test_a_subscription_by_a_pattern_gets_changes(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client, full = connect_v2(), connect_v2(params="append_mode=full")
    for each in (client, full):
        each.subscribe(f"{unique}*")
    serial = create(server, f"{unique}-1", "a")["message_serial"]
    changed(server, f"{unique}-1", serial, "append", data="b")
    for each, texts in ((client, ["a", "b"]), (full, ["a", "ab"])):
        assert [each.event()["data"] for _ in texts] == texts


# ---- reading ----


def test_versions_come_in_pages(server: ServerProcess, unique: str) -> None:
    serial = create(server, unique)["message_serial"]
    changed(server, unique, serial, "append", data=" two", description="why", metadata={"a": [1]})
    changed(server, unique, serial, "update", data="three", client_id="u-9")
    path = message_path(unique, serial, "/versions")
    page = server.signed("GET", path, params={"limit": "2"}).json()
    assert {name: page[name] for name in ("channel", "direction", "limit", "has_more")} == {
        "channel": unique,
        "direction": "newest_first",
        "limit": 2,
        "has_more": True,
    }
    assert [each["data"] for each in page["items"]] == ["three", " two"]
    assert page["items"][0]["version"]["client_id"] == "u-9"
    about = page["items"][1]["version"]
    assert (about["description"], about["metadata"], about["serial"]) == ("why", {"a": [1]}, page["next_cursor"])
    rest = server.signed("GET", path, params={"limit": "2", "cursor": page["next_cursor"]}).json()
    assert ("next_cursor" in rest, [each["data"] for each in rest["items"]]) == (False, ["one"])
    forwards = server.signed("GET", path, params={"direction": "oldest_first"}).json()
    assert [each["action"] for each in forwards["items"]] == ["create", "append", "update"]
    assert (forwards["limit"], forwards["items"][0]["event"]) == (10, "sockudo:message.create")
    for query in ({"limit": "0"}, {"limit": "x"}, {"direction": "backwards"}, {"cursor": "a b"}):
        answer = server.signed("GET", path, params=query)
        assert (answer.status, answer.json()["code"]) == (400, "invalid_input"), query


def test_the_latest_has_everything(server: ServerProcess, unique: str) -> None:
    first = create(server, unique, extras={"headers": {"k": "v"}})
    serial = first["message_serial"]
    serials = changed(server, unique, serial, "append", data=" two", description="why").json()
    answer = server.signed("GET", message_path(unique, serial)).json()
    item = answer["item"]
    assert answer == {
        "channel": unique,
        "item": {
            "event": "sockudo:message.append",
            "channel": unique,
            "data": "one two",
            "name": "said",
            "serial": 2,
            "extras": {"headers": {"k": "v", **headers_of("append", serials, item)}},
            "action": "append",
            "message_serial": serial,
            "history_serial": 1,
            "delivery_serial": 2,
            "version": {
                "serial": serials["version_serial"],
                "timestamp_ms": item["version"]["timestamp_ms"],
                "description": "why",
            },
        },
    }


def test_a_history_has_each_message_once(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    first, second = create(server, unique, "a")["message_serial"], create(server, unique, "b")["message_serial"]
    changed(server, unique, first, "update", data="new", name="renamed")
    page = server.signed("GET", f"/apps/app-id/channels/{unique}/history", params={"direction": "oldest_first"}).json()
    items = page["items"]
    assert [(each["serial"], each["operation_kind"], each["event_name"]) for each in items] == [
        (1, "message.update", "sockudo:message.update"),
        (2, "message.create", "sockudo:message.create"),
    ]
    latest = server.signed("GET", message_path(unique, first)).json()["item"]
    assert items[0]["message"] == latest
    assert items[1]["message"]["message_serial"] == second
    assert items[0]["payload_size_bytes"] == len(json.dumps(latest, separators=(",", ":"), ensure_ascii=False).encode())
    client.until_pong()
    client.say("sockudo:channel_history", {"channel": unique, "direction": "forwards"})
    answer = client.event()["data"]
    assert [each["operation_kind"] for each in answer["items"]] == ["update", "create"]
    assert answer["items"][0]["message"] == {**latest, "stream_id": answer["items"][0]["stream_id"]}


@pytest.mark.parametrize("params", ["append_mode=delta", "append_mode=full"])
def test_a_rewind_has_each_message_once_and_goes_on(
    connect_v2: Connect, server: ServerProcess, unique: str, params: str
) -> None:
    serial = create(server, unique, "a")["message_serial"]
    create(server, unique, "b")
    changed(server, unique, serial, "append", data="!")
    client = connect_v2(params=params)
    found = rewound(client, unique)
    assert [(each["event"], each["data"], each["serial"]) for each in found] == [
        ("sockudo:message.append", "a!", 3),
        ("sockudo:message.create", "b", 2),
    ]
    changed(server, unique, serial, "append", data="?")
    live = client.event()
    assert (live["data"], live["serial"]) == ("?" if "delta" in params else "a!?", 4)
    assert live["stream_id"] == found[0]["stream_id"]


@pytest.mark.parametrize("params", ["append_mode=delta", "append_mode=full"])
def test_a_resume_has_every_version(connect_v2: Connect, server: ServerProcess, unique: str, params: str) -> None:
    first = connect_v2()
    start = first.subscribe(unique)
    serial = create(server, unique, "a")["message_serial"]
    changed(server, unique, serial, "append", data="b")
    changed(server, unique, serial, "update", data="x")
    changed(server, unique, serial, "append", data="y")
    live = [first.event() for _ in range(4)]
    client = connect_v2(params=params)
    found = resumed(client, unique, start, 0)
    texts = ["a", "b", "x", "y"] if "delta" in params else ["a", "ab", "x", "xy"]
    assert [(each["serial"], each["data"]) for each in found] == list(enumerate(texts, 1))
    assert [each["message_id"] for each in found] == [each["message_id"] for each in live]
    assert [each["data"] for each in resumed(client, unique, start, 3)] == texts[3:]


def test_a_client_that_recovers_on_v1_gets_creates(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect(app=V1_APP)
    start = client.subscribe(unique)
    serial = create(server, unique, "a", app=V1_APP)["message_serial"]
    changed(server, unique, serial, "update", app=V1_APP, data="x")
    create(server, unique, "b", app=V1_APP)
    assert [each["data"] for each in client.until_pong()] == ["a", "b"]
    again = connect(app=V1_APP)
    found = resumed(again, unique, start, 0)
    assert [(each["event"], each["data"], each["serial"]) for each in found] == [("said", "a", 1), ("said", "b", 3)]


def test_readers_end_with_the_same_text(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    """Clients come while four publishers append: with what a rewind shows and what follows each has all of it."""
    serial = create(server, unique, "")["message_serial"]

    def publish(number: int) -> None:
        for index in range(25):
            assert changed(server, unique, serial, "append", data=f"<{number}.{index}>").status == 200

    publishers = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
    for each in publishers:
        each.start()
    clients = []
    for index in range(12):
        client = connect_v2(params="append_mode=full" if index % 2 else "append_mode=delta")
        clients.append((index % 2, client, rewound(client, unique)))
    for each in publishers:
        each.join()
    text = server.signed("GET", message_path(unique, serial)).json()["item"]["data"]
    assert sorted(text[1:-1].split("><")) == sorted(f"{n}.{i}" for n in range(4) for i in range(25))
    for full, client, begun in clients:
        data, place = begun[0]["data"], begun[0]["serial"]
        held = iter(begun[1:])
        while place < 101:
            frame = next(held, None) or client.event()
            assert frame["serial"] == place + 1
            data, place = frame["data"] if full else data + frame["data"], frame["serial"]
        assert data == text


# ---- who may ----


def test_a_client_may_change_its_own_message(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"private-{unique}"
    own = {"message_append_own": [channel], "message_update_any": [channel]}
    ana, ben = connect_v2(), connect_v2()
    ana.sign_in("ana", capabilities=own)
    ben.sign_in("ben", capabilities=own)
    for each in (ana, ben):
        each.subscribe(channel)
    ana.say("client-said", "hello", channel)
    serial = ben.event()["extras"]["headers"]["sockudo_message_serial"]

    def refused(answer: Any) -> None:
        assert (answer.status, answer.json()["code"], answer.json()["ai_code"]) == (403, "mutable_not_permitted", 93002)
        assert answer.json()["error"] == "mutations not permitted on this channel"

    assert changed(server, channel, serial, "append", data="!", socket_id=ana.socket_id).status == 200
    assert ben.event()["user_id"] == "ana"
    refused(changed(server, channel, serial, "append", data="!", socket_id=ben.socket_id))
    refused(changed(server, channel, serial, "delete", socket_id=ana.socket_id))
    assert changed(server, channel, serial, "update", data="x", socket_id=ben.socket_id).status == 200
    nobodys = create(server, channel)["message_serial"]
    refused(changed(server, channel, nobodys, "append", data="!", socket_id=ana.socket_id))
    refused(changed(server, channel, nobodys, "append", data="!", socket_id=connect_v2().socket_id))


def test_connections_that_cannot_change_anything(
    connect: Connect, connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    serial = create(server, unique)["message_serial"]
    ana = connect_v2()
    ana.sign_in("ana", capabilities={"message_update_any": ["*"]})
    for socket_id, fields in (
        ("1.1", {}),
        (connect().socket_id, {}),
        (connect_v2().socket_id, {"client_id": "ana"}),
        (ana.socket_id, {"client_id": "ben"}),
    ):
        answer = changed(server, unique, serial, "update", data="x", socket_id=socket_id, **fields)
        assert (answer.status, answer.json()["code"]) == (401, "auth_failed"), (socket_id, answer)
    assert changed(server, unique, serial, "update", data="x", socket_id="abc").status in {400, 422}
