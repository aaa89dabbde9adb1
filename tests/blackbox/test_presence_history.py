"""Who came and went, asked of a running server (spec: http-api § 12; history § 8)."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.server import DEFAULT_APP, NUMERIC_APP, STREAMS, ServerProcess, app_record, start_server
from support.waiting import wait_until
from support.websocket import CLOSE, Connect, WebSocket, frame

BOTH = {"presence_history": {"enabled": True, "max_page_size": 5}}
FLEETING = app_record(NUMERIC_APP, history={"enabled": False})


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """One app with its presence histories in a database, one with them in memory."""
    options = {
        **STREAMS,
        **BOTH,
        "history": {"enabled": True, "backend": "sqlite"},
        "presence": {"ungraceful_timeout_seconds": 1},
        "app_manager": {"driver": "memory", "array": {"apps": [app_record(DEFAULT_APP), FLEETING]}},
    }
    with start_server(options) as running:
        yield running


@pytest.fixture
def room(unique: str) -> str:
    return f"presence-{unique[-60:]}"


class Asked:
    """What one app's backend asks about one channel."""

    def __init__(self, server: ServerProcess, channel: str, app: Any = DEFAULT_APP) -> None:
        self.server = server
        self.channel = channel
        self.app = app

    def get(self, what: str = "", **params: Any) -> dict[str, Any]:
        path = f"/apps/{self.app.id}/channels/{self.channel}/presence/history{what}"
        texts = {name: str(value) for name, value in params.items()}
        reply = self.server.signed("GET", path, params=texts, app=self.app)
        assert reply.status == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def events(self, **params: Any) -> list[dict[str, Any]]:
        page: list[dict[str, Any]] = self.get(direction="oldest_first", **params)["items"]
        return page

    def told(self) -> list[tuple[str, str]]:
        return [(item["event"].removeprefix("member_"), item["user_id"]) for item in self.events()]

    def members(self, **params: Any) -> list[str]:
        return [member["user_id"] for member in self.get("/snapshot", **params)["members"]]

    def reset(self) -> dict[str, Any]:
        path = f"/apps/{self.app.id}/channels/{self.channel}/presence/history/reset"
        body = {"confirm_channel": self.channel, "confirm_operation": "reset", "reason": "test"}
        reply = self.server.signed("POST", path, body=body, app=self.app)
        assert reply.status == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found


@pytest.fixture(params=[DEFAULT_APP, NUMERIC_APP], ids=["durable", "memory"])
def asked(request: pytest.FixtureRequest, server: ServerProcess, room: str) -> Asked:
    return Asked(server, room, request.param)


# ---- what is recorded ----


@pytest.mark.parametrize("protocol", [1, 2])
def test_coming_and_going_on_either_protocol(connect: Connect, asked: Asked, protocol: int) -> None:
    client = connect(protocol=7 if protocol == 1 else 2, app=asked.app)
    client.subscribe(asked.channel, "ana", {"rank": "mate"})
    client.say(f"{client.prefix}:unsubscribe", {"channel": asked.channel})
    client.subscribe(asked.channel, "ana", {"rank": "captain"})
    came, went, again = asked.events()
    assert [item["event"] for item in (came, went, again)] == ["member_added", "member_removed", "member_added"]
    assert [item["cause"] for item in (came, went, again)] == ["join", "disconnect", "join"]
    assert [item["serial"] for item in (came, went, again)] == [1, 2, 3]
    assert {item["connection_id"] for item in (came, went, again)} == {client.socket_id}
    assert came["presence_event"]["user_info"] == {"rank": "mate"}
    assert went["presence_event"]["user_info"] is None
    assert again["presence_event"]["user_info"] == {"rank": "captain"}
    assert came["published_at_ms"] <= went["published_at_ms"] <= again["published_at_ms"]
    assert len({item["stream_id"] for item in (came, went, again)}) == 1
    assert asked.members() == ["ana"]


def test_every_change_that_says_something_new_is_kept(connect_v2: Connect, asked: Asked) -> None:
    client = connect_v2(app=asked.app)
    client.subscribe(asked.channel, "ana", {"n": 1})
    for number in (1, 2, 2, 3):
        client.say("sockudo:presence_update", {"channel": asked.channel, "data": {"n": number}})
        client.event()
    events = asked.events()
    assert [item["event"] for item in events] == ["member_added", "member_updated", "member_updated"]
    assert [item["presence_event"]["user_info"] for item in events] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert asked.get("/snapshot")["members"][0]["last_event"] == "member_updated"


def test_several_tabs_are_one_member(connect: Connect, connect_v2: Connect, asked: Asked) -> None:
    tabs = [connect(app=asked.app), connect_v2(app=asked.app), connect(app=asked.app)]
    for tab in tabs:
        tab.subscribe(asked.channel, "ana")
    for tab in tabs[:2]:
        tab.say(f"{tab.prefix}:unsubscribe", {"channel": asked.channel})
        tab.until_pong()
    assert asked.told() == [("added", "ana")]
    tabs[2].say("pusher:unsubscribe", {"channel": asked.channel})
    tabs[2].until_pong()
    [_, gone] = asked.events()
    assert (gone["event"], gone["connection_id"]) == ("member_removed", tabs[2].socket_id)


def test_why_somebody_went(server: ServerProcess, connect: Connect, asked: Asked) -> None:
    polite, lost, thrown_out = (connect(app=asked.app) for _ in range(3))
    for client, user_id in ((polite, "ana"), (lost, "ben"), (thrown_out, "cid")):
        client.subscribe(asked.channel, user_id)
    polite.send(frame(b"\x03\xe8", CLOSE))
    path = f"/apps/{asked.app.id}/users/cid/terminate_connections"
    assert server.signed("POST", path, body={}, app=asked.app).status == 200
    lost.close()
    found: dict[str, tuple[str, str | None]] = {}

    def all_gone() -> bool:
        page = asked.get(limit=3)["items"]
        gone = [item for item in page if item["event"] == "member_removed"]
        found.update({item["user_id"]: (item["cause"], item["connection_id"]) for item in gone})
        return len(gone) == 3

    wait_until(all_gone, "all three to be gone")
    assert found == {
        "ana": ("disconnect", polite.socket_id),
        "ben": ("timeout", None),
        "cid": ("forced_disconnect", None),
    }
    assert asked.members() == []


def test_coming_back_within_the_grace_period_is_no_event(connect: Connect, asked: Asked) -> None:
    first = connect(app=asked.app)
    first.subscribe(asked.channel, "ana")
    first.close()
    connect(app=asked.app).subscribe(asked.channel, "ana")
    assert asked.told() == [("added", "ana")]


# ---- what can be asked ----


@pytest.mark.parametrize("direction", ["oldest_first", "newest_first"])
def test_pages_by_cursor(connect: Connect, asked: Asked, direction: str) -> None:
    client = connect(app=asked.app)
    for number in range(6):
        client.subscribe(asked.channel, f"user-{number}")
        client.say("pusher:unsubscribe", {"channel": asked.channel})
    client.until_pong()
    found: list[int] = []
    cursor: dict[str, Any] = {}
    while True:
        page = asked.get(direction=direction, **cursor)
        assert len(page["items"]) <= 5
        found += [item["serial"] for item in page["items"]]
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"], "limit": 4}
    assert sorted(found) == list(range(1, 13))
    assert found == sorted(found, reverse=direction == "newest_first")


def test_who_was_in_at_every_serial(connect: Connect, asked: Asked) -> None:
    clients = {user_id: connect(app=asked.app) for user_id in ("ana", "ben", "cid")}
    present: set[str] = set()
    history = [sorted(present)]
    for user_id in ("ana", "ben", "ana", "cid", "ben", "ana", "cid"):
        client = clients[user_id]
        if user_id in present:
            client.say("pusher:unsubscribe", {"channel": asked.channel})
        else:
            client.say("pusher:subscribe", client.subscription(asked.channel, user_id))
        client.until_pong()
        present ^= {user_id}
        history.append(sorted(present))
    assert [asked.members(at_serial=serial) for serial in range(len(history))] == history
    snapshot = asked.get("/snapshot")
    assert (snapshot["events_replayed"], snapshot["snapshot_serial"], snapshot["member_count"]) == (7, 7, 1)
    assert snapshot["continuity"]["complete"] is True
    assert asked.members(at=snapshot["snapshot_time_ms"]) == history[-1]
    assert asked.members(at_time_ms=1) == []


def test_a_reset_begins_a_new_stream(connect: Connect, asked: Asked) -> None:
    client = connect(app=asked.app)
    client.subscribe(asked.channel, "ana")
    before = asked.get("/state")["stream"]
    reply = asked.reset()
    assert (reply["purged_events"], reply["previous_stream_id"]) == (1, before["stream_id"])
    after = asked.get("/state")["stream"]
    assert after == reply["stream"]
    assert (after["next_serial"], after["stream_id"]) == (1, reply["new_stream_id"])
    client.say("pusher:unsubscribe", {"channel": asked.channel})
    client.subscribe(asked.channel, "ana")
    assert asked.told() == [("added", "ana")]


def test_the_histories_of_messages_and_members_do_not_mix(server: ServerProcess, connect: Connect, room: str) -> None:
    asked = Asked(server, room)
    connect().subscribe(room, "ana")
    server.publish(room, "said", "hello")
    page = server.signed("GET", f"/apps/{DEFAULT_APP.id}/channels/{room}/history").json()
    assert [item["event_name"] for item in page["items"]] == ["said"]
    assert asked.told() == [("added", "ana")]
    assert page["continuity"]["stream_id"] != asked.get("/state")["stream"]["stream_id"]


def test_stats_tell_of_it(server: ServerProcess) -> None:
    stats = json.loads(server.request("GET", "/stats").text)
    healthy = {
        "enabled": True,
        "backend": "sqlite",
        "state_authority": "durable_store",
        "degraded_channels": 0,
        "reset_required_channels": 0,
        "queue_depth": 0,
    }
    assert stats["history"] == stats["presence_history"] == healthy


# ---- restarts ----


@contextlib.contextmanager
def running(data: Path) -> Iterator[ServerProcess]:
    options = {**BOTH, "history": {"enabled": True, "backend": "sqlite"}}
    with start_server(options, env={"SOCKUDO_DATA_DIR": str(data)}) as server:
        yield server


def test_it_outlives_the_server_and_who_was_in_went_with_it(tmp_path: Path, room: str) -> None:
    with running(tmp_path) as server, WebSocket(server).greeting() as client:
        client.subscribe(room, "ana")
        asked = Asked(server, room)
        assert asked.told() == [("added", "ana")]
        stream_id = asked.get("/state")["stream"]["stream_id"]
        server.terminate()
    with running(tmp_path) as server, WebSocket(server).greeting() as client:
        asked = Asked(server, room)
        assert asked.told() == [("added", "ana"), ("removed", "ana")]
        assert asked.events()[1]["cause"] == "disconnect"
        client.subscribe(room, "ana")
        assert [item["serial"] for item in asked.events()] == [1, 2, 3]
        assert asked.get("/state")["stream"]["stream_id"] == stream_id


def test_who_was_in_when_the_server_was_killed_is_taken_out(tmp_path: Path, room: str) -> None:
    with running(tmp_path) as server, WebSocket(server).greeting() as client:
        client.subscribe(room, "ana")
        [came] = Asked(server, room).events()
        server.send_signal(signal.SIGKILL)
        server.wait()
    with running(tmp_path) as server:
        asked = Asked(server, room)
        assert asked.members() == []
        [_, gone] = asked.events()
        assert (gone["event"], gone["cause"], gone["user_id"]) == ("member_removed", "orphan_cleanup", "ana")
        assert gone["connection_id"] is None
        assert gone["dead_node_id"]
        assert asked.members(at_serial=came["serial"]) == ["ana"]


def test_in_memory_it_ends_with_the_server_and_makes_no_database(
    serve: Callable[..., ServerProcess], tmp_path: Path, room: str
) -> None:
    env = {"SOCKUDO_DATA_DIR": str(tmp_path)}
    server = serve(BOTH, env=env)
    with WebSocket(server).greeting() as client:
        client.subscribe(room, "ana")
        assert Asked(server, room).told() == [("added", "ana")]
    stats = json.loads(server.request("GET", "/stats").text)
    assert (stats["history"]["enabled"], stats["presence_history"]["backend"]) == (False, "memory")
    assert not list(tmp_path.glob("history*"))
    server.terminate()
    assert Asked(serve(BOTH, env=env), room).told() == []


def test_what_a_reload_changes_holds_at_once(serve: Callable[..., ServerProcess], room: str) -> None:
    """The size of a page, and an app that wants a presence history on a server that had none."""
    server = serve({})
    path = server.folder / "config.json"
    config = json.loads(path.read_text())
    config["presence_history"] = {"max_page_size": 2}
    config["app_manager"]["array"]["apps"] = [app_record(DEFAULT_APP, presence_history={"enabled": True})]
    with WebSocket(server).greeting() as client:
        client.subscribe(room, "early")
        assert server.signed("GET", f"/apps/{DEFAULT_APP.id}/channels/{room}/presence/history").status == 403
        path.write_text(json.dumps(config))
        server.send_signal(signal.SIGHUP)

        def open_by_now() -> bool:
            return bool(json.loads(server.request("GET", "/stats").text)["presence_history"]["enabled"])

        wait_until(open_by_now, "the presence history to be open")
        for number in range(3):
            with WebSocket(server).greeting() as other:
                other.subscribe(room, f"user-{number}")
        client.say("pusher:unsubscribe", {"channel": room})
        client.until_pong()
    asked = Asked(server, room)
    wait_until(lambda: len(asked.members()) == 0, "all to be gone")
    assert asked.get(limit=50)["limit"] == 2
    assert "early" not in {item["user_id"] for item in asked.events()}
    assert asked.get("/state")["stream"]["next_serial"] == 7


def samples(server: ServerProcess) -> dict[str, float]:
    """Every sample of our own, by name and labels without the port."""
    found = {}
    for line in server.metrics().splitlines():
        if line.startswith("sockudo_"):
            series, value = line.rsplit(" ", 1)
            found[re.sub(r',?port="\d+"', "", series)] = float(value)
    return found


def test_metrics_tell_of_messages_members_recovery_filters_and_differences(
    serve: Callable[..., ServerProcess], room: str
) -> None:
    server = serve({**STREAMS, **BOTH, "delta_compression": {"enabled": True}})
    with WebSocket(server, protocol=2).greeting() as client, WebSocket(server, protocol=2).greeting() as other:
        client.subscribe(room, "ana")
        client.subscribe("news", filter={"events": ["wanted"]})
        other.say("sockudo:subscribe", {"channel": "plain", "delta": "fossil"})
        other.until_pong()
        for number in range(6):
            server.publish("news", "unwanted", "hello")
            server.publish("plain", "quote", "x" * 400 + str(number))
        server.publish("news", "brief", "hello", extras={"ephemeral": True})
        stream_id = other.until_pong()[-1]["stream_id"]
        other.say("sockudo:resume", {"channel_positions": {"plain": {"stream_id": stream_id, "serial": 2}}})
        other.say("sockudo:resume", {"channel_positions": {"plain": {"stream_id": "gone", "serial": 2}}})
        other.until_pong()

        def settled() -> dict[str, float] | None:
            found = samples(server)
            return found if found.get('sockudo_history_retained_messages{app_id="app-id"}') == 12 else None

        found = wait_until(settled, "the sums of what is kept")
    expected = {
        'history_writes_total{app_id="app-id"}': 12,
        'history_write_latency_ms_count{app_id="app-id"}': 12,
        "history_queue_depth{}": 0,
        'presence_history_writes_total{app_id="app-id"}': 1,
        'presence_history_retained_events{app_id="app-id"}': 1,
        "presence_history_queue_depth{}": 0,
        'history_recovery_success_total{app_id="app-id",source="hot"}': 1,
        'history_recovery_failures_total{app_id="app-id",code="stream_reset"}': 1,
        'event_filter_suppressed_total{app_id="app-id"}': 7,
        'ephemeral_messages_total{app_id="app-id"}': 1,
        'delta_compression_full_messages_total{app_id="app-id",channel_name="public"}': 2,
        'delta_compression_delta_messages_total{app_id="app-id",channel_name="public"}': 4,
    }
    assert {name: found.get(f"sockudo_{name}") for name in expected} == expected
    saved = found['sockudo_delta_compression_bandwidth_saved_bytes{app_id="app-id",channel_name="public"}']
    original = found['sockudo_delta_compression_bandwidth_original_bytes{app_id="app-id",channel_name="public"}']
    assert 4 * 100 < saved < original
