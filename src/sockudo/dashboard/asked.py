"""What an operator chose for a list, read from a URL; and the way to a page that is about something with a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode

from starlette.requests import Request

from sockudo import errors

if TYPE_CHECKING:
    from sockudo.apps.live import LiveApp
    from sockudo.dashboard.board import Board

__all__ = ["asked_app", "channel_url", "choice", "connection_url", "inspector_url", "known_app"]

W = TypeVar("W", bound=str)


def choice(request: Request, name: str, words: Sequence[W]) -> W:
    """The word that was chosen; the first one where none was. Raises `errors.INVALID_INPUT` for another."""
    given = request.query_params.get(name)
    if not given:
        return words[0]
    for word in words:
        if word == given:
            return word
    raise errors.INVALID_INPUT(f"'{name}' must be one of: {', '.join(words)}")


def asked_app(board: Board, request: Request) -> str | None:
    """The app in the query; None for all apps. Raises `errors.APP_NOT_FOUND`."""
    given = request.query_params.get("app_id")
    return known_app(board, given).id if given else None


def known_app(board: Board, app_id: str) -> LiveApp:
    """The app of this id; raises `errors.APP_NOT_FOUND`."""
    app = board.apps.by_id(app_id)
    if app is None:
        raise errors.APP_NOT_FOUND(f"No app has the id '{app_id[:100]}'")
    return app


def channel_url(app_id: str, channel: str, view: str = "", **query: str) -> str:
    """The page of a channel, or one of its views."""
    if channel in (".", ".."):
        # A browser would take these out of a path, escaped or not.
        asked = {"app_id": app_id, "channel": channel, **({"view": view} if view else {}), **query}
        return f"/dashboard/channels/open?{urlencode(asked)}"
    path = f"/dashboard/channels/{quote(app_id, safe='')}/{quote(channel, safe='')}{'/' if view else ''}{view}"
    return f"{path}?{urlencode(query)}" if query else path


def connection_url(socket_id: str, app_id: str) -> str:
    """The page of a connection."""
    return f"/dashboard/connections/{quote(socket_id, safe='')}?{urlencode({'app_id': app_id})}"


def inspector_url(**selection: str) -> str:
    """The live inspector for this selection."""
    return f"/dashboard/inspector?{urlencode(selection)}"
