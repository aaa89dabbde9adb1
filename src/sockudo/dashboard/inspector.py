"""The live inspector: what happens in an app, a channel, with a user or a connection, as it happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.dashboard.board import Board
from sockudo.dashboard.replies import page
from sockudo.inspector.explained import SELECTING, read_selection
from sockudo.inspector.lines import LABELS

if TYPE_CHECKING:
    from sockudo.dashboard.sessions import Session
    from sockudo.errors import SockudoError

__all__ = ["routes"]

_FIELDS = ("app_id", *SELECTING)


def routes(board: Board) -> list[Route]:
    """``/dashboard/inspector``, and the event stream that it shows."""

    async def show(request: Request) -> Response:
        given = _given(request)
        chosen = {word.strip() for word in given["kinds"].split(",") if word.strip()}
        return page(
            board,
            request,
            "inspector/index.html",
            given=given,
            kinds=[(kind, label, not chosen or kind in chosen) for kind, label in LABELS.items()],
            apps=sorted(app.id for app in board.apps.all()),
        )

    async def stream(request: Request) -> Response:
        given = _given(request)
        selection = read_selection(given["app_id"] or None, given)
        refuse = _watch_session(board, request.state.session)
        return board.tails.follow(selection, refuse=refuse, with_lines=True)

    return [
        Route("/dashboard/inspector", show),
        Route("/dashboard/api/v1/inspector/stream", stream),
    ]


def _given(request: Request) -> dict[str, str]:
    return {name: request.query_params.get(name, "").strip() for name in _FIELDS}


def _watch_session(board: Board, session: Session) -> Callable[[], SockudoError | None]:
    """Ends a stream with the session that opened it."""

    def refuse() -> SockudoError | None:
        holds = board.sessions.holds(session, board.credentials.version())
        return None if holds else errors.LOGIN_REQUIRED()

    return refuse
