"""A message as predicates look at it: what several of them need is made once
(spec: filters-deltas § 1.4, 1.5 and 1.9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sockudo.protocol.filters.limits import MAX_DOCUMENT
from sockudo.protocol.filters.values import decimal
from sockudo.protocol.frames import Frame
from sockudo.protocol.json_text import too_deep

if TYPE_CHECKING:
    from sockudo.protocol.filters.shared_budget import SharedBudget

__all__ = ["MessageView", "ProjectionError", "is_filterable"]

# What clients keep their member lists and counts by: delivered with every filter.
_NEVER_FILTERED: Final = frozenset(
    f"pusher_internal:{event}" for event in ("member_added", "member_removed", "presence_update", "subscription_count")
)
_NO_TAGS: Final[Mapping[str, str]] = {}
_ACTIONS: Final = frozenset({"create", "update", "delete", "append", "summary"})
_HIDDEN_HEADERS: Final = "sockudo_"
_BRACKET_FIRST: Final = re.compile(r"[ \t\r\n]*+[{\[]")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def is_filterable(frame: Frame) -> bool:
    """Whether predicates have a say: not over the frames that keep a client's view of a channel's members right."""
    return frame.event not in _NEVER_FILTERED


class ProjectionError(Exception):
    """A message of which an expression cannot be asked. ``reason`` is one of `MessageView`'s."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MessageView:
    """One frame on its way to any number of subscriptions. Short-lived; the frame is not altered meanwhile.

    ``on_error`` is called with a reason and a predicate's id when an expression could not be evaluated, which counts
    as no match, once per message and predicate. Reasons: ``too_large`` and ``unprojectable`` (of the message),
    ``evaluation``, ``budget``, ``tripped`` for the exhausted budget after which the predicate is switched off, and
    ``message_budget`` where ``budget``, the work for all expressions, was used up; without one only each has its own.
    """

    __slots__ = ("_document", "_numbers", "budget", "event", "frame", "on_error", "tags", "verdicts")

    def __init__(
        self,
        frame: Frame,
        on_error: Callable[[str, str], None] | None = None,
        budget: SharedBudget | None = None,
    ) -> None:
        self.frame = frame
        self.budget = budget
        self.event = frame.event
        self.tags: Mapping[str, str] = frame.tags or _NO_TAGS
        self.on_error = on_error
        self.verdicts: dict[object, bool] = {}
        self._numbers: dict[str, float | None] = {}
        self._document: dict[str, Any] | str | None = None

    def number(self, key: str) -> float | None:
        """The number that a tag stands for, None where there is no such tag or it is no number."""
        try:
            return self._numbers[key]
        except KeyError:
            text = self.tags.get(key)
            number = self._numbers[key] = None if text is None else decimal(text)
            return number

    def document(self) -> dict[str, Any]:
        """What expressions see of the message (spec: filters-deltas § 1.5), decoded JSON that is never altered.

        Raises ProjectionError when it is larger than `MAX_DOCUMENT` or has what JSON or expressions do not allow.
        """
        if self._document is None:
            try:
                self._document = _document(self.frame)
            except ProjectionError as problem:
                self._document = problem.reason
        if isinstance(self._document, str):
            raise ProjectionError(self._document)
        return self._document


def _document(frame: Frame) -> dict[str, Any]:
    headers = frame.extras.get("headers") if frame.extras else None
    document = {
        "event": frame.event,
        "channel": frame.channel,
        "name": frame.name,
        "userId": frame.user_id,
        "messageId": frame.message_id,
        "streamId": frame.stream_id,
        "data": _data(frame.data),
        "tags": None if frame.tags is None else dict(sorted(frame.tags.items())),
        "headers": None if headers is None else _headers(headers),
        "serial": frame.serial,
        "action": None if headers is None else _action(headers),
    }
    try:
        size = len(_encode(document))
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise ProjectionError("unprojectable") from None
    if size > MAX_DOCUMENT:
        raise ProjectionError("too_large")
    return document


def _data(data: str | msgspec.Raw | None) -> Any:
    """The data as expressions see it: a string that holds an object or an array is that object or array."""
    if data is None:
        return None
    # Larger than the document may be: not worth decoding.
    if len(data if isinstance(data, str) else memoryview(data)) > MAX_DOCUMENT:
        raise ProjectionError("too_large")
    if isinstance(data, msgspec.Raw):
        try:
            value = _decode(data)
        except (msgspec.DecodeError, RecursionError):
            raise ProjectionError("unprojectable") from None
        if not isinstance(value, str):
            return value
        data = value
    if not _BRACKET_FIRST.match(data):
        return data
    try:
        text = data.encode()
        return data if too_deep(text) is not None else _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return data


def _headers(headers: Any) -> dict[str, Any]:
    if not isinstance(headers, dict):
        raise ProjectionError("unprojectable")
    shown = {key: value for key, value in sorted(headers.items()) if not key.startswith(_HIDDEN_HEADERS)}
    if any(not isinstance(value, str | int | float) for value in shown.values()):
        raise ProjectionError("unprojectable")
    return shown


def _action(headers: dict[str, Any]) -> str | None:
    """The word for what a versioned message does, as in the server's own header (spec: filters-deltas § 1.5)."""
    action = headers.get("sockudo_action")
    if not isinstance(action, str):
        return None
    word = action.removeprefix("message.")
    return word if word in _ACTIONS else None
