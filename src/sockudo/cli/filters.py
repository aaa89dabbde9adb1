"""Filters of a subscription (spec: filters-deltas § 1) in the words of the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from sockudo.cli.outcome import ExitCode, fail

__all__ = ["FILTER_HELP", "read_filter"]

FILTER_HELP: Final = (
    "Only events with such tags: venue=ldn, venue=ldn,nyc, venue!=ldn, size>5 (also >= < <=), name^=begins, "
    "name$=ends, name*=contains, venue (has one), !venue (has none); or the filter as JSON. "
    "May be repeated: all have to fit."
)

_WORDS: Final = re.compile(
    r"(?P<not>!?)(?P<key>[^!=<>^$*]+)(?:(?P<sign>!=|>=|<=|\^=|\$=|\*=|=|>|<)(?P<value>.*))?", re.DOTALL
)
_SIGNS: Final = {"^=": "sw", "$=": "ew", "*=": "ct", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_PARTS: Final = ("events", "tags", "expression")


def read_filter(texts: Sequence[str], events: Sequence[str]) -> dict[str, Any] | None:
    """The filter that all the options come to; None without any. Ends the command for one that cannot be read.

    Whether a server would take it is for the server to say.
    """
    names = list(events)
    nodes: list[Any] = []
    expressions: list[Any] = []
    for text in texts:
        parts = _json(text) if text.lstrip().startswith("{") else {"tags": _node(text)}
        names += parts.get("events") or []
        nodes += [parts["tags"]] if parts.get("tags") is not None else []
        expressions += [parts["expression"]] if parts.get("expression") is not None else []
    if len(expressions) > 1:
        fail("Only one --filter can have an expression.", ExitCode.USAGE, "Join them with && in one.")
    found: dict[str, Any] = {}
    if names:
        found["events"] = list(dict.fromkeys(names))
    if nodes:
        found["tags"] = nodes[0] if len(nodes) == 1 else {"op": "and", "nodes": nodes}
    if expressions:
        found["expression"] = expressions[0]
    return found or None


def _json(text: str) -> dict[str, Any]:
    """A filter with named parts, or one node of tags."""
    try:
        value: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, ValueError) else "nested too deeply"
        fail(f"--filter is not JSON: {reason}.", ExitCode.USAGE, """Example: --filter '{"events": ["tide-rise"]}'""")
    if not any(part in value for part in _PARTS):
        return {"tags": value}
    names = value.get("events")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        fail("--filter: events has to be an array of names.", ExitCode.USAGE)
    return value


def _node(text: str) -> dict[str, Any]:
    found = _WORDS.fullmatch(text)
    if found is None or (found["not"] and found["sign"]):
        fail(
            f"--filter: '{text}' cannot be read.",
            ExitCode.USAGE,
            "Use NAME=VALUE, NAME!=VALUE, NAME>5, NAME or !NAME, or JSON.",
        )
    key, sign, value = found["key"].strip(), found["sign"], found["value"]
    if sign is None:
        return {"key": key, "cmp": "nex" if found["not"] else "ex"}
    if sign not in ("=", "!="):
        return {"key": key, "cmp": _SIGNS[sign], "val": value}
    values = value.split(",")
    # The empty value can only be meant in a list.
    if len(values) > 1 or not value:
        return {"key": key, "cmp": "in" if sign == "=" else "nin", "vals": values}
    return {"key": key, "cmp": "eq" if sign == "=" else "neq", "val": value}
