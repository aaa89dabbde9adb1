"""What push adds to the dashboard."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import structlog
from starlette.routing import Route

from sockudo.dashboard.board import Area, Board, Removal
from sockudo.errors import SockudoError
from sockudo.push.dashboard.acting import acting_routes
from sockudo.push.dashboard.api import api_routes
from sockudo.push.dashboard.desk import PushArea
from sockudo.push.dashboard.pages import page_routes
from sockudo.push.services import PushServices

__all__ = ["push_area"]

_log = structlog.get_logger("sockudo.dashboard")


def push_area(services: PushServices) -> Area:
    """``/dashboard/push`` and its API; what a removed app keeps is deleted."""

    def routes(board: Board) -> list[Route]:
        area = PushArea(board, services)
        return [*page_routes(area), *acting_routes(area), *api_routes(area)]

    return Area(
        title="Push",
        path="/dashboard/push",
        templates=Path(__file__).parent / "templates",
        routes=routes,
        removing=partial(_removing, services),
    )


async def _removing(services: PushServices, app_id: str) -> Removal | None:
    if not services.storage.is_open and services.exists():
        try:
            await services.storage.open()
        except SockudoError as problem:
            # Whose credentials have leaked must not wait for that.
            _log.error(
                "a removed app's push data stays: its store cannot be reached", app_id=app_id, reason=problem.text
            )
    storage = services.storage.if_open
    return None if storage is None else partial(storage.removals.begin, app_id)
