"""Frames from client to server in JSON (spec: websocket § 1.2): bytes in, a checked `InboundFrame` out.

Nearly every frame is an event, a channel and data, each once; for such a frame a few counts prove that none of the
rare rules is broken, and only a frame that differs is looked at member by member.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, NoReturn

import msgspec

from sockudo import errors
from sockudo.base.decoding import mismatch
from sockudo.protocol.json_text import MAX_NESTING, STRING, not_utf8, syntax_problem, too_deep

__all__ = ["InboundFrame", "checked_data", "data_value", "decode_frame", "malformed", "object_data"]

_MAX_U64: Final = 2**64 - 1

_MARKS: Final = re.compile(STRING + rb"|[{}\[\]:]", re.DOTALL)
_NUMBERS: Final = re.compile(STRING + rb"|(-?[0-9][-+.0-9eE]*+)", re.DOTALL)
_NOT_SPACE: Final = re.compile(rb"[^ \t\r\n]|\Z")
_NAME_END: Final = re.compile(r"[.\[]")


class InboundFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame that obeys every rule of spec: websocket § 1.2.

    ``event`` is as sent, prefix included. ``data`` is JSON text, the very bytes of the sender without the white space
    around them; absent and null are both None.
    """

    event: str
    channel: str | None = None
    data: bytes | None = None


_U64 = Annotated[int, msgspec.Meta(ge=0)]


class _KnownFields(msgspec.Struct, gc=False):
    """The fields that must have the right type where they occur, whether or not their event needs them."""

    event: str | None = None
    channel: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    name: str | None = None
    user_id: str | None = None
    tags: dict[str, str] | None = None
    sequence: _U64 | None = None
    conflation_key: str | None = None
    message_id: str | None = None
    stream_id: str | None = None
    serial: _U64 | None = None
    idempotency_key: str | None = None
    extras: dict[str, msgspec.Raw] | None = None
    delta_sequence: _U64 | None = msgspec.field(default=None, name="__delta_seq")
    delta_conflation_key: str | None = msgspec.field(default=None, name="__conflation_key")


_decode_known = msgspec.json.Decoder(_KnownFields).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_any = msgspec.json.Decoder().decode


def decode_frame(payload: bytes) -> InboundFrame:
    """Reads one message of a client, from a text or a binary frame.

    Raises errors.MALFORMED_FRAME with one line that names the fault and its byte, never with an excerpt, and
    errors.EVENT_NAME_INVALID when the frame is sound but has no event; nothing else, for any bytes.
    """
    if not payload.isascii():
        _check_utf8(payload)
    _check_nesting(payload)
    try:
        known = _decode_known(payload)
    except msgspec.DecodeError as error:
        raise _explained(payload, error) from None
    event, channel, data = known.event, known.channel, bytes(known.data)

    # Each member has two quotes for its name, and a string two more. When these account for every quote there is,
    # no member is repeated or unknown.
    quotes = (4 if event is not None else 0) + (4 if channel is not None else 0)
    if data:
        quotes += 2 + data.count(b'"')
    if payload.count(b'"') == quotes:
        if data:
            _check_numbers(data, payload)
    else:
        _check_members(payload, known)
    if event is None:
        raise errors.EVENT_NAME_INVALID("Invalid event name: Event name is required")
    return InboundFrame(event, channel, data if data and data != b"null" else None)


def data_value(frame: InboundFrame) -> Any:
    """The decoded ``data``; a string that holds a JSON object becomes that object (spec: websocket § 1.2).

    None when there is no data. Of keys given twice the last wins. An integer of more than 4,300 digits, which Python
    does not read, raises errors.MALFORMED_FRAME.
    """
    if frame.data is None:
        return None
    try:
        value = _decode_any(frame.data)
    except msgspec.DecodeError:
        raise malformed("an integer in data has more than 4300 digits") from None
    if not isinstance(value, str) or "{" not in value:
        return value
    inner = value.encode()
    try:
        _check_nesting(inner)
        held = _decode_any(inner)
    except (msgspec.DecodeError, errors.SockudoError):
        return value
    return held if isinstance(held, dict) else value


def object_data(frame: InboundFrame, refusal: str) -> dict[str, Any]:
    """``data`` of an action, sent as an object or as a string that holds one.

    Anything else raises errors.MISSING_FIELD with the text ``refusal``; see also `data_value`.
    """
    value = data_value(frame)
    if not isinstance(value, dict):
        raise errors.MISSING_FIELD(refusal)
    return value


def checked_data(text: str) -> bytes | None:
    """``data`` that came as a JSON text of its own, by the rules it has inside a JSON frame (spec: websocket § 16).

    As in `InboundFrame`: without the white space around it, null is None. Raises errors.MALFORMED_FRAME, nothing else.
    """
    payload = text.encode()
    where = "of the JSON text in data"
    if not text.strip():
        raise malformed(f"empty at byte 0 {where}")
    # The frame around it is the first level.
    if (at := too_deep(b"[" + payload)) is not None:
        raise malformed(f"nested more than {MAX_NESTING} levels deep at byte {at - 1} {where}")
    try:
        data = bytes(_decode_raw(payload))
        _check_numbers(data, payload)
    except msgspec.DecodeError as error:
        raise errors.MALFORMED_FRAME(f"{_explained(payload, error).text} {where}") from None
    except errors.SockudoError as error:
        raise errors.MALFORMED_FRAME(f"{error.text} {where}") from None
    return data if data != b"null" else None


def malformed(detail: str) -> errors.SockudoError:
    """The refusal of a frame; ``detail`` is a few words without anything of the frame in them."""
    return errors.MALFORMED_FRAME(f"Invalid message format: Decode failed: {detail}")


def _check_utf8(payload: bytes) -> None:
    if (at := not_utf8(payload)) is not None:
        raise malformed(f"not UTF-8 at byte {at}")
    if payload.startswith(b"\xef\xbb\xbf"):
        raise malformed("byte order mark at byte 0")


def _check_nesting(text: bytes) -> None:
    if (at := too_deep(text)) is not None:
        raise malformed(f"nested more than {MAX_NESTING} levels deep at byte {at}")


def _check_numbers(part: bytes, payload: bytes) -> None:
    """Refuses a number beyond a double anywhere in ``part``; integers may have any size."""
    try:
        _decode_any(part)
    except msgspec.DecodeError:
        # Either such a number or an integer of more digits than Python reads.
        _refuse_wide_number(payload)


def _refuse_wide_number(payload: bytes) -> None:
    for number in _NUMBERS.finditer(payload):
        digits = number[1]
        if digits and not digits.lstrip(b"-").isdigit() and math.isinf(float(digits)):
            raise malformed(f"number out of range at byte {number.start()}")


def _check_members(payload: bytes, known: _KnownFields) -> None:
    """The rules that a frame with unusual members could break."""
    members = _decode_members(payload)
    quotes = payload.count(b'"') - sum(bytes(value).count(b'"') for value in members.values())
    if quotes != 2 * len(members):
        _refuse_repeated(payload)
    for name, value in (("sequence", known.sequence), ("serial", known.serial), ("__delta_seq", known.delta_sequence)):
        if value is not None and value > _MAX_U64:
            _refuse_type(payload, name, "expected an integer below 2^64")
    _check_numbers(payload, payload)


def _refuse_repeated(payload: bytes) -> None:
    """Raises at the first repeated name; names with escaped quotes get here without a repetition."""
    seen: set[str] = set()
    for name, at, _ in _walk(payload):
        if name in seen:
            raise malformed(f"repeated field at byte {at}")
        seen.add(name)


def _refuse_type(payload: bytes, field: str, problem: str) -> NoReturn:
    # The last of that name: an earlier one was read before the decoder stumbled, or is repeated anyway.
    at = max((value_at for name, _, value_at in _walk(payload) if name == field), default=0)
    raise malformed(f"field '{field}': {problem} at byte {at}")


def _walk(payload: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, its place and its value's place, for each member of the outermost object; tolerates broken text."""
    depth = 0
    latest: re.Match[bytes] | None = None
    for mark in _MARKS.finditer(payload):
        sign = payload[mark.start()]
        if sign in b"{[":
            depth += 1
        elif sign in b"}]":
            depth -= 1
        elif depth == 1 and sign == ord('"'):
            latest = mark
        elif depth == 1 and latest is not None:
            try:
                name = str(_decode_any(latest[0]))
            except msgspec.DecodeError:
                return
            yield name, latest.start(), _first_byte(payload, mark.end())


def _first_byte(payload: bytes, at: int = 0) -> int:
    found = _NOT_SPACE.search(payload, at)
    return found.start() if found else len(payload)


def _explained(payload: bytes, error: msgspec.DecodeError) -> errors.SockudoError:
    """The refusal for what the decoder found."""
    if not payload.strip(b" \t\r\n"):
        return malformed("empty frame at byte 0")
    if not isinstance(error, msgspec.ValidationError):
        problem, at = syntax_problem(error, payload)
        return malformed(f"{problem} at byte {at}")
    problem, path = mismatch(error)
    if path is None:
        return malformed(f"{problem} at byte {_first_byte(payload)}")
    field = _NAME_END.split(path, maxsplit=1)[0]
    try:
        _refuse_type(payload, field, problem)
    except errors.SockudoError as refusal:
        return refusal
