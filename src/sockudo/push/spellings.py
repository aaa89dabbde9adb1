"""Both spellings of every field of a push request, camelCase and snake_case (spec: push § 2).

All functions raise what `sockudo.publishing.json_body` does, for JSON that is broken or of another shape.
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from sockudo.base.decoding import mismatch
from sockudo.publishing.json_body import decode, members, refuse_repeats, wrong_shape
from sockudo.push.recipients import Recipient
from sockudo.push.validation import one_of

__all__ = ["converted", "decoded"]

Body = TypeVar("Body", bound=msgspec.Struct)

_TRANSPORTS: Final = ("gcm", "apns", "web", "hms", "wns", "realtime")

_anything: Final = msgspec.json.Decoder(Any)


def decoded(body: bytes, kind: type[Body]) -> Body:
    """The body as a struct whose JSON names are camelCase; every field may be spelt in snake_case, too."""
    value = decode(_anything, body)
    made = converted(value, kind)
    names, quoted = _names(kind)
    # A name that occurs once is not repeated; an escaped letter in a name is an attempt to get past this.
    if b"\\u00" in body or any(body.count(name) > 1 for name in quoted):
        refuse_repeats(members(body), names)
    return made


@cache
def _names(kind: type[msgspec.Struct]) -> tuple[frozenset[str], tuple[bytes, ...]]:
    """Both spellings of every field, and as they stand in JSON text."""
    names = frozenset((*kind.__struct_fields__, *kind.__struct_encode_fields__))
    return names, tuple(f'"{name}"'.encode() for name in names)


class _Field(NamedTuple):
    """The JSON name of a field and the struct that its value is, or holds as a list or under names."""

    name: str
    kind: Any = None
    nested: type | None = None


def converted(value: object, kind: type[Body]) -> Body:
    """The same for a value that was decoded before."""
    try:
        return msgspec.convert(_renamed(value, kind, ""), kind)
    except msgspec.ValidationError as problem:
        raise wrong_shape(str(mismatch(problem))) from None


def _renamed(value: object, kind: Any, where: str) -> object:
    """The value with the names of objects that are structs in camelCase."""
    if not isinstance(value, dict):
        return value
    fields = _fields(kind)
    made: dict[str, object] = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            continue
        if field.name in made:
            raise wrong_shape(f"the field '{field.name}' is repeated{where and f' in {where}'}")
        path = f"{where}.{field.name}" if where else field.name
        made[field.name] = _within(item, field, path)
    if kind is Recipient:
        _check_transport(made, where)
    return made


def _within(item: object, field: _Field, path: str) -> object:
    if field.kind is None:
        return item
    if field.nested is list and isinstance(item, list):
        return [_renamed(each, field.kind, path) for each in item]
    if field.nested is dict and isinstance(item, dict):
        return {key: _renamed(each, field.kind, path) for key, each in item.items()}
    return item if field.nested is not None else _renamed(item, field.kind, path)


def _check_transport(given: dict[str, object], where: str) -> None:
    # The decoder would quote what it found, which may be a token.
    kind = given.get("transportType")
    if isinstance(kind, str):
        one_of(kind, _TRANSPORTS, f"{where}.transportType")


@cache
def _fields(kind: Any) -> dict[str, _Field]:
    """Each field of a struct, or of any of a union's, under both of its spellings."""
    found: dict[str, _Field] = {}
    if kind is Recipient:
        found["transportType"] = found["transport_type"] = _Field("transportType")
    for struct in get_args(kind) or (kind,):
        for field in msgspec.structs.fields(struct):
            made = _Field(field.encode_name, *_struct_of(field.type))
            found[field.name] = found[field.encode_name] = made
    return found


def _struct_of(hint: Any) -> tuple[Any, type | None]:
    """The struct in a field's type and how it holds it; (None, None) when there is none."""
    if hint == Recipient or hint == Recipient | None:
        return Recipient, None
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint, None
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return next((found for part in parts if (found := _struct_of(part))[0] is not None), (None, None))
    if origin in (list, dict):
        struct, _ = _struct_of(parts[-1])
        return (struct, origin) if struct is not None else (None, None)
    return None, None
