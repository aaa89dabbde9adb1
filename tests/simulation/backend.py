"""Backends that publish under an idempotency key, and try again until they have an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from simulation.rules import BrokenRuleError, Publication
from sockudo import errors
from sockudo.base.stream_records import Committed
from sockudo.errors import SockudoError
from sockudo.protocol.frames import Frame
from sockudo.publishing.publisher import committed

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.nodes import SimNode

__all__ = ["clash", "publish"]

_TRIES = 5
_ANSWERED_WITHIN = 6.0


async def publish(cluster: Cluster, publication: Publication, node: SimNode) -> None:
    """Publishes at a node, and where that fails at other ones, a second later each time."""
    for _ in range(_TRIES):
        if await _try(cluster, publication, node, publication.data):
            publication.accepted = True
            return
        await asyncio.sleep(1)
        if not cluster.living:
            return
        node = cluster.rng.choice(cluster.living)


async def clash(cluster: Cluster, publication: Publication, node: SimNode) -> None:
    """Another message under the key of one that was accepted is refused."""
    if await _try(cluster, publication, node, f"not {publication.data}"):
        raise BrokenRuleError(f"the key of {publication.data} was taken for another message of {publication.room}")


async def _try(cluster: Cluster, publication: Publication, node: SimNode, data: str) -> bool:
    """Whether a node has accepted a message and was there to say so."""
    room = publication.room
    app = node.node.apps.by_id(room)
    assert app is not None
    frame = Frame("said", room, data)
    now = asyncio.get_running_loop().time()
    try:
        pending = node.node.publisher.publish(app, node.node.gateway.state(app), frame, now, key=publication.key)
        outcome = None if pending is None else await asyncio.wait_for(committed(pending), _ANSWERED_WITHIN)
    except (SockudoError, TimeoutError, asyncio.CancelledError) as problem:
        if (
            isinstance(problem, SockudoError)
            and problem.spec is errors.IDEMPOTENCY_CONFLICT
            and data == publication.data
        ):
            raise BrokenRuleError(f"{data} is in conflict with itself in {room}") from None
        return False
    if not node.alive:
        return False
    place = _place(outcome, frame)
    if place is not None:
        publication.places.append(place)
        cluster.ledger.note(room, place, data, f"its backend at {node.name}")
    return True


def _place(outcome: Committed | None, frame: Frame) -> tuple[str, int] | None:
    if outcome is not None:
        return tuple(outcome.position)
    # A repeat has none.
    return None if frame.stream_id is None or frame.serial is None else (frame.stream_id, frame.serial)
