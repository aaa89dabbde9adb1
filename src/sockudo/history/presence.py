"""The comings and goings on presence channels as a service: what is recorded of them, and what can be asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from sockudo import errors
from sockudo.apps.policies import PresenceHistoryPolicy, StreamPolicies
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.ids import unique_id
from sockudo.base.stream_records import Bounds
from sockudo.history.calls import Sleep
from sockudo.history.heads import StreamKey
from sockudo.history.pages import authority
from sockudo.history.presence_events import RecordedEvent, channel_of, stream_of
from sockudo.history.presence_pages import presence_page, presence_stream, renamed
from sockudo.history.presence_snapshot import presence_snapshot
from sockudo.history.presence_writer import Mark, PresenceCounters, PresenceWriter
from sockudo.history.query import HistoryQuery, Reset
from sockudo.history.service import History
from sockudo.hub.edges import MemberReported
from sockudo.hub.streams.totals import Total

__all__ = ["Policies", "PresenceHistory", "PresenceHistoryOptions"]

Policies = Callable[[str], StreamPolicies | None]
"""The policies of an app by its id."""


@dataclass(frozen=True, slots=True)
class PresenceHistoryOptions:
    """``max_page_size`` in events."""

    max_page_size: int = 100


class _Kept(NamedTuple):
    """How the presence history of a channel is kept; ``durable``: in the same store as its messages."""

    policy: PresenceHistoryPolicy
    durable: bool


class PresenceHistory:
    """Records what happens, behind it and without ever being in its way, and answers what is asked of the past.

    A channel with a durable history has its presence history in the same store, while ``durable`` is open; every other
    one in ``memory``, a history over a store of this process, which is started and closed from here and whose options
    name this process. ``node_id`` is this node's, another one after each start, and ``is_alive`` says which nodes run.
    A member belongs to the node of its connection. When its channel is next used, a member is taken out whose node has
    ended without doing so, or that has no owner, if ``is_gone`` says of app, channel and user that it is on no node.
    """

    def __init__(
        self,
        memory: History,
        policies: Policies,
        clock: Clock,
        options: PresenceHistoryOptions | None = None,
        *,
        durable: Component[History],
        node_id: str,
        is_alive: Callable[[str], bool],
        is_gone: Callable[[str, str, str], bool] = lambda _app_id, _channel, _user_id: True,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.options = options or PresenceHistoryOptions()
        self._memory = memory
        self._policies = policies
        self._clock = clock
        self._is_alive = is_alive
        self._is_gone = is_gone
        # With the name that the configuration gives the process, for people.
        self._owner = f"{memory.options.node_id}:{node_id}"
        self._writer = PresenceWriter(memory, durable, clock, sleep, self._owner, self._lives)

    @property
    def counters(self) -> PresenceCounters:
        """What was written, what failed and what is lost."""
        return self._writer.counters

    async def start(self) -> None:
        """Begins to keep what is kept in memory."""
        await self._memory.start()

    async def close(self) -> None:
        """Writes what waits if that can be done at once; the durable history has to be open until then."""
        await self._writer.close()
        await self._memory.close()

    def note(self, reported: MemberReported) -> None:
        """Records what happened to a member. Never waits and never refuses."""
        app_id, channel, event = reported
        kept = self._kept(app_id, channel)
        if kept is None:
            return
        recorded = RecordedEvent(
            unique_id(),
            event.kind,
            event.cause,
            event.user_id,
            event.socket_id,
            event.user_info,
            int(self._clock.time() * 1000),
            self._owner if event.node_id is None else f":{event.node_id}",
        )
        self._writer.record((app_id, channel), recorded, kept.policy.retention, durable=kept.durable)

    # ---- what is asked (spec: history § 8.3) ----

    async def page(self, app_id: str, channel: str, query: HistoryQuery) -> dict[str, Any]:
        """A page of events. What happened before the call is in it.

        Raises errors.FEATURE_DISABLED, errors.HISTORY_QUERY, errors.HISTORY_UNAVAILABLE, and errors.HISTORY_DEGRADED
        for a durable one that is not whole; one in memory is shown with its gaps named in ``continuity``.
        """
        key = (app_id, channel)
        history, mark = await self._caught_up(key)
        return await presence_page(history, key, query, self.options.max_page_size, mark)

    async def snapshot(
        self, app_id: str, channel: str, *, at_serial: int | None = None, at_time_ms: int | None = None
    ) -> dict[str, Any]:
        """Who was in after an event, or at a time, or after all that is kept. Raises what `page` raises."""
        key = (app_id, channel)
        history, mark = await self._caught_up(key)
        bounds = Bounds(end_serial=at_serial, end_time_ms=at_time_ms)
        return await presence_snapshot(history, key, bounds, mark)

    async def state(self, app_id: str, channel: str) -> dict[str, Any]:
        """The stream as operators see it. Raises errors.FEATURE_DISABLED and errors.HISTORY_UNAVAILABLE."""
        key = (app_id, channel)
        history, mark = await self._caught_up(key)
        reply = await history.state(app_id, stream_of(channel))
        return {"channel": channel, "stream": presence_stream(reply["stream"], history, mark)}

    async def reset(self, app_id: str, channel: str, request: Reset) -> dict[str, Any]:
        """Drops everything and starts a new stream, healthy; who is in already is not in by it.

        Raises errors.FEATURE_DISABLED, errors.INVALID_INPUT and errors.HISTORY_UNAVAILABLE.
        """
        request.check(channel)
        key = (app_id, channel)
        kept = self._wanted(key)
        of_stream = msgspec.structs.replace(request, confirm_channel=stream_of(channel))
        reply = await self._writer.reset(key, of_stream, durable=kept.durable)
        history = self._writer.history(durable=kept.durable)
        return {**renamed(reply), "channel": channel, "stream": presence_stream(reply["stream"], history, None)}

    def stream_changed(self, app_id: str, stream: str) -> bool:
        """A stream of the durable history goes on elsewhere than it was; whether it is one of these."""
        channel = channel_of(stream)
        if channel is None:
            return False
        self._writer.forget((app_id, channel))
        return True

    def runtime_status(self) -> dict[str, Any]:
        """The ``presence_history`` block of ``/stats``."""
        backend = (self._writer.durable.if_open or self._memory).options.backend
        marks = self._writer.marks.values()
        return {
            "enabled": True,
            "backend": backend,
            "state_authority": authority(backend),
            "degraded_channels": len(marks),
            "reset_required_channels": sum(mark.state == "reset_required" for mark in marks),
            "queue_depth": self._writer.depth,
        }

    def totals(self) -> dict[str, Total]:
        """What is kept of each app, as `refresh_totals` has found it."""
        found: dict[str, Total] = {}
        for history in self._histories():
            for group, (messages, size, lost) in history.totals.items():
                if group.presence:
                    known = found.get(group.app_id, Total())
                    found[group.app_id] = Total(
                        known.messages + messages, known.size + size, known.reset_required + lost
                    )
        return found

    def evicted(self) -> list[tuple[str, int, int]]:
        """App, events and bytes that retention took away, of every place in which they are kept."""
        taken = [history.evicted for history in self._histories()]
        groups = {group for each in taken for group in each.messages if group.presence}
        return [
            (group.app_id, sum(each.messages[group] for each in taken), sum(each.size[group] for each in taken))
            for group in sorted(groups)
        ]

    def marked(self, state: str) -> Counter[str]:
        """How many presence histories of each app are known here to be in a state that is not health."""
        return Counter(key.app_id for key, mark in self._writer.marks.items() if mark.state == state)

    async def refresh_totals(self) -> None:
        """Looks again what is kept in memory; what is durable is looked for by its history."""
        await self._memory.refresh_totals()

    def _histories(self) -> list[History]:
        return [history for history in (self._writer.durable.if_open, self._memory) if history is not None]

    def _lives(self, app_id: str, channel: str, user_id: str, owner: str | None) -> bool:
        # Also while it leaves the others, and does not live for them any more.
        if owner == self._owner or (owner is not None and self._is_alive(owner.rpartition(":")[2])):
            return True
        return not self._is_gone(app_id, channel, user_id)

    def _kept(self, app_id: str, channel: str) -> _Kept | None:
        policies = self._policies(app_id)
        if policies is None:
            return None
        policy = policies.of(channel)
        if policy.presence_history is None:
            return None
        return _Kept(policy.presence_history, policy.history is not None)

    def _wanted(self, key: StreamKey) -> _Kept:
        kept = self._kept(*key)
        if kept is None:
            raise errors.FEATURE_DISABLED(f"Presence history is disabled by policy for channel '{key[1]}'")
        return kept

    async def _caught_up(self, key: StreamKey) -> tuple[History, Mark | None]:
        """Where the events of a channel are, all of them, and what is wrong with them."""
        policy, durable = self._wanted(key)
        history = self._writer.history(durable=durable)
        await self._writer.catch_up(key, policy.retention, durable=durable)
        return history, self._writer.mark(key, durable=durable)
