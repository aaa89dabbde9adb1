"""One channel's presence history while it is being written: who is in by it, and what is still to be written.

An event is written when it changes the members or their ``user_info``, as the history itself has it. So the history of
a stream never contradicts itself, also when events are missing (spec: history § 8.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from itertools import islice
from typing import NamedTuple

from sockudo.base.stream_records import KEEP_ALL, Append
from sockudo.history.presence_events import RecordedEvent, StoredEvent, stream_of

__all__ = ["LogKey", "Member", "PresenceLog", "Step", "fold"]

# For as long as two nodes may take to report the same departure.
_KEY_TTL_MS = 600_000


class Member(NamedTuple):
    """A user who is in by the history.

    ``generation`` is the id of the event by which it came, ``node_id`` the process that saw it; ``user_info`` is JSON.
    """

    generation: str
    user_info: bytes | None
    node_id: str | None


def fold(members: dict[str, Member], event_id: str, event: StoredEvent) -> None:
    """Goes on from who was in before an event to who is in after it."""
    known = members.get(event.user_id)
    if event.event == "member_removed":
        members.pop(event.user_id, None)
    elif known is not None:
        members[event.user_id] = known._replace(user_info=bytes(event.user_info))
    elif event.event == "member_added":
        members[event.user_id] = Member(event_id, bytes(event.user_info), event.node_id)


class Step(NamedTuple):
    """What writing an event comes to; no ``append`` where the history has it already.

    ``member`` is what is known of the user afterwards.
    """

    user_id: str
    append: Append | None
    member: Member | None


class LogKey(NamedTuple):
    """``durable``: it is kept where the channel's messages are, else in memory. A channel that changes has both."""

    app_id: str
    channel: str
    durable: bool


class PresenceLog:
    """``lock`` is held while anything is written or read of it.

    ``waiting`` are the events to be written, in order, ``taken`` counts those that were dealt with. ``task`` writes
    them, as long as there are any; ``failing``: this could not be done the last time.
    """

    __slots__ = ("_members", "failing", "key", "lock", "retention", "taken", "task", "waiting")

    def __init__(self, key: LogKey) -> None:
        self.key = key
        self.retention = KEEP_ALL
        self.waiting: list[RecordedEvent] = []
        self.taken = 0
        self.failing = False
        self.lock = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None
        self._members: dict[str, Member] | None = None

    @property
    def known(self) -> bool:
        """Whether the content of the history is known; else `learn` has to be called with it."""
        return self._members is not None

    def learn(self, members: dict[str, Member], before: Sequence[RecordedEvent] = ()) -> None:
        """Takes who is in by the whole history, see `fold`, and what happened before all that waits."""
        self._members = members
        self.waiting[:0] = before

    def forget(self) -> None:
        """The history was replaced; its content has to be learnt again."""
        self._members = None

    def plan(self, limit: int) -> list[Step]:
        """What is to be written of the next ``limit`` events, or fewer; changes nothing.

        No event of a user comes behind one of the same user that is to be written: should that fail, what comes after
        it has to be looked at anew.
        """
        members = self._members or {}
        steps: list[Step] = []
        written: set[str] = set()
        for event in islice(self.waiting, limit):
            if event.user_id in written:
                break
            step = self._step(event, members.get(event.user_id))
            if step.append is not None:
                written.add(event.user_id)
            steps.append(step)
        return steps

    def _step(self, event: RecordedEvent, known: Member | None) -> Step:
        after = known
        key = f"{event.kind}:{event.id}"
        if event.kind == "member_added":
            after = known or Member(event.id, event.user_info, event.node_id)
        elif known is not None and event.kind == "member_updated":
            after = known._replace(user_info=event.user_info)
        elif known is not None:
            # One departure for each time that the user came, from any node that reports it.
            after, key = None, f"{event.kind}:{known.generation}"
        return Step(event.user_id, None if after == known else self._append(event, key), after)

    def _append(self, event: RecordedEvent, key: str) -> Append:
        return Append(
            self.key.app_id,
            stream_of(self.key.channel),
            event.text(),
            event.id,
            f"presence:{event.kind}",
            event.at_ms,
            self.retention,
            key=key,
            key_ttl_ms=_KEY_TTL_MS,
        )

    def finish(self, steps: Sequence[Step], *, again: Collection[int] = (), lost: Collection[int] = ()) -> None:
        """These steps have been taken for the first events.

        Those at the places in ``again`` could not be, and wait on; those in ``lost`` never can.
        """
        self.waiting[: len(steps)] = [self.waiting[place] for place in sorted(again)]
        self.taken += len(steps) - len(again)
        if self._members is None:
            return
        for place, (user_id, append, member) in enumerate(steps):
            if append is None or place in lost or place in again:
                continue
            if member is None:
                self._members.pop(user_id, None)
            else:
                self._members[user_id] = member
