"""Spans of durable publishes: where a message went, with how many others, and what kept it from being stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sockudo import errors
from sockudo.base.stream_records import Append, Committed
from sockudo.errors import SockudoError
from sockudo.history import HistoryCounters, HistoryOptions
from sockudo.history.traced import TracedHistory
from support.durable import Durable, Held, failure, lose, refuse
from support.traces import RecordingTracer


class Traced(Durable):
    """A history with a tracer."""

    def __init__(self, **options: int) -> None:
        super().__init__()
        self.tracer = RecordingTracer()
        self.history = TracedHistory(
            self.store,  # type: ignore[arg-type]  # every method is there, by name
            self.time,
            HistoryOptions(**options),
            lambda *_: None,
            lambda *_: None,
            lambda *_: None,
            self.tracer,
            sleep=self.time.sleep,
        )


@pytest.fixture
async def traced() -> AsyncIterator[Traced]:
    async with Traced() as made:
        yield made


async def test_a_publish_is_told_with_its_place(traced: Traced) -> None:
    stored = await traced.submit("presence-room", data="private")
    await asyncio.sleep(0)
    span = traced.tracer.only("publish")
    assert (span.kind, span.parent, span.error) == ("internal", None, None)
    assert span.attributes["sockudo.channel.kind"] == "presence"
    assert span.attributes["sockudo.stream.id"] == stored.position.stream_id
    assert span.attributes["sockudo.stream.serial"] == 1
    assert span.attributes["sockudo.commit.group_size"] == 1
    assert not [value for value in span.attributes.values() if "private" in str(value)]


async def test_a_group_is_told_by_its_size(traced: Traced) -> None:
    held = Held()
    traced.store.plan("commit", held)
    first = traced.submit()
    await asyncio.sleep(0)
    others = [traced.submit() for _ in range(4)]
    await held.release()
    await asyncio.gather(first, *others)
    await asyncio.sleep(0)
    sizes = [span.attributes["sockudo.commit.group_size"] for span in traced.tracer.named("publish")]
    assert sorted(sizes) in ([1, 4, 4, 4, 4], [5] * 5)


async def test_it_is_a_part_of_what_was_active_and_has_what_follows_as_parts(traced: Traced) -> None:
    tracer = traced.tracer
    call = tracer.start("call", "server", {}, cause=())
    seen = []

    def deliver(_: Committed) -> None:
        seen.append(tracer.headers())

    with tracer.active(call):
        pending = traced.history.submit(traced.append(), deliver)
    await pending
    await asyncio.sleep(0)
    span = tracer.only("publish")
    assert (span.trace, span.parent) == (call.trace, call.id)
    assert seen == [span.headers]


async def test_repeats_and_conflicts(traced: Traced) -> None:
    await traced.submit("news", "m", fingerprint=b"a")
    await traced.submit("news", "m", fingerprint=b"a")
    await traced.submit("news", "m", fingerprint=b"b")
    await asyncio.sleep(0)
    first, repeat, conflict = traced.tracer.named("publish")
    assert [span.attributes["sockudo.publish.repeated"] for span in (first, repeat, conflict)] == [False, True, True]
    assert {span.attributes["sockudo.stream.serial"] for span in (first, repeat)} == {1}
    assert (repeat.error, conflict.error, conflict.failed) == (None, "idempotency_conflict", False)
    assert "sockudo.commit.group_size" not in repeat.attributes


@pytest.mark.parametrize("lost", [False, True])
async def test_what_is_not_stored_has_failed(traced: Traced, lost: bool) -> None:
    traced.store.plan("commit", lose(done=False) if lost else refuse())
    assert (await failure(traced.submit())).spec is errors.HISTORY_UNAVAILABLE
    await asyncio.sleep(0)
    span = traced.tracer.only("publish")
    assert (span.error, span.failed) == ("history_unavailable", True)


async def test_what_is_not_taken_has_failed_at_once() -> None:
    async with Traced(queue_capacity=1) as traced:
        pending = traced.submit()
        with pytest.raises(SockudoError):
            traced.submit()
        assert [span.ended for span in traced.tracer.named("publish")] == [False, True]
        assert traced.tracer.named("publish")[1].error == "history_busy"
        await pending


async def test_what_is_no_message_leaves_no_span(traced: Traced) -> None:
    append: Append = traced.append()
    await traced.history.submit(append, lambda _: None, HistoryCounters())
    assert traced.tracer.spans == []
