"""Random fates of a history against promises 5 to 7 of spec: history § 10.1.

What was confirmed has been heard once and is in the store; what was said to have failed is heard by nobody and in no
store, ever; a serial of a stream means one message only; and where the messages of a channel do not follow each other,
that was announced before.
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections import defaultdict
from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sockudo.base.stream_records import Committed, Position
from sockudo.errors import SockudoError
from sockudo.history import Failed, Purge, Replayed, Reset
from support.durable import APP, Durable, Held, Step, UnrulyStore, lose, refuse
from support.waiting import settle

EXAMPLES = int(os.environ.get("SOCKUDO_EXAMPLES", "40"))
CHANNELS = ("news", "sport")
ENDS: dict[str, Step | None] = {
    "done": None,
    "refused": refuse(),
    "lost, done": lose(done=True),
    "lost, not done": lose(done=False),
}

channels = st.sampled_from(CHANNELS)
actions = st.one_of(
    st.tuples(st.just("say"), channels),
    st.tuples(st.just("say"), channels),
    st.tuples(st.just("say"), channels),
    st.tuples(st.just("say again"), st.integers(0, 30)),
    st.tuples(st.just("next commit"), st.sampled_from(list(ENDS))),
    st.tuples(st.just("next commit hangs")),
    st.tuples(st.just("release"), st.sampled_from(list(ENDS))),
    st.tuples(st.just("next cure fails"), st.sampled_from(["info", "retract", "rotate", "mark"])),
    st.tuples(st.just("settle")),
    st.tuples(st.just("elapse"), st.sampled_from([0.2, 1.0, 5.0])),
    st.tuples(st.just("attach"), channels),
    st.tuples(st.just("reset"), channels),
    st.tuples(st.just("purge"), channels, st.integers(1, 6)),
    st.tuples(st.just("back up")),
    st.tuples(st.just("restore")),
    st.tuples(st.just("wipe")),
    st.tuples(st.just("recover"), st.integers(0, 30)),
    st.tuples(st.just("restart")),
)


class Fate:
    """One process and its store, driven action by action."""

    def __init__(self) -> None:
        self.store = UnrulyStore()
        self.durable = self._process()
        self.publishes: list[tuple[str, str, asyncio.Future[Committed]]] = []
        self.refused: list[tuple[str, str]] = []
        self.held: list[Held] = []
        self.backup: Any = None
        # All that a subscriber of a channel sees, in order: what is said, and where the stream is announced to be.
        self.seen: defaultdict[str, list[tuple[str, Position]]] = defaultdict(list)
        self.positions: list[tuple[str, Position]] = []
        self.restored = False

    def _process(self) -> Durable:
        durable = Durable(self.store)
        durable.history._heads._on_changed = lambda _, channel, at: self.seen[channel].append(("moved", at))
        return durable

    async def do(self, action: tuple[Any, ...]) -> None:
        name, *arguments = action
        await getattr(self, name.replace(" ", "_"))(*arguments)

    async def say(self, channel: str, key: str | None = None) -> None:
        key = key or f"k{len(self.publishes) + len(self.refused)}"
        append = self.durable.append(channel, key)
        try:
            future = self.durable.history.submit(
                append, lambda outcome: self.seen[channel].append((key, outcome.position))
            )
        except SockudoError:
            self.refused.append((channel, key))
        else:
            self.publishes.append((channel, key, future))

    async def say_again(self, number: int) -> None:
        """A publisher that was told of a failure, or not even that, tries once more."""
        if self.publishes:
            channel, key, _ = self.publishes[number % len(self.publishes)]
            await self.say(channel, key)

    async def next_commit(self, end: str) -> None:
        self.store.plan("commit", ENDS[end])

    async def next_commit_hangs(self) -> None:
        self.held.append(Held())
        self.store.plan("commit", self.held[-1])

    async def release(self, end: str) -> None:
        if self.held:
            await self.held.pop(0).release(ENDS[end])

    async def next_cure_fails(self, method: str) -> None:
        self.store.plan(method, refuse())

    async def settle(self) -> None:
        await settle()

    async def elapse(self, seconds: float) -> None:
        await self.durable.time.elapse(seconds)

    async def attach(self, channel: str) -> None:
        await self._while_others_go_on(self._attach(channel))

    async def _attach(self, channel: str) -> None:
        info = await self.durable.history.attach(APP, channel)
        said = [position for _, position in self.seen[channel]]
        of_stream = [position.serial for position in said if position.stream_id == info.stream_id]
        assert info.head.serial <= max(of_stream, default=0), "attached ahead of what was heard"
        self.positions.append((channel, info.head))

    async def reset(self, channel: str) -> None:
        await self._while_others_go_on(self.durable.history.reset(APP, channel, Reset(channel, "reset", "x")))

    async def purge(self, channel: str, before: int) -> None:
        request = Purge(
            confirm_channel=channel, confirm_operation="purge", reason="x", mode="before_serial", before_serial=before
        )
        await self._while_others_go_on(self.durable.history.purge(APP, channel, request))

    async def back_up(self) -> None:
        """Of a store in which nothing is under way."""
        await self.calm()
        self.backup = copy.deepcopy((self.store.inner._streams, self.store.inner._keys))

    async def restore(self) -> None:
        if self.backup is not None:
            self.restored = True
            await settle()
            self.store.inner._streams, self.store.inner._keys = copy.deepcopy(self.backup)

    async def wipe(self) -> None:
        self.restored = True
        await settle()
        await self.store.inner.delete_app(APP)

    async def restart(self) -> None:
        """Another process on the same store, to which the subscribers come back.

        What is restored while there is none it cannot know.
        """
        if not self.restored:
            await self.calm()
            await self.durable.__aexit__()
            number = self.durable._number
            self.durable = self._process()
            self.durable._number = number
            await self.durable.history.start()
            for channel in CHANNELS:
                await self._attach(channel)

    async def recover(self, number: int) -> None:
        if self.positions:
            channel, position = self.positions[number % len(self.positions)]
            await self._while_others_go_on(self._recover(channel, position))

    async def _recover(self, channel: str, position: Position) -> None:
        outcome = await self.durable.history.replay(
            APP, channel, stream_id=position.stream_id, serial=position.serial, max_size=100
        )
        if isinstance(outcome, Failed):
            return
        assert isinstance(outcome, Replayed)
        heard = {at: key for key, at in self.seen[channel] if key != "moved"}
        for serial, frame in enumerate(outcome.frames, position.serial + 1):
            assert frame.serial == serial
            assert heard[Position(position.stream_id, serial)] == frame.message_id
        assert outcome.head.serial == position.serial + len(outcome.frames)

    async def _while_others_go_on(self, work: Any) -> None:
        """Waits for something that a hanging store may keep from its end; a refusal is as good as an answer."""
        task = asyncio.ensure_future(work)
        for _ in range(4):
            if not task.done():
                await self.durable.time.elapse(2.5)
        for held in self.held:
            await held.release()
        self.held.clear()
        await settle()
        try:
            await asyncio.wait_for(task, 1)
        except SockudoError:
            return

    async def calm(self) -> None:
        """The store is as good as new, and so are all streams."""
        for held in self.held:
            await held.release()
        self.held.clear()
        self.store._plans.clear()
        for _ in range(8):
            await self.durable.time.elapse(5)
        assert self.durable.history.runtime_status()["degraded_channels"] == 0
        assert self.durable.history.runtime_status()["queue_depth"] == 0

    def check(self) -> None:
        confirmed: defaultdict[str, list[str]] = defaultdict(list)
        for channel, key, future in self.publishes:
            assert future.done()
            if future.exception() is None and not future.result().repeated:
                confirmed[channel].append(key)
        for channel in CHANNELS:
            seen = self.seen[channel]
            said = [(key, at) for key, at in seen if key != "moved"]
            assert [key for key, _ in said] == confirmed[channel], "heard is what was confirmed, in order and once"
            assert len({at for _, at in said}) == len(said), "a position is one message"
            for (_, before), (what, after) in pairwise(seen):
                if what != "moved":
                    assert after == Position(before.stream_id, before.serial + 1), "a hole, or a repeat"
            kept = set(self.durable.ids(channel))
            assert kept <= {key for key, _ in said}, "nobody has heard what is stored"


async def _run(plan: list[tuple[Any, ...]]) -> None:
    fate = Fate()
    await fate.durable.history.start()
    try:
        for action in plan:
            await fate.do(action)
        await fate.calm()
        fate.check()
        for channel in CHANNELS:
            await fate.attach(channel)
        for number in range(len(fate.positions)):
            await fate.recover(number)
        await fate.say("news")
        await fate.say("sport")
        await settle()
        fate.check()
    finally:
        await fate.durable.__aexit__()


@given(st.lists(actions, max_size=40))
# A backup that grew to the length of what it took the place of, by a commit that nobody was told of.
@example(
    [
        ("say", "news"),
        ("back up",),
        ("say", "news"),
        ("restore",),
        ("say", "news"),
        ("next commit", "lost, done"),
        ("next commit hangs",),
    ]
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_whatever_happens_what_was_confirmed_was_heard_and_what_failed_was_not(plan: list[tuple[Any, ...]]) -> None:
    asyncio.run(_run(plan))
