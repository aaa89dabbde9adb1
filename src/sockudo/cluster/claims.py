"""Keys that are claimed once for all nodes, without a store of their own: the owner of a key decides
(spec: platform § 10.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Any, ClassVar, Final, Literal, NamedTuple

import structlog

from sockudo import errors
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.counters import InProcessCounters, Record
from sockudo.cluster.items import Request
from sockudo.cluster.owners import OwnerCounts, Sleep, ask_owner
from sockudo.cluster.ports import DEADLINE, Bus, Claim, Claimed, Membership, Node, NodeChange
from sockudo.cluster.router import Router
from sockudo.errors import SockudoError

__all__ = ["SharedClaims"]

_Key = tuple[str, ...]

# Records in one request, and how often the end of a claim is sent to an owner that does not answer.
_RECORDS_AT_ONCE: Final = 1000
_ENDS: Final = 3
# Seconds after which the owner asks whether a claim of another node is still running.
_OLD: Final = 60.0

_log = structlog.get_logger("sockudo.cluster")


class _Answer(NamedTuple):
    outcome: Literal["claimed", "done", "running", "conflict"]
    reply: bytes = b""


class ClaimKey(Request, frozen=True, tag="claim"):
    """Asks the owner of a key to claim it for the sender, which calls the claim ``name``; None by another node."""

    reply: ClassVar = _Answer | None

    key: _Key
    mark: bytes
    ttl: float
    name: str


class EndClaim(Request, frozen=True, tag="end_claim"):
    """What was claimed is done, and answers with ``done`` from now on; or it failed, without one."""

    reply: ClassVar = bool | None

    key: _Key
    mark: bytes
    ttl: float
    name: str
    done: bytes | None


class IsRunning(Request, frozen=True, tag="is_running"):
    """Asks the node that has a claim whether what it is for is still under way."""

    reply: ClassVar = bool

    name: str


class KeepRecords(Request, frozen=True, tag="records"):
    """Finished keys that the receiver owns from now on; times to live are in seconds from now."""

    records: tuple[Record, ...]


class _Given(NamedTuple):
    """A claim of another node at the owner of its key."""

    node_id: str
    name: str
    claim: Claim
    since: float


class _Remote:
    """A claim at another node, or one that no node keeps (``name`` is None)."""

    __slots__ = ("_claims", "ended", "key", "mark", "name", "ttl")

    def __init__(self, claims: SharedClaims, key: _Key, mark: bytes, ttl: float, name: str | None) -> None:
        self._claims = claims
        self.key = key
        self.mark = mark
        self.ttl = ttl
        self.name = name
        self.ended = False

    def complete(self, reply: bytes, now: float) -> None:
        self._claims.end(self, reply)

    def release(self) -> None:
        self._claims.end(self, None)


class SharedClaims:
    """The claims of one node among others, over those that it keeps itself in ``local``.

    While the node is alone all of them are its own. ``allows`` is asked when an owner does not answer: whether the key
    is given all the same, at the risk that something is done twice.
    """

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        local: InProcessCounters,
        now: Callable[[], float],
        allows: Callable[[], bool],
        counts: OwnerCounts,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._counts = counts
        self._bus = bus
        self._membership = membership
        self._local = local
        self._now = now
        self._allows = allows
        self._sleep = sleep
        self._count = 0
        # Claims of this node at others, by name, and the ends that their owners do not know yet, by key.
        self._open: dict[str, _Remote] = {}
        self._ending: dict[_Key, asyncio.Task[None]] = {}
        # What is claimed here by other nodes: oldest first.
        self._given: dict[_Key, _Given] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        router.on_request(ClaimKey, self._claim_for)
        router.on_request(EndClaim, self._end_for)
        router.on_request(IsRunning, lambda request: request.name in self._open)
        router.on_request(KeepRecords, self._keep)
        membership.watch(self._nodes_changed)

    async def hand_over(self) -> None:
        """Passes what is kept here on to the nodes that stay; raises nothing."""
        if not self._bus.alone:
            await self._pass_on(self._local.records(self._now()), self._next_owner)

    def _next_owner(self, key: _Key) -> str:
        me = self._membership.me.id
        return next((node.id for node in self._membership.ranked(_name(key)) if node.id != me), me)

    async def close(self) -> None:
        """Ends what is under way."""
        await end_tasks((*self._tasks, *self._ending.values()))

    # ---- this node's ----

    def claim(self, key: _Key, mark: bytes, ttl: float, now: float) -> Claimed | Awaitable[Claimed]:
        """See `Counters.claim`."""
        if self._owns(key):
            return self._local.claim(key, mark, ttl, now)
        return self._claim_elsewhere(key, mark, ttl)

    def _owns(self, key: _Key) -> bool:
        if self._bus.alone:
            return True
        members = self._membership
        return members.owner(_name(key)).id == members.me.id and not members.fenced()

    async def _claim_elsewhere(self, key: _Key, mark: bytes, ttl: float) -> Claimed:
        while (ending := self._ending.get(key)) is not None:
            await asyncio.wait({ending})
        self._count += 1
        name = f"{self._membership.me.id}:{self._count}"
        claim = self._open[name] = _Remote(self, key, mark, ttl, name)
        given = False
        try:
            answer: Claimed = await ask_owner(
                self._bus,
                self._membership,
                _name(key),
                ClaimKey(key, mark, ttl, name),
                here=lambda: self._local.claim(key, mark, ttl, self._now()),
                read=lambda answer: _claimed(claim, answer),
                refusal=_unavailable,
                sleep=self._sleep,
            )
            given = answer is claim
            return answer
        except SockudoError:
            self._counts.keys_unanswered += 1
            if not self._allows():
                raise
            self._counts.keys_allowed += 1
            return _Remote(self, key, mark, ttl, None)
        finally:
            if not given:
                del self._open[name]

    def end(self, claim: _Remote, reply: bytes | None) -> None:
        """Ends a claim at another node; a second end does nothing."""
        if claim.ended or claim.name is None:
            return
        claim.ended = True
        task = asyncio.get_running_loop().create_task(self._end_elsewhere(claim, claim.name, reply))
        self._ending[claim.key] = task

    async def _end_elsewhere(self, claim: _Remote, name: str, reply: bytes | None) -> None:
        request = EndClaim(claim.key, claim.mark, claim.ttl, name, reply)
        try:
            for _ in range(_ENDS):
                try:
                    await ask_owner(
                        self._bus,
                        self._membership,
                        _name(claim.key),
                        request,
                        here=lambda: self._end_for(request),
                        read=lambda answer: answer,
                        refusal=_unavailable,
                        sleep=self._sleep,
                    )
                    return
                except SockudoError:
                    continue
            _log.error("the owner of a key does not know that it was used")
        finally:
            self._open.pop(name, None)
            self._ending.pop(claim.key, None)

    # ---- those of other nodes ----

    def _claim_for(self, request: ClaimKey) -> Any:
        if not self._owns(request.key):
            return None
        given = self._given.get(request.key)
        if given is not None:
            return self._look_again(request, given)
        self._check_oldest()
        return self._claim_now(request)

    def _claim_now(self, request: ClaimKey) -> _Answer:
        outcome = self._local.claim(request.key, request.mark, request.ttl, self._now())
        if isinstance(outcome, bytes):
            return _Answer("done", outcome)
        if isinstance(outcome, str):
            return _Answer(outcome)
        self._given[request.key] = _Given(request.name.partition(":")[0], request.name, outcome, self._now())
        return _Answer("claimed")

    async def _look_again(self, request: ClaimKey, given: _Given) -> _Answer | None:
        await self._check(request.key, given)
        return self._claim_now(request) if self._owns(request.key) else None

    def _check_oldest(self) -> None:
        """Looks after a claim whose end may have been lost, so that they do not pile up."""
        for key, given in islice(self._given.items(), 1):
            if self._now() - given.since > _OLD:
                self._given[key] = self._given.pop(key)._replace(since=self._now())
                self._start(self._check(key, given))

    async def _check(self, key: _Key, given: _Given) -> None:
        """Frees the key of a claim that no node knows of."""
        if not self._membership.is_alive(given.node_id) and self._membership.hears(given.node_id):
            # It takes publishes alone, and cannot be asked.
            return
        answers = await self._bus.ask(IsRunning(given.name), deadline=DEADLINE, nodes=[given.node_id])
        current = self._given.get(key)
        if answers.complete and not any(answers.values.values()) and current is not None and current.name == given.name:
            del self._given[key]
            given.claim.release()

    def _end_for(self, request: EndClaim) -> bool | None:
        if not self._owns(request.key):
            return None
        given = self._given.get(request.key)
        if given is None or given.name != request.name:
            # The key belonged to another node when it was claimed.
            if request.done is not None:
                self._local.keep(Record(request.key, request.mark, request.done, request.ttl), self._now())
            return True
        del self._given[request.key]
        if request.done is None:
            given.claim.release()
        else:
            given.claim.complete(request.done, self._now())
        return True

    # ---- nodes that come and go ----

    def _nodes_changed(self, change: NodeChange) -> None:
        if change.what == "down":
            for key, given in tuple(self._given.items()):
                if given.node_id == change.node.id:
                    del self._given[key]
                    given.claim.release()
        if change.what == "up" and change.node.id != self._membership.me.id and len(self._local):
            self._start(self._pass_to(change.node))

    async def _pass_to(self, node: Node) -> None:
        owned = (
            record
            for record in self._local.records(self._now())
            if self._membership.owner(_name(record.key)).id == node.id
        )
        await self._pass_on(owned, lambda _: node.id)

    async def _pass_on(self, records: Iterable[Record], receiver: Callable[[_Key], str]) -> None:
        rest = iter(list(records))
        while batch := list(islice(rest, _RECORDS_AT_ONCE)):
            by_node: dict[str, list[Record]] = {}
            for record in batch:
                by_node.setdefault(receiver(record.key), []).append(record)
            for node_id, passed in by_node.items():
                await self._bus.ask(KeepRecords(tuple(passed)), deadline=DEADLINE, nodes=[node_id])

    def _keep(self, request: KeepRecords) -> None:
        for record in request.records:
            self._local.keep(record, self._now())

    def _start(self, work: Any) -> None:
        [task] = start_tasks(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _claimed(claim: Claim, answer: _Answer) -> Claimed:
    if answer.outcome == "claimed":
        return claim
    if answer.outcome == "done":
        return answer.reply
    return "conflict" if answer.outcome == "conflict" else "running"


def _name(key: _Key) -> str:
    """The key by which nodes agree on an owner."""
    return "\0".join(("key", *key))


def _unavailable(reason: str) -> SockudoError:
    return errors.SERVICE_UNAVAILABLE(
        f"Service unavailable: idempotency keys cannot be looked up: {reason} (idempotency.on_failure)", retry_after=1
    )
