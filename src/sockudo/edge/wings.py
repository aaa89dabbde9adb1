"""What a wing is: a part of the server beside its core, which hands in all that it adds.

The core imports no wing. The server makes each wing, asks it for what it has, and puts that where the core's own is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from starlette.routing import Route

from sockudo.base.measures import Distribution, Numbers
from sockudo.edge.lane import LaneEntry
from sockudo.monitoring.health import HealthChecks

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["Wing"]


def _no_lane(_: Edge) -> Mapping[str, LaneEntry]:
    return {}


A = TypeVar("A")


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Wing(Generic[A]):
    """What one wing adds to a server.

    ``routes`` are those of the HTTP API; ``lane`` has entries of the express lane by their path below an app, such as
    ``push/publish``. ``add_checks`` adds what ``/up`` looks at. ``measures`` gives the metrics, which
    ``refresh`` brings up to date before they are read. ``area`` makes its part of the dashboard, where there is one.
    """

    routes: Callable[[Edge], Sequence[Route]]
    add_checks: Callable[[HealthChecks], None]
    measures: Callable[[], Iterable[Numbers | Distribution]]
    area: Callable[[], A]
    lane: Callable[[Edge], Mapping[str, LaneEntry]] = _no_lane
    refresh: Callable[[], Awaitable[None]] = _nothing
