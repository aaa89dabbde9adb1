"""What webhooks add to the dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import nan
from pathlib import Path

from starlette.routing import Route

from sockudo.base.components import Component
from sockudo.dashboard.board import Area, Board, Concern
from sockudo.dashboard.plots import Figures, Line, Plot, Tile
from sockudo.webhooks.dashboard.api import api_routes, app_api_routes
from sockudo.webhooks.dashboard.app_pages import webhook_page_routes
from sockudo.webhooks.dashboard.desk import WebhookArea
from sockudo.webhooks.dashboard.pages import page_routes
from sockudo.webhooks.service import Webhooks

__all__ = ["webhook_area"]

_PATH = "/dashboard/webhooks"


def webhook_area(service: Component[Webhooks]) -> Area:
    """``/dashboard/webhooks`` with its API, and the webhooks of each app; how the queue and the endpoints do."""

    def routes(board: Board) -> list[Route]:
        area = WebhookArea(board, service)
        return [*page_routes(area), *api_routes(area), *webhook_page_routes(area), *app_api_routes(board)]

    return Area(
        title="Webhooks",
        path=_PATH,
        templates=Path(__file__).parent / "templates",
        routes=routes,
        concerns=partial(_concerns, service),
        figures=_figures(service),
        app_tabs={"webhooks": "Webhooks"},
    )


def _figures(service: Component[Webhooks]) -> Figures:
    lines = (Line("webhooks_pending", "Pending"), Line("webhooks_dead", "Dead letters"))
    return Figures(
        series=tuple(line.series for line in lines),
        read=partial(_backlog, service),
        tiles=(Tile("Webhooks pending", "count", "webhooks_pending", _PATH),),
        plots=(Plot("webhooks", "Webhooks", "count", lines),),
    )


def _concerns(service: Component[Webhooks]) -> Iterator[Concern]:
    webhooks = service.if_open
    if webhooks is None:
        return
    problem = webhooks.batches.problem or webhooks.deliverer.problem
    if problem is not None:
        yield Concern("bad", f"The queue of webhooks does not answer, and events wait in memory: {problem}", _PATH)
    if webhooks.batches.lost:
        lost = webhooks.batches.lost
        yield Concern("bad", f"{lost:,} events for webhooks were lost since the start: the queue could not take them.")
    for (app_id, endpoint), counters in webhooks.deliverer.counters.items():
        if counters.breaker is not None and counters.breaker.tripped:
            yield Concern("bad", f"The webhook endpoint {endpoint} of app {app_id} fails and is left alone.", _PATH)
    dead = sum(counts.dead for counts in webhooks.deliverer.counts.values())
    if dead:
        yield Concern("warn", f"{dead:,} webhook deliveries were given up and can be sent again.", _PATH)


def _backlog(service: Component[Webhooks]) -> tuple[float, float]:
    """As the queue was counted some seconds ago.

    The deliverer counts in its own time: nothing is asked of the queue here, so one that hangs holds up nothing.
    """
    webhooks = service.if_open
    if webhooks is None or webhooks.batches.failing or webhooks.deliverer.failing:
        return nan, nan
    counts = webhooks.deliverer.counts.values()
    return float(sum(count.waiting for count in counts)), float(sum(count.dead for count in counts))
