"""Push as a wing of the server: what it adds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.routing import Route

from sockudo.base.measures import Distribution, Numbers
from sockudo.dashboard.board import Area
from sockudo.edge.wings import Wing
from sockudo.monitoring.health import HealthChecks
from sockudo.push.http.directory import push_directory_routes
from sockudo.push.http.publishing import push_lane, push_publish_routes
from sockudo.push.runtime import PushRuntime
from sockudo.push.services import PushServices
from sockudo.push.telemetry import push_measures

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["push_routes", "push_wing"]


def push_routes(edge: Edge, services: PushServices) -> list[Route]:
    """The directory of push, and publishes with the trial of a provider; all signed."""
    return [*push_directory_routes(edge, services), *push_publish_routes(edge, services)]


def push_wing(runtime: PushRuntime) -> Wing[Area]:
    """The routes of push, its publishes on the express lane, the health of its store and of its queue, its metrics."""

    def add_checks(health: HealthChecks) -> None:
        health.add_component("push_store", runtime.storage, lambda storage: storage.store.check())
        health.add_component("push", runtime.delivery, lambda sending: sending.pipeline.check())

    def area() -> Area:
        # Pages take a while to import, which servers without a dashboard should not pay for.
        from sockudo.push.dashboard.area import push_area

        return push_area(runtime)

    def measures() -> Iterable[Numbers | Distribution]:
        return push_measures(runtime.counters) if runtime.delivery.is_open else ()

    return Wing(
        routes=lambda edge: push_routes(edge, runtime),
        lane=lambda edge: push_lane(edge, runtime),
        add_checks=add_checks,
        measures=measures,
        area=area,
        refresh=runtime.measure,
    )
