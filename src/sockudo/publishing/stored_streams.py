"""Durable channels among several nodes: what did not come over the bus is read from the store
(spec: history § 2.1).

Who stores a message publishes it to the other nodes. One that is lost shows when the next one comes; the last one shows
by a comparison with the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from sockudo.apps.policies import StreamPolicies
from sockudo.base.components import Component
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.items import channel_topic
from sockudo.cluster.ports import Bus, Membership, NodeChange
from sockudo.cluster.router import Router
from sockudo.errors import SockudoError
from sockudo.history import History
from sockudo.history.calls import Sleep
from sockudo.history.heads import StreamKey
from sockudo.hub import Hub
from sockudo.protocol.names import META, WILDCARD

__all__ = ["StoredStreams"]

# Channels that are compared one after the other, and the seconds behind them: the store has other things to do.
_AT_ONCE: Final = 20
_PAUSE: Final = 0.1


class StoredStreams:
    """Compares the durable channels that this node has subscribers of with the store."""

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        hub: Hub,
        history: Component[History],
        policies: Callable[[str], StreamPolicies | None],
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._bus = bus
        self._hub = hub
        self._history = history
        self._policies = policies
        self._sleep = sleep
        self._due: dict[StreamKey, None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        router.on_gap(self._lost)
        membership.watch(self._nodes_changed)

    def scrub(self) -> None:
        """Compares all of them, at most 200 a second; those of the last time first.

        Also alone, where others may join: one that is held dead may store a message all the same.
        """
        if self._bus.networked or not self._bus.alone:
            self._compare(self._channels())

    async def close(self) -> None:
        """Ends what is under way."""
        await end_tasks(self._tasks)

    def _nodes_changed(self, change: NodeChange) -> None:
        # What a node has stored last may have gone with it, also where this one is alone now.
        if change.what == "down":
            self._compare(self._channels())

    def _lost(self, topics: Sequence[str]) -> None:
        lost = set(topics)
        self._compare(key for key in self._channels() if channel_topic(*key) in lost)

    def _channels(self) -> Iterator[StreamKey]:
        for state in self._hub.states():
            policies = self._policies(state.app_id)
            if policies is None or not policies.stores:
                continue
            for channel in state.everything():
                is_real = channel.kind not in (META, WILDCARD)
                if is_real and policies.of(channel.name).history is not None:
                    yield (state.app_id, channel.name)

    def _compare(self, keys: Iterable[StreamKey]) -> None:
        if not self._history.is_open:
            return
        self._due.update(dict.fromkeys(keys))
        if self._due and (not self._tasks or self._tasks[0].done()):
            self._tasks = start_tasks(self._compare_due())

    async def _compare_due(self) -> None:
        while self._due:
            for key in tuple(self._due)[:_AT_ONCE]:
                del self._due[key]
                history, policies = self._history.if_open, self._policies(key[0])
                if history is not None and policies is not None:
                    with suppress(SockudoError):
                        # Next time, when the store answers again.
                        await history.compare(key[0], policies.stream_of(key[1]))
            await self._sleep(_PAUSE)
