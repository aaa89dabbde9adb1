"""From a request to a session: what is refused before the 101, what after it, and in which order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from sockudo import errors
from sockudo.config.apps import Channels, Limits
from sockudo.config.sections.limits import RateLimit
from support.edge import EdgeNode, request, settings
from support.inside import live_app
from support.websocket import frame, handshake

LIMITED: dict[str, Any] = {"enabled": True, "driver": "memory", "websocket_rate_limit": RateLimit(20, 60, 0)}


class TestAdmitted:
    async def test_a_greeting_with_an_id_and_a_period(self) -> None:
        node = EdgeNode(settings=settings(activity_timeout=33))
        socket = node.socket()
        reply = socket.upgrade()
        assert reply.status == 101
        assert reply.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert "sec-websocket-protocol" not in reply.headers
        assert "sec-websocket-extensions" not in reply.headers
        [greeting] = socket.events()
        assert greeting["event"] == "pusher:connection_established"
        assert json.loads(greeting["data"]) == {"socket_id": socket.session.socket_id, "activity_timeout": 33}
        assert list(node.state.connections) == [socket.session.socket_id]
        assert not node.edge.state.connections

    @pytest.mark.parametrize(("target", "frames"), [("/app/key-app", 1), ("/app/nobody", 2)])
    async def test_the_first_frame_leaves_with_the_handshake(self, node: EdgeNode, target: str, frames: int) -> None:
        socket = node.socket()
        socket.feed(handshake(target))
        first, *rest = socket.transport.writes
        assert first.startswith(b"HTTP/1.1 101 ")
        assert b'"event":"pusher:' in first
        assert len(rest) == frames - 1

    @pytest.mark.parametrize("size", [1, 10, 10_000])
    async def test_frames_right_behind_the_handshake(self, node: EdgeNode, size: int) -> None:
        socket = node.socket()
        data = handshake("/app/key-app") + frame('{"event":"pusher:ping"}') * 2
        socket.feed(*(data[at : at + size] for at in range(0, len(data), size)))
        assert socket.reply().status == 101
        assert [event["event"] for event in socket.events()] == ["pusher:connection_established", *["pusher:pong"] * 2]

    @pytest.mark.parametrize(
        "target",
        [
            "/app/key-app",
            "/app/key-app/",
            "/app/key%2dapp",
            "/app/key-app?protocol=7&client=js&version=8.4&flash=false",
            "/app/key-app?",
            "/app/key-app/?x=/y?z",
            "/app/key-app?protocol=99",
        ],
    )
    async def test_ways_to_write_the_target(self, node: EdgeNode, target: str) -> None:
        node.socket().greet(target=target)

    async def test_the_first_subprotocol_is_repeated(self, node: EdgeNode) -> None:
        reply = node.socket().upgrade(headers={"Sec-WebSocket-Protocol": "one, two"})
        assert reply.headers["sec-websocket-protocol"] == "one"

    @pytest.mark.parametrize(("compression", "agreed"), [("disabled", False), ("shared", True), ("window4kb", True)])
    async def test_compression_where_it_is_switched_on(self, compression: str, agreed: bool) -> None:
        node = EdgeNode(settings=settings(websocket={"compression": compression}))
        offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
        reply = node.socket().upgrade(headers=offer)
        assert ("sec-websocket-extensions" in reply.headers) is agreed
        assert "sec-websocket-extensions" not in node.socket().upgrade().headers

    @pytest.mark.parametrize(("hops", "expected"), [(0, "10.0.0.7"), (1, "203.0.113.2"), (2, "203.0.113.1")])
    @pytest.mark.parametrize("limited", [False, True])
    async def test_a_connection_knows_where_it_came_from(self, hops: int, expected: str, limited: bool) -> None:
        limiter = {"enabled": limited, "driver": "memory", "websocket_rate_limit": RateLimit(1000, 60, hops)}
        socket = EdgeNode(settings=settings(rate_limiter=limiter)).socket()
        socket.greet(headers={"X-Forwarded-For": "203.0.113.1, 203.0.113.2"})
        assert socket.session.peer.address == expected

    @pytest.mark.parametrize("protocol", ["7", "2"])
    async def test_a_connection_knows_its_library(self, node: EdgeNode, protocol: str) -> None:
        sockets = [node.socket() for _ in range(2)]
        for socket in sockets:
            socket.upgrade(f"/app/key-app?protocol={protocol}&client=js&version=8.4")
        one, other = (socket.session.sdk for socket in sockets)
        assert (one.name, one.version) == ("js", "8.4")
        assert one is other

    async def test_what_the_transport_has_not_sent_yet_is_known(self, node: EdgeNode) -> None:
        socket = node.socket()
        socket.greet()
        socket.transport.get_write_buffer_size = lambda: 77  # type: ignore[method-assign]
        assert socket.session.peer.buffered() == 77

    async def test_after_other_requests_on_the_same_connection(self, node: EdgeNode) -> None:
        socket = node.socket()
        assert (await socket.ask(request("GET", "/up"))).status == 200
        socket.greet()


class TestRefusedBefore:
    """Replies of HTTP, in the order of spec: websocket § 2.3; each request has one mistake less."""

    async def test_the_order(self) -> None:
        node = EdgeNode(settings=settings(rate_limiter=LIMITED))
        node.gateway.draining = True
        bad: Mapping[str, str | None] = {"Sec-WebSocket-Version": "8"}
        for _ in range(16):
            node.socket().upgrade()
        socket = node.socket()
        socket.feed(handshake("/elsewhere", bad, method="POST"))
        assert socket.reply().json()["code"] == "not_found"
        socket = node.socket()
        socket.feed(handshake("/app/key-app?protocol=x", bad, method="POST"))
        reply = socket.reply()
        assert (reply.status, reply.headers["allow"]) == (405, "GET")
        reply = node.socket().upgrade("/app/key-app?protocol=x", bad)
        assert (reply.status, reply.headers["sec-websocket-version"]) == (400, "13")
        assert reply.error == "Header 'Sec-WebSocket-Version' must be 13"
        reply = node.socket().upgrade("/app/key-app?protocol=x")
        assert reply.status == 400
        assert "protocol" in reply.error
        assert "sec-websocket-version" not in reply.headers
        reply = node.socket().upgrade("/app/unknown")
        assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (503, "service_unavailable", "1")
        reply = node.socket().upgrade("/app/key-app?protocol=x", bad)
        assert (reply.status, reply.headers["x-ratelimit-limit"], reply.headers["retry-after"]) == (429, "20", "60")

    @pytest.mark.parametrize("target", ["/app/", "/app", "/", "/app//", "/app/a/b", "/App/key-app", "//app/key-app"])
    async def test_paths_that_are_none(self, node: EdgeNode, target: str) -> None:
        socket = node.socket()
        reply = socket.upgrade(target)
        assert (reply.status, reply.json()["code"]) == (404, "not_found")
        assert reply.headers["connection"] == "close"
        assert socket.transport.ended

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-WebSocket-Key": None},
            {"Sec-WebSocket-Key": "short"},
            {"Sec-WebSocket-Version": None},
            {"Sec-WebSocket-Version": "14"},
        ],
    )
    async def test_handshakes_that_are_none(self, node: EdgeNode, headers: dict[str, str | None]) -> None:
        reply = node.socket().upgrade(headers=headers)
        assert (reply.status, reply.headers["sec-websocket-version"]) == (400, "13")

    async def test_without_an_upgrade_the_endpoint_explains_itself(self, node: EdgeNode) -> None:
        reply = await node.wire().ask(request("GET", "/app/key-app"))
        assert reply.status == 400
        assert "Upgrade" in reply.error

    async def test_behind_a_request_that_is_not_answered_yet(self, node: EdgeNode) -> None:
        socket = node.socket()
        socket.feed(request("GET", "/up") + handshake("/app/key-app"))
        assert not socket.transport.ended
        await socket.settle()
        assert [reply.status for reply in socket.replies()] == [200, 400]
        assert socket.transport.ended
        assert node.state.connections == {}

    async def test_the_limit_is_per_address_and_ends(self) -> None:
        node = EdgeNode(settings=settings(rate_limiter=LIMITED))
        for _ in range(20):
            node.socket().greet()
        assert node.socket().upgrade().status == 429
        node.socket(peer=("10.0.0.8", 1)).greet()
        node.clock.advance(60)
        node.socket().greet()


class TestRefusedAfter:
    """Past the 101: an error frame, a close frame, and nothing else (spec: websocket § 2.3)."""

    @pytest.mark.parametrize(
        ("target", "headers", "code", "message"),
        [
            ("/app/unknown", {}, 4001, "Application does not exist"),
            ("/app/key-off", {}, 4003, "Application disabled"),
            ("/app/key-full", {}, 4004, errors.OVER_QUOTA.meaning),
            ("/app/key-strict", {}, 4009, "Origin not allowed"),
            ("/app/key-strict", {"Origin": "https://elsewhere.test"}, 4009, "Origin not allowed"),
            ("/app/key-app?token=x", {}, 4009, "Authentication error: capability tokens need protocol V2"),
        ],
    )
    async def test_each_reason(self, target: str, headers: dict[str, str | None], code: int, message: str) -> None:
        full = live_app("full", limits=Limits(max_connections=1))
        strict = live_app("strict", channels=Channels(allowed_origins=("https://shop.test",)))
        node = EdgeNode(live_app(), live_app("off", enabled=False), full, strict)
        node.connect(full)
        opened = node.hub.connection_count()
        socket = node.socket()
        assert socket.upgrade(target, headers).status == 101
        assert socket.goodbye() == ([(code, message)], (code, message))
        assert node.hub.connection_count() == opened
        assert sum(node.gateway.refused.values()) == 1
        assert list(node.edge.closing) == [socket.websocket]
        socket.feed(frame('{"event":"pusher:ping"}'))
        assert socket.frames() == []
        node.edge.sweep(node.clock.monotonic() + 15)
        assert socket.transport.aborted
        socket.lose()
        assert not node.edge.closing

    async def test_a_full_node(self) -> None:
        node = EdgeNode(settings=settings(max_connections=1))
        first, second = node.socket(), node.socket()
        first.greet()
        second.upgrade()
        assert second.goodbye() == ([(4100, "Over capacity")], (4100, "Over capacity"))
        first.lose()
        node.socket().greet()

    async def test_frames_behind_a_refused_handshake_are_ignored(self, node: EdgeNode) -> None:
        socket = node.socket()
        socket.upgrade("/app/unknown", rest=frame('{"event":"pusher:ping"}') + frame(b"x", 9))
        assert socket.goodbye()[1][0] == 4001

    async def test_a_key_of_odd_bytes_is_an_unknown_key(self, node: EdgeNode) -> None:
        for key in ("%ff", "%00", "a%2Fb", "%C3%A9"):
            socket = node.socket()
            socket.upgrade(f"/app/{key}")
            assert socket.goodbye()[1][0] == 4001
        assert node.gateway.refused == {("unknown", "unknown_app"): 4}
