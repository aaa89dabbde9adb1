"""The routes by which a holder of an app's secret follows what happens in it, and sees what went wrong lately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.cluster.nodes import Nodes
from sockudo.edge.signed import authenticated, json_reply, parameters
from sockudo.errors import SockudoError
from sockudo.inspector.explained import SELECTING, explained, read_selection
from sockudo.monitoring.problems import problems_of_app
from sockudo.monitoring.tails import Tails

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["inspector_routes"]

_GROUPS: Final = 100
_EXAMPLES: Final = 5


def inspector_routes(edge: Edge, tails: Tails, nodes: Nodes) -> list[Route]:
    """The event stream of an app and its recent problems, on all nodes; both signed."""

    async def stream(request: Request) -> Response:
        app = await authenticated(edge, request)
        edge.rates.check_read(app, edge.clock.monotonic())
        selection = read_selection(app.id, parameters(request, SELECTING))
        return tails.follow(selection, refuse=lambda: _refusal(edge, app), of_app=True)

    async def problems(request: Request) -> Response:
        app = await authenticated(edge, request)
        edge.rates.check_read(app, edge.clock.monotonic())
        given = parameters(request, ("kinds", "q"))
        found, complete = await problems_of_app(nodes, app.id, given.get("kinds"), given.get("q"))
        groups = [explained(group, _EXAMPLES) for group in found[:_GROUPS]]
        reply: dict[str, Any] = {"groups": groups, "total": len(found)}
        if complete is False:
            reply["complete"] = False
        return json_reply(reply)

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
