"""Spans of API calls: one for each, ended once, whatever becomes of the call."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.config.apps import History as HistoryOverride
from sockudo.config.sections.limits import ApiRateLimit
from support.durable import Durable, Held, lose
from support.edge import EdgeNode, request, settings
from support.inside import live_app
from support.traces import RecordedSpan, RecordingTracer, traceparent
from support.waiting import settle

EVENT = {"name": "e", "channel": "news", "data": "d"}
TRACE = "0af7651916cd43dd8448eb211c80319c"
ROUTE = "POST /apps/{app_id}/events"
LONG_WAY = {"Expect": "100-continue"}


@pytest.fixture
def tracer() -> RecordingTracer:
    return RecordingTracer()


def status(span: RecordedSpan) -> tuple[int, str | None, bool]:
    return span.attributes["http.response.status_code"], span.error, span.failed


async def test_a_call_is_ended_with_its_answer(tracer: RecordingTracer) -> None:
    node = EdgeNode(tracer=tracer)
    wire = node.wire()
    wire.feed(node.publish(EVENT, headers={"Traceparent": traceparent(TRACE)}))
    assert wire.reply().status == 200
    span = tracer.only(ROUTE)
    assert (span.trace, span.parent) == (TRACE, "b7ad6b7169203331")
    assert status(span) == (200, None, False)


@pytest.mark.parametrize("way", [{}, LONG_WAY])
async def test_two_parents_are_none(tracer: RecordingTracer, way: dict[str, str]) -> None:
    node = EdgeNode(tracer=tracer)
    head, mark, body = node.publish(EVENT, headers=way).partition(b"\r\n\r\n")
    line = f"\r\ntraceparent: {traceparent(TRACE)}".encode()
    wire = node.wire()
    wire.feed(head + line + line + mark + body)
    await wire.settle()
    assert wire.replies()[-1].status == 200
    assert tracer.only(ROUTE).parent is None


async def durable_node(tracer: RecordingTracer, durable: Durable) -> EdgeNode:
    node = EdgeNode(live_app(history=HistoryOverride(enabled=True)), tracer=tracer)
    node.components.history.put(durable.history)
    return node


async def test_a_client_that_leaves_does_not_end_the_call(tracer: RecordingTracer) -> None:
    """The message is stored all the same, and the span tells of that."""
    async with Durable() as durable:
        node, held = await durable_node(tracer, durable), Held()
        durable.store.plan("commit", held)
        wire = node.wire()
        wire.feed(node.publish(EVENT))
        await settle()
        wire.lose()
        assert not tracer.named(ROUTE)[0].ended
        await held.release()
    assert status(tracer.only(ROUTE)) == (200, None, False)


async def test_a_store_that_fails_is_a_failure_of_the_server(tracer: RecordingTracer) -> None:
    async with Durable() as durable:
        node = await durable_node(tracer, durable)
        durable.store.plan("commit", lose(done=False))
        wire = node.wire()
        wire.feed(node.publish(EVENT))
        await settle()
        assert wire.reply().status == 503
    assert status(tracer.only(ROUTE)) == (503, "history_unavailable", True)


async def test_a_defect_is_told_as_one(tracer: RecordingTracer, monkeypatch: pytest.MonkeyPatch) -> None:
    node = EdgeNode(tracer=tracer)

    async def fail() -> bytes:
        raise ValueError("a defect")

    monkeypatch.setattr(node.edge.events, "publish", lambda *_: asyncio.ensure_future(fail()))
    wire = node.wire()
    wire.feed(node.publish(EVENT))
    await settle()
    assert wire.reply().status == 500
    assert status(tracer.only(ROUTE)) == (500, "internal_error", True)


async def test_a_publish_that_is_given_up_is_told_as_draining(
    tracer: RecordingTracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = EdgeNode(tracer=tracer)
    endless = asyncio.ensure_future(asyncio.Event().wait())
    monkeypatch.setattr(node.edge.events, "publish", lambda *_: endless)
    wire = node.wire()
    wire.feed(node.publish(EVENT))
    endless.cancel()
    await settle()
    assert wire.reply().status == 503
    assert status(tracer.only(ROUTE)) == (503, errors.DRAINING.slug, True)


async def test_what_is_done_in_a_call_is_a_part_of_it(tracer: RecordingTracer) -> None:
    seen = []

    async def look(_: Request) -> Response:
        await asyncio.sleep(0)
        seen.append(tracer.headers())
        return Response(b"{}")

    node = EdgeNode(routes=[Route("/apps/{app_id}/look", look)], tracer=tracer)
    wire = node.wire()
    assert (await wire.ask(request("GET", "/apps/app/look"))).status == 200
    assert seen == [tracer.only("GET /apps/{app_id}/look").headers]
    assert tracer.headers() == ()


async def test_a_defect_behind_the_front_ends_the_call(tracer: RecordingTracer) -> None:
    async def fail(_: Request) -> Response:
        raise ValueError("a defect")

    node = EdgeNode(routes=[Route("/apps/{app_id}/fail", fail)], tracer=tracer)
    assert (await node.wire().ask(request("GET", "/apps/app/fail"))).status == 500
    assert status(tracer.only("GET /apps/{app_id}/fail")) == (500, "internal_error", True)


@pytest.mark.parametrize("cut", [asyncio.CancelledError, OSError])
async def test_an_answer_that_is_cut_off(tracer: RecordingTracer, cut: type[BaseException]) -> None:
    class Cut(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise cut

    async def answer(_: Request) -> Response:
        return Cut()

    node = EdgeNode(routes=[Route("/apps/{app_id}/stream", answer)], tracer=tracer)
    wire = node.wire()
    wire.feed(request("GET", "/apps/app/stream"))
    with capture_logs():
        await wire.settle()
    span = tracer.only("GET /apps/{app_id}/stream")
    word = "cancelled" if cut is asyncio.CancelledError else "OSError"
    assert status(span) == (200, word, cut is OSError)


async def test_a_client_that_does_not_finish_its_request(tracer: RecordingTracer) -> None:
    node = EdgeNode(tracer=tracer)
    wire = node.wire()
    wire.feed(node.publish(EVENT, headers=LONG_WAY)[:-5])
    await asyncio.sleep(0)
    wire.lose()
    await wire.settle()
    span = tracer.only(ROUTE)
    assert (span.error, span.failed) == ("client_disconnected", False)


async def test_other_paths_leave_no_span(tracer: RecordingTracer) -> None:
    node = EdgeNode(tracer=tracer)
    for path in ("/live", "/up", "/app/key-app", "/nowhere", "/appsX/"):
        await node.wire().ask(request("GET", path))
    assert tracer.spans == []


async def test_a_limited_address_is_told_on_the_express_lane(tracer: RecordingTracer) -> None:
    limiter = {"enabled": True, "api_rate_limit": ApiRateLimit(max_requests=5)}
    node = EdgeNode(settings=settings(rate_limiter=limiter), tracer=tracer)
    wire = node.wire()
    for _ in range(5):
        wire.feed(node.publish(EVENT))
    wire.feed(node.publish(EVENT))
    assert wire.replies()[-1].status == 429
    assert status(tracer.named(ROUTE)[-1])[0] == 429
    assert tracer.named(ROUTE)[-1].ended


async def test_errors_of_others_are_told_by_their_status(tracer: RecordingTracer) -> None:
    async def teapot(_: Request) -> Response:
        return Response(json.dumps(["no envelope"]), 418)

    node = EdgeNode(routes=[Route("/apps/{app_id}/tea", teapot)], tracer=tracer)
    await node.wire().ask(request("GET", "/apps/app/tea"))
    assert status(tracer.only("GET /apps/{app_id}/tea")) == (418, "418", False)
