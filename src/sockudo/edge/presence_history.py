"""The routes of a channel's presence history (spec: http-api § 12; history § 8.3)."""

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
from sockudo.history import PAGE_PARAMETERS, PresenceHistory, Reset, http_query, whole_number
from sockudo.protocol.names import channel_kind

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["presence_history_routes"]

Answer = Callable[["PresenceHistory", LiveApp, str, Request], Awaitable[dict[str, Any]]]

_SNAPSHOT: Final = ("at_serial", "at_time_ms", "at")


def presence_history_routes(edge: Edge, presence: Component[PresenceHistory]) -> list[Route]:
    """A page of events, who was in at a moment, the state of the stream, and its reset; all signed."""
    history = "/apps/{app_id}/channels/{channel}/presence/history"
    return [
        Route(history, _endpoint(edge, presence, _page), methods=["GET"]),
        Route(f"{history}/state", _endpoint(edge, presence, _state), methods=["GET"]),
        Route(f"{history}/reset", _endpoint(edge, presence, _reset), methods=["POST"]),
        Route(f"{history}/snapshot", _endpoint(edge, presence, _snapshot), methods=["GET"]),
    ]


def _endpoint(
    edge: Edge, presence: Component[PresenceHistory], answer: Answer
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        app, channel = await authenticated_for_channel(edge, request)
        if not channel_kind(channel).presence:
            raise errors.INVALID_INPUT("Only presence channels support this endpoint")
        if app.streams is None or app.streams.of(channel).presence_history is None:
            raise errors.FEATURE_DISABLED(f"Presence history is disabled by policy for channel '{channel}'")
        return json_reply(await answer(presence.service, app, channel, request))

    return endpoint


async def _page(history: PresenceHistory, app: LiveApp, channel: str, request: Request) -> dict[str, Any]:
    return await history.page(app.id, channel, http_query(parameters(request, PAGE_PARAMETERS)))


async def _snapshot(history: PresenceHistory, app: LiveApp, channel: str, request: Request) -> dict[str, Any]:
    given = parameters(request, _SNAPSHOT)
    return await history.snapshot(
        app.id,
        channel,
        at_serial=whole_number(given, "at_serial", low=0),
        at_time_ms=whole_number(given, "at_time_ms", "at"),
    )


async def _state(history: PresenceHistory, app: LiveApp, channel: str, _: Request) -> dict[str, Any]:
    return await history.state(app.id, channel)


async def _reset(history: PresenceHistory, app: LiveApp, channel: str, request: Request) -> dict[str, Any]:
    return await history.reset(app.id, channel, await typed_body(request, Reset))
