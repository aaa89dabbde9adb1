"""The routes by which a holder of an app's secret follows what happens in it, and sees what went wrong lately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.edge.signed import authenticated, json_reply, parameters
from sockudo.errors import SockudoError
from sockudo.inspector.explained import SELECTING, explained, find_problems, read_selection
from sockudo.monitoring.tails import Tails

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["inspector_routes"]

_GROUPS: Final = 100
_EXAMPLES: Final = 5


def inspector_routes(edge: Edge, tails: Tails) -> list[Route]:
    """The event stream of an app, on all nodes, and its recent problems on this one; both signed."""

    async def stream(request: Request) -> Response:
        app = await authenticated(edge, request)
        edge.rates.check_read(app, edge.clock.monotonic())
        selection = read_selection(app.id, parameters(request, SELECTING))
        return tails.follow(selection, refuse=lambda: _refusal(edge, app), of_app=True)

    async def problems(request: Request) -> Response:
        app = await authenticated(edge, request)
        edge.rates.check_read(app, edge.clock.monotonic())
        given = parameters(request, ("kinds", "q"))
        problems = edge.gateway.inspector.problems
        found = find_problems(problems, app.id, given.get("kinds"), given.get("q"), of_app=True)
        return json_reply({"groups": [explained(group, _EXAMPLES) for group in found[:_GROUPS]], "total": len(found)})

    return [
        Route("/apps/{app_id}/inspector/stream", stream, methods=["GET"]),
        Route("/apps/{app_id}/problems", problems, methods=["GET"]),
    ]


def _refusal(edge: Edge, app: LiveApp) -> SockudoError | None:
    """Why the one who signed the request would not get it any more."""
    now = edge.apps.by_id(app.id)
    if now is None:
        return errors.APP_NOT_FOUND(f"The app {app.id} was removed")
    if not now.enabled:
        return errors.APP_DISABLED(f"The app {app.id} is disabled")
    if (now.key, now.record.secret) != (app.key, app.record.secret):
        return errors.SIGNATURE_MISMATCH("The app's key or secret has been changed")
    return None
