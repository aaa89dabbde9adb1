"""Frames in MessagePack (spec: websocket § 16.1): an array of 15, in the order in which JSON writes the fields.

Inbound, wherever a thing with named parts is due, it may be the array of all of them or a map by name, and bin is as
good as str. So a value is taken apart level by level, as far as the fields are known; only of what is known something
is built, and no length that a sender claims is believed before the bytes for it are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from sockudo.protocol.binary import (
    KnownExtras,
    binary_data,
    inbound_frame,
    kind_and_text,
    known_extras,
    string_data,
    structured_data,
)
from sockudo.protocol.frames import Frame
from sockudo.protocol.inbound import InboundFrame, checked_data, malformed
from sockudo.protocol.json_text import MAX_NESTING

__all__ = ["decode", "encode"]

_encode = msgspec.msgpack.Encoder().encode


def encode(frame: Frame, number: int | None = None, key: str | None = None) -> bytes:
    """The payload of an outbound frame. ``extras`` go as a map, the form that clients read.

    ``number`` and conflation ``key`` make it a base for deltas (spec: filters-deltas § 2.13).
    """
    extras = known_extras(frame.extras) if frame.extras else None
    return _encode(
        (
            frame.event,
            frame.channel,
            None if frame.data is None else kind_and_text(frame.data),
            frame.name,
            frame.user_id,
            frame.tags or None,
            None,
            None,
            frame.message_id,
            frame.stream_id,
            frame.serial,
            None,
            None if extras is None else _extras_map(extras),
            number,
            key,
        )
    )


def _extras_map(extras: KnownExtras) -> dict[str, Any]:
    headers = {name: (_kind_of_header(value), value) for name, value in extras.headers.items()}
    ai = {"transport": extras.transport, "codec": extras.codec}
    parts = {
        "headers": headers or None,
        "ephemeral": extras.ephemeral,
        "idempotency_key": extras.idempotency_key,
        "echo": extras.echo,
        "ai": {name: texts for name, texts in ai.items() if texts} or None,
    }
    return {name: part for name, part in parts.items() if part is not None}


def _kind_of_header(value: str | bool | float) -> str:
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "number"


def decode(payload: bytes) -> InboundFrame:
    """Reads one message of a client; the rules are those of `sockudo.protocol.inbound.decode_frame`.

    Raises errors.MALFORMED_FRAME and errors.EVENT_NAME_INVALID, nothing else, for any bytes.
    """
    if not payload:
        raise malformed("empty frame")
    if _too_deep(payload):
        raise malformed(f"nested more than {MAX_NESTING} levels deep")
    try:
        fields = _frame(payload)
    except _MismatchError as mismatch:
        raise malformed(str(mismatch)) from None
    return inbound_frame(fields.get("event"), fields.get("channel"), fields.get("data"))


# ---- the structure of any message ----

_BYTES, _ARRAY, _MAP = 0, 1, 2


def _heads() -> list[tuple[int, int, int]]:
    """The meaning of each first byte of a value.

    How many bytes of length follow it; what is added to that length; and what is then to come: so many bytes, so many
    values, or twice as many.
    """
    heads = [(0, 0, _BYTES)] * 256
    heads[0x80:0xC0] = [
        *((0, size, _MAP) for size in range(16)),
        *((0, size, _ARRAY) for size in range(16)),
        *((0, size, _BYTES) for size in range(32)),
    ]
    heads[0xC4:0xC7] = [(width, 0, _BYTES) for width in (1, 2, 4)]  # bin
    heads[0xC7:0xCA] = [(width, 1, _BYTES) for width in (1, 2, 4)]  # ext, with its type
    heads[0xCA:0xD9] = [(0, size, _BYTES) for size in (4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17)]  # numbers, fixext
    heads[0xD9:0xDC] = [(width, 0, _BYTES) for width in (1, 2, 4)]  # str
    heads[0xDC:0xE0] = [(2, 0, _ARRAY), (4, 0, _ARRAY), (2, 0, _MAP), (4, 0, _MAP)]
    return heads


_HEADS: Final = _heads()
_OPENING: Final = bytes(first for first, head in enumerate(_HEADS) if head[2] != _BYTES)


def _too_deep(payload: bytes) -> bool:
    """Whether more than `MAX_NESTING` arrays and maps are open at once; tolerates broken payloads."""
    if len(payload) - len(payload.translate(None, _OPENING)) <= MAX_NESTING:
        return False
    at = 0
    due: list[int] = [1]
    while due and at < len(payload):
        width, size, form = _HEADS[payload[at]]
        at += 1 + width
        if width:
            size += int.from_bytes(payload[at - width : at], "big")
        due[-1] -= 1
        if form == _BYTES:
            at += size
        elif len(due) > MAX_NESTING:
            return True
        else:
            due.append(size * form)
        while due and not due[-1]:
            due.pop()
    return False


class _MismatchError(Exception):
    """A value of another type than its field has; the text names what was expected, and quotes nothing of the value."""


_decode_list = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def _elements(raw: bytes, of_array: int) -> tuple[int, list[msgspec.Raw]]:
    """Whether ``raw`` is an array or a map, and its elements; of a map names and values by turns.

    An array must have ``of_array`` elements.
    """
    width, size, form = _HEADS[raw[0]]
    if form == _BYTES:
        raise _MismatchError("Expected an array or a map")
    body = raw[1 + width :]
    size += int.from_bytes(raw[1 : 1 + width], "big")
    # The decoder allocates room for as many elements as the length announces; and the length itself can be cut off.
    if size * form > len(body) or len(raw) <= width:
        raise malformed(f"unexpected end at byte {len(raw)}")
    if form == _ARRAY and size != of_array:
        raise _MismatchError(f"Expected an array of {of_array}, got {size}")
    try:
        return form, _decode_list(b"\xdd" + (size * form).to_bytes(4, "big") + body)
    except msgspec.DecodeError:
        # Only of the whole payload: its parts are complete once it has been taken apart.
        raise malformed(_flaw(raw)) from None


def _flaw(payload: bytes) -> str:
    """Why ``payload`` is not one complete value, with the byte at which it ends to be one."""
    at, due = 0, 1
    while due and at < len(payload):
        if payload[at] == _UNUSED:
            return f"invalid opcode '\\xc1' at byte {at}"
        width, size, form = _HEADS[payload[at]]
        size += int.from_bytes(payload[at + 1 : at + 1 + width], "big")
        at += 1 + width
        due -= 1
        if form == _BYTES:
            at += size
        else:
            due += size * form
    return f"unexpected end at byte {len(payload)}" if due or at > len(payload) else f"trailing characters at byte {at}"


# ---- readers: from a complete value that is not nil to what it means, `_MismatchError` when it is of another type ----

_NIL: Final = b"\xc0"
_UNUSED: Final = 0xC1
_BIN_AS_STR: Final = {0xC4: b"\xd9", 0xC5: b"\xda", 0xC6: b"\xdb"}
_STR: Final = {*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB}
_TYPES: Final = {
    0xC0: "None",
    0xC2: "bool",
    0xC3: "bool",
    **dict.fromkeys((0xC4, 0xC5, 0xC6), "bytes"),
    **dict.fromkeys((0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)), "ext"),
    **dict.fromkeys((0xCA, 0xCB), "float"),
    **dict.fromkeys((*range(0x80), *range(0xCC, 0xD4), *range(0xE0, 0x100)), "int"),
    **dict.fromkeys((*range(0x90, 0xA0), 0xDC, 0xDD), "array"),
    **dict.fromkeys((*range(0x80, 0x90), 0xDE, 0xDF), "object"),
    **dict.fromkeys(_STR, "str"),
}

_Reader = Callable[[bytes], Any]

_decode_str = msgspec.msgpack.Decoder(str).decode
_decode_any = msgspec.msgpack.Decoder().decode


def _text(raw: bytes) -> str:
    if raw[0] not in _STR and raw[0] not in _BIN_AS_STR:
        raise _MismatchError(f"Expected str, got {_TYPES[raw[0]]}")
    head = _BIN_AS_STR.get(raw[0])
    try:
        return _decode_str(raw if head is None else head + raw[1:])
    except (UnicodeDecodeError, msgspec.DecodeError):  # which of the two depends on the version of msgspec
        raise _MismatchError("not UTF-8") from None


def _value(expected: str, *types: str) -> _Reader:
    def read(raw: bytes) -> Any:
        found = _TYPES[raw[0]]
        if found not in types:
            raise _MismatchError(f"Expected {expected}, got {found}")
        return _decode_any(raw)

    return read


_bytes = _value("bytes", "bytes")
_bool = _value("bool", "bool")
_number = _value("float", "float", "int")
_integer = _value("int", "int")


def _u64(raw: bytes) -> int:
    number: int = _integer(raw)
    if number < 0:
        raise _MismatchError("Expected int >= 0")
    return number


def _pairs(elements: list[msgspec.Raw]) -> dict[str, bytes]:
    names = (_text(bytes(name)) for name in elements[::2])
    return dict(zip(names, map(bytes, elements[1::2]), strict=True))


def _map(raw: bytes) -> dict[str, bytes]:
    if _HEADS[raw[0]][2] != _MAP:
        raise _MismatchError("Expected a map")
    return _pairs(_elements(raw, 0)[1])


def _texts(raw: bytes) -> dict[str, str]:
    return {name: _text(value) for name, value in _map(raw).items()}


def _one_of(readers: dict[str, _Reader]) -> _Reader:
    """A reader of ``[kind, value]``."""

    def read(raw: bytes) -> Any:
        form, elements = _elements(raw, 2)
        if form != _ARRAY:
            raise _MismatchError("Expected an array of kind and value")
        reader = readers.get(_text(bytes(elements[0])))
        if reader is None:
            raise _MismatchError("Unknown kind")
        return reader(bytes(elements[1]))

    return read


def _parts(**readers: _Reader) -> Callable[[bytes], dict[str, Any]]:
    """A reader of named parts, in an array of all of them or in a map; those that are nil are left out."""

    def read(raw: bytes) -> dict[str, Any]:
        form, elements = _elements(raw, len(readers))
        given = dict(zip(readers, map(bytes, elements), strict=True)) if form == _ARRAY else _pairs(elements)
        if form == _MAP and len(given) * 2 != len(elements):
            raise _MismatchError("Repeated field")
        parts = {}
        for name, reader in readers.items():
            value = given.get(name, _NIL)
            if value != _NIL:
                try:
                    parts[name] = reader(value)
                except _MismatchError as mismatch:
                    raise malformed(f"field '{name}': {mismatch}") from None
        return parts

    return read


_structured_parts = _parts(channel_data=_text, channel=_text, user_data=_text, extra=_texts)


def _structured(raw: bytes) -> bytes | None:
    parts = _structured_parts(raw)
    extra = parts.pop("extra", {})
    return structured_data(parts, extra)


_data = _one_of(
    {
        "string": lambda raw: string_data(_text(raw)),
        "json": lambda raw: checked_data(_text(raw)),
        "binary": lambda raw: binary_data(_bytes(raw)),
        "structured": _structured,
    }
)

_header = _one_of({"string": _text, "number": _number, "bool": _bool})


def _headers(raw: bytes) -> dict[str, Any]:
    return {name: _header(value) for name, value in _map(raw).items()}


_frame = _parts(
    event=_text,
    channel=_text,
    data=_data,
    name=_text,
    user_id=_text,
    tags=_texts,
    sequence=_u64,
    conflation_key=_text,
    message_id=_text,
    stream_id=_text,
    serial=_u64,
    idempotency_key=_text,
    extras=_parts(
        headers=_headers,
        ephemeral=_bool,
        idempotency_key=_text,
        echo=_bool,
        ai=_parts(transport=_texts, codec=_texts),
    ),
    delta_sequence=_u64,
    delta_conflation_key=_text,
)
