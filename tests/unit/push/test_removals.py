"""What becomes of an app that was removed: nothing is sent, and everything goes in steps; of one that lives nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from sockudo import errors
from sockudo.base.components import Component
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Job, JobQueue
from sockudo.push.delivery import Sent
from sockudo.push.messages import PUSH_QUEUE
from sockudo.push.ports import Removal
from sockudo.push.recipients import FcmRecipient
from sockudo.push.removals import GRACE_MS, SETTLED_MS, ForLivingApps, Removals
from sockudo.push.stores.sql import MemoryPushStore
from support.inside import HandComponent
from support.push_stores import a_device
from support.virtual_time import LoopClock, in_virtual_time
from unit.push.pipeline_world import ScriptedProvider

DEVICES = 1800
"""More than three steps."""


class Failing(MemoryPushStore):
    """Can be out of reach, and knows the largest step."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.steps: list[int] = []
        self.stepped = asyncio.Event()

    async def note_removal(self, app_id: str, at_ms: int) -> None:
        self._check()
        await super().note_removal(app_id, at_ms)

    async def removals(self) -> list[Removal]:
        self._check()
        return await super().removals()

    async def delete_app(self, app_id: str, limit: int) -> int:
        self._check()
        self.steps.append(await super().delete_app(app_id, limit))
        if self.steps[-1]:
            self.stepped.set()
        return self.steps[-1]

    def _check(self) -> None:
        if self.down:
            raise errors.SERVICE_UNAVAILABLE("the push store is out of reach")


class Site:
    """A store and a queue with two apps, and processes that share them."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.store = Failing()
        self.queue = MemoryJobQueue(PUSH_QUEUE)
        self.apps = {"gone", "kept"}
        self.running: list[asyncio.Task[None]] = []

    async def fill(self) -> None:
        for app_id in ("gone", "kept"):
            for number in range(DEVICES):
                await self.store.put_device(a_device(f"d-{number:04}", f"t-{number}", app_id=app_id))
            far = self.clock.ms() + 10**9
            messages = [Job("delivery_jobs_fcm", f"{app_id}-{n}", app_id, b"{}", far) for n in range(700)]
            await self.queue.put(messages, self.clock.ms())

    async def process(self, queue: Component[JobQueue] | None = None) -> Removals:
        opened = Component[JobQueue].opened("push queue", self.queue)
        removals = Removals(self.store, queue or opened, self.clock, self.apps.__contains__)
        await removals.load()
        self.running.append(asyncio.get_running_loop().create_task(removals.run()))
        return removals

    async def first_step(self) -> None:
        """Returns in the middle of deleting."""
        self.store.stepped.clear()
        await self.store.stepped.wait()

    def kill(self) -> None:
        for task in self.running:
            task.cancel()
        self.running.clear()

    async def left(self, app_id: str) -> int:
        return len(await self.store.devices(app_id, "", 10_000))

    def waiting(self, app_id: str) -> int:
        return len(self.queue._stages["delivery_jobs_fcm"].lanes.get((app_id, ""), ()))


async def remove(site: Site, removals: Removals) -> None:
    await removals.begin("gone")
    site.apps.discard("gone")


@in_virtual_time
async def test_everything_of_a_removed_app_goes_in_bounded_steps_and_of_another_nothing() -> None:
    site = Site()
    await site.fill()
    await remove(site, await site.process())
    await asyncio.sleep(GRACE_MS / 1000 - 6)
    assert await site.left("gone") == DEVICES
    await asyncio.sleep(20)
    assert (await site.left("gone"), site.waiting("gone")) == (0, 0)
    assert (await site.left("kept"), site.waiting("kept")) == (DEVICES, 700)
    assert max(site.store.steps) == 500
    # What is still told of sends that were under way goes, too.
    await site.store.put_device(a_device("late", "t", app_id="gone"))
    await asyncio.sleep(SETTLED_MS / 1000)
    assert await site.left("gone") == 0
    assert await site.store.removals() == []
    steps = len(site.store.steps)
    await asyncio.sleep(60)
    assert len(site.store.steps) == steps
    site.kill()


@in_virtual_time
async def test_another_process_goes_on_where_one_was_killed() -> None:
    site = Site()
    await site.fill()
    await remove(site, await site.process())
    await site.first_step()
    site.kill()
    left = await site.left("gone")
    assert 0 < left < DEVICES
    await asyncio.sleep(100)
    assert await site.left("gone") == left
    await site.process()
    await asyncio.sleep(30)
    assert await site.left("gone") == 0
    assert await site.left("kept") == DEVICES
    assert await site.store.removals() == []
    site.kill()


@in_virtual_time
async def test_nothing_is_sent_for_an_app_that_is_gone_in_any_process() -> None:
    site = Site()
    here, there = await site.process(), await site.process()
    provider = ScriptedProvider(site.clock)

    async def send(removals: Removals, app_id: str = "gone") -> Sent:
        return await ForLivingApps(provider, removals).send(app_id, {}, FcmRecipient("t"), expires_at_ms=None)

    await here.begin("gone")
    # It is there until it is removed.
    assert (await send(here)).outcome == "accepted"
    site.apps.discard("gone")
    assert (await send(here)).outcome == "cancelled"
    assert (await send(here, "kept")).outcome == "accepted"
    await asyncio.sleep(6)
    assert (await send(there)).outcome == "cancelled"
    started = await site.process()
    assert (await send(started)).outcome == "cancelled"
    assert len(provider.sends) == 2
    site.kill()


@in_virtual_time
async def test_an_app_that_is_only_not_there_loses_nothing() -> None:
    site = Site()
    await site.fill()
    removals = await site.process()
    provider = ScriptedProvider(site.clock)
    site.apps.clear()
    await asyncio.sleep(600)
    assert (await site.left("gone"), site.waiting("gone")) == (DEVICES, 700)
    sent = await ForLivingApps(provider, removals).send("gone", {}, FcmRecipient("t"), expires_at_ms=None)
    assert sent.outcome == "accepted"
    site.kill()


@in_virtual_time
async def test_an_app_that_is_added_again_keeps_what_it_has_left() -> None:
    site = Site()
    await site.fill()
    removals = await site.process()
    await remove(site, removals)
    await asyncio.sleep(GRACE_MS / 1000 - 1)
    site.apps.add("gone")
    await asyncio.sleep(60)
    assert await site.left("gone") == DEVICES
    assert await site.store.removals() == []

    # In the middle of it.
    await remove(site, removals)
    await site.first_step()
    site.apps.add("gone")
    left = await site.left("gone")
    await asyncio.sleep(60)
    assert 0 < left - 500 <= await site.left("gone") <= left
    assert not removals.is_gone("gone")
    assert await site.store.removals() == []
    site.kill()


@in_virtual_time
async def test_what_another_process_has_learnt_ends_the_deleting_here() -> None:
    site = Site()
    await site.fill()
    await remove(site, await site.process())
    await site.first_step()
    await site.store.end_removal("gone")
    left = await site.left("gone")
    await asyncio.sleep(60)
    assert await site.left("gone") >= left - 500
    site.kill()


@in_virtual_time
async def test_a_store_that_does_not_answer_is_told_when_it_does() -> None:
    site = Site()
    await site.fill()
    removals = await site.process()
    site.store.down = True
    await remove(site, removals)
    assert removals.is_gone("gone")
    await asyncio.sleep(60)
    assert removals.is_gone("gone")
    site.store.down = False
    await asyncio.sleep(40)
    assert await site.left("gone") == 0
    # In the middle of it, too.
    await site.fill()
    await remove(site, removals)
    await site.first_step()
    site.store.down = True
    await asyncio.sleep(60)
    site.store.down = False
    await asyncio.sleep(10)
    assert await site.left("gone") == 0
    site.kill()


@in_virtual_time
async def test_while_the_queue_is_closed_its_messages_and_the_note_stay() -> None:
    site = Site()
    await site.fill()
    queue = HandComponent("push queue", lambda: errors.PUSH_DISABLED("closed"))
    removals = await site.process(queue)
    await remove(site, removals)
    await asyncio.sleep(300)
    assert (await site.left("gone"), site.waiting("gone")) == (0, 700)
    assert [removal.app_id for removal in await site.store.removals()] == ["gone"]
    queue.put(site.queue)
    await asyncio.sleep(10)
    assert site.waiting("gone") == 0
    assert await site.store.removals() == []
    site.kill()


@in_virtual_time
async def test_a_provider_is_otherwise_the_one_that_it_was() -> None:
    site = Site()
    removals = await site.process()
    provider: Any = ScriptedProvider(site.clock)
    provider.ready = lambda app_id: app_id == "kept"
    wrapped = ForLivingApps(provider, removals)
    assert (await wrapped.readiness("kept")).ready
    assert not (await wrapped.readiness("gone")).ready
    await wrapped.close()
    site.kill()
