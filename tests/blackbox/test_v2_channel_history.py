"""A channel's past, asked for over the socket, and where it ends for whoever has just subscribed
(spec: websocket § 13.2 and 13.3; history § 6)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, WebSocket, frame
from support.wire import WIRES, Wire, compact

OFF_APP = Credentials("off", "off-key", "off-secret")
FEW_APP = Credentials("few", "few-key", "few-secret")
NAMED_APP = Credentials("named", "named-key", "named-secret")

BOUNDS = {"start_serial": None, "end_serial": None, "start_time_ms": None, "end_time_ms": None}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    rooms = [{"name": "room", "allow_user_limited_channels": True}]
    apps = [
        app_record(DEFAULT_APP),
        app_record(OFF_APP, history={"enabled": False}),
        app_record(FEW_APP, history={"max_messages_per_channel": 3}),
        app_record(NAMED_APP, channels={"channel_namespaces": rooms}),
    ]
    config = {**STREAMS, "history": {**STREAMS["history"], "max_page_size": 50}}
    with start_server({**config, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def publish(server: ServerProcess, channel: str, *data: object, **fields: Any) -> None:
    for each in data:
        server.publish(channel, "tide", str(each), **fields)


def ask(client: WebSocket, channel: str, **params: Any) -> Event:
    """The page that answers."""
    client.say("sockudo:channel_history", {"channel": channel, **params})
    found = client.event()
    assert (found["event"], found.get("channel")) == ("sockudo:channel_history", channel), found
    page: Event = found["data"]
    return page


def serials(page: Event) -> list[int]:
    return [item["serial"] for item in page["items"]]


def refused(client: WebSocket, channel: str, code: int, text: str, **params: Any) -> None:
    client.say("sockudo:channel_history", {"channel": channel, **params})
    error = {"event": "sockudo:error", "channel": channel, "data": {"code": code, "message": text}}
    assert client.event() == error


# ---- a page ----


def test_the_whole_frame(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    start = client.subscribe(unique)
    publish(server, unique, "1", "2", tags={"a": "1"}, extras={"headers": {"n": 1}})
    live = [client.event() for _ in range(2)]
    client.say("sockudo:channel_history", {"channel": unique, "limit": 1})
    text = client.text()
    found = json.loads(text)
    assert list(found) == ["event", "channel", "data"]
    data = found["data"]
    (item,) = data["items"]
    times = [item.pop("published_at_ms"), data["continuity"].pop("oldest_available_published_at_ms")]
    assert data["continuity"].pop("newest_available_published_at_ms") == times[0] >= times[1]
    assert item.pop("payload_size_bytes") > 0
    assert item == {
        "stream_id": start["stream_id"],
        "serial": 2,
        "message_id": live[1]["message_id"],
        "event_name": "tide",
        "operation_kind": "append",
        "message": live[1],
    }
    assert isinstance(data.pop("next_cursor"), str)
    assert data.pop("continuity").pop("retained_bytes") > 0
    assert data.pop("items")
    assert data == {
        "direction": "newest_first",
        "limit": 1,
        "has_more": True,
        "bounds": {**BOUNDS, "until_attach": False, "attach_serial": 0},
        "stream_state": {
            "stream_id": start["stream_id"],
            "durable_state": "healthy",
            "recovery_allowed": True,
            "reset_required": False,
            "reason": None,
            "node_id": None,
            "last_transition_at_ms": None,
            "authoritative_source": "in_memory",
            "observed_source": "in_memory",
        },
    }
    assert text == compact(found | {"data": json.loads(text)["data"]})


def test_what_is_continuous(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2(app=FEW_APP)
    client.subscribe(unique)
    empty = ask(client, unique)
    assert empty["items"] == []
    assert empty["continuity"]["complete"]
    publish(server, unique, *range(3), app=FEW_APP)
    client.until_pong()
    assert ask(client, unique)["continuity"]["complete"]
    publish(server, unique, *range(2), app=FEW_APP)
    client.until_pong()
    continuity = ask(client, unique)["continuity"]
    assert (continuity["oldest_available_serial"], continuity["newest_available_serial"]) == (3, 5)
    assert (continuity["complete"], continuity["truncated_by_retention"]) == (False, True)
    within = ask(client, unique, start_serial=3)["continuity"]
    assert (within["complete"], within["truncated_by_retention"]) == (True, False)


@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_in_every_format(connect_v2: Connect, server: ServerProcess, unique: str, wire: Wire) -> None:
    publish(server, unique, "1", '{"a":[1,2.5,null]}')
    client = connect_v2(wire=wire)
    client.subscribe(unique)
    page = ask(client, unique)
    assert [item["message"]["data"] for item in page["items"]] == ['{"a":[1,2.5,null]}', "1"]


@pytest.mark.parametrize(
    "data",
    [
        {"channel": "{}", "limit": 1, "direction": "oldest_first"},
        {"channel": "{}", "limit": "1", "direction": "forwards"},
        {"channel": "{}", "params": {"limit": 1, "direction": "forward"}},
        {"params": {"channel": "{}", "limit": 1, "direction": "forward"}},
        {"channel": "{}", "limit": 9, "params": {"limit": 1, "direction": "forward"}},
        {"channel": "{}", "limit": 1, "direction": "forward", "cursor": None, "end": None, "until_attach": None},
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_ways_to_ask(connect_v2: Connect, server: ServerProcess, unique: str, data: Event, as_text: bool) -> None:
    publish(server, unique, "1", "2")
    client = connect_v2()
    client.subscribe(unique)
    text = json.dumps(data).replace("{}", unique)
    for event in ("sockudo:channel_history", "pusher:channel_history", "channel_history"):
        client.say(event, text if as_text else json.loads(text))
        page = client.event()["data"]
        assert (serials(page), page["direction"], page["limit"]) == ([1], "oldest_first", 1)


@pytest.mark.parametrize(
    ("params", "due"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"direction": "backwards"}, [6, 5, 4, 3, 2, 1]),
        ({"direction": "reverse"}, [6, 5, 4, 3, 2, 1]),
        ({"direction": "newest_first", "limit": 2}, [6, 5]),
        ({"start_serial": 2, "end_serial": 4}, [4, 3, 2]),
        ({"start": 2, "end": 4, "direction": "forwards"}, [2, 3, 4]),
        ({"start_serial": "5"}, [6, 5]),
        ({"start_serial": 6, "start": 1}, [6]),
        ({"end_serial": 0}, []),
        ({"start_serial": 2**62}, []),
        ({"start_time_ms": 0, "end_time_ms": 9_999_999_999_999}, [6, 5, 4, 3, 2, 1]),
        ({"start_time_ms": 9_999_999_999_999}, []),
        ({"end_time_ms": -5}, []),
        ({"limit": 5000}, [6, 5, 4, 3, 2, 1]),
    ],
)
def test_what_can_be_asked_for(
    connect_v2: Connect, server: ServerProcess, unique: str, params: Event, due: list[int]
) -> None:
    publish(server, unique, *range(6))
    client = connect_v2()
    client.subscribe(unique)
    page = ask(client, unique, **params)
    assert serials(page) == due
    assert page["limit"] == min(params.get("limit", 100), 50)


def test_page_after_page(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, *range(7))
    client = connect_v2()
    client.subscribe(unique)
    for direction, due in (("forwards", [2, 3, 4, 5, 6]), ("backwards", [6, 5, 4, 3, 2])):
        query = {"direction": direction, "start_serial": 2, "end_serial": 6}
        page = ask(client, unique, limit=2, **query)
        found = serials(page)
        publish(server, unique, "meanwhile")
        client.event()
        while page["has_more"]:
            # The limit may change from page to page.
            page = ask(client, unique, limit=1, cursor=page["next_cursor"], **query)
            found += serials(page)
        assert found == due
        assert page["next_cursor"] is None


def test_cursors_belong_to_their_question(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    other = f"{unique}-2"
    client = connect_v2()
    for channel in (unique, other):
        publish(server, channel, *range(3))
        client.subscribe(channel)
    cursor = ask(client, unique, limit=1)["next_cursor"]
    cases: list[tuple[str, str, Event]] = [
        (other, "History cursor channel does not match the request", {"cursor": cursor}),
        (unique, "History cursor direction does not match the request", {"cursor": cursor, "direction": "forward"}),
        (unique, "History cursor bounds do not match the request", {"cursor": cursor, "start": 1}),
        (unique, "History cursor exceeds 16 KiB", {"cursor": "x" * 16_385}),
        (unique, "Invalid history cursor: it is not base64url", {"cursor": "%"}),
    ]
    for channel, text, params in cases:
        refused(client, channel, 4000, text, **params)
    server.signed("POST", f"/apps/app-id/channels/{unique}/history/reset", body=_confirm(unique, "reset"))
    refused(client, unique, 4000, "Expired history cursor: channel stream changed", cursor=cursor)


def _confirm(channel: str, operation: str, **fields: Any) -> Event:
    return {"confirm_channel": channel, "confirm_operation": operation, "reason": "test", **fields}


# ---- where the attach was ----


def test_until_attach(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, *range(3))
    client = connect_v2()
    assert json.loads(client.subscribe(unique)["data"]) == {"attach_serial": 3}
    publish(server, unique, *range(2))
    client.until_pong()
    for name in ("until_attach", "untilAttach"):
        page = ask(client, unique, **{name: True})
        assert serials(page) == [3, 2, 1]
        assert page["bounds"] == {**BOUNDS, "end_serial": 3, "until_attach": True, "attach_serial": 3}
    assert serials(ask(client, unique, until_attach=True, end_serial=2)) == [2, 1]
    assert serials(ask(client, unique, until_attach=True, end_serial=5)) == [3, 2, 1]
    assert serials(ask(client, unique, until_attach=False)) == [5, 4, 3, 2, 1]
    first = ask(client, unique, until_attach=True, limit=2)
    assert serials(ask(client, unique, until_attach=True, cursor=first["next_cursor"])) == [1]
    assert serials(ask(client, unique, end_serial=3, cursor=first["next_cursor"])) == [1]
    refused(client, unique, 4000, "History cursor bounds do not match the request", cursor=first["next_cursor"])


def test_subscribing_again_moves_it(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, 1, 2)
    client = connect_v2()
    client.subscribe(unique)
    cursor = ask(client, unique, until_attach=True, limit=1)["next_cursor"]
    publish(server, unique, 3)
    client.event()
    client.subscribe(unique)
    assert serials(ask(client, unique, until_attach=True)) == [3, 2, 1]
    text = "History cursor bounds do not match the request"
    refused(client, unique, 4000, text, until_attach=True, cursor=cursor)


def test_it_is_of_one_stream(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, 1)
    client = connect_v2()
    client.subscribe(unique)
    assert (
        server.signed("POST", f"/apps/app-id/channels/{unique}/history/reset", body=_confirm(unique, "reset")).status
        == 200
    )
    publish(server, unique, 2)
    client.event()
    text = "The stream was reset after this connection attached; subscribe again"
    refused(client, unique, 4000, text, until_attach=True)
    client.subscribe(unique)
    assert [item["message"]["data"] for item in ask(client, unique, until_attach=True)["items"]] == ["2"]


def test_the_past_and_the_present_divide_the_stream(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publisher = threading.Thread(target=lambda: publish(server, unique, *range(80)))
    publisher.start()
    for _ in range(500):
        client = connect_v2()
        attach = json.loads(client.subscribe(unique)["data"])["attach_serial"]
        client.say("sockudo:channel_history", {"channel": unique, "until_attach": True, "direction": "forward"})
        live: list[int] = []
        while (found := client.event())["event"] != "sockudo:channel_history":
            live.append(found["serial"])
        live += [each["serial"] for each in client.until_pong()]
        past = serials(found["data"])
        while found["data"]["has_more"]:
            query = {"channel": unique, "until_attach": True, "direction": "forward"}
            client.say("sockudo:channel_history", {**query, "cursor": found["data"]["next_cursor"]})
            while (found := client.event())["event"] != "sockudo:channel_history":
                live.append(found["serial"])
            past += serials(found["data"])
        assert past == list(range(1, attach + 1))
        assert live == list(range(attach + 1, attach + 1 + len(live)))
        client.close()
        if attach == 80:
            break
    publisher.join()
    assert attach == 80


# ---- refusals ----


def test_v1_has_no_history(connect: Connect) -> None:
    client = connect()
    client.subscribe("news")
    client.say("pusher:channel_history", {"channel": "news"})
    assert client.event()["data"]["code"] == 4000


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "Invalid message format: Missing data in channel_history message"),
        ("news", "Invalid message format: Missing data in channel_history message"),
        ([], "Invalid message format: Missing data in channel_history message"),
        ({}, "Invalid message format: Missing channel in channel_history message"),
        ({"channel": 5}, "Invalid message format: Missing channel in channel_history message"),
    ],
)
def test_a_question_about_nothing(connect_v2: Connect, data: object, text: str) -> None:
    client = connect_v2()
    client.say("sockudo:channel_history", data)
    client.refused(4000, text)


@pytest.mark.parametrize("subscribed", [None, "*", "{}*", "[meta]{}"])
def test_only_who_is_subscribed_may_ask(
    connect_v2: Connect, server: ServerProcess, unique: str, subscribed: str | None
) -> None:
    publish(server, unique, 1)
    client = connect_v2()
    if subscribed is not None:
        client.subscribe(subscribed.format(unique))
    refused(client, unique, 4301, f"Client event error: Not subscribed to channel '{unique}'")
    client.subscribe(unique)
    client.say("sockudo:unsubscribe", {"channel": unique})
    client.until_pong()
    refused(client, unique, 4301, f"Client event error: Not subscribed to channel '{unique}'")


def test_a_user_that_has_changed(connect_v2: Connect) -> None:
    client = connect_v2(app=NAMED_APP)
    client.sign_in("ana")
    client.subscribe("room:a#ana")
    assert ask(client, "room:a#ana")["items"] == []
    client.sign_in("eve")
    text = "Authentication error: Channel 'room:a#ana' is limited to the users in its name"
    refused(client, "room:a#ana", 4009, text)


def test_where_nothing_is_kept(connect_v2: Connect) -> None:
    client = connect_v2(app=OFF_APP)
    client.subscribe("news")
    refused(client, "news", 4300, "Channel error: Durable history is disabled by policy for channel 'news'")


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"limit": 0}, "History limit must be greater than 0"),
        ({"limit": -1}, "limit must be a whole number of 0 or more"),
        ({"limit": 1.5}, "limit must be a whole number of 0 or more"),
        ({"limit": "x"}, "limit must be a whole number of 0 or more"),
        ({"limit": True}, "limit must be a whole number of 0 or more"),
        ({"start_serial": -1}, "start_serial must be a whole number of 0 or more"),
        ({"end": [1]}, "end must be a whole number of 0 or more"),
        ({"end_time_ms": "noon"}, "end_time_ms must be a whole number"),
        ({"direction": "Forwards"}, "Unsupported history direction: Forwards"),
        ({"direction": 1}, "Unsupported history direction: 1"),
        ({"cursor": 5}, "cursor must be a string"),
        ({"until_attach": "true"}, "until_attach must be true or false"),
        ({"start_serial": 3, "end_serial": 2}, "start_serial must be less than or equal to end_serial"),
        ({"start_time_ms": 3, "end_time_ms": 2}, "start_time_ms must be less than or equal to end_time_ms"),
    ],
)
def test_questions_that_cannot_be_meant(connect_v2: Connect, unique: str, params: Event, text: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    refused(client, unique, 4000, text, **params)


def test_two_at_once_are_enough(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, 1)
    client = connect_v2()
    client.subscribe(unique)
    question = frame(compact({"event": "sockudo:channel_history", "data": {"channel": unique}}))
    client.send(question * 5)
    found = [client.event() for _ in range(5)]
    text = "Client event error: Too many concurrent channel_history requests for this connection"
    refusals = [each for each in found if each["event"] == "sockudo:error"]
    assert [each["data"] for each in refusals] == [{"code": 4301, "message": text}] * 3
    assert [serials(each["data"]) for each in found if each not in refusals] == [[1], [1]]
    assert serials(ask(client, unique)) == [1]
