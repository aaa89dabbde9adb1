"""The first page: how the server is doing now and how the last hour was (spec: platform § 8.1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.dashboard.concerns import concerns
from sockudo.dashboard.plots import PLOTS, TILES, numbers, shown
from sockudo.dashboard.replies import json, page
from sockudo.dashboard.samples import INTERVAL, News
from sockudo.dashboard.texts import duration
from sockudo.errors import CATALOGUE
from sockudo.monitoring.event_stream import EventStream, event_text

if TYPE_CHECKING:
    from sockudo.dashboard.board import Board
    from sockudo.dashboard.ring import Rows
    from sockudo.dashboard.samples import Samples

__all__ = ["MAX_STREAMS", "Feed", "event_stream", "routes"]


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


# ---- the page ----


_MINUTES: Final = (5, 15, 60)
_DEFAULT: Final = 15
_ERRORS: Final = 20
_LATEST: Final = 2**53


class _ErrorRow(NamedTuple):
    slug: str
    times: int
    per_minute: str
    code: str
    meaning: str


def routes(board: Board) -> list[Route]:
    """``/dashboard`` with the parts of it that are asked for again, and ``/dashboard/api/v1/overview``."""
    samples = board.samples

    async def overview(request: Request) -> Response:
        minutes, rows = _asked(request, samples)
        return page(
            board,
            request,
            "overview/index.html",
            tiles=[*TILES, *(tile for figures in board.figures for tile in figures.tiles)],
            plots=[*PLOTS, *(plot for figures in board.figures for plot in figures.plots)],
            numbers=numbers(rows),
            shown=shown,
            ranges=_MINUTES,
            newest=_time(rows.at[-1] / 1000) if rows.at else None,
            **await _state(board),
            **_errors(rows, minutes),
        )

    async def state(request: Request) -> Response:
        return page(board, request, "overview/state.html", block="main", **await _state(board))

    async def errors_table(request: Request) -> Response:
        minutes, rows = _asked(request, samples)
        return page(board, request, "overview/errors.html", block="main", **_errors(rows, minutes))

    async def series(request: Request) -> Response:
        return json(samples.body(_since(request)))

    async def stream(request: Request) -> Response:
        resumed = request.headers.get("last-event-id")
        after = _since(request) if resumed is None else _moment(resumed, "Last-Event-ID")
        return event_stream(board, request, samples.follow(after))

    return [
        Route("/dashboard", overview),
        Route("/dashboard/overview/state", state),
        Route("/dashboard/overview/errors", errors_table),
        Route("/dashboard/api/v1/overview", series),
        Route("/dashboard/api/v1/overview/stream", stream),
    ]


def _since(request: Request) -> int | None:
    given = request.query_params.get("since")
    return None if not given else _moment(given, "since")


def _moment(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= _LATEST):
        raise errors.INVALID_INPUT(f"'{name}' must be a time in Unix milliseconds")
    return int(text)


def _asked(request: Request, samples: Samples) -> tuple[int, Rows]:
    """How many minutes are to be shown, and their samples."""
    given = request.query_params.get("minutes")
    minutes = next((minutes for minutes in _MINUTES if str(minutes) == given), None)
    if given and minutes is None:
        raise errors.INVALID_INPUT(f"'minutes' must be one of: {', '.join(map(str, _MINUTES))}")
    ring = samples.ring
    minutes = minutes or (_MINUTES[0] if len(ring) * INTERVAL < _MINUTES[0] * 60 else _DEFAULT)
    return minutes, ring.rows(ring.number_after((ring.last_at or 0) - minutes * 60_000))


async def _state(board: Board) -> dict[str, Any]:
    clock = board.clock
    return {
        "health": await board.health.run(),
        "concerns": concerns(board),
        "nodes": await _nodes(board),
        "started": _time(board.started_at),
        "uptime": duration(clock.time() - board.started_at),
        "listeners": board.listeners,
        "process_id": board.settings.instance.process_id,
    }


class _Nodes(NamedTuple):
    """All nodes together, and which one the page is about."""

    number: int
    connections: int
    complete: bool
    here: str


async def _nodes(board: Board) -> _Nodes | None:
    if not board.nodes.several:
        return None
    found = await board.nodes.views()
    connections = sum(view.report.connections for view in found.nodes if view.report is not None)
    return _Nodes(len(found.nodes), connections, found.complete, board.nodes.here)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _errors(rows: Rows, minutes: int) -> dict[str, Any]:
    """The errors of these samples, the most frequent first."""
    totals = sorted(((sum(counts), slug) for slug, counts in rows.counts.items()), key=lambda each: (-each[0], each[1]))
    covered = max(1, len(rows.at)) * INTERVAL / 60
    found = [_error_row(slug, count, count / covered) for count, slug in totals[:_ERRORS]]
    return {"error_rows": found, "error_kinds": len(totals), "minutes": minutes}


def _error_row(slug: str, count: int, per_minute: float) -> _ErrorRow:
    spec = CATALOGUE.get(slug)
    rate = f"{per_minute:,.1f}" if per_minute >= 0.1 else "< 0.1"
    if spec is None:
        return _ErrorRow(slug, count, rate, "–", "–")
    codes = [f"WebSocket {spec.ws}"] if spec.ws is not None else []
    codes += [f"HTTP {spec.status}"] if spec.status is not None else []
    return _ErrorRow(slug, count, rate, ", ".join(codes) or "–", spec.meaning)
