"""What a subscribe may ask for besides the channel: a past, a filter, modes (spec: websocket § 6.3, 11.2 and 13.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sockudo import errors
from sockudo.protocol.filters import FilterOptions, Predicate, compile_filter

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["Rewind", "check_modes", "read_predicate", "read_rewind"]


@dataclass(frozen=True, slots=True)
class Rewind:
    """How much of the past to send: the newest ``count`` messages, or those of the last ``seconds``."""

    count: int | None = None
    seconds: int | None = None


def read_rewind(data: dict[str, Any]) -> Rewind | None:
    """The ``rewind`` of a subscribe; null is the same as absent. Raises errors.MISSING_FIELD for another shape."""
    value = data.get("rewind")
    if value is None:
        return None
    if isinstance(value, dict):
        if value.get("count") is not None:
            return Rewind(count=_positive(value["count"]))
        for name in ("seconds", "duration_seconds"):
            if value.get(name) is not None:
                return Rewind(seconds=_positive(value[name]))
    return Rewind(count=_positive(value))


def _positive(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise errors.MISSING_FIELD("Invalid message format: Invalid rewind option in subscription data")
    return value


def read_predicate(session: Session, data: dict[str, Any]) -> Predicate | None:
    """The filter of a subscribe; None for every message.

    Raises errors.FILTER_INVALID.
    """
    settings = session.gateway.settings
    names, tags = settings.event_name_filtering, settings.tag_filtering
    return compile_filter(
        data,
        FilterOptions(
            events_enabled=names.enabled,
            max_events=names.max_events_per_filter,
            max_event_name=names.max_event_name_length,
            tags_enabled=tags.enabled,
        ),
    )


def check_modes(data: dict[str, Any]) -> None:
    """The one mode there is needs annotations, which no channel of this server has.

    Raises errors.MISSING_FIELD for what is not an array of strings, errors.ANNOTATIONS_DISABLED for the mode.
    """
    modes = data.get("modes")
    if modes is None:
        return
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise errors.MISSING_FIELD("Invalid message format: Invalid modes in subscription data")
    if any(mode.replace("-", "_").upper() == "ANNOTATION_SUBSCRIBE" for mode in modes):
        raise errors.ANNOTATIONS_DISABLED("Channel error: Annotations are not enabled for this channel")
