"""Spans of webhooks: whose part a delivery is, how each attempt went, and what is in its headers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from sockudo.apps.live import LiveApp
from sockudo.apps.signer import Signer
from sockudo.webhooks.batches import Batches, BatchOptions
from sockudo.webhooks.deliverer import request_of
from sockudo.webhooks.records import Answer, Attempt, Delivery, Event, Outcome
from sockudo.webhooks.service import WebhookOptions, Webhooks
from sockudo.webhooks.traced import WebhookTraces
from support.traces import RecordedSpan, RecordingTracer, traceparent
from support.virtual_time import LoopClock, in_virtual_time
from unit.webhooks.parts import FailingQueue, ScriptedSender, a_delivery, an_event, endpoints_of, resolver

SECRET_URL = "https://ana:url-password@hooks.test:8443/url-token?url-key=1"


def cause(letter: str) -> tuple[tuple[str, str], ...]:
    return (("traceparent", traceparent(letter * 32)),)


def traced_delivery(*events: Event) -> tuple[RecordingTracer, WebhookTraces, Delivery]:
    tracer = RecordingTracer()
    traces = WebhookTraces(tracer)
    delivery = a_delivery("d-1", events=len(events))
    traces.begin(delivery, events)
    return tracer, traces, delivery


def test_a_delivery_is_a_part_of_its_first_cause_and_linked_to_the_others() -> None:
    letters = ("", "a", "b", "a", "")
    events = [an_event("member_added")._replace(trace=cause(each) if each else ()) for each in letters]
    tracer, traces, delivery = traced_delivery(an_event(), *events)
    [span] = tracer.spans
    assert (span.trace, span.links) == ("a" * 32, [cause("b")])
    assert delivery.trace == span.headers
    assert span.attributes == {
        "messaging.system": "sockudo",
        "messaging.destination.name": "webhooks",
        "messaging.message.id": "d-1",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "send",
        "messaging.batch.message_count": 6,
        "sockudo.app_id": "app",
        "sockudo.webhook.endpoint_id": "one",
        "sockudo.webhook.events": ["channel_occupied", "member_added"],
    }
    assert not span.ended
    traces.queued([delivery])
    traces.queued([delivery])
    assert tracer.only("enqueue webhook").error is None


def test_without_a_cause_a_trace_begins() -> None:
    tracer, _, delivery = traced_delivery(an_event())
    assert (tracer.spans[0].parent, tracer.spans[0].links) == (None, [])
    assert delivery.trace


@in_virtual_time
async def test_a_span_ends_when_the_queue_has_taken_the_delivery() -> None:
    tracer, queue, clock = RecordingTracer(), FailingQueue(), LoopClock()
    batches = Batches(queue, clock.monotonic, clock.time, BatchOptions(duration=0.05), lambda: None)
    batches.traces = WebhookTraces(tracer)
    queue.broken.add("append")
    task = asyncio.create_task(batches.run())
    batches.add(endpoints_of({}), an_event())
    await asyncio.sleep(1)
    assert [span.ended for span in tracer.spans] == [False]
    queue.broken.clear()
    await asyncio.sleep(1)
    assert tracer.only("enqueue webhook").error is None
    queue.broken.add("append")
    batches.add(endpoints_of({}), an_event())
    await asyncio.sleep(1)
    task.cancel()
    await batches.flush()
    lost = tracer.spans[1]
    assert (lost.error, lost.failed, lost.ended) == ("lost", True, True)
    assert queue.appended[0][0].trace == tracer.spans[0].headers


# ---- attempts ----


def attempted(answer: Answer, outcome: Outcome, attempts: int = 0) -> RecordedSpan:
    tracer = RecordingTracer()
    traces = WebhookTraces(tracer)
    [endpoint] = endpoints_of({"url": SECRET_URL, "headers": {"Authorization": "header-secret"}}).endpoints
    delivery = a_delivery(trace=cause("c"), attempts=attempts)
    span = traces.attempt(endpoint, delivery)
    traces.attempted(span, answer, outcome)
    return tracer.only("POST webhook")


TRIED = Attempt(1, 0, 5)


def test_an_attempt_that_went_well() -> None:
    span = attempted(Answer(204), Outcome("delivered", TRIED))
    assert (span.kind, span.trace, span.error) == ("client", "c" * 32, None)
    assert span.attributes.pop("messaging.message.id")
    assert span.attributes == {
        "messaging.system": "sockudo",
        "messaging.destination.name": "webhooks",
        "http.request.method": "POST",
        "http.response.status_code": 204,
        "server.address": "hooks.test",
        "server.port": 8443,
        "sockudo.app_id": "app",
        "sockudo.webhook.endpoint_id": "one",
        "sockudo.webhook.attempt": 1,
        "sockudo.webhook.outcome": "delivered",
    }


def test_of_an_address_nothing_is_told_but_its_host() -> None:
    span = attempted(Answer(200), Outcome("delivered", TRIED))
    for word in ("ana", "url-password", "url-token", "url-key", "header-secret"):
        assert word not in repr(span.attributes)


@pytest.mark.parametrize(
    ("answer", "outcome", "error"),
    [
        (Answer(503), Outcome("waiting", TRIED, due_at_ms=9), "503"),
        (Answer(404), Outcome("dead", TRIED, reason="refused"), "404"),
        (Answer(None, "timeout"), Outcome("waiting", TRIED, due_at_ms=9), "webhook_timeout"),
        (Answer(None, "a word of its own"), Outcome("waiting", TRIED, due_at_ms=9), "a word of its own"),
    ],
)
def test_an_attempt_that_failed(answer: Answer, outcome: Outcome, error: str) -> None:
    span = attempted(answer, outcome, attempts=2)
    assert (span.error, span.failed) == (error, True)
    assert span.attributes["sockudo.webhook.outcome"] == {"waiting": "retried", "dead": "dead"}[outcome.state]
    assert span.attributes.get("sockudo.webhook.reason") == outcome.reason
    assert span.attributes.get("http.response.status_code") == answer.status
    assert (span.attributes["sockudo.webhook.attempt"], span.attributes["http.request.resend_count"]) == (3, 2)


def test_an_endpoint_with_trace_headers_of_its_own_keeps_them() -> None:
    made = endpoints_of({"headers": {"TraceParent": "own"}})
    endpoint, key, signer = resolver(*made.endpoints)("app", made.endpoints[0].id)  # type: ignore[misc]  # it is there
    headers = request_of(endpoint, key, signer, a_delivery(trace=cause("a")), cause("b")).headers
    assert [value for name, value in headers if name.lower() == "traceparent"] == ["own"]


@in_virtual_time
async def test_each_attempt_names_itself_and_has_the_same_parent() -> None:
    tracer, webhooks, sender = await serve_one()

    async def fail_first(_: str, before: int) -> Answer:
        return Answer(200 if before else 503)

    sender.behaviour = fail_first
    webhooks.recorder.occupied("app", "room")
    await asyncio.sleep(10)
    await webhooks.close()
    queued = tracer.only("enqueue webhook")
    attempts = tracer.named("POST webhook")
    assert [span.parent for span in attempts] == [queued.id] * 2
    assert [span.error for span in attempts] == ["503", None]
    told = [sent.headers["traceparent"] for sent in sender.sent]
    assert told == [dict(span.headers)["traceparent"] for span in attempts]


@in_virtual_time
async def test_an_attempt_that_is_given_up_at_the_end_is_told_so() -> None:
    tracer, webhooks, sender = await serve_one()

    async def hang(_: str, __: int) -> Answer:
        await asyncio.sleep(3600)
        return Answer(200)

    sender.behaviour = hang
    webhooks.recorder.occupied("app", "room")
    await asyncio.sleep(1)
    await webhooks.close(0.1)
    assert tracer.only("POST webhook").error == "abandoned"


@in_virtual_time
async def test_a_departure_is_a_part_of_what_caused_it_not_of_what_ends_its_grace() -> None:
    tracer, webhooks, _ = await serve_one()
    call = tracer.start("call", "server", {}, cause=())
    webhooks.recorder.occupied("app", "room")
    with tracer.active(call):
        webhooks.recorder.vacated("app", "room")
        webhooks.recorder.occupied("app", "other")
    webhooks.recorder.vacated("app", "other")
    await asyncio.sleep(10)
    await webhooks.close()
    traces = {(span.attributes["sockudo.webhook.events"][0], span.parent) for span in tracer.named("enqueue webhook")}
    assert traces == {
        ("channel_occupied", None),
        ("channel_occupied", call.id),
        ("channel_vacated", call.id),
        ("channel_vacated", None),
    }


async def serve_one() -> tuple[RecordingTracer, Webhooks, ScriptedSender]:
    """Webhooks with one endpoint and a tracer; every event goes out alone."""
    hook = {"url": "http://hooks.test/", "event_types": ["channel_occupied", "channel_vacated"]}
    record = SimpleNamespace(policy=SimpleNamespace(webhooks=(hook,)))
    app = cast(LiveApp, SimpleNamespace(record=record, id="app", key="the-key", signer=Signer("the-secret")))
    sender, options = ScriptedSender(), WebhookOptions(batches=BatchOptions(enabled=False))
    webhooks = Webhooks(FailingQueue(), sender, {"app": app}.get, LoopClock(), options)
    tracer = RecordingTracer()
    webhooks.trace(WebhookTraces(tracer))
    await webhooks.start()
    return tracer, webhooks, sender
