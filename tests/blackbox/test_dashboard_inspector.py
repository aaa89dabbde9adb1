"""The live inspector: what its stream shows, within which bounds, and who may follow it (docs/dashboard.md)."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from blackbox.entries import EntryStream, signed_stream
from support.operators import PASSWORD
from support.raw import Dial, RawConnection, request_bytes, signed_target
from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.situations import CAUSES, Cause, bring_about, stage
from support.waiting import wait_until
from support.websocket import Connect

BEARER = {"Authorization": f"Bearer {PASSWORD}"}
STREAM = "/dashboard/api/v1/inspector/stream"
MARKUP = "<img src=x onerror=alert(1)>"
MOST = 32
MOST_OF_APP = 8


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server({"dashboard": {"password": PASSWORD}}) as running:
        yield running


@pytest.fixture(scope="module")
def told() -> Iterator[list[dict[str, Any]]]:
    """What the stream said while everything went wrong that can."""
    with stage(DEFAULT_APP, NUMERIC_APP) as on, board_stream(on.server) as stream:
        bring_about(on)
        stream.entry(kind="webhook_failed")
        yield stream.entries.seen


def board_stream(server: ServerProcess, query: str = "") -> EntryStream:
    return EntryStream(server, STREAM + query, port=server.metrics_port, headers=BEARER)


def watchers(server: ServerProcess, most: int = MOST) -> int:
    """How many more may watch, found out by asking."""
    with ExitStack() as opened:
        for count in range(most + 1):
            stream = board_stream(server)
            if stream.status != 200:
                stream.close()
                return count
            opened.callback(stream.close)
    raise AssertionError(f"over {most} watch at once")


# ---- what is shown ----


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_cause_is_shown_with_its_reason(told: list[dict[str, Any]], cause: Cause) -> None:
    shown = [entry for entry in told if cause.is_told_by(entry)]
    assert shown, [entry for entry in told if entry["kind"] == cause.kind]
    line = shown[0]["line"]
    assert line["tone"] == "bad"
    assert cause.error in line["marks"]
    assert all(word in f"{line['text']} {line['hint']}" for word in cause.told)


def test_no_secret_is_shown(told: list[dict[str, Any]]) -> None:
    text = json.dumps(told)
    assert DEFAULT_APP.secret not in text
    assert NUMERIC_APP.secret not in text
    assert "the-secret-before" not in text
    assert "auth_signature" not in text


def test_the_life_of_a_connection(server: ServerProcess, connect: Connect, unique: str) -> None:
    with board_stream(server, f"?app_id=app-id&channel={unique}") as stream, board_stream(server) as everything:
        assert stream.hello == {"watching": {"app_id": "app-id", "channel": unique}}
        client = connect()
        client.subscribe(unique)
        server.publish(unique, "tide", "high")
        client.say("pusher:unsubscribe", {"channel": unique})
        joined = stream.entry(kind="subscribed")
        assert (joined["channel"], joined["socket_id"], joined["address"]) == (unique, client.socket_id, "127.0.0.1")
        said = stream.entry(kind="message")
        assert (said["event"], said["data"], said["source"], said["recipients"]) == ("tide", "high", "api", 1)
        assert said["line"]["text"] == "tide high"
        assert stream.entry(kind="unsubscribed")["socket_id"] == client.socket_id
        client.close()
        connected = everything.entry(kind="connected")
        assert connected["socket_id"] == client.socket_id
        assert connected["client"].endswith("V1 json")
        assert everything.entry(kind="closed", socket_id=client.socket_id)["by"] == "network"
        assert {entry["kind"] for entry in stream.entries.seen} == {"subscribed", "message", "unsubscribed"}


def test_one_socket_one_user_and_some_kinds(server: ServerProcess, connect: Connect, unique: str) -> None:
    client, other = connect(), connect()
    client.sign_in(unique)
    with (
        board_stream(server, f"?app_id=app-id&socket_id={client.socket_id}") as of_socket,
        board_stream(server, f"?app_id=app-id&user_id={unique}&kinds=message,closed") as of_user,
    ):
        for one in (client, other):
            one.subscribe(f"{unique}-x")
        server.publish(f"#server-to-user-{unique}", "hello", "1")
        client.close()
        assert of_user.entry(kind="message")["user_id"] == unique
        of_user.entry(kind="closed")
        of_socket.entry(kind="closed")
        assert [entry["kind"] for entry in of_socket.entries.seen] == ["subscribed", "message", "closed"]
        assert {entry["kind"] for entry in of_user.entries.seen} == {"message", "closed"}


def test_markup_is_text(server: ServerProcess, connect: Connect, unique: str) -> None:
    """JSON carries it as it is; nothing of it stands in the page, whose script puts texts in place as texts."""
    with board_stream(server, f"?app_id=app-id&channel={unique}") as stream:
        connect().subscribe(unique)
        server.publish(unique, MARKUP, MARKUP)
        said = stream.entry(kind="message")
        assert (said["event"], said["data"]) == (MARKUP, MARKUP)
        assert said["line"]["text"] == f"{MARKUP} {MARKUP}"
    query = "?channel=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&kinds=%3Cimg%3E"
    shown = server.request("GET", f"/dashboard/inspector{query}", port=server.metrics_port, headers=BEARER)
    assert shown.status == 200
    assert "<img" not in shown.text
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown.text
    script = server.request("GET", "/dashboard/static/x/inspector.js", port=server.metrics_port).text
    assert "textContent" in script
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script


def test_an_app_sees_itself_alone(server: ServerProcess, connect: Connect, unique: str) -> None:
    with signed_stream(server, NUMERIC_APP) as other, signed_stream(server) as own:
        assert own.hello == {"watching": {"app_id": "app-id"}}
        connect().subscribe(unique)
        own.entry(kind="subscribed", channel=unique)
        connect(app=NUMERIC_APP).subscribe(unique)
        assert other.entry(kind="subscribed")["app_id"] == NUMERIC_APP.id
        assert {entry["app_id"] for entry in other.entries.seen} == {NUMERIC_APP.id}
        assert "line" not in own.entries.seen[0]


# ---- who may, and what may be asked ----


def test_without_login_nothing_is_shown(server: ServerProcess) -> None:
    reply = server.request("GET", STREAM, port=server.metrics_port)
    assert reply.status == 401
    wrong = server.request("GET", STREAM, port=server.metrics_port, headers={"Authorization": "Bearer nobody"})
    assert wrong.status == 401
    assert server.request("GET", STREAM).status == 404


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?kinds=closed,shut", "There is no kind 'shut'"),
        ("?user_id=ana", "add app_id"),
        ("?app_id=app-id&channel=" + "x" * 600, "over 512"),
    ],
)
def test_what_cannot_be_followed_is_told(server: ServerProcess, query: str, said: str) -> None:
    reply = server.request("GET", STREAM + query, port=server.metrics_port, headers=BEARER)
    assert reply.status == 400
    assert said in reply.json()["error"]


def test_a_stream_of_an_app_is_signed_like_everything_else(server: ServerProcess) -> None:
    path = f"/apps/{DEFAULT_APP.id}/inspector/stream"
    assert server.request("GET", path).status == 400
    wrong = Credentials(DEFAULT_APP.id, DEFAULT_APP.key, "wrong")
    assert server.signed("GET", path, app=wrong).json()["docs"] == "errors.md#signature_mismatch"
    assert server.signed("GET", path, app=NUMERIC_APP).status == 401
    refused = server.signed("GET", path, params={"kinds": "shut"})
    assert (refused.status, "There is no kind 'shut'" in refused.text) == (400, True)


def test_head_ends_at_once(server: ServerProcess) -> None:
    with RawConnection(server, port=server.metrics_port) as connection:
        connection.send(request_bytes("HEAD", STREAM, BEARER))
        assert connection.answer(head=True).status == 200
        connection.send(request_bytes("GET", "/metrics"))
        assert connection.answer().status == 200


# ---- bounds ----


def flood(server: ServerProcess, channel: str, count: int, size: int = 100) -> None:
    body = json.dumps({"name": "e", "channel": channel, "data": "x" * size}).encode()
    target = signed_target(DEFAULT_APP, "POST", f"/apps/{DEFAULT_APP.id}/events", body)
    request = request_bytes("POST", target, {"Content-Type": "application/json"}, body)
    with RawConnection(server) as publisher:
        for _ in range(count // 100):
            publisher.send(request * 100)
            assert all(publisher.answer().status == 200 for _ in range(100))


def test_a_flood_is_shown_in_part_and_the_rest_is_counted(server: ServerProcess, unique: str) -> None:
    with signed_stream(server, channel=unique) as stream:
        flood(server, unique, 10_000)
        wait_until(lambda: len(stream.entries.seen) + stream.skipped >= 10_000, "the end of the flood")
        assert len(stream.entries.seen) + stream.skipped == 10_000
        assert stream.skipped > 1000
        largest = max(len(data["entries"]) for event, data in stream.events.seen if event == "entries")
        assert largest <= 200
        server.publish(unique, "last", "1")
        assert stream.entry(event="last")["recipients"] == 0


def resident(server: ServerProcess) -> int:
    with open(f"/proc/{server.process.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1])


def test_a_reader_that_takes_nothing_costs_little(server: ServerProcess, unique: str) -> None:
    """It gets pieces until its buffers are full, and from then on its watcher is full, too: the rest is counted."""
    flood(server, f"{unique}-before", 5000, 2000)
    before = resident(server)
    target = signed_target(DEFAULT_APP, "GET", f"/apps/{DEFAULT_APP.id}/inspector/stream", params={"channel": unique})
    with RawConnection(server, receive_buffer=4096) as slow:
        slow.send(request_bytes("GET", target))
        slow.read_until(b"event: hello")
        with signed_stream(server, channel=unique) as quick:
            flood(server, unique, 15_000, 2000)
            wait_until(lambda: len(quick.entries.seen) + quick.skipped >= 15_000, "the end of the flood")
        # 15,000 messages of 2 kB were said; a watcher holds 1000, and a piece and the transport's buffer come on top.
        assert resident(server) - before < 12_000


def test_there_are_so_many_at_once(serve: Callable[..., ServerProcess], opened: ExitStack) -> None:
    own = serve({"dashboard": {"password": PASSWORD}})
    streams = [opened.enter_context(signed_stream(own)) for _ in range(MOST_OF_APP)]
    path = f"/apps/{DEFAULT_APP.id}/inspector/stream"
    refused = own.signed("GET", path)
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert refused.json()["docs"] == "errors.md#watchers_full"
    assert "is watched 8 times already" in refused.json()["error"]
    opened.enter_context(signed_stream(own, NUMERIC_APP))
    # What apps ask for leaves room for the operator.
    boards = [opened.enter_context(board_stream(own)) for _ in range(MOST - MOST_OF_APP - 1)]
    full = own.request("GET", STREAM, port=own.metrics_port, headers=BEARER)
    assert (full.status, full.json()["docs"]) == (503, "errors.md#watchers_full")
    assert own.signed("GET", f"/apps/{NUMERIC_APP.id}/inspector/stream", app=NUMERIC_APP).status == 503
    streams[0].close()
    wait_until(lambda: try_one(own), "the place of one who left")
    assert len(boards) == MOST - MOST_OF_APP - 1


def try_one(server: ServerProcess) -> bool:
    with ExitStack() as opened:
        stream = board_stream(server)
        opened.callback(stream.close)
        return stream.status == 200


def test_nobody_watches_once_the_reader_is_gone(serve: Callable[..., ServerProcess], opened: ExitStack) -> None:
    """Also one that vanished without a word: its place is free again."""
    own = serve({"dashboard": {"password": PASSWORD}})
    for _ in range(MOST):
        stream = board_stream(own)
        assert stream.status == 200
        stream.close()
    wait_until(lambda: watchers(own) == MOST, "all places to be free")


# ---- how it ends ----


def test_a_quiet_stream_is_kept_alive(server: ServerProcess, unique: str) -> None:
    """Longer than the heartbeat, past the sweeps for idle connections: comments come, and entries still do."""
    with signed_stream(server, channel=unique) as stream, board_stream(server, f"?channel={unique}") as board:
        for each in (stream, board):
            wait_until(lambda each=each: each.comments, "a sign of life", timeout=20)
        server.publish(unique, "e", "1")
        stream.entry(kind="message")
        board.entry(kind="message")
        assert not stream.ended.is_set()


def test_streams_end_when_the_server_stops(serve: Callable[..., ServerProcess], connect: Connect) -> None:
    own = serve({"dashboard": {"password": PASSWORD}, "shutdown_grace_period": 10})
    with signed_stream(own) as stream, board_stream(own) as board:
        own.send_signal(signal.SIGTERM)
        for each in (stream, board):
            assert each.end()["error"] == "draining"
        assert own.wait(9) == 0


def test_a_stream_ends_with_its_app(serve: Callable[..., ServerProcess], opened: ExitStack) -> None:
    own = serve({"app_manager": {"array": {"apps": [app_record(DEFAULT_APP), app_record(NUMERIC_APP)]}}})
    config = json.loads((own.folder / "config.json").read_text())
    stream = opened.enter_context(signed_stream(own))
    other = opened.enter_context(signed_stream(own, NUMERIC_APP))
    config["app_manager"]["array"]["apps"] = [{**app_record(DEFAULT_APP), "enabled": False}]
    (own.folder / "config.json").write_text(json.dumps(config))
    own.send_signal(signal.SIGHUP)
    assert stream.end() == {"error": "app_disabled", "text": "The app app-id is disabled"}
    assert other.end()["error"] == "app_not_found"


def test_a_stream_ends_with_the_secret_it_was_signed_with(
    serve: Callable[..., ServerProcess], opened: ExitStack
) -> None:
    own = serve({"app_manager": {"array": {"apps": [app_record(DEFAULT_APP)]}}})
    config = json.loads((own.folder / "config.json").read_text())
    stream = opened.enter_context(signed_stream(own))
    config["app_manager"]["array"]["apps"] = [{**app_record(DEFAULT_APP), "secret": "a-new-one"}]
    (own.folder / "config.json").write_text(json.dumps(config))
    own.send_signal(signal.SIGHUP)
    assert stream.end()["error"] == "signature_mismatch"


def test_the_page_says_what_to_watch(server: ServerProcess) -> None:
    reply = server.request(
        "GET", "/dashboard/inspector?app_id=4471&kinds=closed", port=server.metrics_port, headers=BEARER
    )
    assert reply.status == 200
    assert '<option value="4471" selected>' in reply.text
    assert 'data-kind="closed" checked' in reply.text
    assert 'data-kind="connected"> ' in reply.text
    assert 'aria-live="polite"' in reply.text
    assert "<script>" not in reply.text
    assert " style=" not in reply.text


def test_readers_that_take_nothing_do_not_hold_up_a_stop(serve: Callable[..., ServerProcess], dial: Dial) -> None:
    """Their streams are cut off, and nothing of it is an error of the server."""
    own = serve({"dashboard": {"password": PASSWORD}, "shutdown_grace_period": 2})
    target = signed_target(DEFAULT_APP, "GET", f"/apps/{DEFAULT_APP.id}/inspector/stream")
    for port, asked in (
        (own.port, request_bytes("GET", target)),
        (own.metrics_port, request_bytes("GET", STREAM, BEARER)),
    ):
        stuck = dial(server=own, port=port, receive_buffer=4096)
        stuck.send(asked)
        stuck.read_until(b"event: hello")
    flood(own, "busy", 10_000, 2000)
    assert own.terminate() == 0
