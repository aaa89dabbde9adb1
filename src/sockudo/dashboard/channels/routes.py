"""Pages and API of the area Channels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo.apps.live import LiveApp
from sockudo.auth.signing import path_part
from sockudo.dashboard.asked import asked_app, choice, known_app
from sockudo.dashboard.board import Board
from sockudo.dashboard.bodies import read_json
from sockudo.dashboard.channels.detail import TestEvent, channel_view, members, publish, subscribers
from sockudo.dashboard.channels.listing import KINDS, MATCHES, SORTS, ChannelQuery, ChannelRow, find_channels
from sockudo.dashboard.channels.pages import channel_page, list_page, publish_form
from sockudo.dashboard.channels.past import history_page, presence_page
from sockudo.dashboard.paging import Page, Paging
from sockudo.dashboard.replies import json

__all__ = ["routes"]

Answer = Callable[[Request, LiveApp, str], Awaitable[object]]


def routes(board: Board) -> list[Route]:
    """``/dashboard/channels`` and ``/dashboard/api/v1/channels``."""

    async def index(request: Request) -> Response:
        query, found = await _found(board, request)
        return list_page(board, request, query, found)

    async def api_list(request: Request) -> Response:
        _, found = await _found(board, request)
        return json(found.body(list(found.entries)))

    pages = "/dashboard/channels/{app_id}/{channel}"

    async def show(request: Request) -> Response:
        return await channel_page(board, request, *_named(board, request), request.path_params.get("view", ""))

    async def open_by_name(request: Request) -> Response:
        query = request.query_params
        app = known_app(board, query.get("app_id", ""))
        return await channel_page(board, request, app, query.get("channel", ""), query.get("view", ""))

    async def send(request: Request) -> Response:
        return await publish_form(board, request)

    return [
        Route("/dashboard/channels", index, methods=["GET"]),
        Route("/dashboard/channels/open", open_by_name, methods=["GET"]),
        Route("/dashboard/channels/events", send, methods=["POST"]),
        Route(pages, show, methods=["GET"]),
        Route(f"{pages}/{{view}}", show, methods=["GET"]),
        Route("/dashboard/api/v1/channels", api_list, methods=["GET"]),
        *_api(board),
    ]


def _api(board: Board) -> list[Route]:
    async def about(_: Request, app: LiveApp, channel: str) -> object:
        return await channel_view(board, app, channel)

    async def its_members(request: Request, app: LiveApp, channel: str) -> object:
        page = await members(board.nodes, app.id, channel, Paging.of(request))
        return page.body(list(page.entries))

    async def its_subscribers(request: Request, app: LiveApp, channel: str) -> object:
        page = await subscribers(board.nodes, app.id, channel, Paging.of(request))
        return page.body(list(page.entries))

    async def its_history(request: Request, app: LiveApp, channel: str) -> object:
        return await history_page(board, app, channel, request.query_params)

    async def its_presence(request: Request, app: LiveApp, channel: str) -> object:
        return await presence_page(board, app, channel, request.query_params)

    async def send(request: Request, app: LiveApp, channel: str) -> object:
        await publish(board, app, channel, await read_json(request, TestEvent))
        about = await channel_view(board, app, channel)
        return {"ok": True, "subscription_count": about.subscription_count}

    def route(path: str, answer: Answer, method: str = "GET") -> Route:
        async def endpoint(request: Request) -> Response:
            return json(await answer(request, *_named(board, request)))

        return Route(f"/dashboard/api/v1/channels/{{app_id}}/{{channel}}{path}", endpoint, methods=[method])

    return [
        route("", about),
        route("/members", its_members),
        route("/subscribers", its_subscribers),
        route("/history", its_history),
        route("/presence-history", its_presence),
        route("/events", send, "POST"),
    ]


async def _found(board: Board, request: Request) -> tuple[ChannelQuery, Page[ChannelRow]]:
    query, paging = _asked_query(board, request), Paging.of(request)
    return query, await find_channels(board.nodes, query._replace(text=paging.q), paging)


def _asked_query(board: Board, request: Request) -> ChannelQuery:
    """What the URL of a list asks for, but for its text. Raises errors.APP_NOT_FOUND and errors.INVALID_INPUT."""
    kind = choice(request, "kind", ("", *KINDS))
    return ChannelQuery(
        asked_app(board, request), "", choice(request, "match", MATCHES), kind or None, choice(request, "sort", SORTS)
    )


def _named(board: Board, request: Request) -> tuple[LiveApp, str]:
    return known_app(board, path_part(request, "app_id")), path_part(request, "channel")
