"""What this node tells the others about itself, and how it drains when one of them asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sockudo.base.measures import Distribution, Numbers
from sockudo.base.process import CpuShare, resident_bytes
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.base.version import __version__
from sockudo.cluster.nodes import NodeReport, Nodes
from sockudo.cluster.wire import OLDEST_VERSION, VERSION
from sockudo.drivers.carriers import reaches_others
from sockudo.edge.drain import drain_sessions
from sockudo.monitoring.nodes import node_measures, owned_measures
from sockudo.storage.joined_claims import JoinedClaims, JoinedPlace, Peers, joined_places
from sockudo.storage.occupants import Occupant

if TYPE_CHECKING:
    from sockudo.cluster.carrier import Carrier
    from sockudo.config import Settings
    from sockudo.dashboard.board import Board
    from sockudo.edge.context import Edge
    from sockudo.server.services import Services
    from sockudo.server.worker import WorkerPlace

__all__ = ["RunningNode", "joined_claims", "joined_measures", "usable_carrier", "uses"]


# Where caches and limits are kept outside of the nodes.
_OUTSIDE = ("redis", "redis-cluster", "postgres")


class RunningNode:
    """`ThisNode` of a server, or of one of its workers; ``board`` is what its operators see, ``nodes`` asks all."""

    def __init__(self, services: Services, edge: Edge, *, is_worker: bool) -> None:
        self._is_worker = is_worker
        self._services = services
        self._edge = edge
        self._cpu = CpuShare()
        self._draining: list[asyncio.Task[None]] = []
        # The server's to fill in.
        self.board: Board | None = None
        self.nodes = Nodes(services.bus, services.membership, services.router, self, services.clock.time)

    def report(self) -> NodeReport:
        services, members, board = self._services, self._services.membership, self.board
        connections, channels = services.view.totals()
        now = services.clock.time()
        return NodeReport(
            version=__version__,
            at=now,
            started_at=now if board is None else board.started_at,
            connections=connections,
            channels=channels,
            cpu=self._cpu.read(),
            memory=resident_bytes(),
            loop_lag_ms=None if board is None else board.loop.p99_ms(),
            round_trip_ms=members.round_trip * 1000,
            versions=(OLDEST_VERSION, VERSION),
            unreadable=0 if services.carried is None else services.carried.unreadable,
            draining=services.gateway.draining,
            role=services.settings.server_role,
            address=next((address for _, address in board.listeners), "") if board is not None else "",
            uses=uses(services.settings, services.through),
            owns={"streams": services.streams.numbered, "places": services.recorders.led},
        )

    def drain(self, seconds: float) -> bool:
        if self._is_worker:
            return False
        if not self._draining and not self._services.gateway.draining:
            self._services.membership.drain()
            self._keep_members()
            self._draining = start_tasks(drain_sessions(self._edge, seconds))
        return True

    def _keep_members(self) -> None:
        """From now on members whose connections this node ends are kept for a while, if there are other nodes."""
        others = len(self._services.membership.live()) > 1
        self._services.hub.kept_over_drain = float(self._services.settings.drain_hold) if others else 0.0

    async def close(self) -> None:
        """Ends what is left of draining; the server is about to end every connection itself."""
        self._keep_members()
        await end_tasks(self._draining)


async def usable_carrier(settings: Settings, carrier: Carrier | None, worker: WorkerPlace | None) -> Carrier | None:
    """The carrier, or that of the workers, if any, where the others cannot be reached and the node may go on alone."""
    if not settings.adapter.fallback_to_local or await reaches_others(settings):
        return carrier
    return None if worker is None else worker.carrier()


def joined_claims(services: Services, carrier: Carrier | None) -> JoinedClaims:
    """The databases that this node shares with others; nothing for a server that is alone."""
    settings, members, clock = services.settings, services.membership, services.clock
    wanted: Sequence[JoinedPlace] = ()
    me: Occupant | None = None
    if carrier is not None:
        me = Occupant.current(clock.time(), members.me.id, f"{carrier.name}{_prefix(settings)}")
        wanted = joined_places(settings, me)
    timeout = settings.adapter.cluster_health.node_timeout_ms / 1000
    return JoinedClaims(
        wanted,
        Peers(members.hears, lambda: members.unheard() == 0.0, timeout, me),
        services.readiness.hold_apart,
        clock.monotonic,
        shared=settings.instance.shared_stores,
    )


def _prefix(settings: Settings) -> str:
    """What the names on the broker begin with: nodes with another prefix do not hear each other."""
    adapter = settings.adapter
    prefixes = {
        "redis": adapter.redis.prefix,
        "redis-cluster": adapter.cluster.prefix,
        "nats": adapter.nats.prefix,
        "postgres": adapter.postgres.prefix,
    }
    prefix = prefixes.get(adapter.driver)
    return "" if prefix is None else f" with the prefix '{prefix}'"


def uses(settings: Settings, through: str) -> dict[str, str]:
    """What a node keeps where, and what joins it with others; without users and passwords."""
    history, push, database = settings.history, settings.push, settings.database
    found = {"apps": settings.app_manager.driver, "webhooks": settings.queue.driver}
    if history.enabled:
        found["history"] = history.backend
    found["push"] = push.storage_driver
    found |= {"cache": settings.cache.driver, "limits": settings.rate_limiter.driver}
    found = {what: driver for what, driver in found.items() if what not in ("cache", "limits") or driver in _OUTSIDE}
    postgres, mysql, redis = database.postgres, database.mysql, database.redis
    places = {
        "pgsql": f"postgres {postgres.host}:{postgres.port}/{postgres.database}",
        "mysql": f"mysql {mysql.host}:{mysql.port}/{mysql.database}",
        "redis": f"redis {redis.host}:{redis.port}",
    }
    places["postgres"] = places["pgsql"]
    shown = {what: places.get(driver, driver) for what, driver in found.items()}
    return {"nodes": through, **shown} if through else shown


def joined_measures(services: Services) -> Iterator[Callable[[], Iterator[Numbers | Distribution]]]:
    """What a node that is joined with others, or keeps something outside of it, gives to Prometheus."""
    if services.carried is None and services.stores:
        yield partial(owned_measures, services.owned)
    if services.carried is not None:
        yield partial(node_measures, services.carried, _driver(services.settings), services.owned)


def _driver(settings: Settings) -> str:
    """What joins the node with others; without a broker it is the mesh of workers."""
    driver = settings.adapter.driver
    return "workers" if driver == "local" else driver
