"""What happens on other nodes, for those who watch on this one: asked for again and again while they do.

A watcher asks, so that nothing is sent that it could not take: each answer holds a bounded piece, and how much was left
out. A node that is not asked any more forgets the watcher by itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

import msgspec
import structlog

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.items import Request
from sockudo.cluster.ports import DEADLINE, Bus, Membership
from sockudo.cluster.router import Router
from sockudo.inspector import Entry, Inspector, Selection, Watcher

__all__ = ["Elsewhere", "TakeEntries", "TakenEntries"]

# Seconds from one question to the next, and those after which a watcher is forgotten that nothing asks for.
_EVERY: Final = 0.25
_LEASE: Final = 10.0
# Entries of one answer, those that may wait for the next one, and watchers of other nodes at a time.
_PIECE: Final = 100
_CAPACITY: Final = 1000
_AT_MOST: Final = 256

_log = structlog.get_logger("sockudo.cluster")


class TakenEntries(msgspec.Struct, frozen=True):
    """Encoded entries of a node since the last question, and how many were left out behind them."""

    entries: tuple[bytes, ...]
    skipped: int


class TakeEntries(Request, frozen=True, tag="entries"):
    """What fits the selection, since the same ``watch`` asked before; the first question begins the watching."""

    reply: ClassVar = TakenEntries

    watch: str
    selection: Selection


class _Held:
    """A watcher of another node."""

    __slots__ = ("timer", "watcher")

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.timer: asyncio.TimerHandle | None = None


class Elsewhere:
    """Brings entries of other nodes to watchers here, and gives those of this node to others."""

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        inspector: Inspector,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bus = bus
        self._membership = membership
        self._inspector = inspector
        self._sleep = sleep
        self._held: dict[str, _Held] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Entry).decode
        router.on_request(TakeEntries, self._take)

    @property
    def here(self) -> str | None:
        """The name of this node for its entries; None while there cannot be others."""
        return self._membership.me.name if self._bus.networked or not self._bus.alone else None

    def follow(self, watcher: Watcher) -> Callable[[], None]:
        """From now on the watcher gets what fits its selection on other nodes too, until what is returned is called."""
        if self.here is None:
            return _nothing
        [task] = start_tasks(self._follow(watcher))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

        def stop() -> None:
            task.cancel()

        return stop

    def __len__(self) -> int:
        """How many watchers of other nodes are held here."""
        return len(self._held)

    # ---- asking ----

    async def _follow(self, watcher: Watcher) -> None:
        question = TakeEntries(secrets.token_hex(8), watcher.selection)
        while True:
            names = {node.id: node.name for node in self._membership.live() if node.id != self._membership.me.id}
            if names:
                answers = await self._bus.ask(question, deadline=DEADLINE, nodes=list(names))
                for node_id, taken in answers.values.items():
                    if taken is not None:
                        self._put(watcher, names[node_id], taken)
            await self._sleep(_EVERY)

    def _put(self, watcher: Watcher, name: str, taken: TakenEntries) -> None:
        skipped = taken.skipped
        for encoded in taken.entries:
            try:
                watcher.put(msgspec.structs.replace(self._decode(encoded), node=name))
            except msgspec.DecodeError:
                # Of a node that knows more kinds.
                skipped += 1
        # Behind what was not skipped: a watcher that skipped something keeps nothing more until that was sent.
        watcher.skip(skipped)

    # ---- answering ----

    def _take(self, asked: TakeEntries) -> TakenEntries:
        held = self._held.get(asked.watch)
        if held is None:
            if len(self._held) >= _AT_MOST:
                _log.warning("too many watchers of other nodes", at_most=_AT_MOST)
                return TakenEntries((), 0)
            held = self._held[asked.watch] = _Held(self._inspector.watch(asked.selection, _nothing, _CAPACITY))
        if held.timer is not None:
            held.timer.cancel()
        held.timer = asyncio.get_running_loop().call_later(_LEASE, self._forget, asked.watch)
        entries, skipped = held.watcher.take(_PIECE)
        return TakenEntries(tuple(map(self._encode, entries)), skipped)

    def _forget(self, watch: str) -> None:
        held = self._held.pop(watch, None)
        if held is not None:
            held.watcher.close()

    async def close(self) -> None:
        """Ends the following, and forgets the watchers of other nodes."""
        await end_tasks(self._following)
        for watch, held in tuple(self._held.items()):
            if held.timer is not None:
                held.timer.cancel()
            self._forget(watch)


def _nothing() -> None:
    """Nothing is to be done."""
