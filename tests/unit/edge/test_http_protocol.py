"""HTTP connections, byte by byte: framing, limits, the express lane and the long way, timeouts, defects."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from sockudo.config.sections.limits import ApiRateLimit
from support.edge import EdgeNode, Wire, request, settings
from support.inside import Client, credentials
from support.signing import signed_query

EVENT = {"name": "e", "channel": "news", "data": "d"}
CHUNKED = {"Transfer-Encoding": "chunked"}


def listener(node: EdgeNode) -> Client:
    client = node.connect()
    node.hub.subscribe(client.session, "news")
    return client


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def as_chunks(publish: bytes) -> bytes:
    """The same publish with a chunked body, which sends it the long way."""
    head, _, body = publish.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    return b"\r\n".join((*lines, b"Transfer-Encoding: chunked", b"", b"")) + chunked(body)


class TestPublish:
    async def test_in_one_read(self, node: EdgeNode) -> None:
        client, wire = listener(node), node.wire()
        wire.feed(node.publish(EVENT))
        reply = wire.reply()
        assert (reply.status, reply.body) == (200, b'{"ok":true}')
        assert reply.headers["content-type"] == "application/json"
        assert "date" in reply.headers
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "connection" not in reply.headers
        assert client.events() == ["e"]
        assert not node.edge.state.tasks
        assert not wire.transport.ended

    async def test_byte_by_byte(self, node: EdgeNode) -> None:
        client, wire = listener(node), node.wire()
        publish = node.publish(EVENT)
        wire.feed(*(publish[at : at + 1] for at in range(len(publish))))
        assert wire.reply().body == b'{"ok":true}'
        assert client.events() == ["e"]

    async def test_a_body_in_many_reads(self, node: EdgeNode) -> None:
        client, wire = listener(node), node.wire()
        publish = node.publish(EVENT | {"data": "x" * 90_000})
        wire.feed(*(publish[at : at + 1000] for at in range(0, len(publish), 1000)))
        assert wire.reply().status == 200
        assert client.frames()[0]["data"] == "x" * 90_000

    async def test_two_pipelined_and_the_start_of_a_third(self, node: EdgeNode) -> None:
        client, wire = listener(node), node.wire()
        third = node.publish(EVENT | {"name": "third"})
        wire.feed(node.publish(EVENT) + node.publish(EVENT | {"name": "f"}) + third[:100])
        assert [reply.body for reply in wire.replies()] == [b'{"ok":true}'] * 2
        wire.feed(third[100:])
        assert wire.reply().status == 200
        assert client.events() == ["e", "f", "third"]

    async def test_many_over_one_connection(self, node: EdgeNode) -> None:
        client, wire = listener(node), node.wire()
        for number in range(50):
            wire.feed(node.publish(EVENT | {"name": str(number)}))
        assert len(wire.replies()) == 50
        assert client.events() == [str(number) for number in range(50)]

    async def test_a_refusal_leaves_the_connection_open(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.feed(node.publish({"name": "e"}))
        assert wire.reply().error == "Request must contain 'channels' (list) or 'channel' (string)"
        wire.feed(node.publish(EVENT))
        assert wire.reply().status == 200

    async def test_batches(self, node: EdgeNode) -> None:
        client, wire = listener(node), node.wire()
        wire.feed(node.publish({"batch": [EVENT, EVENT]}, path="/apps/app/batch_events"))
        assert wire.reply().body == b"{}"
        assert client.events() == ["e", "e"]

    async def test_a_trailing_slash(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.feed(node.publish(EVENT, path="/apps/app/events/"))
        assert wire.reply().status == 200

    async def test_bytes_and_calls_are_counted(self, node: EdgeNode) -> None:
        wire = node.wire()
        publish = node.publish(EVENT)
        for sent in (publish, as_chunks(publish)):
            await wire.ask(sent)
        traffic = node.state.traffic
        size = len(json.dumps(EVENT))
        assert (traffic.http_calls, traffic.http_bytes_received, traffic.http_bytes_sent) == (2, 2 * size, 22)


class TestBothWays:
    """What the express lane answers, the long way answers too, header for header."""

    VARIANTS: tuple[dict[str, Any], ...] = (
        {"body": EVENT},
        {"body": EVENT, "headers": {"Origin": "https://page.test"}},
        {"body": EVENT | {"info": "subscription_count", "message_id": "m"}},
        {"body": {"name": "e"}},
        {"body": b"{"},
        {"body": b'{"name":1}'},
        {"body": b""},
        {"body": EVENT, "headers": {"Content-Type": "text/plain"}},
        {"body": EVENT, "headers": {"X-Idempotency-Key": ""}},
        {"body": EVENT, "headers": {"X-Idempotency-Key": "k" * 129}},
        {"body": {"batch": []}, "path": "/apps/app/batch_events"},
        {"body": EVENT, "path": "/apps/nobody/events"},
        {"body": EVENT, "path": "/apps/%61pp/events"},
        {"body": EVENT, "change": lambda head: head.replace(b"auth_signature=", b"auth_signature=0")},
        {"body": EVENT, "change": lambda head: head.replace(b"?auth_key", b"?x&auth_key")},
    )

    @pytest.mark.parametrize("variant", VARIANTS, ids=[str(number) for number in range(len(VARIANTS))])
    @pytest.mark.parametrize("origins", [("*",), (), ("https://page.test",)])
    async def test_the_same_answer(self, variant: dict[str, Any], origins: tuple[str, ...]) -> None:
        node = EdgeNode(settings=settings(cors={"origin": origins}))
        publish = node.publish(**variant)
        wire = node.wire()
        wire.feed(publish)
        assert not node.edge.state.tasks
        fast = wire.reply()
        slow = await node.wire().ask(as_chunks(publish))
        assert (fast.status, fast.body) == (slow.status, slow.body)
        assert fast.headers == slow.headers

    async def test_limits_are_shared(self) -> None:
        limits = {"enabled": True, "driver": "memory", "api_rate_limit": ApiRateLimit(max_requests=100)}
        node = EdgeNode(settings=settings(rate_limiter=limits))
        publish = node.publish(EVENT)
        wire = node.wire()
        first = await wire.ask(publish)
        second = await wire.ask(as_chunks(publish))
        assert first.headers["x-ratelimit-limit"] == second.headers["x-ratelimit-limit"] == "100"
        assert first.headers["x-ratelimit-remaining"] == "99"
        assert second.headers["x-ratelimit-remaining"] == "98"
        for _ in range(98):
            assert (await wire.ask(publish)).status == 200
        for sent in (publish, as_chunks(publish)):
            refused = await wire.ask(sent)
            assert refused.status == 429
            assert refused.json()["code"] == "rate_limited"
            assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"] == "60"
            assert refused.headers["x-ratelimit-remaining"] == "0"
        assert (await node.wire(peer=("10.0.0.8", 1)).ask(publish)).status == 200
        node.clock.advance(60)
        assert (await wire.ask(node.publish(EVENT))).status == 200

    async def test_a_publish_behind_a_slow_request_waits_for_its_answer(self, node: EdgeNode) -> None:
        client, wire = listener(node), node.wire()
        wire.feed(request("GET", "/live") + node.publish(EVENT) + request("GET", "/up") + node.publish(EVENT))
        await wire.settle()
        assert [reply.body for reply in wire.replies()] == [b"", b'{"ok":true}', b"OK", b'{"ok":true}']
        assert client.events() == ["e", "e"]


class TestClosing:
    @pytest.mark.parametrize("chunk_it", [False, True])
    async def test_where_the_client_asks_for_it(self, node: EdgeNode, chunk_it: bool) -> None:
        wire = node.wire()
        publish = node.publish(EVENT, headers={"Connection": "close"})
        reply = await wire.ask(as_chunks(publish) if chunk_it else publish)
        assert reply.status == 200
        assert reply.headers["connection"] == "close"
        assert wire.transport.ended

    async def test_nothing_that_follows_is_carried_out(self, node: EdgeNode) -> None:
        client, wire = listener(node), node.wire()
        last = node.publish(EVENT, headers={"Connection": "close"})
        wire.feed(last + node.publish(EVENT | {"name": "late"}))
        await wire.settle()
        assert wire.reply().status == 200
        assert client.events() == ["e"]

    async def test_http_1_0(self, node: EdgeNode) -> None:
        wire = node.wire()
        publish = node.publish(EVENT, change=lambda head: head.replace(b" HTTP/1.1", b" HTTP/1.0"))
        reply = await wire.ask(publish)
        assert reply.status == 200
        assert wire.transport.ended

    async def test_keep_alive_is_kept(self, node: EdgeNode) -> None:
        wire = node.wire()
        reply = await wire.ask(node.publish(EVENT, headers={"Connection": "keep-alive"}))
        assert reply.status == 200
        assert not wire.transport.ended

    async def test_an_unknown_upgrade_is_passed_over(self, node: EdgeNode) -> None:
        headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}
        for data in (request("GET", "/up", headers), node.publish(EVENT, headers=headers)):
            for size in (1, 100, 10_000):
                wire = node.wire()
                assert (await wire.ask(*(data[at : at + size] for at in range(0, len(data), size)))).status == 200
                wire.feed(data + data + request("GET", "/up"))
                await wire.settle()
                assert [reply.status for reply in wire.replies()] == [200, 200, 200]

    async def test_many_unknown_upgrades_in_one_read(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.feed(request("GET", "/up", {"Connection": "Upgrade", "Upgrade": "h2c"}) * 300)
        await wire.settle()
        assert len(wire.replies()) == 300


class TestMalformed:
    @pytest.mark.parametrize(
        "data",
        [
            b"GARBAGE\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /live HTTP/3.0\r\nHost: x\r\n\r\n",
            b"FETCH /live HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /live HTTP/1.1\nHost: x\n\n",
            b"GET /live HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET /live HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
            b"GET /live HTTP/1.1\r\n\r\n",
            b"GET /live HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
            b"GET /live HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
            b"GET live HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET http://[::1/live HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET http://x:99999999/live HTTP/1.1\r\nHost: x\r\n\r\n",
            b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            b"POST /apps/app/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            b"POST /apps/app/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST /apps/app/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\n{}",
            b"POST /apps/app/events HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
            b"POST /apps/app/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /apps/app/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n{}",
            b"POST /apps/app/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ],
    )
    async def test_is_answered_with_the_envelope_and_closed(self, node: EdgeNode, data: bytes) -> None:
        for chunks in ([data], [data[at : at + 1] for at in range(len(data))]):
            wire = node.wire()
            wire.feed(*chunks)
            await wire.settle()
            reply = wire.reply()
            assert reply.status == 400
            assert reply.error
            assert reply.json()["docs"] == "errors.md#malformed_request"
            assert reply.headers["connection"] == "close"
            assert wire.transport.ended

    async def test_behind_requests_that_are_not_answered_yet_it_waits_for_its_turn(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.feed(request("GET", "/live") + request("GET", "/up"), b"GARBAGE\r\n\r\n")
        assert not wire.transport.ended
        await wire.settle()
        assert [reply.status for reply in wire.replies()] == [200, 200, 400]
        assert wire.transport.ended

    async def test_a_body_cut_off_behind_a_request_that_is_not_answered_yet(self, node: EdgeNode) -> None:
        wire = node.wire()
        chunked = request("POST", "/apps/app/users/u/terminate_connections", {"Transfer-Encoding": "chunked"})
        wire.feed(request("GET", "/up") + chunked + b"zz\r\n")
        await wire.settle()
        assert [reply.status for reply in wire.replies()] == [200, 400]
        assert wire.transport.ended

    async def test_after_an_answer_it_is_answered(self, node: EdgeNode) -> None:
        wire = node.wire()
        assert (await wire.ask(request("GET", "/up"))).status == 200
        wire.feed(b"GARBAGE\r\n\r\n")
        assert wire.reply().status == 400

    async def test_nothing_after_it_is_looked_at(self, node: EdgeNode) -> None:
        client, wire = listener(node), node.wire()
        wire.http.data_received(b"GARBAGE\r\n\r\n")
        wire.http.data_received(node.publish(EVENT))
        assert wire.reply().status == 400
        assert client.events() == []

    async def test_absolute_targets_are_served(self, node: EdgeNode) -> None:
        assert (await node.wire().ask(request("GET", "http://sockudo.test/up"))).body == b"OK"

    async def test_blank_lines_in_front_are_forgiven(self, node: EdgeNode) -> None:
        assert (await node.wire().ask(b"\r\n" + request("GET", "/up"))).status == 200


class TestLimits:
    async def test_the_target(self, node: EdgeNode) -> None:
        assert (await node.wire().ask(request("GET", "/" + "x" * 65_000))).status == 404
        for size in (65_536, 1_000_000):
            wire = node.wire()
            head = request("GET", "/" + "x" * size)
            wire.feed(*(head[at : at + 60_000] for at in range(0, len(head), 60_000)))
            reply = wire.reply()
            assert (reply.status, reply.json()["code"]) == (414, "uri_too_long")
            assert wire.transport.ended

    @pytest.mark.parametrize("publish", [False, True])
    async def test_the_number_of_headers(self, node: EdgeNode, publish: bool) -> None:
        for more, status in ((90, 200), (101, 431)):
            headers = {f"x-{number}": "y" for number in range(more)}
            data = node.publish(EVENT, headers=headers) if publish else request("GET", "/up", headers)
            wire = node.wire()
            reply = await wire.ask(data)
            assert reply.status == status
            assert wire.transport.ended is (status == 431)

    @pytest.mark.parametrize("line", [b"a: " + b"x" * 200_000, b"a: b\r\n" * 40_000, b"x" * 200_000])
    async def test_a_head_that_does_not_end(self, node: EdgeNode, line: bytes) -> None:
        wire = node.wire()
        wire.feed(b"GET /live HTTP/1.1\r\nHost: x\r\n", *(line[at : at + 4096] for at in range(0, len(line), 4096)))
        reply = wire.reply()
        assert (reply.status, reply.json()["code"]) == (431, "headers_too_large")
        assert wire.transport.ended

    async def test_heads_are_measured_one_by_one(self, node: EdgeNode) -> None:
        wire = node.wire()
        for _ in range(3):
            head = request("GET", "/up", {"x": "y" * 60_000})
            assert (await wire.ask(head[:30_000], head[30_000:])).status == 200

    async def test_a_declared_body_is_refused_before_it_is_sent(self) -> None:
        node = EdgeNode(settings=settings(http_api={"request_limit_in_mb": 1}))
        for size in (1024 * 1024 + 1, 10**15 - 1):
            wire = node.wire()
            wire.feed(request("POST", "/apps/app/events", {"Content-Length": str(size)}))
            reply = wire.reply()
            assert (reply.status, reply.error) == (413, "The request body is over 1048576 bytes")
            assert wire.transport.ended

    @pytest.mark.parametrize("path", ["/apps/app/events", "/apps/app/users/u/terminate_connections", "/live"])
    async def test_a_chunked_body_is_refused_while_it_arrives(self, path: str) -> None:
        node = EdgeNode(settings=settings(http_api={"request_limit_in_mb": 1}))
        wire = node.wire()
        query = signed_query(credentials(node.app), "POST", path, body=b"later", timestamp=int(node.clock.time()))
        target = path if path == "/live" else f"{path}?{query}"
        wire.feed(request("POST", target, CHUNKED))
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        wire.feed(*[piece] * 17)
        await wire.settle()
        assert wire.reply().status == 413
        assert wire.transport.ended

    async def test_a_body_of_exactly_the_limit(self) -> None:
        node = EdgeNode(settings=settings(http_api={"request_limit_in_mb": 1}))
        body = b'{"name":"e","channel":"news","other":"' + b"x" * (1024 * 1024)
        body = body[: 1024 * 1024 - 2] + b'"}'
        for publish in (node.publish(body), as_chunks(node.publish(body))):
            assert (await node.wire().ask(publish)).status == 200


class TestTime:
    async def test_a_silent_connection_is_closed_between_requests(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.feed(node.publish(EVENT))
        wire.replies()
        node.clock.advance(90)
        node.edge.sweep(node.clock.monotonic())
        assert not wire.transport.ended
        node.clock.advance(0.1)
        node.edge.sweep(node.clock.monotonic())
        assert wire.transport.ended
        assert wire.replies() == []

    async def test_one_that_never_says_anything_too(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.http.close_if_idle(node.clock.monotonic() + 91)
        assert wire.transport.ended

    async def test_each_request_starts_the_time_anew(self, node: EdgeNode) -> None:
        wire = node.wire()
        for _ in range(3):
            node.clock.advance(89)
            await wire.ask(node.publish(EVENT))
            wire.http.close_if_idle(node.clock.monotonic())
        assert not wire.transport.ended

    @pytest.mark.parametrize(
        "start",
        [
            b"GET /li",
            b"GET /live HTTP/1.1\r\nHost: x\r\n",
            b"POST /apps/app/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
            b"POST /apps/app/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        ],
    )
    async def test_a_request_has_a_minute_to_arrive_however_it_trickles(self, node: EdgeNode, start: bytes) -> None:
        wire = node.wire()
        for at in range(len(start)):
            wire.feed(start[at : at + 1])
            node.clock.advance(59.9 / len(start))
        wire.http.close_if_idle(node.clock.monotonic())
        assert not wire.transport.ended
        wire.http.close_if_idle(node.clock.monotonic() + 0.2)
        await wire.settle()
        reply = wire.reply()
        assert (reply.status, reply.json()["code"]) == (408, "request_timeout")
        assert reply.headers["connection"] == "close"
        assert wire.transport.ended

    async def test_a_request_that_is_being_answered_is_left_alone(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.feed(request("GET", "/live"))
        wire.http.close_if_idle(node.clock.monotonic() + 1000)
        assert not wire.transport.ended
        await wire.settle()
        assert wire.reply().status == 200

    async def test_connections_that_are_gone_are_not_swept(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.lose()
        assert not node.edge.state.connections
        node.edge.sweep(node.clock.monotonic() + 1000)


class TestProxyProtocol:
    HEADER = b"PROXY TCP4 203.0.113.9 10.0.0.1 5000 80\r\n"

    @pytest.fixture
    async def node(self) -> EdgeNode:
        limits = {"enabled": True, "driver": "memory", "api_rate_limit": ApiRateLimit(max_requests=100)}
        return EdgeNode(settings=settings(proxy_protocol=True, rate_limiter=limits))

    @pytest.mark.parametrize("size", [1, 7, 1000])
    async def test_in_any_number_of_reads(self, node: EdgeNode, size: int) -> None:
        wire = node.wire()
        data = self.HEADER + node.publish(EVENT)
        wire.feed(*(data[at : at + size] for at in range(0, len(data), size)))
        assert wire.reply().status == 200
        assert wire.http.address() == "203.0.113.9"

    async def test_only_once_per_connection(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.feed(self.HEADER)
        wire.feed(node.publish(EVENT))
        wire.feed(self.HEADER)
        assert [reply.status for reply in wire.replies()] == [200, 400]

    async def test_the_address_it_names_is_the_one_that_is_limited(self, node: EdgeNode) -> None:
        for _ in range(100):
            wire = node.wire()
            wire.feed(self.HEADER + node.publish(EVENT))
            assert wire.reply().status == 200
        wire = node.wire()
        wire.feed(self.HEADER + node.publish(EVENT))
        assert wire.reply().status == 429
        wire = node.wire()
        wire.feed(self.HEADER.replace(b"203", b"204") + node.publish(EVENT))
        assert wire.reply().status == 200

    async def test_a_proxy_that_speaks_for_itself(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.feed(b"PROXY UNKNOWN\r\n" + node.publish(EVENT))
        assert wire.reply().status == 200
        assert wire.http.address() == "10.0.0.7"

    @pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 nonsense\r\n", b"PROXY " + b"x" * 200])
    async def test_without_one_nothing_is_served(self, node: EdgeNode, data: bytes) -> None:
        wire = node.wire()
        with capture_logs() as log:
            wire.feed(data)
        assert wire.transport.aborted
        assert wire.replies() == []
        assert [entry["log_level"] for entry in log] == ["warning"]


class TestDefects:
    """Whatever breaks inside, the client gets an id and the log the rest."""

    def check(self, reply: Any, log: Any) -> None:
        assert reply.status == 500
        text = reply.error
        [entry] = [entry for entry in log if entry["log_level"] == "error"]
        assert text == f"Internal server error {entry['reference']}"
        assert b"secret" not in reply.body
        assert b"Traceback" not in reply.body

    async def test_on_the_express_lane(self, node: EdgeNode, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(node.hub, "publish", lambda *_: {}["secret"])
        listener(node)
        wire = node.wire()
        with capture_logs() as log:
            wire.feed(node.publish(EVENT))
        reply = wire.reply()
        self.check(reply, log)
        assert reply.headers["connection"] == "close"
        assert wire.transport.ended

    async def test_on_the_long_way(self, node: EdgeNode, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(node.hub, "publish", lambda *_: {}["secret"])
        wire = node.wire()
        with capture_logs() as log:
            reply = await wire.ask(as_chunks(node.publish(EVENT)))
        self.check(reply, log)
        assert not wire.transport.ended

    async def test_in_the_parsers_callbacks(self, node: EdgeNode, monkeypatch: pytest.MonkeyPatch) -> None:
        wire = node.wire()
        monkeypatch.setattr(wire.http, "_check_head", lambda *_: {}["secret"])
        with capture_logs() as log:
            wire.feed(request("GET", "/live"))
        self.check(wire.reply(), log)
        assert wire.transport.ended

    async def test_one_connection_does_not_concern_another(
        self, node: EdgeNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(node.hub, "publish", lambda *_: {}["secret"])
            wire = node.wire()
            wire.feed(node.publish(EVENT))
            assert wire.reply().status == 500
        wire = node.wire()
        wire.feed(node.publish(EVENT))
        assert wire.reply().status == 200


class TestClientsThatDoNotRead:
    async def test_nothing_more_is_read_from_them(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.http.pause_writing()
        assert not wire.transport.reading
        wire.http.resume_writing()
        assert wire.transport.reading

    async def test_after_a_while_they_are_cut(self, node: EdgeNode) -> None:
        wire = node.wire()
        wire.feed(node.publish(EVENT))
        wire.http.pause_writing()
        wire.http.close_if_idle(node.clock.monotonic() + 90)
        assert not wire.transport.ended
        wire.http.close_if_idle(node.clock.monotonic() + 91)
        assert wire.transport.aborted


class TestLosing:
    async def test_in_the_middle_of_a_body_nothing_is_published(self, node: EdgeNode) -> None:
        client = listener(node)
        for data in (node.publish(EVENT)[:-1], as_chunks(node.publish(EVENT))[:-1]):
            wire = node.wire()
            wire.feed(data)
            wire.lose()
            await wire.settle()
            assert wire.replies() == []
        assert client.events() == []

    @pytest.mark.parametrize("lost", [None, ConnectionResetError()])
    @pytest.mark.parametrize(
        "data",
        [
            b"GET /up HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
            b"GET /up HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n",
            b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 70_000),
            b"POST /apps/app/events?a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
        ],
    )
    async def test_nothing_is_left_for_the_garbage_collector(
        self, node: EdgeNode, data: bytes, lost: Exception | None
    ) -> None:
        """Collections are rare in this process: what needs one would pile up until then."""
        gc.disable()
        try:
            wire = node.wire()
            wire.feed(data)
            wire.transport.closed = True
            wire.http.connection_lost(lost)
            await wire.settle()
            wire.transport.protocol = None  # as uvloop does it
            http = weakref.ref(wire.http)
            del wire
            await asyncio.sleep(0)
            assert http() is None
        finally:
            gc.enable()

    async def test_uvicorns_own_shutdown(self, node: EdgeNode) -> None:
        idle, busy = node.wire(), node.wire()
        busy.feed(request("GET", "/up"))
        for protocol in list(node.edge.state.connections):
            protocol.shutdown()
        assert idle.transport.ended
        await busy.settle()
        assert busy.reply().headers["connection"] == "close"
        assert busy.transport.ended


async def test_expectations_are_met(node: EdgeNode) -> None:
    wire = node.wire()
    publish = node.publish(EVENT, headers={"Expect": "100-continue"})
    head, _, body = publish.partition(b"\r\n\r\n")
    wire.feed(head + b"\r\n\r\n")
    for _ in range(5):
        await asyncio.sleep(0)
    assert bytes(wire.transport.sent) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.transport.sent.clear()
    assert (await wire.ask(body)).status == 200


async def test_head_requests_have_no_body(node: EdgeNode) -> None:
    wire = node.wire()
    wire.feed(request("HEAD", "/up"))
    await wire.settle()
    head, _, rest = bytes(wire.transport.sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: 2" in head
    assert rest == b""


async def test_a_route_sees_the_request_as_it_came() -> None:
    seen: list[Any] = []

    async def echo(incoming: Request) -> Response:
        seen.append((incoming.scope["raw_path"], incoming.scope["query_string"], incoming.scope["client"]))
        return Response(await incoming.body())

    node = EdgeNode(routes=[Route("/echo/{name}", echo, methods=["POST"])])
    head = request("POST", "/echo/a%20b?x=%C3%A9&y", {"Content-Length": "3"})
    assert (await Wire(node).ask(head + b"abc")).body == b"abc"
    assert seen == [(b"/echo/a%20b", b"x=%C3%A9&y", ("10.0.0.7", 40_000))]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_answer_to_somebody_who_has_just_gone_is_dropped(method: str) -> None:
    """The transport is closed and nobody has been told yet: what was written then raised within the request."""
    asked, ready = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> Response:
        asked.set()
        await ready.wait()
        return Response("late")

    node = EdgeNode(routes=[Route("/slow", slow)])
    wire = node.wire()
    with capture_logs() as logs:
        wire.feed(request(method, "/slow"))
        await asked.wait()
        wire.transport.close()
        ready.set()
        await wire.settle()
        wire.lose()
    assert not wire.transport.sent
    assert [entry for entry in logs if entry["log_level"] != "debug"] == []
