"""The listener for operators: metrics, apart from the public port."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["admin_app"]


def admin_app(render_metrics: Callable[[], bytes]) -> Starlette:
    """Serves ``/metrics`` in the text format of Prometheus; any other path is an empty 404 (contract 20 § 13)."""

    async def metrics(_: Request) -> Response:
        return Response(render_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def not_found(_: Request, __: Exception) -> Response:
        return Response(b"", 404)

    return Starlette(routes=[Route("/metrics", metrics)], exception_handlers={404: not_found})
