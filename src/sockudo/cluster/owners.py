"""Which node owns a key; asking it, which may be this one and another one meanwhile."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from hashlib import blake2b
from typing import Any, Final, TypeVar

from sockudo.cluster.items import Request
from sockudo.cluster.ports import DEADLINE, Bus, Membership, Node
from sockudo.errors import SockudoError

__all__ = ["OwnerCounts", "Sleep", "ask_owner", "ranked_owners"]

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[None]]
"""Waits for so many seconds."""

# How often the owner is looked for, and the seconds in between.
_ATTEMPTS: Final = 4
_PAUSE: Final = 0.2


def ranked_owners(key: str, nodes: Iterable[Node]) -> list[Node]:
    """The nodes in the order in which they take a key, by rendezvous hashing: the first owns it, the second follows.

    Every node that sees the same nodes computes the same order, without asking; when a node comes or goes only the keys
    that it gains or loses move.
    """
    text = key.encode()
    return sorted(nodes, key=lambda node: blake2b(text, key=node.id.encode(), digest_size=16).digest(), reverse=True)


class OwnerCounts:
    """What became of the keys that nodes own, since the start, for metrics."""

    __slots__ = (
        "events_left_out",
        "events_unanswered",
        "hits_left_out",
        "hits_unanswered",
        "keys_allowed",
        "keys_unanswered",
        "numbers_refused",
        "streams_begun",
        "tokens_given",
        "tokens_taken",
    )

    def __init__(self) -> None:
        # Publishes without a number; streams that begin as no node has the one before; tokens that come and go.
        self.numbers_refused = self.streams_begun = self.tokens_given = self.tokens_taken = 0
        # Claims that no owner decided, and those of them that were allowed all the same.
        self.keys_unanswered = self.keys_allowed = 0
        # Hits whose owner did not answer, and those that were too many to be sent.
        self.hits_unanswered = self.hits_left_out = 0
        # Last events of cache channels that the store did not give, and that were too many to wait for it.
        self.events_unanswered = self.events_left_out = 0


async def ask_owner(
    bus: Bus,
    membership: Membership,
    key: str,
    request: Request,
    *,
    here: Callable[[], Awaitable[T | None] | T | None],
    read: Callable[[Any], T | None],
    refusal: Callable[[str], SockudoError],
    sleep: Sleep,
) -> T:
    """The answer of the owner of ``key`` to the request, or what ``here`` answers when this node is the owner.

    ``read`` makes the answer of what another node sent. None stands for a node that is not the owner, as it sees the
    nodes: then the owner is looked for again. Raises what ``refusal`` makes of a reason; what was asked for may have
    been done then.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            await sleep(_PAUSE)
        if membership.fenced():
            break
        owner = membership.owner(key)
        if owner.id == membership.me.id:
            found = here()
            answer: T | None = await found if inspect.isawaitable(found) else found
        else:
            answers = await bus.ask(request, deadline=DEADLINE, nodes=[owner.id])
            if not answers.complete:
                raise refusal(f"node {owner.name or owner.id} did not answer in {DEADLINE:g} s")
            value = answers.values.get(owner.id)
            answer = None if value is None else read(value)
        if answer is not None:
            return answer
    raise refusal("no node is responsible at this moment")
