"""The pages of the area Channels."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.dashboard.asked import channel_url, known_app
from sockudo.dashboard.board import Board
from sockudo.dashboard.bodies import Form, read_form
from sockudo.dashboard.channels.detail import ChannelView, TestEvent, channel_view, members, publish, subscribers
from sockudo.dashboard.channels.listing import KINDS, ChannelQuery, ChannelRow
from sockudo.dashboard.channels.past import shown_messages, told
from sockudo.dashboard.paging import Page, Paging
from sockudo.dashboard.replies import page, redirect
from sockudo.errors import SockudoError

__all__ = ["channel_page", "list_page", "publish_form"]

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
        past = await told(board, app, name, asked, presence=view == "presence-history")
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
