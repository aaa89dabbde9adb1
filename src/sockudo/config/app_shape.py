"""Plain values to the structs of an app record, field by field: types, bounds and unknown names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec import structs

from sockudo.config.app_fields import APP_FIELDS
from sockudo.config.problems import nearest
from sockudo.config.values import read_bool, read_number, read_text

__all__ = ["Shaper", "field_default"]

_INDEX = re.compile(r"\[\d+\]")
_FLAT_PREFIX = re.compile(r"^policy\.(?:(?:limits|features|channels)\.)?")


class Shaper:
    """Reads one record. What is wrong goes to ``problems`` under ``label``, and the field gets its default.

    ``flat`` says that the record is in the legacy form, so that fields are named the way they stand there.
    """

    def __init__(self, label: str, problems: list[str], *, flat: bool) -> None:
        self._label = label
        self._problems = problems
        self._flat = flat

    def refuse(self, path: str, text: str) -> None:
        """Notes a problem with a field."""
        shown = _FLAT_PREFIX.sub("", path) if self._flat else path
        self._problems.append(f"{self._label}: {shown} {text}")

    def struct(self, struct: type[msgspec.Struct], raw: object, path: str) -> Any:
        """A struct from an object; null is an empty one."""
        if raw is not None and not isinstance(raw, Mapping):
            self.refuse(path, "is not an object")
        given = raw if isinstance(raw, Mapping) else {}
        fields = _fields(struct)
        for name in given:
            if name not in fields:
                guess = nearest(str(name), fields)
                self.refuse(f"{path}.{name}", "is not known" + (f"; did you mean '{guess}'?" if guess else ""))
        return struct(
            **{
                name: self.value(hint, given.get(name), default, f"{path}.{name}")
                for name, (hint, default) in fields.items()
            }
        )

    def value(self, hint: Any, raw: Any, default: Any, path: str) -> Any:
        """A value of the hinted type; null is the default."""
        if raw is None:
            return default
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.struct(hint, raw, path)
        if get_origin(hint) is tuple:
            return self._tuple(get_args(hint)[0], raw, path)
        try:
            return _scalar(hint, raw, path)
        except ValueError as error:
            self.refuse(path, f"= {raw!r} {error}")
            return default

    def _tuple(self, item: Any, raw: Any, path: str) -> tuple[Any, ...]:
        if isinstance(raw, str) and item is str:
            raw = [part.strip() for part in raw.split(",")]
        if not isinstance(raw, (list, tuple)):
            self.refuse(path, "is not a list")
            return ()
        if item is str:
            return tuple(self.value(item, part, "", path) for part in raw)
        empty: Any = {}
        return tuple(
            self.value(item, empty if part is None else part, empty, f"{path}[{number}]")
            for number, part in enumerate(raw)
        )


@cache
def _fields(struct: type[msgspec.Struct]) -> Mapping[str, tuple[Any, Any]]:
    """Type and default of each field; a required one has the empty text for a default, which the rules refuse."""
    return {
        field.name: (_present(field.type), "" if field.default is msgspec.NODEFAULT else field.default)
        for field in structs.fields(struct)
    }


def field_default(struct: type[msgspec.Struct], path: str) -> Any:
    """The default of a field by its dotted path below ``struct``; ``msgspec.NODEFAULT`` when it is required."""
    name, _, rest = path.partition(".")
    field = next(field for field in structs.fields(struct) if field.name == name)
    if not rest:
        return field.default
    hint = _present(field.type)
    return field_default(get_args(hint)[0] if get_origin(hint) is tuple else hint, rest)


def _present(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _scalar(hint: Any, raw: Any, path: str) -> Any:
    if hint is bool:
        return read_bool(raw)
    if hint is int:
        bounds = APP_FIELDS[_INDEX.sub("", path)]
        return read_number(raw, bounds.low, bounds.high)
    if hint is str:
        return read_text(raw)
    if not isinstance(raw, Mapping):
        raise ValueError("is not an object")
    return dict(raw)
