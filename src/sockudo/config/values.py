"""From what stands in a file or a variable to a value of the declared kind (spec: platform § 1.2).

Texts are read alike wherever they stand, so a file may hold ``"${PORT}"`` where a number belongs. A value that cannot
be used raises ValueError with the end of a sentence that begins with the key and the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sockudo.config.keys import U32, Key
from sockudo.config.problems import nearest
from sockudo.config.schema import Setting

__all__ = ["read_bool", "read_list", "read_number", "read_servers", "read_text", "read_value"]

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")
_WITH_UNIT = re.compile(r"[0-9.]+ *[A-Za-z%]+")
_UNITS = {"s": "seconds", "ms": "milliseconds", "KB": "kilobytes", "MB": "megabytes", "%": "percent"}
_NO_NUMBER = frozenset({"none", "null"})
_NOTHING = _NO_NUMBER | {"0"}


def read_value(setting: Setting, raw: object) -> Any:
    """The value for a key. ``apps`` are not read here."""
    value = _read(setting, raw)
    problem = setting.key.check(value) if setting.key.check is not None else None
    if problem is not None:
        raise ValueError(problem)
    return value


def _read(setting: Setting, raw: object) -> Any:
    key = setting.key
    match setting.kind:
        case "bool":
            return read_bool(raw)
        case "int":
            return _counted(key, raw, key.low)
        case "count":
            nothing = _NO_NUMBER if key.keeps_zero else _NOTHING
            if raw is None or str(raw).strip().lower() in nothing:
                return None
            return _counted(key, raw, key.low if key.keeps_zero else max(key.low, 1), or_none=True)
        case "list" if key.default_port:
            return read_servers(raw, key.default_port)
        case "list":
            return read_list(raw)
        case "text or none" if raw is None or raw == "":
            return None
        case _:
            text = read_text(raw)
            return _choose(key, text) if key.choices else text


def _counted(key: Key, raw: object, low: int, *, or_none: bool = False) -> int:
    """A number of the key's unit; for text with a unit in it, the refusal names the unit that counts."""
    if isinstance(raw, str):
        raw = dict(key.aliases).get(raw.strip().lower(), raw)
    try:
        return read_number(raw, low, key.high, or_none=or_none)
    except ValueError as error:
        if key.unit and isinstance(raw, str) and _WITH_UNIT.fullmatch(raw.strip()):
            raise ValueError(f"{error}: it counts {_UNITS.get(key.unit, key.unit)}, write the number alone") from None
        raise


def read_bool(raw: object) -> bool:
    """A boolean, or one of the words for it in any case."""
    if isinstance(raw, bool):
        return raw
    word = raw.strip().lower() if isinstance(raw, str) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("is neither true nor false")


def read_number(raw: object, low: int = 0, high: int = U32, *, or_none: bool = False) -> int:
    """A whole number from ``low`` to ``high``, or text that is one."""
    number: int | None = None
    if isinstance(raw, int) and not isinstance(raw, bool):
        number = raw
    elif isinstance(raw, str) and _NUMBER.fullmatch(raw.strip()):
        number = int(raw)
    if number is None or not low <= number <= high:
        bounds = (
            f"from {low} to {high}" if high < U32 or (number is not None and number > high) else f"of {low} or more"
        )
        raise ValueError(f"is not a whole number {bounds}{' or none' if or_none else ''}")
    return number


def read_text(raw: object) -> str:
    """Text; anything else is refused, since a number that stands for a text loses its leading zeros."""
    if isinstance(raw, str):
        return raw
    raise ValueError("is not text: put it in quotes")


def read_list(raw: object) -> tuple[str, ...]:
    """A list of texts, or one text with commas."""
    if isinstance(raw, str):
        return tuple(part for part in (piece.strip() for piece in raw.split(",")) if part)
    if isinstance(raw, (list, tuple)) and all(isinstance(part, str) for part in raw):
        return tuple(raw)
    raise ValueError("is not a list of texts")


def read_servers(raw: object, default_port: int) -> tuple[str, ...]:
    """A list of servers: texts, or tables of ``host`` and ``port``; or one text with commas."""
    if isinstance(raw, (list, tuple)):
        raw = tuple(_server(each, default_port) if isinstance(each, Mapping) else each for each in raw)
    return tuple(_with_port(text, default_port) for text in read_list(raw))


def _server(table: Mapping[str, object], default_port: int) -> str:
    host = table.get("host", "localhost")
    if not isinstance(host, str) or not host or not set(table) <= {"host", "port"}:
        raise ValueError("is not a list of servers: each is a text like 'host:port', or a table of host and port")
    port = read_number(table.get("port", default_port), 1, 65_535)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _with_port(text: str, default_port: int) -> str:
    if "://" in text or (text.startswith("[") and "]:" in text):
        return text
    if text.count(":") > 1:
        return f"{text if text.startswith('[') else f'[{text}]'}:{default_port}"
    return text if ":" in text else f"{text}:{default_port}"


def _choose(key: Key, text: str) -> str:
    word = text.strip().lower()
    word = dict(key.aliases).get(word, word)
    if word in key.choices:
        return word
    quoted = [f"'{choice}'" for choice in key.choices]
    known = f"the only value is {quoted[0]}" if len(quoted) == 1 else f"the values are {', '.join(quoted)}"
    if word in key.elsewhere:
        raise ValueError(f"is not supported by this version; {known}")
    guess = nearest(word, key.choices) if len(quoted) > 1 else None
    raise ValueError(f"is not known; {known}" + (f"; did you mean '{guess}'?" if guess else ""))
