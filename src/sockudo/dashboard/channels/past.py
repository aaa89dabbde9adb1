"""What a channel has kept: its messages and the comings and goings of its members, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.dashboard.texts import pretty
from sockudo.errors import SockudoError
from sockudo.history import History, PresenceHistory, http_query
from sockudo.protocol.names import channel_kind, check_channel_name

if TYPE_CHECKING:
    from sockudo.dashboard.board import Board

__all__ = ["Past", "ShownMessage", "history_page", "presence_page", "read_past", "shown_messages"]


class Past(NamedTuple):
    """A page and the state of its stream; ``error`` is why one of them is None."""

    page: dict[str, Any] | None
    stream: dict[str, Any] | None
    error: SockudoError | None


class ShownMessage(NamedTuple):
    """A stored message for people: ``data`` and ``rest``, what else the frame has, are text."""

    serial: int
    at_ms: int
    event: str
    message_id: str
    size: int
    data: str
    rest: str


async def history_page(board: Board, app: LiveApp, channel: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """A page of messages as `sockudo.history.History.page` gives it; ``parameters`` are those of its URL.

    Raises errors.CHANNEL_NAME, errors.HISTORY_DISABLED and what the history raises.
    """
    return await _history(board, app, channel).page(app.id, channel, http_query(parameters))


async def presence_page(board: Board, app: LiveApp, channel: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """A page of comings and goings. Raises errors.CHANNEL_NAME, errors.FEATURE_DISABLED and what the history raises."""
    return await _presence_history(board, app, channel).page(app.id, channel, http_query(parameters))


async def read_past(board: Board, app: LiveApp, channel: str, parameters: Mapping[str, str], *, presence: bool) -> Past:
    """A page and the stream's state for a page that shows both, and what is wrong with either; raises nothing."""
    page: dict[str, Any] | None = None
    stream: dict[str, Any] | None = None
    error: SockudoError | None = None
    try:
        read = presence_page if presence else history_page
        page = await read(board, app, channel, parameters)
    except SockudoError as problem:
        error = problem
        if error.spec is errors.HISTORY_UNAVAILABLE:
            # A store that does not answer is waited for once.
            return Past(None, None, error)
    try:
        history = _presence_history(board, app, channel) if presence else _history(board, app, channel)
        stream = (await history.state(app.id, channel))["stream"]
    except SockudoError as problem:
        error = error or problem
    return Past(page, stream, error)


def shown_messages(page: dict[str, Any]) -> list[ShownMessage]:
    """The messages of a page, their data with line breaks where it is JSON."""
    return [_shown(item) for item in page["items"]]


def _shown(item: dict[str, Any]) -> ShownMessage:
    try:
        frame = msgspec.json.decode(item["message"])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        frame = None
    rest: dict[str, Any] = {}
    data: Any = item["message"]
    if isinstance(frame, dict):
        data = frame.get("data")
        rest = {name: value for name, value in frame.items() if name in ("tags", "extras", "user_id", "name")}
    return ShownMessage(
        item["serial"],
        item["published_at_ms"],
        item["event_name"] or "",
        item["message_id"] or "",
        item["payload_size_bytes"],
        "" if data is None else pretty(data),
        pretty(rest) if rest else "",
    )


def _history(board: Board, app: LiveApp, channel: str) -> History:
    # Streams of other names are the server's own.
    check_channel_name(channel, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)
    if app.streams is None or app.streams.of(channel).history is None:
        raise errors.HISTORY_DISABLED(f"Durable history is disabled by policy for channel '{channel[:200]}'")
    return board.history.service


def _presence_history(board: Board, app: LiveApp, channel: str) -> PresenceHistory:
    check_channel_name(channel, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)
    if not channel_kind(channel).presence:
        raise errors.INVALID_INPUT("Only presence channels have a presence history")
    if app.streams is None or app.streams.of(channel).presence_history is None:
        raise errors.FEATURE_DISABLED(f"Presence history is disabled by policy for channel '{channel[:200]}'")
    return board.presence_history.service
