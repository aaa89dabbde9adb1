"""From events to deliveries: size, time, channels, order, and a queue that takes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from sockudo.webhooks import events
from sockudo.webhooks.batches import Batches, BatchOptions
from sockudo.webhooks.endpoints import AppEndpoints
from sockudo.webhooks.records import Delivery, Event, Outcome
from support.virtual_time import START, LoopClock, in_virtual_time
from unit.webhooks.parts import FailingQueue, an_event, endpoints_of, events_in

OPTIONS = BatchOptions(duration=0.05, size=10, capacity=1000)


class Gathering:
    """Batches over a queue in memory; ``woken`` counts what the deliverer is told."""

    def __init__(self, options: BatchOptions = OPTIONS, queue: FailingQueue | None = None) -> None:
        self.queue = queue or FailingQueue()
        self.woken = 0
        self.endpoints = endpoints_of({"event_types": ["channel_occupied", "subscription_count"]})
        clock = LoopClock()
        self.batches = Batches(self.queue, clock.monotonic, clock.time, options, self._appended)

    def _appended(self) -> None:
        self.woken += 1

    def add(self, *channels: str, endpoints: AppEndpoints | None = None) -> None:
        for channel in channels:
            self.put(an_event(channel=channel, time_ms=1), endpoints)

    def put(self, event: Event, endpoints: AppEndpoints | None = None) -> None:
        self.batches.add(endpoints or self.endpoints, event)

    @property
    def appended(self) -> list[Delivery]:
        return [delivery for call in self.queue.appended for delivery in call]

    def channels(self) -> list[list[str]]:
        """Channels of the events of each delivery."""
        return [[event["channel"] for event in events_in(delivery.body)] for delivery in self.appended]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.batches.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@in_virtual_time
async def test_events_are_gathered_for_so_long() -> None:
    gathering = Gathering()
    async with gathering.running():
        gathering.add("room", "room")
        await asyncio.sleep(0.049)
        gathering.add("room")
        assert gathering.appended == []
        assert gathering.batches.depth == 3
        await asyncio.sleep(0.002)
    [delivery] = gathering.appended
    assert msgspec.json.decode(delivery.body) == {
        "time_ms": 1,
        "events": [{"name": "channel_occupied", "channel": "room"}] * 3,
    }
    now_ms = int((START + 0.05) * 1000)
    assert (delivery.events, delivery.created_at_ms, delivery.due_at_ms) == (3, now_ms, now_ms)
    assert (delivery.app_id, delivery.endpoint) == ("app", gathering.endpoints.endpoints[0].id)
    assert gathering.batches.depth == 0
    assert gathering.woken == 1


@in_virtual_time
async def test_a_full_batch_goes_at_once() -> None:
    gathering = Gathering(replace(OPTIONS, duration=60))
    async with gathering.running():
        gathering.add(*["room"] * 3)
        await asyncio.sleep(1)
        gathering.add(*["room"] * 22)
        await asyncio.sleep(0.001)
        assert [delivery.events for delivery in gathering.appended] == [10, 10]
        await asyncio.sleep(62)
        assert [delivery.events for delivery in gathering.appended] == [10, 10, 5]


@in_virtual_time
async def test_without_batching_every_event_goes_alone_and_at_once() -> None:
    gathering = Gathering(replace(OPTIONS, enabled=False, duration=60))
    async with gathering.running():
        gathering.add("a", "b", "a")
        await asyncio.sleep(0.001)
    assert gathering.channels() == [["a"], ["b"], ["a"]]


@in_virtual_time
async def test_a_delivery_is_of_one_channel_and_channels_keep_their_order() -> None:
    gathering = Gathering()
    names = [f"room-{number}" for number in range(20)]
    async with gathering.running():
        for number in range(30):
            for name in names:
                gathering.put(an_event(channel=name, number=number))
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
    numbers: dict[str, list[int]] = {}
    for delivery in gathering.appended:
        for event in events_in(delivery.body):
            assert event["channel"] == delivery.channel
            numbers.setdefault(event["channel"], []).append(event["number"])
    assert numbers == {name: list(range(30)) for name in names}


@in_virtual_time
async def test_every_endpoint_gets_what_it_wants() -> None:
    gathering = Gathering()
    endpoints = endpoints_of(
        {"event_types": ["channel_occupied"], "filter": {"channel_prefix": "a"}},
        {"event_types": ["channel_occupied", "channel_vacated"]},
        {"event_types": ["member_added"]},
    )
    first, second, _ = (endpoint.id for endpoint in endpoints.endpoints)
    async with gathering.running():
        for name in ("a", "b"):
            gathering.put(an_event(channel=name), endpoints)
        gathering.put(an_event("channel_vacated", "a"), endpoints)
        await asyncio.sleep(0.1)
    told: dict[str, list[str]] = {}
    for delivery in gathering.appended:
        told.setdefault(delivery.endpoint, []).extend(
            f"{event['name']} {event['channel']}" for event in events_in(delivery.body)
        )
    assert told.keys() == {first, second}
    assert told[first] == ["channel_occupied a"]
    assert sorted(told[second]) == ["channel_occupied a", "channel_occupied b", "channel_vacated a"]


@in_virtual_time
async def test_of_counts_that_follow_one_another_the_newest_is_told() -> None:
    gathering = Gathering()
    async with gathering.running():
        for count in range(1, 500):
            gathering.put(events.subscription_count("room", count, count))
        assert gathering.batches.depth == 1
        await asyncio.sleep(0.1)
        gathering.put(events.subscription_count("room", 0, 9))
        await asyncio.sleep(0.1)
    counts = [event["subscription_count"] for each in gathering.appended for event in events_in(each.body)]
    assert counts == [499, 0]
    assert gathering.batches.depth == 0


@in_virtual_time
async def test_counts_of_other_channels_and_other_events_stay() -> None:
    gathering = Gathering(OPTIONS)
    async with gathering.running():
        gathering.put(events.subscription_count("a", 1, 1))
        gathering.put(an_event(channel="a"))
        gathering.put(events.subscription_count("b", 1, 1))
        gathering.put(events.subscription_count("a", 2, 1))
        await asyncio.sleep(0.1)
    assert [
        [(event["channel"], event.get("subscription_count")) for event in events_in(delivery.body)]
        for delivery in gathering.appended
    ] == [[("a", 2), ("a", None)], [("b", 1)]]
    assert [delivery.events for delivery in gathering.appended] == [2, 1]


@in_virtual_time
async def test_the_time_of_a_batch_is_that_of_its_earliest_event() -> None:
    gathering = Gathering(OPTIONS)
    async with gathering.running():
        for time_ms in (7, 5, 9):
            gathering.put(an_event(time_ms=time_ms))
        await asyncio.sleep(0.1)
    assert msgspec.json.decode(gathering.appended[0].body)["time_ms"] == 5


@in_virtual_time
async def test_while_the_queue_takes_nothing_events_wait_in_their_order() -> None:
    gathering = Gathering(OPTIONS)
    gathering.queue.broken = {"append"}
    async with gathering.running():
        for number in range(50):
            gathering.add(str(number))
            await asyncio.sleep(0.1)
        assert gathering.batches.failing
        assert gathering.batches.depth == 50
        assert gathering.appended == []
        gathering.queue.broken.clear()
        await asyncio.sleep(6)
        assert not gathering.batches.failing
        assert gathering.batches.depth == 0
    assert [channel for channels in gathering.channels() for channel in channels] == [str(n) for n in range(50)]


@in_virtual_time
async def test_a_queue_that_takes_nothing_is_not_asked_all_the_time() -> None:
    gathering = Gathering()
    gathering.queue.broken = {"append"}
    async with gathering.running():
        gathering.add("room")
        await asyncio.sleep(300)
    assert 50 < len(gathering.queue.calls) < 100


@in_virtual_time
async def test_what_does_not_fit_is_lost_and_counted() -> None:
    gathering = Gathering(replace(OPTIONS, capacity=100))
    gathering.queue.broken = {"append"}
    async with gathering.running():
        for number in range(150):
            gathering.add(str(number % 7))
            if number % 20 == 0:
                await asyncio.sleep(0.1)
        assert (gathering.batches.depth, gathering.batches.lost) == (100, 50)
        gathering.queue.broken.clear()
        await asyncio.sleep(6)
        assert gathering.batches.depth == 0
        gathering.add("room")
        assert (gathering.batches.depth, gathering.batches.lost) == (1, 50)


@in_virtual_time
async def test_a_queue_that_is_full_is_tried_again() -> None:
    gathering = Gathering(OPTIONS, FailingQueue(capacity=2))
    async with gathering.running():
        for number in range(4):
            gathering.add(str(number))
            await asyncio.sleep(0.06)
        assert gathering.batches.failing
        for _ in range(2):
            [claim] = await gathering.queue.claim(LoopClock().ms(), 2**60, 1)
            await gathering.queue.settle([(claim, delivered())], LoopClock().ms())
        await asyncio.sleep(6)
        assert not gathering.batches.failing
    assert gathering.channels() == [["0"], ["1"], ["2"], ["3"]]


@in_virtual_time
async def test_more_than_fits_into_a_small_queue_does_not_wait_for_ever() -> None:
    gathering = Gathering(replace(OPTIONS, enabled=False), FailingQueue(capacity=2))
    async with gathering.running():
        gathering.add(*(str(number) for number in range(20)))
        for _ in range(100):
            await asyncio.sleep(6)
            for claim in await gathering.queue.claim(LoopClock().ms(), 2**60, 10):
                await gathering.queue.settle([(claim, delivered())], LoopClock().ms())
        assert gathering.batches.depth == 0
    assert len(gathering.appended) == 20


def delivered() -> Outcome:
    return Outcome("delivered", None)


@in_virtual_time
async def test_a_flush_takes_everything_that_has_been_gathered() -> None:
    gathering = Gathering(replace(OPTIONS, size=1, capacity=10_000))
    gathering.add(*(str(number) for number in range(2000)))
    gathering.endpoints = endpoints_of({"url": "http://other.test/"})
    gathering.add("half a batch")
    await gathering.batches.flush()
    assert len(gathering.appended) == 2001
    assert gathering.batches.depth == 0


@in_virtual_time
async def test_a_flush_does_not_wait_for_a_queue_that_takes_nothing() -> None:
    gathering = Gathering()
    gathering.queue.broken = {"append"}
    gathering.add("room")
    async with asyncio.timeout(1):
        await gathering.batches.flush()
    assert gathering.batches.depth == 1


@in_virtual_time
async def test_a_flush_after_an_append_that_was_cut_off_appends_once() -> None:
    class Slow(FailingQueue):
        async def append(self, deliveries: Any) -> None:
            await super().append(deliveries)
            await asyncio.sleep(1)

    gathering = Gathering(queue=Slow())
    async with gathering.running():
        gathering.add("room")
        await asyncio.sleep(0.1)
    await gathering.batches.flush()
    assert len(await gathering.queue.page("app")) == 1


class SlowQueue(FailingQueue):
    """Takes 20 ms for an append, and 0.25 s for one that it refuses."""

    async def append(self, deliveries: Sequence[Delivery]) -> None:
        await asyncio.sleep(0.25 if "append" in self.broken else 0.02)
        await super().append(deliveries)


@in_virtual_time
async def test_appends_are_timed_alone_and_by_several() -> None:
    queue = SlowQueue()
    gathering = Gathering(replace(OPTIONS, enabled=False), queue)
    async with gathering.running():
        gathering.add("a")
        await asyncio.sleep(1)
        gathering.add("a", "b", "c")
        await asyncio.sleep(1)
        queue.broken = {"append"}
        gathering.add("a")
        await asyncio.sleep(1)
    batches = gathering.batches
    assert (sum(batches.append_times.counts), sum(batches.batch_append_times.counts)) == (1, 1)
    assert batches.append_times.sum_ms == pytest.approx(20)
    assert batches.batch_append_times.sum_ms == pytest.approx(20), "what the queue refused is not measured"
