"""Pages and API of the area Channels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.signing import path_part
from sockudo.dashboard.asked import Form, asked_app, channel_url, choice, known_app, read_form, read_json
from sockudo.dashboard.board import Board
from sockudo.dashboard.channels.detail import ChannelView, TestEvent, channel_view, members, publish, subscribers
from sockudo.dashboard.channels.listing import KINDS, MATCHES, SORTS, ChannelQuery, ChannelRow, find_channels
from sockudo.dashboard.channels.past import history_page, presence_page, read_past, shown_messages
from sockudo.dashboard.paging import Page, Paging
from sockudo.dashboard.replies import json, page, redirect
from sockudo.errors import SockudoError

__all__ = ["channel_page", "list_page", "publish_form", "routes"]


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


# ---- pages ----


_TEST_EVENT: Final = {"name": "my-event", "data": '{"message": "hello"}'}
_HISTORY_LIMIT: Final = "50"


def list_page(board: Board, request: Request, query: ChannelQuery, found: Page[ChannelRow]) -> Response:
    """The search and what it has found."""
    return page(
        board,
        request,
        "channels/index.html",
        block="results",
        query=query,
        found=found,
        kinds=[("", "All kinds"), *((kind, kind) for kind in KINDS)],
        apps=[app.id for app in board.apps.all()],
    )


async def channel_page(board: Board, request: Request, app: LiveApp, name: str, view: str) -> Response:
    """One channel, or one of its views. Raises errors.NOT_FOUND for a view that it does not have."""
    if not name:
        raise errors.INVALID_INPUT("'channel' is missing: it is the name of the channel")
    about = await channel_view(board, app, name)
    if view not in _views(about):
        raise errors.NOT_FOUND(f"A {about.kind} channel has no such page")
    more: dict[str, Any] = {"form": _TEST_EVENT, "error": None}
    if view in ("subscribers", "members"):
        place = board.nodes, app.id, name, Paging.of(request)
        more = {"found": await subscribers(*place) if view == "subscribers" else await members(*place)}
    elif view:
        asked = {"limit": _HISTORY_LIMIT, **dict(request.query_params)}
        past = await read_past(board, app, name, asked, presence=view == "presence-history")
        more = {"past": past, "messages": [], "cursor": request.query_params.get("cursor")}
        if view == "history" and past.page is not None:
            more["messages"] = shown_messages(past.page)
    return _page(board, request, about, view, **more)


async def publish_form(board: Board, request: Request) -> Response:
    """Publishes the event of a form; what it is refused with is shown beside the form, which keeps what was typed."""
    form = await read_form(request)
    app = known_app(board, form.get("app_id"))
    name = form.get("channel")
    try:
        event = _event(form)
        await publish(board, app, name, event)
    except SockudoError as error:
        about = await channel_view(board, app, name)
        given = {"name": form.get("name"), "data": form.get("data")}
        return _page(board, request, about, "", status=error.spec.status or 500, form=given, error=error)
    count = (await channel_view(board, app, name)).subscription_count
    notice = f"“{event.name}” was published; {count:,} connection{'' if count == 1 else 's'} subscribed"
    return redirect(request, channel_url(app.id, name), notice)


def _event(form: Form) -> TestEvent:
    if not form.get("name"):
        raise errors.INVALID_INPUT("The event needs a name")
    # Browsers send line breaks as CR LF.
    return TestEvent(form.get("name"), form.get("data").replace("\r\n", "\n"))


def _views(about: ChannelView) -> dict[str, str]:
    """The pages that the channel has, and how they are called."""
    views = {"": "Channel", "subscribers": "Subscribers"}
    if about.user_count is not None:
        views["members"] = "Members"
    if about.history:
        views["history"] = "History"
    if about.presence_history:
        views["presence-history"] = "Presence history"
    return views


def _page(board: Board, request: Request, about: ChannelView, view: str, *, status: int = 200, **more: Any) -> Response:
    template = f"channels/{view or 'channel'}.html"
    return page(
        board,
        request,
        template,
        block="live",
        status=status,
        about=about,
        view=view,
        views=_views(about),
        **more,
    )
