"""The streams that this node numbers for all nodes, without a store: their tokens come and go here
(spec: platform § 10.12).

The owner of a channel numbers what is published on it. It is the holder once it has the token: it asks all nodes, and
the one that has it stops for good before it answers. When none has it the channel gets a new stream.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.items import Request
from sockudo.cluster.owners import ask_owner
from sockudo.cluster.ports import Bus, Membership
from sockudo.cluster.router import Router
from sockudo.errors import SockudoError
from sockudo.history.calls import Sleep
from sockudo.history.heads import StreamKey
from sockudo.hub import Hub
from sockudo.hub.streams.replay import ReplayBuffer
from sockudo.publishing.recoverable import RecoverableChannels
from sockudo.publishing.tokens import (
    KEYS_AT_ONCE,
    RING_BYTES,
    Asked,
    GiveTokens,
    Head,
    HeadsOf,
    TakeTokens,
    Token,
    head_of,
    messages_of,
    size_of,
)

__all__ = ["Holder", "owner_key", "unavailable"]

T = TypeVar("T")

Job = Callable[[ReplayBuffer | None], None]

# Seconds within which nodes give a token: less than a publisher waits.
_GIVEN_WITHIN: Final = 0.75
# What waits for tokens on this node, in all channels together.
_MOST_WAITING: Final = 4096

_log = structlog.get_logger("sockudo.cluster")


def unavailable(text: str) -> SockudoError:
    """The refusal of what the node that numbers a channel would have to do."""
    return errors.STREAM_OWNER_UNAVAILABLE(f"Service unavailable: {text}", retry_after=1)


def owner_key(key: StreamKey) -> str:
    """The key by which nodes agree on the owner of a channel."""
    return f"{key[0]}/{key[1]}"


class Holder:
    """The tokens of this node. ``on_given`` and ``on_taken`` are called when one goes and when one has come.

    ``on_taken`` gets the token, None for a stream that begins here, before anything is numbered under it.
    """

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        hub: Hub,
        clock: Clock,
        channels: RecoverableChannels,
        sleep: Sleep,
        on_given: Callable[[StreamKey, ReplayBuffer], None],
        on_taken: Callable[[StreamKey, Token | None], ReplayBuffer | None],
    ) -> None:
        self._bus = bus
        self._membership = membership
        self._hub = hub
        self._clock = clock
        self._channels = channels
        self._sleep = sleep
        self._on_given = on_given
        self._on_taken = on_taken
        # What is done once the token is here, by channel; those that are asked for at the end of this turn.
        self._waiting: dict[StreamKey, list[Job]] = {}
        self._wanted: list[StreamKey] = []
        # Tokens of a node that leaves, which came while this one asked for them.
        self._passed: dict[StreamKey, Token] = {}
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving = False
        router.on_request(GiveTokens, self._give)
        router.on_request(TakeTokens, self._take_over)
        router.on_request(HeadsOf, self._heads_for)

    def __contains__(self, key: StreamKey) -> bool:
        """Whether the token of the channel is awaited here."""
        return key in self._waiting

    async def hand_over(self) -> None:
        """Drains the node, and passes every token on to the node that owns its channel then; raises nothing."""
        me = self._membership.me.id
        self._leaving = True
        self._membership.drain()
        self._ask()
        if self._tasks:
            # Tokens that are on their way here are passed on, too.
            await asyncio.wait(tuple(self._tasks), timeout=_GIVEN_WITHIN)
        if self._bus.alone:
            return
        # Who has answered knows that this node drains, and what it passed here before has come: of nodes that leave
        # together none passes a token to another one that has passed on its own.
        others = [node.id for node in self._membership.live() if node.id != me]
        await self._bus.ask(GiveTokens(()), deadline=_GIVEN_WITHIN, nodes=others)
        keys: defaultdict[str, list[StreamKey]] = defaultdict(list)
        for key in self._channels.kept(held=True):
            other = next((node.id for node in self._membership.ranked(owner_key(key)) if node.id != me), None)
            if other is not None:
                keys[other].append(key)
        for node_id, passed in keys.items():
            for start in range(0, len(passed), KEYS_AT_ONCE):
                batch = passed[start : start + KEYS_AT_ONCE]
                given = zip(batch, self._tokens(batch), strict=True)
                tokens = tuple((key, token) for key, token in given if token is not None)
                await self._bus.ask(TakeTokens(tokens), deadline=_GIVEN_WITHIN, nodes=[node_id])

    def _take_over(self, request: TakeTokens) -> None:
        for key, token in request.tokens:
            if key in self._waiting:
                self._passed[key] = token
            elif self.held(key) is None:
                self._on_taken(key, token)

    async def close(self) -> None:
        """Gives up what waits for tokens."""
        await end_tasks(self._tasks)
        self._end(tuple(self._waiting))

    def owns(self, key: StreamKey) -> bool:
        """Whether this node is to number the channel, as it sees the nodes."""
        members = self._membership
        return not self._leaving and members.owner(owner_key(key)).id == members.me.id and not members.fenced()

    def held(self, key: StreamKey) -> ReplayBuffer | None:
        """The buffer of a channel whose token is here, when nothing waits for it any more."""
        state = self._hub.find(key[0])
        buffer = None if state is None or key in self._waiting else state.replay.get(key[1])
        return buffer if buffer is not None and buffer.held else None

    async def do(self, key: StreamKey, work: Callable[[ReplayBuffer], T]) -> T | None:
        """What ``work`` makes of the held buffer, in the order of the calls; None when this node does not number it."""
        done: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

        def job(buffer: ReplayBuffer | None) -> None:
            if not done.done():
                done.set_result(None if buffer is None else work(buffer))

        if not self.when_held(key, job):
            return None
        return await done

    def when_held(self, key: StreamKey, job: Job) -> bool:
        """Calls ``job`` with the held buffer, now or when the token has come; with None when it turns out otherwise.

        False when too much waits already: then it is not called.
        """
        if not self.owns(key):
            job(None)
            return True
        buffer = self.held(key)
        if buffer is not None:
            job(buffer)
            return True
        if self._count >= _MOST_WAITING:
            return False
        self._count += 1
        jobs = self._waiting.get(key)
        if jobs is not None:
            jobs.append(job)
            return True
        self._waiting[key] = [job]
        self._wanted.append(key)
        if len(self._wanted) == 1:
            asyncio.get_running_loop().call_soon(self._ask)
        return True

    def _ask(self) -> None:
        wanted, self._wanted = self._wanted, []
        for start in range(0, len(wanted), KEYS_AT_ONCE):
            [task] = start_tasks(self._fetch(wanted[start : start + KEYS_AT_ONCE]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fetch(self, keys: list[StreamKey]) -> None:
        me = self._membership.me.id
        others = [node.id for node in self._membership.live() if node.id != me]
        tokens: dict[StreamKey, Token] = {}
        try:
            answers = await self._bus.ask(GiveTokens(tuple(keys)), deadline=_GIVEN_WITHIN, nodes=others)
            for given in answers.values.values():
                tokens.update({key: token for key, token in zip(keys, given or (), strict=False) if token is not None})
            for key in keys:
                self._take(key, tokens.get(key) or self._passed.pop(key, None))
        finally:
            self._end(keys)

    def _take(self, key: StreamKey, token: Token | None) -> None:
        # A token that came is kept in any case: no other node has it.
        buffer = self._on_taken(key, token) if token is not None or self.owns(key) else None
        jobs = self._waiting.pop(key, [])
        self._count -= len(jobs)
        if not self.owns(key):
            buffer = None
        for job in jobs:
            job(buffer)

    def _end(self, keys: Iterable[StreamKey]) -> None:
        for key in keys:
            self._passed.pop(key, None)
            jobs = self._waiting.pop(key, [])
            self._count -= len(jobs)
            for job in jobs:
                job(None)

    # ---- what the owner answers ----

    async def ask_owner(
        self, key: StreamKey, request: Request, here: Callable[[ReplayBuffer], T], read: Callable[[Any], T | None]
    ) -> T:
        """The answer of the node that numbers the channel, which may be this one.

        Raises errors.STREAM_OWNER_UNAVAILABLE; what was asked for may have been done then.
        """
        return await ask_owner(
            self._bus,
            self._membership,
            owner_key(key),
            request,
            here=lambda: self.do(key, here),
            read=read,
            refusal=lambda reason: unavailable(f"channel '{key[1]}' cannot be numbered: {reason}"),
            sleep=self._sleep,
        )

    # ---- what others ask ----

    def _give(self, request: GiveTokens) -> Any:
        late = [key for key in request.keys if key in self._waiting and not self.owns(key)]
        return self._give_late(request, late) if late else self._tokens(request.keys)

    async def _give_late(self, request: GiveTokens, late: list[StreamKey]) -> list[Token | None]:
        """Gives tokens that are on their way here, too, which another node is to have by now."""
        come = []
        for key in late:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[key].append(partial(_end_wait, future))
            self._count += 1
            come.append(future)
        await asyncio.wait(come)
        return self._tokens(request.keys)

    def _tokens(self, keys: Sequence[StreamKey]) -> list[Token | None]:
        room = RING_BYTES
        tokens: list[Token | None] = []
        for key in keys:
            buffer = self.held(key)
            if buffer is None or self._membership.fenced():
                tokens.append(None)
                continue
            self._on_given(key, buffer)
            kept = tuple(buffer.after(0))
            size = sum(size_of(frame) for _, frame, _ in kept)
            fits = size <= room
            room -= size if fits else 0
            messages = messages_of(key[0], kept) if fits else ()
            tokens.append(Token(buffer.stream_id, buffer.next_serial, tuple(messages)))
        return tokens

    def head(self, asked: Asked, room: int, buffer: ReplayBuffer) -> Head:
        """The answer about a channel whose token is here, with at most ``room`` bytes of messages."""
        buffer.touched_at = now = self._clock.monotonic()
        state = self._hub.find(asked.app_id)
        buffer.prune(now - (state.replay.ttl if state is not None else 0))
        return head_of(buffer, asked, room)

    def _heads_for(self, request: HeadsOf) -> Any:
        places = request.places[:KEYS_AT_ONCE]
        room = RING_BYTES // max(len(places), 1)
        held = [(asked, self.held((asked.app_id, asked.channel))) for asked in places]
        if all(buffer is not None and self.owns((asked.app_id, asked.channel)) for asked, buffer in held):
            return [self.head(asked, room, buffer) for asked, buffer in held if buffer is not None]
        return self._heads_late(places, room)

    async def _heads_late(self, places: Sequence[Asked], room: int) -> list[Head | None]:
        """The answer once the tokens are here that this node has to have."""
        works = [
            self.do((asked.app_id, asked.channel), partial(self.head, asked, room))
            if self._channels.policy((asked.app_id, asked.channel)) is not None
            else _nothing()
            for asked in places
        ]
        return list(await asyncio.gather(*works))


def _end_wait(future: asyncio.Future[None], _buffer: ReplayBuffer | None) -> None:
    if not future.done():
        future.set_result(None)


async def _nothing() -> None:
    """What is answered of a channel that is not numbered in memory."""
