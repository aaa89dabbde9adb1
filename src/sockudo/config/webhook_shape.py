"""What does not fit in an entry of ``policy.webhooks``, in terms of the configuration: the key and what it must be."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import structs

from sockudo.config.problems import nearest

__all__ = ["misfit"]

_WORDS: Final = {str: "text", int: "a whole number", bool: "true or false"}


def misfit(struct: type[msgspec.Struct], entry: Mapping[str, Any], below: str = "") -> str | None:
    """The first key that is unknown or has a value of another kind; None when all fit. No value is repeated."""
    fields = {field.encode_name: field.type for field in structs.fields(struct)}
    for name, value in entry.items():
        path = f"{below}{name}"
        if name not in fields:
            guess = nearest(str(name), fields)
            return f"unknown key '{path}'" + (f"; did you mean '{below}{guess}'?" if guess else "")
        found = _misfit(fields[name], value, path)
        if found is not None:
            return found
    return None


def _misfit(hint: Any, value: Any, path: str) -> str | None:
    if get_origin(hint) in (Union, UnionType):
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return misfit(hint, value, f"{path}.") if isinstance(value, Mapping) else f"{path} is not a table of keys"
    if get_origin(hint) is tuple:
        fits = isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value)
        return None if fits else f"{path} is not a list of texts"
    if get_origin(hint) is dict:
        return _not_a_table(hint, value, path)
    # A truth value is a number to Python, and none to people.
    fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    return None if fits else f"{path} is not {_WORDS[hint]}"


def _not_a_table(hint: Any, value: Any, path: str) -> str | None:
    if not isinstance(value, Mapping):
        return f"{path} is not a table of keys"
    wrong = next((name for name, each in value.items() if get_args(hint)[1] is str and not isinstance(each, str)), None)
    return None if wrong is None else f"{path}.{wrong} is not text: put it in quotes"
