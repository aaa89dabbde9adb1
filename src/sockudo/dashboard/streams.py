"""Event streams of the dashboard: a limited number of them, each of which ends with the session that opened it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from sockudo import errors
from sockudo.dashboard.samples import News
from sockudo.monitoring.event_stream import EventStream, event_text

if TYPE_CHECKING:
    from sockudo.dashboard.board import Board

__all__ = ["MAX_STREAMS", "Feed", "event_stream"]

MAX_STREAMS: Final = 64
"""Event streams at a time; another one is refused."""


def event_stream(board: Board, request: Request, news: Callable[[], News | None]) -> EventStream:
    """Sends what ``news`` answers, which is asked a few times a second, until session, client or server are gone.

    Raises `errors.SERVICE_UNAVAILABLE` when too many streams are open.
    """
    if len(board.streams) >= MAX_STREAMS:
        raise errors.SERVICE_UNAVAILABLE(f"{MAX_STREAMS} event streams are open already", retry_after=5)
    return board.streams.open(Feed(board, request, news))


class Feed:
    """The events of one stream."""

    def __init__(self, board: Board, request: Request, news: Callable[[], News | None]) -> None:
        self._board = board
        self._session = request.state.session
        self._news = news
        # So that the page sees at once that the stream is open.
        self._due = b": hello\n\n"

    def poll(self) -> tuple[bytes, bool]:
        """What has happened since it was asked last; nothing more once the session is over."""
        board = self._board
        if board.streams.stopped or not board.sessions.holds(self._session, board.credentials.version()):
            return b"", True
        text, self._due = self._due, b""
        news = self._news()
        return text if news is None else text + event_text(news.event, news.data, str(news.at)), False
