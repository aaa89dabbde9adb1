"""What the rest of the server knows of other nodes (spec: platform § 10).

Four ports: a `Bus` carries items and requests, `Membership` says which nodes live and which of them owns a key, the
`Directory` answers what spans nodes, and `Counters` hold what must be counted or claimed once for all of them. The
implementations inside one process answer at once, without encoding or waiting. Clocks are monotonic and local.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

from sockudo.base.windows import Verdict
from sockudo.cluster.items import Item, Request

__all__ = [
    "DEADLINE",
    "Answers",
    "Bus",
    "Claim",
    "Claimed",
    "Counters",
    "Membership",
    "Node",
    "NodeChange",
    "Received",
    "Receiver",
]


DEADLINE: Final = 1.0
"""Seconds within which nodes answer a request, unless it has a deadline of its own."""


class Node(NamedTuple):
    """A process on a bus. ``id`` is random and new at each start of it; ``name`` is for people only.

    A node that was held dead and comes back is its next ``incarnation``, from 1.
    """

    id: str
    incarnation: int
    name: str


class NodeChange(NamedTuple):
    """A node came or went."""

    node: Node
    what: Literal["up", "down"]


class Received(NamedTuple):
    """An item as it arrives. ``sequence`` counts what the sender published on the topic, from 1."""

    sender: Node
    topic: str
    sequence: int
    item: Item


class Answers(NamedTuple):
    """What nodes answered, by node id. ``complete`` is False when a live node did not answer before the deadline."""

    values: Mapping[str, Any]
    complete: bool


class Receiver(Protocol):
    """What a node does with what reaches it. Called on the node's event loop; must not raise."""

    @property
    def items(self) -> Sequence[type[Item]]:
        """The kinds of items that it takes."""
        ...

    @property
    def requests(self) -> Sequence[type[Request]]:
        """The kinds of requests that it answers."""
        ...

    def receive(self, received: Received) -> None:
        """Takes an item of another node; those of one sender on one topic come in order, each at most once."""

    def answer(self, request: Request) -> Awaitable[Any] | Any:
        """The answer of this node, or what becomes it."""

    def gap(self, topics: Sequence[str]) -> None:
        """Items on these topics may have been lost: what they tell about has to be read anew."""


class Bus(Protocol):
    """Carries items between nodes.

    Promises of every implementation: items of one sender on one topic keep their order; an item arrives at most once,
    zero times is possible; a loss in the middle shows as a jump of the sequence or as a gap. Nothing is promised about
    the order between senders, or between two topics of one sender.
    """

    alone: bool
    """True only while no other node can hear anything: then nothing has to be published."""

    networked: bool
    """Whether nodes of other processes may come at any time, so that topics are subscribed to from the start."""

    def attach(self, receiver: Receiver) -> None:
        """From now on items and requests go to ``receiver``; before, requests stay without an answer."""

    async def open(self) -> None:
        """Joins the other nodes. Raises ``errors.SockudoError`` when they cannot be reached as configured."""

    async def close(self) -> None:
        """Leaves them: they learn that this node goes, and nothing of it arrives any more."""

    def publish(self, topic: str, item: Item) -> None:
        """Sends an item to the other nodes that subscribed to the topic. Never waits and never raises."""

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        """Asks for a topic's items; what is returned ends when it is confirmed, None when it is already.

        What a live node publishes after the confirmation arrives, or a gap shows.
        """

    def unsubscribe(self, topic: str) -> None:
        """Ends what `subscribe` began, soon; a topic that was not subscribed to is ignored."""

    def interested(self, topic: str) -> bool:
        """Whether another node may have subscribed: False only when that is certain."""

    async def ask(self, request: Request, *, deadline: float, nodes: Sequence[str] | None = None) -> Answers:
        """Asks every live node, this one too, or those with the ids given; ``deadline`` in seconds from now.

        Each node is asked once and answers at most once; what comes late is dropped. A node that goes down meanwhile is
        not waited for.
        """


class Membership(Protocol):
    """Which nodes live, as this node sees them."""

    me: Node
    deaf: bool
    """Whether this node hears nothing of itself, and so may miss what others say: what it knows of them may be old."""

    draining: bool
    """Whether this node is about to go: see `drain`."""

    round_trip: float
    """Seconds that its last message to itself took; 0.0 where nothing is between."""

    connections: Callable[[], Mapping[str, int]]
    """This node's connections of each app for which that is of interest to the others: an owner's to set."""

    def live(self) -> Sequence[Node]:
        """Every live node, this one included, ordered by id."""

    def is_alive(self, node_id: str) -> bool:
        """Whether the node of this id lives."""

    def hears(self, node_id: str) -> bool:
        """Whether the node of this id lives, or is one that asks others and counts nowhere."""

    def owner(self, key: str) -> Node:
        """The live node that a key belongs to: the same one for all nodes that see the same nodes."""

    def ranked(self, key: str) -> Sequence[Node]:
        """The live nodes in the order in which they take over a key; the first one is its owner."""

    def elsewhere(self, app_id: str) -> int:
        """How many connections of an app the other live nodes have, by the last beat of each."""

    def hurry(self) -> None:
        """Has the others hear of this node's connections at once; ten times a second at most."""

    def fenced(self) -> bool:
        """Whether the others may hold this node dead by now: then it must not number, answer or publish anything."""

    def beat_age(self, node_id: str) -> float:
        """Seconds since the last beat of a node; 0.0 for this one, and where a node shows otherwise that it lives."""

    def unheard(self) -> float:
        """For how many seconds this node got no beat of its own, or may be held dead; 0.0 while all is well."""

    def drain(self) -> None:
        """From now on this node owns nothing, as long as another one lives."""

    def watch(self, observer: Callable[[NodeChange], None]) -> None:
        """From now on ``observer`` is called with every change."""

    def watch_drains(self, observer: Callable[[], None]) -> None:
        """From now on ``observer`` is called when keys move while the same nodes live: one drains, or this one
        owns some from now on."""


class Claim(Protocol):
    """The right to do what belongs to a key. Ends by exactly one of `complete` and `release`; more do nothing."""

    @property
    def key(self) -> tuple[str, ...]:
        """The key that was claimed."""

    def complete(self, reply: bytes, now: float) -> None:
        """It is done: until ``now`` plus the time to live the key answers with ``reply``."""

    def release(self) -> Any:
        """It failed: the key is free again."""


Claimed = Claim | bytes | Literal["running", "conflict"]
"""What comes of claiming a key: the claim; the reply of what was done under it; ``running`` while that is under way;
``conflict`` when the key belongs to something else."""


class Counters(Protocol):
    """What is claimed or counted once for all nodes. Times are monotonic seconds of this node and must not go back.

    ``immediate`` says that every claim is answered at once.
    """

    @property
    def immediate(self) -> bool: ...

    def claim(self, key: tuple[str, ...], mark: bytes, ttl: float, now: float) -> Claimed | Awaitable[Claimed]:
        """Claims a key for what ``mark`` tells apart from other things, at once or after asking elsewhere.

        A claim that is completed holds for ``ttl`` seconds, one under way as long as its node lives. Raises
        errors.SERVICE_UNAVAILABLE when that is not known.
        """

    def hit(
        self, name: str, key: str, limit: int, seconds: int, now: float, *, cost: int = 1, count_refused: bool = True
    ) -> Verdict:
        """Counts ``cost`` for ``key`` in a window of ``seconds`` of the counter ``name``, and says whether that fits.

        Always at once, from what is known here; an implementation with several nodes exchanges what they counted soon
        after. Without ``count_refused`` a hit that does not fit leaves the window as it was.
        """

    def forget(self, name: str) -> None:
        """Drops the counter ``name`` with all its windows."""
