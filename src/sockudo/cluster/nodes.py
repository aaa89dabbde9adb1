"""The nodes for operators: what each tells about itself, and that one is to drain (spec: platform § 10.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec
import structlog

from sockudo import errors
from sockudo.cluster.items import Request
from sockudo.cluster.ports import DEADLINE, Bus, Membership, Node
from sockudo.cluster.router import Router

__all__ = [
    "Answered",
    "DrainNode",
    "NodeReport",
    "NodeStatus",
    "NodeView",
    "NodeViews",
    "Nodes",
    "OfNodes",
    "ThisNode",
    "ask_all",
]

_SHORTEST: Final = 4

T = TypeVar("T")

_log = structlog.get_logger("sockudo.cluster")


class NodeReport(msgspec.Struct, frozen=True):
    """What a node tells about itself. ``at`` and ``started_at`` are its clock's Unix seconds.

    ``cpu`` is the share of a core that it used in the last seconds, ``memory`` its resident bytes, ``loop_lag_ms`` what
    99 of 100 turns of its event loop stayed below, lately. ``round_trip_ms`` is that of its last message to itself.
    ``versions`` of the protocol between nodes are the oldest and the newest that it understands; ``unreadable`` counts
    what it got and did not understand. ``uses`` says what it keeps where, without secrets; ``owns`` how many things it
    looks after for all nodes: the ``streams`` that it numbers, the ``places`` of which it reports what comes and goes.
    """

    version: str
    at: float
    started_at: float
    connections: int
    channels: int
    cpu: float
    memory: int | None
    loop_lag_ms: float | None
    round_trip_ms: float
    versions: tuple[int, int]
    unreadable: int
    draining: bool
    role: str
    address: str
    uses: dict[str, str]
    owns: dict[str, int] = msgspec.field(default_factory=dict)


class NodeStatus(Request, frozen=True, tag="status"):
    """How a node is."""

    reply: ClassVar = NodeReport


class DrainNode(Request, frozen=True, tag="drain"):
    """A node is to take nothing new, and to end its connections spread over ``seconds``."""

    reply: ClassVar = bool

    seconds: float


class NodeView(msgspec.Struct, frozen=True):
    """A live node. ``beat_age``: seconds since its last beat, here; ``report`` is None when it did not answer in time.

    ``clock_skew``: by how many seconds its clock differs at least from the one that asks; None when that is not known.
    """

    id: str
    name: str
    incarnation: int
    me: bool
    beat_age: float
    clock_skew: float | None
    report: NodeReport | None


class NodeViews(msgspec.Struct, frozen=True):
    """All live nodes as this one sees them, by name. ``complete`` is False when one did not answer."""

    nodes: list[NodeView]
    complete: bool


class OfNodes(NamedTuple):
    """What nodes answered, each with its name, in the order of names. ``complete`` as in `NodeViews`."""

    answers: list[tuple[str, Any]]
    complete: bool


class ThisNode(Protocol):
    """The half of one node."""

    def report(self) -> NodeReport:
        """How this node is."""

    def drain(self, seconds: float) -> bool:
        """Begins to drain it; once that has begun, again is nothing. False for a node that cannot."""


class Nodes:
    """Asks all nodes. ``now`` is the wall clock."""

    def __init__(
        self, bus: Bus, membership: Membership, router: Router, this: ThisNode, now: Callable[[], float]
    ) -> None:
        self._bus = bus
        self._membership = membership
        self._now = now
        router.on_request(NodeStatus, lambda _: this.report())
        router.on_request(DrainNode, lambda order: this.drain(order.seconds))

    @property
    def several(self) -> bool:
        """Whether there can be other nodes."""
        return self._bus.networked or not self._bus.alone

    @property
    def here(self) -> str:
        """What people call this node."""
        return self._membership.me.name

    async def views(self) -> NodeViews:
        """Every live node with its report."""
        asked = self._now()
        answers = await self._bus.ask(NodeStatus(), deadline=DEADLINE)
        answered = self._now()
        found = []
        for node in self._membership.live():
            report: NodeReport | None = answers.values.get(node.id)
            skew = None if report is None else report.at - min(max(report.at, asked), answered)
            me = node.id == self._membership.me.id
            age = self._membership.beat_age(node.id)
            found.append(NodeView(node.id, node.name, node.incarnation, me, age, skew, report))
        found.sort(key=lambda view: (view.name, view.id))
        return NodeViews(found, answers.complete and all(view.report is not None for view in found))

    def names(self) -> list[str]:
        """What people call the live nodes."""
        return sorted(node.name for node in self._membership.live())

    async def ask(self, request: Request, name: str | None = None) -> OfNodes:
        """Asks all nodes, or the one that a person named, see `drain`; raises as that does for the name."""
        asked = None if name is None else [self._named(name).id]
        answers = await self._bus.ask(request, deadline=DEADLINE, nodes=asked)
        names = {node.id: node.name for node in self._membership.live()}
        found = [(names[node_id], node_id, value) for node_id, value in answers.values.items() if node_id in names]
        found = [each for each in found if each[2] is not None]
        found.sort(key=lambda each: each[:2])
        complete = answers.complete and len(found) == len(answers.values)
        return OfNodes([(name, value) for name, _, value in found], complete)

    async def drain(self, name: str, seconds: float) -> Node:
        """Has a node drain: that of this name or id, or whose id begins so.

        Raises errors.NOT_FOUND, errors.INVALID_INPUT when several are meant or it is a worker of a server, and
        errors.SERVICE_UNAVAILABLE when it did not answer: then it may have begun all the same.
        """
        node = self._named(name)
        answers = await self._bus.ask(DrainNode(seconds), deadline=DEADLINE, nodes=[node.id])
        begun = answers.values.get(node.id)
        if begun is False:
            raise errors.INVALID_INPUT(
                f"The node {node.name} is a worker, and others take connections at the same port: `sockudo restart` "
                "replaces the workers of a server without a gap"
            )
        if begun is not True:
            raise errors.SERVICE_UNAVAILABLE(
                f"The node {node.name} did not answer within {DEADLINE:g} s; it may drain all the same", retry_after=1
            )
        return node

    def _named(self, name: str) -> Node:
        live = self._membership.live()
        found = [node for node in live if name in (node.id, node.name)]
        if not found and len(name) >= _SHORTEST:
            found = [node for node in live if node.id.startswith(name)]
        if not found:
            raise errors.NOT_FOUND(f"No live node is called '{name[:100]}'")
        if len(found) > 1:
            ids = ", ".join(node.id for node in found)
            raise errors.INVALID_INPUT(f"{len(found)} nodes are called '{name[:100]}': use one of the ids {ids}")
        return found[0]


class Answered(NamedTuple, Generic[T]):
    """What nodes answered, each with its name; ``complete`` as in `NodeViews`, None where there cannot be several."""

    values: list[tuple[str, T]]
    complete: bool | None


async def ask_all(nodes: Nodes, request: Request, kind: Any, node: str | None = None) -> Answered[Any]:
    """Asks all nodes, or the one that is named, for JSON text of a ``kind``. Raises as `Nodes.ask` does."""
    answers, complete = await nodes.ask(request, node)
    values = []
    for name, text in answers:
        try:
            values.append((name, msgspec.json.decode(text, type=kind)))
        except msgspec.DecodeError:
            _log.warning("the answer of a node cannot be read: it is of another version", node=name)
            complete = False
    return Answered(values, complete if nodes.several else None)
