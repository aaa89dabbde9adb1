"""From what happens in the hub to what endpoints are told, and what is left when the server ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.signer import Signer
from sockudo.config.webhooks import EVENT_TYPES
from sockudo.hub.edges import Edges
from sockudo.outbound.problems import PROBLEMS
from sockudo.webhooks.advice import explanation
from sockudo.webhooks.batches import BatchOptions
from sockudo.webhooks.deliverer import DeliveryOptions
from sockudo.webhooks.records import Answer
from sockudo.webhooks.service import WebhookOptions, Webhooks
from support.virtual_time import LoopClock, in_virtual_time
from support.world import World
from unit.webhooks.parts import FailingQueue, ScriptedSender, events_in

HOOK = {"url": "http://hooks.test/a", "event_types": sorted(EVENT_TYPES)}


def live_app(*webhooks: Mapping[str, Any]) -> LiveApp:
    """What webhooks need of an app."""
    record = SimpleNamespace(policy=SimpleNamespace(webhooks=webhooks))
    return cast(LiveApp, SimpleNamespace(record=record, id="app", key="the-key", signer=Signer("the-secret")))


class Served:
    """Webhooks on a hub of one app; events go out without being gathered first."""

    def __init__(self, *webhooks: Mapping[str, Any], queue: FailingQueue | None = None, **options: Any) -> None:
        self.apps = {"app": live_app(*(webhooks or (HOOK,)))}
        self.queue = queue or FailingQueue()
        self.sender = ScriptedSender()
        about: dict[str, Any] = {"batches": BatchOptions(enabled=False), **options}
        self.webhooks = Webhooks(self.queue, self.sender, self.apps.get, LoopClock(), WebhookOptions(**about))
        self.world = World()
        self.edges = Edges(self.world.hub.observers)
        for kind, observer in self.webhooks.observers.items():
            self.edges.add(kind, observer)

    def told(self) -> list[dict[str, Any]]:
        return [event for sent in self.sender.sent for event in events_in(sent.body)]

    def names(self) -> list[str]:
        return [event["name"] for event in self.told()]


@in_virtual_time
async def test_a_channel_from_its_first_subscriber_to_its_last() -> None:
    served = Served()
    await served.webhooks.start()
    [(ana, _), (ben, _)] = served.world.subscribers(2, "room")
    served.world.hub.unsubscribe(ana, "room")
    served.world.hub.unsubscribe(ben, "room")
    await asyncio.sleep(10)
    assert served.told() == [
        {"name": "channel_occupied", "channel": "room"},
        *({"name": "subscription_count", "channel": "room", "subscription_count": n} for n in (1, 2, 1, 0)),
        {"name": "channel_vacated", "channel": "room"},
    ]
    await served.webhooks.close()


@in_virtual_time
async def test_a_departure_is_told_within_a_moment_of_the_end_of_its_grace() -> None:
    served = Served({**HOOK, "event_types": ["channel_vacated"]})
    await served.webhooks.start()
    [(ana, _)] = served.world.subscribers(1, "room")
    served.world.hub.unsubscribe(ana, "room")
    await asyncio.sleep(10)
    assert 3.0 <= served.sender.sent[0].at <= 3.3
    await served.webhooks.close()


@pytest.mark.parametrize("channel", ["[meta]room", "*"])
def test_channels_about_channels_are_not_told_of(channel: str) -> None:
    @in_virtual_time
    async def run() -> None:
        served = Served()
        await served.webhooks.start()
        [(ana, _)] = served.world.subscribers(1, channel)
        served.world.hub.unsubscribe(ana, channel)
        await asyncio.sleep(10)
        assert served.told() == []
        await served.webhooks.close()

    run()


@in_virtual_time
async def test_what_is_held_and_gathered_goes_out_before_the_end() -> None:
    served = Served(batches=BatchOptions(duration=60, size=1000))
    await served.webhooks.start()
    for number in range(50):
        [(connection, _)] = served.world.subscribers(1, f"room-{number}")
        served.world.hub.unsubscribe(connection, f"room-{number}")
    assert served.sender.sent == []
    await served.webhooks.close()
    assert sorted(event["channel"] for event in served.told() if event["name"] == "channel_vacated") == sorted(
        f"room-{number}" for number in range(50)
    )
    assert served.sender.closed


@in_virtual_time
async def test_the_end_does_not_wait_for_endpoints_that_hang() -> None:
    served = Served()

    async def hang(_: str, __: int) -> Answer:
        await asyncio.sleep(3600)
        return Answer(200)

    served.sender.behaviour = hang
    await served.webhooks.start()
    served.world.subscribers(3, "room")
    await asyncio.sleep(1)
    before = asyncio.get_running_loop().time()
    await served.webhooks.close(5.0)
    assert asyncio.get_running_loop().time() - before == pytest.approx(5.0, abs=0.1)
    assert served.sender.under_way == 0
    # And everything that was not taken is there for the next process, at once.
    [claim] = await served.queue.claim(LoopClock().ms(), LoopClock().ms() + 1000, 10)
    assert events_in(claim.delivery.body)[0]["name"] == "channel_occupied"
    assert len(await served.queue.page("app", state="waiting")) == 4


@in_virtual_time
async def test_the_end_does_not_wait_for_a_queue_that_fails() -> None:
    served = Served()
    await served.webhooks.start()
    served.queue.broken = {"append", "claim", "settle"}
    served.world.subscribers(3, "room")
    async with asyncio.timeout(30):
        await served.webhooks.close()
    assert served.sender.closed


@in_virtual_time
async def test_the_next_process_goes_on_with_what_the_queue_holds() -> None:
    first = Served()
    first.sender.behaviour = lambda *_: asyncio.sleep(0, Answer(503))
    await first.webhooks.start()
    first.world.subscribers(1, "room")
    await asyncio.sleep(0.5)
    await first.webhooks.close()
    second = Served(queue=first.queue)
    await second.webhooks.start()
    await asyncio.sleep(10)
    assert second.names() == ["channel_occupied", "subscription_count"]
    assert second.sender.sent[0].headers["X-Sockudo-Attempt"] == "2"
    await second.webhooks.close()


@in_virtual_time
async def test_a_queue_that_fails_is_seen_from_outside() -> None:
    served = Served()
    await served.webhooks.start()
    assert await served.webhooks.check()
    served.queue.broken = {"append"}
    served.world.subscribers(1, "room")
    await asyncio.sleep(1)
    with pytest.raises(errors.SockudoError):
        await served.webhooks.check()
    served.queue.broken = set()
    await asyncio.sleep(10)
    assert await served.webhooks.check()
    await served.webhooks.close()


@in_virtual_time
async def test_another_record_of_an_app_counts_from_then_on() -> None:
    served = Served({**HOOK, "event_types": ["channel_occupied"]})
    await served.webhooks.start()
    served.world.subscribers(1, "one")
    await asyncio.sleep(1)
    served.apps["app"] = live_app({"url": "http://hooks.test/b", "event_types": ["channel_occupied"]})
    served.world.subscribers(1, "two")
    await asyncio.sleep(1)
    served.apps["app"] = live_app()
    served.world.subscribers(1, "three")
    await asyncio.sleep(1)
    assert [(sent.target.url[-1], events_in(sent.body)[0]["channel"]) for sent in served.sender.sent] == [
        ("a", "one"),
        ("b", "two"),
    ]
    await served.webhooks.close()


@pytest.mark.parametrize("gone", ["app_removed", "endpoint_removed"])
def test_what_waits_for_somebody_who_is_gone_is_given_up(gone: str) -> None:
    @in_virtual_time
    async def run() -> None:
        served = Served({**HOOK, "event_types": ["channel_occupied"]})
        served.sender.behaviour = lambda *_: asyncio.sleep(0, Answer(503))
        await served.webhooks.start()
        served.world.subscribers(1, "room")
        await asyncio.sleep(0.5)
        if gone == "app_removed":
            del served.apps["app"]
        else:
            served.apps["app"] = live_app()
        await asyncio.sleep(10)
        [delivery] = await served.queue.page("app")
        assert (delivery.state, delivery.reason) == ("dead", gone)
        await served.webhooks.close()

    run()


@in_virtual_time
async def test_an_app_without_webhooks_costs_nothing() -> None:
    served = Served()
    served.apps["app"] = live_app()
    await served.webhooks.start()
    served.world.subscribers(10, "room")
    await asyncio.sleep(10)
    assert served.queue.appended == []
    await served.webhooks.close()


@in_virtual_time
async def test_a_burst_is_told_in_few_requests_and_completely() -> None:
    served = Served(batches=BatchOptions(), delivery=DeliveryOptions())
    await served.webhooks.start()
    for number in range(2000):
        served.world.subscribers(1, f"room-{number}")
    await asyncio.sleep(5)
    assert served.names().count("channel_occupied") == 2000
    assert len(served.sender.sent) <= 60
    await served.webhooks.close()


def test_every_problem_of_a_request_is_explained() -> None:
    assert [word for word in PROBLEMS if explanation(word) is None] == []


@in_virtual_time
async def test_a_channel_is_there_before_its_members_and_gone_after_them() -> None:
    served = Served()
    await served.webhooks.start()
    (ana, _), (ben, _) = served.world.connect(), served.world.connect()
    served.world.hub.join(ana, "presence-room", "ana", b"{}")
    served.world.hub.join(ben, "presence-room", "ben", b"{}")
    await asyncio.sleep(1)
    assert served.names() == ["channel_occupied", "member_added", "member_added"]
    served.world.hub.unsubscribe(ana, "presence-room")
    served.world.hub.disconnect(ben)
    await asyncio.sleep(10)
    assert served.names()[3:] == ["member_removed", "member_removed", "channel_vacated"]
    await served.webhooks.close()


@in_virtual_time
async def test_a_channel_stays_for_as_long_as_a_member_of_it_may_come_back() -> None:
    served = Served()
    await served.webhooks.start()
    ana, _ = served.world.connect()
    served.world.hub.join(ana, "presence-room", "ana", b"{}")
    served.world.hub.disconnect(ana, held_until=2000)
    await asyncio.sleep(10)
    again, _ = served.world.connect()
    served.world.hub.join(again, "presence-room", "ana", b"{}")
    await asyncio.sleep(10)
    assert served.names() == ["channel_occupied", "member_added"]
    served.world.hub.disconnect(again, held_until=3000)
    await asyncio.sleep(10)
    assert served.names() == ["channel_occupied", "member_added"]
    served.world.hub.tick(3000)
    await asyncio.sleep(10)
    assert served.names()[2:] == ["member_removed", "channel_vacated"]
    await served.webhooks.close()


@in_virtual_time
async def test_a_channel_that_waits_for_a_member_is_vacated_with_the_process() -> None:
    served = Served()
    await served.webhooks.start()
    ana, _ = served.world.connect()
    served.world.hub.join(ana, "presence-room", "ana", b"{}")
    served.world.hub.disconnect(ana, held_until=2000)
    served.edges.close()
    await served.webhooks.close()
    assert served.names() == ["channel_occupied", "member_added", "channel_vacated"]
