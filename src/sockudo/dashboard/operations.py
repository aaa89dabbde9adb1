"""What operators and their programs ask about the whole server: the operations of spec: platform § 8.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.base.version import __version__
from sockudo.config.loader import Loaded
from sockudo.config.schema import APPS, declared, value_at
from sockudo.config.show import as_tree
from sockudo.dashboard.concerns import concerns
from sockudo.dashboard.replies import json
from sockudo.monitoring import host_memory, node_stats

if TYPE_CHECKING:
    from sockudo.config import Settings
    from sockudo.dashboard.board import Board

__all__ = ["configuration", "routes"]

_API: Final = "/dashboard/api/v1"
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


def routes(board: Board) -> list[Route]:
    """``stats``, ``usage``, ``health``, ``configuration`` and ``metrics`` of the API."""

    async def stats(_: Request) -> Response:
        return json(node_stats(board.apps, board.view, board.history, board.presence_history))

    async def usage(_: Request) -> Response:
        return json({"memory": host_memory()})

    async def health_of(request: Request) -> Response:
        found = await board.health.run(request.query_params.get("app_id"))
        body = {
            **msgspec.structs.asdict(found),
            "warnings": concerns(board),
            "version": __version__,
            "process_id": board.settings.instance.process_id,
            "started_at_ms": int(board.started_at * 1000),
            "uptime_seconds": round(board.clock.time() - board.started_at),
            "listeners": [{"name": name, "address": address} for name, address in board.listeners],
        }
        # The question was answered, with any result: `status` says what /up would.
        return json(body)

    async def settings(_: Request) -> Response:
        return json(configuration(board.settings))

    async def metrics(request: Request) -> Response:
        form = request.query_params.get("format", "json")
        if form not in ("json", "text"):
            raise errors.INVALID_INPUT("'format' must be one of: json, text")
        if board.metrics is None:
            raise errors.SERVICE_UNAVAILABLE("There are no metrics yet", retry_after=1)
        for history in (board.history, board.presence_history):
            if history.is_open:
                await history.service.refresh_totals()
        if form == "text":
            return Response(board.metrics.render(scrape=False), headers={"content-type": _TEXT})
        return json({"metrics": board.metrics.summary()})

    return [
        Route(f"{_API}/stats", stats),
        Route(f"{_API}/usage", usage),
        Route(f"{_API}/health", health_of),
        Route(f"{_API}/configuration", settings),
        Route(f"{_API}/metrics", metrics),
    ]


def configuration(settings: Settings) -> dict[str, Any]:
    """The settings in force without secrets, and which of them are not at their defaults.

    Of configured apps id and state alone: their records hold secrets in several places, and have an area of their own.
    """
    tree = as_tree(Loaded(settings))
    *sections, name = APPS.split(".")
    part = tree
    for section in sections:
        part = part[section]
    part[name] = [{"id": app.id, "enabled": app.enabled} for app in settings.apps]
    changed = [
        path
        for path, setting in declared().items()
        # A default that is made up is another one each time.
        if value_at(settings, path) != setting.default and not setting.key.default_text
    ]
    return {"settings": tree, "changed": changed, "dev": settings.dev}
