"""The filter of a subscribe to a predicate (spec: filters-deltas § 1.1, 1.4, 1.7 and 1.8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sockudo.protocol.filters.limits import MAX_EVENT_NAME, MAX_EVENTS, invalid, longer
from sockudo.protocol.filters.predicate import Predicate

__all__ = ["FilterOptions", "compile_filter"]

_COMPONENTS = ("events", "tags", "expression")


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """What of a filter is evaluated, and how many event names of how many bytes it may have.

    From ``event_name_filtering`` and ``tag_filtering`` of the configuration; everything is validated all the same.
    """

    events_enabled: bool = True
    max_events: int = 50
    max_event_name: int = 200
    tags_enabled: bool = False


def compile_filter(data: Mapping[str, Any], options: FilterOptions) -> Predicate | None:
    """The predicate of a subscribe with this decoded ``data``, None when every message is wanted.

    Raises errors.FILTER_INVALID for each shape, size and expression that is not allowed, whatever is in
    ``data``, and takes no longer for a large filter than for the largest allowed one. Call it before anything else is
    done for the subscribe. A new predicate each time: see `SharedPredicates`.
    """
    value = data.get("filter")
    if value is None:
        value = data.get("tags_filter")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("Invalid tags filter shape: the filter must be an object")
    if any(name in value for name in _COMPONENTS):
        events, tags, expression = (value.get(name) for name in _COMPONENTS)
    else:
        events, tags, expression = None, value, None

    names = [] if events is None else _events(events, options)
    source = None if expression is None else _source(expression)
    predicate = Predicate(names, tags, source)
    if not options.tags_enabled:
        return Predicate(names) if names else None
    return predicate if names or tags is not None or source is not None else None


def _events(events: Any, options: FilterOptions) -> list[str]:
    """The names to look for, none when they are not to be evaluated."""
    if not isinstance(events, list):
        raise invalid("filter.events must be an array of non-empty strings")
    limit = min(options.max_events, MAX_EVENTS)
    if options.events_enabled and len(events) > limit:
        raise invalid(f"filter.events exceeds maximum of {limit} event names")
    if not all(isinstance(name, str) and name for name in events):
        raise invalid("filter.events must contain only non-empty strings")
    if not options.events_enabled:
        return []
    longest = min(options.max_event_name, MAX_EVENT_NAME)
    if any(longer(name, longest) for name in events):
        raise invalid(f"an event name in filter.events exceeds maximum length of {longest} characters")
    return events


def _source(expression: Any) -> str:
    if isinstance(expression, dict):
        language = expression.get("language")
        if language is not None and language != "jmespath":
            raise invalid("Unsupported filter expression language")
        expression = expression.get("source")
    if not isinstance(expression, str) or not expression:
        raise invalid("filter.expression must be a JMESPath string or object")
    return expression
