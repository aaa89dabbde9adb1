"""Random comings and goings over a store that fails at random, against the simplest model of them (spec: history § 8).

Whatever is lost, a presence history is part of what happened, in its order, and never contradicts itself: who was in
after a serial is the fold of the events up to it. Where nothing is lost it is all that happened.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockudo import errors
from sockudo.base.stream_records import Row
from sockudo.errors import SockudoError
from sockudo.hub import MemberEvent
from support.durable import Step, lose, refuse
from unit.history.presence import ROOM, Observed, added, removed, updated

EXAMPLES = int(os.environ.get("SOCKUDO_EXAMPLES", "40"))
USERS = ("ana", "ben", "cid")
FATES: dict[str, tuple[Step, ...]] = {
    "refused": (refuse(),),
    "refused for long": (refuse(),) * 4,
    "lost, done": (lose(done=True),),
    "lost, not done": (lose(done=False),),
    # Nothing that is tried again: what the database cannot take at all.
    "never": (refuse(errors.INVALID_INPUT),) * 2,
}

actions = st.lists(
    st.one_of(
        st.tuples(st.just("toggle"), st.sampled_from(USERS)),
        st.tuples(st.just("toggle"), st.sampled_from(USERS)),
        st.tuples(st.just("toggle"), st.sampled_from(USERS)),
        st.tuples(st.just("update"), st.sampled_from(USERS), st.integers(0, 2)),
        st.tuples(st.just("commits"), st.sampled_from(list(FATES))),
        st.tuples(st.just("read fails")),
        st.tuples(st.just("settle")),
        st.tuples(st.just("forget")),
        st.tuples(st.just("reset")),
    ),
    max_size=30,
)


def folded(rows: list[Row]) -> list[str]:
    """Who is in, by the book: a member that comes twice or goes without having come is an error."""
    present: set[str] = set()
    for row in rows:
        event = json.loads(row.message)
        assert (event["user_id"] in present) == (event["event"] != "member_added"), "contradicts itself"
        (present.discard if event["event"] == "member_removed" else present.add)(event["user_id"])
    return sorted(present)


class Fate:
    """A room, what has happened in it, and what was planned against its history."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.present: dict[str, int] = {}
        self.happened: list[tuple[str, str, Any]] = []
        self.whole = True
        """Everything since the start, or the last reset, is in the history."""

    def note(self, event: MemberEvent) -> None:
        info = None if event.user_info is None else json.loads(event.user_info)
        self.happened.append((event.kind, event.user_id, info))
        self.observed.note(event)

    async def do(self, action: tuple[Any, ...]) -> None:
        name, *arguments = action
        await getattr(self, name.replace(" ", "_"))(*arguments)

    async def toggle(self, user_id: str) -> None:
        if user_id in self.present:
            del self.present[user_id]
            self.note(removed(user_id))
        else:
            self.present[user_id] = 0
            self.note(added(user_id, b'{"n":0}'))

    async def update(self, user_id: str, number: int) -> None:
        """The same again is no event (spec: history § 8.1)."""
        if user_id in self.present:
            changed = self.present[user_id] != number
            self.present[user_id] = number
            self.note(updated(user_id, b'{"n":%d}' % number))
            if not changed:
                self.happened.pop()

    async def commits(self, fate: str) -> None:
        self.observed.store.plan("commit", *FATES[fate])

    async def read_fails(self) -> None:
        self.observed.store.plan("read", refuse())

    async def settle(self) -> None:
        await self.observed.time.elapse(0.05)

    async def forget(self) -> None:
        """The log is read again, as in a process that has just begun."""
        self.observed.presence.stream_changed(self.observed.app.id, f"[presence-history]{ROOM}")

    async def reset(self) -> None:
        """Whoever is in is not in by the new stream."""
        await self.observed.reset()
        if self.present or self.observed.presence.runtime_status()["queue_depth"]:
            self.whole = False
        self.happened.clear()

    async def check(self) -> None:
        """Once the store does as it should."""
        observed = self.observed
        observed.store.obey()
        for _ in range(3):
            await observed.time.elapse(10)
        assert observed.presence.runtime_status()["queue_depth"] == 0
        rows = observed.rows()
        assert [row.serial for row in rows] == list(range(1, len(rows) + 1))
        stored = [json.loads(row.message) for row in rows]
        rest = iter(self.happened)
        if self.whole:
            assert all(any(_same(event, told) for told in rest) for event in stored), (
                "not in the order of what happened"
            )
        lost = observed.presence.counters.lost
        if self.whole and not lost:
            assert [(event["event"], event["user_id"], event["user_info"]) for event in stored] == self.happened
            assert folded(rows) == sorted(self.present)
        await self._check_snapshots(rows)

    async def _check_snapshots(self, rows: list[Row]) -> None:
        observed = self.observed
        lost = observed.presence.runtime_status()["reset_required_channels"] == 1
        for serial in range(len(rows) + 1):
            expected = folded(rows[:serial])
            if lost and observed.durable:
                with pytest.raises(SockudoError) as problem:
                    await observed.members(at_serial=serial)
                assert problem.value.spec is errors.HISTORY_DEGRADED
                return
            assert await observed.members(at_serial=serial) == expected
        page = await observed.page()
        state = await observed.durable_state()
        assert page["continuity"]["degraded"] == (state["durable_state"] != "healthy")


def _same(event: dict[str, Any], told: tuple[str, str, Any]) -> bool:
    return (event["event"], event["user_id"], event["user_info"]) == told


@pytest.mark.parametrize("durable", [False, True])
@settings(max_examples=EXAMPLES, deadline=None)
@given(actions=actions)
async def test_a_presence_history_is_what_happened(durable: bool, actions: list[tuple[Any, ...]]) -> None:
    async with Observed(durable=durable) as observed:
        fate = Fate(observed)
        for action in actions:
            await fate.do(action)
        await fate.check()
