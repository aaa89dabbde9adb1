"""The long way of HTTP requests: routes, methods, cross-origin headers, limits, and what becomes of failures."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.config.sections.limits import ApiRateLimit, WebSocketRateLimit
from sockudo.edge.api import api_routes
from sockudo.edge.cors import Cors
from sockudo.edge.front import Front, MainApp
from sockudo.edge.history import history_routes
from sockudo.edge.operations import operations_routes
from sockudo.push.wing import push_routes
from support.edge import EdgeNode, request, settings


async def refuse(_: Request) -> Response:
    raise errors.RATE_LIMITED("too fast", retry_after=3)


async def break_down(_: Request) -> Response:
    raise KeyError("secret detail")


async def break_later(_: Request) -> Response:
    async def body() -> Any:
        yield b"half"
        raise KeyError("secret detail")

    return StreamingResponse(body(), headers={"content-length": "8"})


async def vanish(_: Request) -> Response:
    raise ClientDisconnect


async def name(incoming: Request) -> Response:
    return Response(path_part(incoming, "name").encode())


ROUTES = [
    Route("/refuse", refuse),
    Route("/break", break_down),
    Route("/break-later", break_later),
    Route("/vanish", vanish),
    Route("/name/{name}", name),
    Route("/both", name, methods=["DELETE"]),
    Route("/both", refuse, methods=["POST"]),
]


LIMITED = {
    "enabled": True,
    "driver": "memory",
    "api_rate_limit": ApiRateLimit(max_requests=100),
    "websocket_rate_limit": WebSocketRateLimit(max_requests=20),
}


@pytest.fixture
async def node() -> EdgeNode:
    return EdgeNode(routes=list(ROUTES))


class TestFailures:
    async def test_a_refusal_becomes_the_envelope(self, node: EdgeNode) -> None:
        reply = await node.wire().ask(request("GET", "/refuse"))
        assert (reply.status, reply.error, reply.headers["retry-after"]) == (429, "too fast", "3")
        assert reply.headers["access-control-allow-origin"] == "*"

    async def test_a_defect_becomes_an_id_that_leads_to_the_log(self, node: EdgeNode) -> None:
        wire = node.wire()
        with capture_logs() as log:
            reply = await wire.ask(request("GET", "/break"))
        assert reply.status == 500
        [entry] = [entry for entry in log if entry["log_level"] == "error"]
        assert reply.error == f"Internal server error {entry['reference']}"
        assert entry["path"] == "/break"
        assert entry["exc_info"]
        assert b"secret" not in reply.body
        assert "vary" in reply.headers
        assert not wire.transport.closed

    async def test_one_after_the_reply_began_ends_the_connection(
        self, node: EdgeNode, caplog: pytest.LogCaptureFixture
    ) -> None:
        wire = node.wire()
        with capture_logs() as log, caplog.at_level(logging.CRITICAL, "uvicorn.error"):
            wire.feed(request("GET", "/break-later"))
            await wire.settle()
        assert [entry["event"] for entry in log] == ["request failed"]
        assert wire.transport.closed
        assert bytes(wire.transport.sent).endswith(b"\r\n\r\nhalf")

    async def test_a_client_that_is_gone_is_no_failure(self, node: EdgeNode) -> None:
        wire = node.wire()
        with capture_logs() as log:
            wire.feed(request("GET", "/vanish"))
            wire.lose()
            await wire.settle()
        assert log == []
        assert wire.replies() == []


class TestRoutes:
    @pytest.mark.parametrize(
        "target",
        [
            "/",
            "/nothing",
            "/Live",
            "//live",
            "/live//",
            "/./live",
            "/x/../live",
            "/live;x",
            "/apps//events",
            "/name/",
            "*",
        ],
    )
    async def test_unknown_paths(self, node: EdgeNode, target: str) -> None:
        for method in ("GET", "OPTIONS"):
            reply = await node.wire().ask(request(method, target))
            assert (reply.status, reply.json()["code"]) == (404, "not_found")
            assert "vary" not in reply.headers
            assert "access-control-allow-origin" not in reply.headers

    async def test_long_paths_are_not_repeated_whole(self, node: EdgeNode) -> None:
        reply = await node.wire().ask(request("GET", "/" + "x" * 1000))
        assert len(reply.error) < 250

    async def test_one_slash_at_the_end_is_forgiven(self, node: EdgeNode) -> None:
        assert (await node.wire().ask(request("GET", "/live/"))).status == 200

    @pytest.mark.parametrize(
        ("segment", "seen"),
        [("a", "a"), ("a%20b", "a b"), ("a%2Fb", "a/b"), ("%C3%A9", "é"), ("a+b", "a+b"), ("%zz", "%zz")],
    )
    async def test_segments_are_decoded_after_routing(self, node: EdgeNode, segment: str, seen: str) -> None:
        reply = await node.wire().ask(request("GET", f"/name/{segment}"))
        assert reply.body.decode() == seen

    async def test_a_segment_that_is_not_utf8(self, node: EdgeNode) -> None:
        reply = await node.wire().ask(request("GET", "/name/%ff%fe"))
        assert (reply.status, reply.json()["code"]) == (400, "invalid_input")
        assert reply.error.startswith("Invalid URL: ")

    async def test_wrong_methods_name_the_right_ones(self, node: EdgeNode) -> None:
        for target, method, allow in (
            ("/live", "POST", "GET,HEAD"),
            ("/both", "GET", "DELETE,POST"),
            ("/apps/app/events", "GET", "POST"),
            ("/apps/app/channels", "POST", "GET,HEAD"),
        ):
            reply = await node.wire().ask(request(method, target))
            assert (reply.status, reply.headers["allow"]) == (405, allow)
            assert reply.json()["code"] == "method_not_allowed"
            assert method in reply.error

    async def test_a_later_route_of_the_same_path_is_found(self, node: EdgeNode) -> None:
        assert (await node.wire().ask(request("POST", "/both"))).status == 429


class TestCrossOrigin:
    async def test_options_answers_for_the_route_without_asking_it(self, node: EdgeNode) -> None:
        for target, allow in (("/break", "GET,HEAD"), ("/both", "DELETE,POST"), ("/apps/app/events/", "POST")):
            reply = await node.wire().ask(request("OPTIONS", target, {"Origin": "https://page.test"}))
            assert (reply.status, reply.body, reply.headers["allow"]) == (200, b"", allow)
            assert reply.headers["access-control-allow-origin"] == "*"
            assert reply.headers["access-control-allow-methods"].startswith("GET,POST")
            assert "content-type" in reply.headers["access-control-allow-headers"]
            assert "content-type" not in reply.headers

    async def test_a_changed_policy_holds_from_the_next_request_on(self, node: EdgeNode) -> None:
        wire = node.wire()
        node.edge.cors = Cors(settings(cors={"origin": ("https://page.test",)}))
        node.edge.tell_time()
        for target in ("/live", "/apps/app/channels"):
            reply = await wire.ask(request("GET", target, {"Origin": "https://page.test"}))
            assert reply.headers["access-control-allow-origin"] == "https://page.test"
        wire.feed(node.publish({"name": "e", "channel": "c"}, headers={"Origin": "https://other.test"}))
        assert "access-control-allow-origin" not in wire.reply().headers


class TestLimits:
    @pytest.fixture
    async def node(self) -> EdgeNode:
        return EdgeNode(settings=settings(rate_limiter=LIMITED), routes=list(ROUTES))

    @pytest.mark.parametrize("target", ["/live", "/up", "/stats", "/nothing", "/name/x"])
    async def test_operations_are_never_limited(self, node: EdgeNode, target: str) -> None:
        for _ in range(101):
            reply = await node.wire().ask(request("GET", target))
            assert reply.status in (200, 404)
            assert "x-ratelimit-limit" not in reply.headers

    async def test_counting_precedes_signature_and_method(self, node: EdgeNode) -> None:
        statuses = []
        for number in range(102):
            method = "POST" if number % 2 else "GET"
            reply = await node.wire().ask(request(method, "/apps/app/channels"))
            assert reply.headers["x-ratelimit-remaining"] == str(max(0, 99 - number))
            statuses.append(reply.status)
        assert statuses == [400, 405] * 50 + [429, 429]

    async def test_failures_alone_are_counted_unless_requests_are_limited(self) -> None:
        """A backend has one address, and so have all clients behind a proxy: right requests are always served."""
        node = EdgeNode(settings=settings(rate_limiter={"enabled": True}))
        wrong = request("GET", "/apps/app/channels?auth_key=key-app&auth_signature=0&auth_timestamp=1")
        statuses = [(await node.wire().ask(wrong)).status for _ in range(101)]
        assert statuses == [401] * 100 + [429]
        refused = await node.wire().ask(wrong)
        assert "(rate_limiter.failed_auth.max_requests)" in refused.error
        assert refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"]
        for _ in range(150):
            reply = await node.wire().ask(node.publish({"name": "e", "channel": "c", "data": "d"}))
            assert (reply.status, reply.headers.get("x-ratelimit-limit")) == (200, None)
        bad = node.publish({"name": "e", "channel": "c"}).replace(b"auth_signature=", b"auth_signature=00")
        assert (await node.wire().ask(bad)).status == 429
        assert (await node.wire(peer=("10.0.0.8", 1)).ask(wrong)).status == 401

    @pytest.mark.parametrize("name", ["problems", "inspector/stream"])
    async def test_no_limit_of_requests_closes_what_operators_look_with(self, name: str) -> None:
        limits = {"enabled": True, "api_rate_limit": ApiRateLimit(max_requests=1)}
        node = EdgeNode(settings=settings(rate_limiter=limits))
        for _ in range(3):
            await node.wire().ask(node.publish({"name": "e", "channel": "c", "data": "d"}))
        assert (await node.wire().ask(request("GET", "/apps/app/channels"))).status == 429
        assert (await node.wire().ask(request("GET", f"/apps/app/{name}?auth_key=key-app"))).status == 401

    async def test_preflights_are_not_counted(self, node: EdgeNode) -> None:
        for _ in range(101):
            assert (await node.wire().ask(request("OPTIONS", "/apps/app/events"))).status == 200

    async def test_the_sdks_path_without_an_app_is_limited_too(self, node: EdgeNode) -> None:
        reply = await node.wire().ask(request("POST", "/users/u/terminate_connections"))
        assert reply.headers["x-ratelimit-limit"] == "100"

    async def test_a_websocket_endpoint_counts_as_an_upgrade(self, node: EdgeNode) -> None:
        reply = await node.wire().ask(request("GET", "/app/key-app"))
        assert (reply.status, reply.headers["x-ratelimit-limit"]) == (400, "20")


class TestShelves:
    """Paths are compared with few of the routes, and find what comparing them with all would."""

    def test_whatever_is_asked_for(self) -> None:
        async def answer(_: Request) -> Response:
            return Response()

        node = EdgeNode()
        routes = [
            *api_routes(node.edge, node.bus, node.cluster_directory),
            *history_routes(node.edge, node.components.history),
            *push_routes(node.edge, node.components.push_services),
            *operations_routes(
                node.edge, node.health, node.view, node.components.history, node.components.presence_history
            ),
            *(Route(path, answer) for path in ("/", "/a/{x}/c", "/{x}/b/c", "/{x}/{y}/c", "/a/b/{x}")),
        ]
        front = Front(node.edge, routes)
        words = sorted({part for route in routes for part in route.path.split("/")} | {"x", "%2F", "..", "{x}"})
        rng = random.Random(7)
        paths = [route.path.replace("{", "").replace("}", "") for route in routes]
        paths += ["/".join(["", *rng.choices(words, k=rng.randrange(8))]) for _ in range(1000)]
        paths += ["", "/", "//", "/" * 40, "/a/b/c", "/apps/1/push/publish", "/apps/push/push/push"]
        found = 0
        for path in paths:
            for method in ("GET", "POST", "DELETE"):
                scope = {"type": "http", "method": method, "path": path, "root_path": ""}
                every = [route for route in routes if route.matches(dict(scope))[0] is not Match.NONE]
                first = next((route for route in every if method in (route.methods or ())), None)
                route, _ = front._find(dict(scope))
                assert route is first, path
                found += route is not None
        assert found > len(routes)
        assert len(front._shelves._kept) < 2000


def answering(name: str, asked: list[str]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(name)

    return app


async def unused(*_: Any) -> Any:
    raise AssertionError("asked for")


async def test_the_first_pages_that_a_path_belongs_to_answer_it_and_the_front_all_others() -> None:
    asked: list[str] = []
    app = MainApp()
    app.add_pages(lambda path: path == b"/one", answering("one", asked))
    app.add_pages(lambda path: path.startswith(b"/o"), answering("several", asked))
    app.front = answering("front", asked)
    for path in (b"/one", b"/other", b"/", b"/apps/one"):
        await app({"type": "http", "raw_path": path}, unused, unused)
    assert asked == ["one", "several", "front", "front"]
