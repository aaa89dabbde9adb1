"""Delta compression by channel in an app record: ``policy.channels.channel_delta_compression``
(spec: filters-deltas § 2.10).

A map from a pattern (an exact name, ``p*``, ``*s`` or ``p*s``) to one of the words ``inherit disabled fossil xdelta3``
or to an object of settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sockudo.config.problems import nearest
from sockudo.config.values import read_bool, read_number, read_text

__all__ = ["read_deltas"]

_ALGORITHMS = ("fossil", "xdelta3")
_WORDS = ("inherit", "disabled", *_ALGORITHMS)


def read_deltas(raw: Mapping[Any, Any], path: str, refuse: Callable[[str, str], None]) -> dict[str, Any]:
    """The same map with words in lower case and numbers for texts that are numbers; what is null is left out.

    ``refuse`` gets the path and the problem of each entry that cannot be used.
    """
    found: dict[str, Any] = {}
    for pattern, value in raw.items():
        where = f"{path}[{pattern!r}]"
        if not isinstance(pattern, str) or not pattern or pattern.count("*") > 1:
            refuse(where, "is no pattern: a channel name with at most one '*'")
        elif isinstance(value, Mapping):
            found[pattern] = _settings(value, where, refuse)
        else:
            try:
                found[pattern] = _word(value, _WORDS)
            except ValueError as error:
                refuse(where, f"= {value!r} {error}")
    return found


def _settings(raw: Mapping[Any, Any], path: str, refuse: Callable[[str, str], None]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in _READERS:
            guess = nearest(str(name), _READERS)
            refuse(f"{path}.{name}", "is not known" + (f"; did you mean '{guess}'?" if guess else ""))
        elif value is not None:
            try:
                found[name] = _READERS[name](value)
            except ValueError as error:
                refuse(f"{path}.{name}", f"= {value!r} {error}")
    return found


def _word(raw: object, words: tuple[str, ...]) -> str:
    word = raw.strip().lower() if isinstance(raw, str) else ""
    if word in words:
        return word
    raise ValueError(f"is none of {', '.join(words)}")


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "enabled": read_bool,
    "algorithm": lambda raw: _word(raw, _ALGORITHMS),
    "conflation_key": read_text,
    "max_messages_per_key": read_number,
    "max_conflation_keys": lambda raw: read_number(raw, 1),
    "enable_tags": read_bool,
}
