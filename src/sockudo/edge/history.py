"""The routes of a channel's durable history (contract 20 § 11, 30 § 7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.edge.signed import authenticated_for_channel, json_reply, parameters, typed_body
from sockudo.history import PAGE_PARAMETERS, History, Purge, Reset, http_query

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["history_routes"]

Answer = Callable[["Edge", LiveApp, str, Request], Awaitable[dict[str, Any]]]

_PARAMETERS: Final = (*PAGE_PARAMETERS, "until_attach", "attach_serial")


def history_routes(edge: Edge) -> list[Route]:
    """A page, the state of the stream, and what operators do to it by hand; all signed."""
    history = "/apps/{app_id}/channels/{channel}/history"
    return [
        Route(history, _endpoint(edge, _page), methods=["GET"]),
        Route(f"{history}/state", _endpoint(edge, _state), methods=["GET"]),
        Route(f"{history}/reset", _endpoint(edge, _reset), methods=["POST"]),
        Route(f"{history}/purge", _endpoint(edge, _purge), methods=["POST"]),
    ]


def _endpoint(edge: Edge, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        app, channel = await authenticated_for_channel(edge, request)
        if app.streams is None or app.streams.of(channel).history is None:
            raise errors.HISTORY_DISABLED(f"Durable history is disabled by policy for channel '{channel}'")
        return json_reply(await answer(edge, app, channel, request))

    return endpoint


async def _page(edge: Edge, app: LiveApp, channel: str, request: Request) -> dict[str, Any]:
    return await _history(edge).page(app.id, channel, http_query(parameters(request, _PARAMETERS)))


async def _state(edge: Edge, app: LiveApp, channel: str, _: Request) -> dict[str, Any]:
    return await _history(edge).state(app.id, channel)


async def _reset(edge: Edge, app: LiveApp, channel: str, request: Request) -> dict[str, Any]:
    return await _history(edge).reset(app.id, channel, await typed_body(request, Reset))


async def _purge(edge: Edge, app: LiveApp, channel: str, request: Request) -> dict[str, Any]:
    return await _history(edge).purge(app.id, channel, await typed_body(request, Purge))


def _history(edge: Edge) -> History:
    if edge.history is None:
        raise errors.HISTORY_UNAVAILABLE("The history store is not open yet", retry_after=1)
    return edge.history
