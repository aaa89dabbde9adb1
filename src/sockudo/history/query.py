"""What can be asked of a history, over HTTP and over a socket, and what operators may do to a stream by hand
(spec: history § 6 and 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from sockudo import errors
from sockudo.base.stream_records import WHOLE_STREAM, Bounds, Direction, Position

__all__ = [
    "PAGE_PARAMETERS",
    "HistoryQuery",
    "Purge",
    "Reset",
    "check_query",
    "http_query",
    "socket_query",
    "whole_number",
]


_DIRECTIONS: Final[dict[str, Direction]] = {
    "newest_first": "newest_first",
    "backwards": "newest_first",
    "reverse": "newest_first",
    "oldest_first": "oldest_first",
    "forwards": "oldest_first",
    "forward": "oldest_first",
}
_INT64: Final = 1 << 63
_SOCKET_LIMIT: Final = 100
_MAX_SOCKET_LIMIT: Final = 1000


class HistoryQuery(NamedTuple):
    """A request for a page. ``limit`` of None is the server's page size.

    ``until_attach`` asks for nothing above the place at which the connection attached.
    """

    limit: int | None = None
    direction: Direction = "newest_first"
    cursor: str | None = None
    bounds: Bounds = WHOLE_STREAM
    until_attach: bool = False

    def bounded_by(self, attach: Position) -> HistoryQuery:
        """The same with `until_attach` applied."""
        end = self.bounds.end_serial
        end = attach.serial if end is None else min(end, attach.serial)
        return self._replace(bounds=self.bounds._replace(end_serial=end))


def check_query(query: HistoryQuery, subject: str = "History") -> None:
    """Raises errors.HISTORY_QUERY for a query that cannot be meant; ``subject`` is what is asked for."""
    start, end, start_ms, end_ms = query.bounds
    if query.limit == 0:
        raise errors.HISTORY_QUERY(f"{subject} limit must be greater than 0")
    if start is not None and end is not None and start > end:
        raise errors.HISTORY_QUERY("start_serial must be less than or equal to end_serial")
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise errors.HISTORY_QUERY("start_time_ms must be less than or equal to end_time_ms")


PAGE_PARAMETERS: Final = (
    "limit",
    "direction",
    "cursor",
    "start_serial",
    "end_serial",
    "start_time_ms",
    "start",
    "end_time_ms",
    "end",
)
"""What `http_query` reads of a URL, besides the place at which a connection attached."""


def http_query(parameters: Mapping[str, str]) -> HistoryQuery:
    """From the decoded parameters of a URL; unknown ones are ignored. Raises errors.HISTORY_QUERY.

    A page can end at a given ``attach_serial`` here too, for proxies that pass a socket's request on.
    """
    direction = parameters.get("direction", "newest_first")
    if direction.lower() not in _DIRECTIONS:
        raise errors.HISTORY_QUERY(
            f"Invalid direction '{direction[:100]}'. Accepted values: newest_first, oldest_first, backwards, forwards"
        )
    query = HistoryQuery(
        whole_number(parameters, "limit", low=0),
        _DIRECTIONS[direction.lower()],
        parameters.get("cursor"),
        Bounds(
            whole_number(parameters, "start_serial", low=0),
            whole_number(parameters, "end_serial", low=0),
            whole_number(parameters, "start_time_ms", "start"),
            whole_number(parameters, "end_time_ms", "end"),
        ),
    )
    # Proxies pass a socket's request on as their language prints it: Python has "True".
    until_attach = parameters.get("until_attach", "false").lower()
    if until_attach not in {"true", "false", "1", "0"}:
        raise errors.HISTORY_QUERY("until_attach must be true or false")
    if until_attach in {"false", "0"}:
        return query
    attach = whole_number(parameters, "attach_serial", low=0)
    if attach is None:
        raise errors.HISTORY_QUERY("until_attach needs attach_serial here")
    return query.bounded_by(Position("", attach))


def socket_query(parameters: Mapping[str, Any]) -> HistoryQuery:
    """From the decoded parameters of a frame, null ones as if absent. Raises errors.HISTORY_QUERY.

    Here ``start`` and ``end`` are serials, and directions are case-sensitive.
    """
    parameters = {name: value for name, value in parameters.items() if value is not None}
    direction = parameters.get("direction", "backwards")
    if not isinstance(direction, str) or direction not in _DIRECTIONS:
        raise errors.HISTORY_QUERY(f"Unsupported history direction: {str(direction)[:100]}")
    cursor = parameters.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise errors.HISTORY_QUERY("cursor must be a string")
    until_attach = parameters.get("until_attach", parameters.get("untilAttach", False))
    if not isinstance(until_attach, bool):
        raise errors.HISTORY_QUERY("until_attach must be true or false")
    limit = whole_number(parameters, "limit", low=0)
    return HistoryQuery(
        _SOCKET_LIMIT if limit is None else min(limit, _MAX_SOCKET_LIMIT),
        _DIRECTIONS[direction],
        cursor,
        Bounds(
            whole_number(parameters, "start_serial", "start", low=0),
            whole_number(parameters, "end_serial", "end", low=0),
            whole_number(parameters, "start_time_ms"),
            whole_number(parameters, "end_time_ms"),
        ),
        until_attach,
    )


def whole_number(parameters: Mapping[str, Any], *names: str, low: int = -_INT64) -> int | None:
    """The whole number under the first of ``names`` that is there, as a number or in decimal.

    Raises errors.HISTORY_QUERY for anything else, and below ``low``.
    """
    name = next((name for name in names if name in parameters), None)
    if name is None:
        return None
    value = parameters[name]
    if isinstance(value, str) and len(value) <= 20 and value.removeprefix("-").isascii():
        value = int(value) if value.removeprefix("-").isdecimal() else None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value < _INT64:
        unsigned = " of 0 or more" if low == 0 else ""
        raise errors.HISTORY_QUERY(f"{name} must be a whole number{unsigned}")
    return value


_Serial = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Time = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Reset(msgspec.Struct):
    """The body of a reset: everything is dropped, and the channel goes on as a new stream."""

    confirm_channel: str
    confirm_operation: str
    reason: str
    requested_by: str | None = None

    def check(self, channel: str) -> None:
        """Raises errors.INVALID_INPUT unless the request means this channel and this operation."""
        _confirm(self, channel, "reset")

    def echo(self) -> dict[str, Any]:
        """What the reply repeats of the request."""
        return {"ok": True, "operation": "reset", **_who(self)}


class Purge(msgspec.Struct, kw_only=True):
    """The body of a purge: rows strictly before a bound are dropped, or all; the stream goes on."""

    confirm_channel: str
    confirm_operation: str
    reason: str
    requested_by: str | None = None
    mode: Literal["all", "before_serial", "before_time_ms"]
    before_serial: _Serial | None = None
    before_time_ms: _Time | None = None

    def check(self, channel: str) -> None:
        """Raises errors.INVALID_INPUT, also for bounds that the mode does not have."""
        _confirm(self, channel, "purge")
        given = {"before_serial": self.before_serial, "before_time_ms": self.before_time_ms}
        present = [name for name, value in given.items() if value is not None]
        if self.mode == "all" and present:
            raise errors.INVALID_INPUT("Purge mode 'all' does not accept bounds")
        if self.mode != "all" and present != [self.mode]:
            raise errors.INVALID_INPUT(f"Purge mode '{self.mode}' requires {self.mode} only")

    def echo(self) -> dict[str, Any]:
        """What the reply repeats of the request."""
        bounds = {"before_serial": self.before_serial, "before_time_ms": self.before_time_ms}
        return {"ok": True, "operation": "purge", **_who(self), "mode": self.mode, **bounds}


def _confirm(request: Reset | Purge, channel: str, operation: str) -> None:
    if request.confirm_channel != channel:
        raise errors.INVALID_INPUT("confirm_channel must exactly match the channel path")
    if request.confirm_operation != operation:
        raise errors.INVALID_INPUT(f"confirm_operation must be '{operation}'")
    if not request.reason.strip():
        raise errors.INVALID_INPUT("reason must not be empty")


def _who(request: Reset | Purge) -> dict[str, Any]:
    return {"channel": request.confirm_channel, "reason": request.reason, "requested_by": request.requested_by}
