"""The routes of a channel's durable history (spec: http-api § 11; history § 7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.base.components import Component
from sockudo.edge.signed import authenticated_for_channel, json_reply, parameters, typed_body
from sockudo.history import PAGE_PARAMETERS, History, Purge, Reset, http_query

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["history_routes"]

Answer = Callable[[History, LiveApp, str, Request], Awaitable[dict[str, Any]]]

_PARAMETERS: Final = (*PAGE_PARAMETERS, "until_attach", "attach_serial")


def history_routes(edge: Edge, messages: Component[History]) -> list[Route]:
    """A page, the state of the stream, and what operators do to it by hand; all signed."""
    history = "/apps/{app_id}/channels/{channel}/history"
    return [
        Route(history, _endpoint(edge, messages, _page), methods=["GET"]),
        Route(f"{history}/state", _endpoint(edge, messages, _state), methods=["GET"]),
        Route(f"{history}/reset", _endpoint(edge, messages, _reset), methods=["POST"]),
        Route(f"{history}/purge", _endpoint(edge, messages, _purge), methods=["POST"]),
    ]


def _endpoint(edge: Edge, messages: Component[History], answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        app, channel = await authenticated_for_channel(edge, request)
        if app.streams is None or app.streams.of(channel).history is None:
            raise errors.HISTORY_DISABLED(f"Durable history is disabled by policy for channel '{channel}'")
        return json_reply(await answer(messages.service, app, channel, request))

    return endpoint


async def _page(history: History, app: LiveApp, channel: str, request: Request) -> dict[str, Any]:
    return await history.page(app.id, channel, http_query(parameters(request, _PARAMETERS)))


async def _state(history: History, app: LiveApp, channel: str, _: Request) -> dict[str, Any]:
    return await history.state(app.id, channel)


async def _reset(history: History, app: LiveApp, channel: str, request: Request) -> dict[str, Any]:
    return await history.reset(app.id, channel, await typed_body(request, Reset))


async def _purge(history: History, app: LiveApp, channel: str, request: Request) -> dict[str, Any]:
    return await history.purge(app.id, channel, await typed_body(request, Purge))
