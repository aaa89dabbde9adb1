"""Webhooks as a wing of the server: what they add."""

from __future__ import annotations

from collections.abc import Iterable

from sockudo.base.measures import Distribution, Numbers
from sockudo.dashboard.board import Area
from sockudo.edge.wings import Wing
from sockudo.monitoring.health import HealthChecks
from sockudo.webhooks.metrics import webhook_measures
from sockudo.webhooks.routes import webhook_routes
from sockudo.webhooks.runtime import WebhookRuntime
from sockudo.webhooks.service import Webhooks

__all__ = ["webhook_wing"]


def webhook_wing(runtime: WebhookRuntime, queue_driver: str) -> Wing[Area]:
    """Their routes, the health of their queue, their metrics; ``queue_driver`` is a label of those."""

    def add_checks(health: HealthChecks) -> None:
        health.add_component("webhooks", runtime.service, Webhooks.check)

    def area() -> Area:
        # Pages take a while to import, which servers without a dashboard should not pay for.
        from sockudo.webhooks.dashboard.area import webhook_area

        return webhook_area(runtime.service)

    def measures() -> Iterable[Numbers | Distribution]:
        webhooks = runtime.service.if_open
        return () if webhooks is None else webhook_measures(webhooks, queue_driver)

    return Wing(
        routes=lambda edge: webhook_routes(edge, runtime.service),
        add_checks=add_checks,
        measures=measures,
        area=area,
    )
