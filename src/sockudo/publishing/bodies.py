"""Bodies of the publish endpoints, decoded and checked for their shape (contract 20 § 5.1 and 6)."""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeVar

import msgspec

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.protocol.json_text import MAX_NESTING, lone_surrogate, not_utf8, too_deep
from sockudo.publishing.extras import check_extras

__all__ = ["BatchBody", "EventBody", "decode_batch", "decode_event"]


class EventBody(msgspec.Struct):
    """One event as a backend sends it."""

    name: str | None = None
    data: Any = None
    channels: list[str] | None = None
    channel: str | None = None
    socket_id: str | None = None
    info: str | None = None
    tags: dict[str, str] | None = None
    delta: bool | None = None
    extras: dict[str, Any] | None = None
    idempotency_key: str | None = None
    message_id: str | None = None

    def text(self) -> str:
        """``data`` as it is delivered: always a string (contract 20 § 5.1)."""
        data = self.data
        if type(data) is str:
            return data
        return msgspec.json.encode(data).decode()


class BatchBody(msgspec.Struct):
    """Several events, to be published one after the other."""

    batch: list[EventBody]


_event_decoder = msgspec.json.Decoder(EventBody)
_batch_decoder = msgspec.json.Decoder(BatchBody)
# Looks at the syntax alone.
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)
_FIELDS: Final = frozenset(EventBody.__struct_fields__)
# Everything but name, data, channels and channel.
_OTHER_FIELDS: Final = tuple(b'"%b"' % name.encode() for name in EventBody.__struct_fields__[4:])
# An escape that stands for a character of a field's name: nobody writes such, unless to get past a check.
_ESCAPED_LETTER: Final = re.compile(rb"\\u00(?:5[fF]|[67])")

Body = TypeVar("Body")
_Members = list[tuple[str, Any]]


def decode_event(body: bytes) -> EventBody:
    """Raises errors.MALFORMED_JSON for bad syntax and errors.WRONG_SHAPE for JSON of another shape; nothing else."""
    try:
        event = _event_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        event = _decode(_event_decoder, body)
    if _is_plain(event, body):
        return event
    _check_text(body)
    if _may_repeat(event, body):
        _refuse_repeats(_members(body))
    _check_extras(event)
    return event


def _is_plain(event: EventBody, body: bytes) -> bool:
    """Whether the body holds ``name``, ``channel`` and ``data``, three strings, and nothing else: nearly every event.

    Three names and three values have twelve quotes; anything more would have more. The decoder has looked at every one
    of these strings, so that nothing is left to check.
    """
    return (
        type(event.data) is str
        and event.name is not None
        and event.channel is not None
        and body.count(b'"') - body.count(b'\\"') == 12
        # After an escaped backslash a quote is not escaped, though it looks so.
        and b"\\\\" not in body
    )


def decode_batch(body: bytes) -> BatchBody:
    """Like `decode_event`; one item of the wrong shape refuses the whole batch before anything is published."""
    batch = _decode(_batch_decoder, body)
    members = _members(body)
    if [name for name, _ in members].count("batch") > 1:
        raise _wrong_shape("the field 'batch' is repeated")
    for name, items in members:
        if name == "batch":
            for index, item in enumerate(items):
                _refuse_repeats(item, f" (item {index} of the batch)")
    for index, event in enumerate(batch.batch):
        _check_extras(event, f" (item {index} of the batch)")
    return batch


def _check_extras(event: EventBody, where: str = "") -> None:
    if event.extras is None:
        return
    try:
        check_extras(event.extras)
    except msgspec.ValidationError as problem:
        raise _wrong_shape(_in_our_words(problem) + where) from None


def _check_text(body: bytes) -> None:
    """What the decoder passes over in parts that it does not return."""
    if (at := not_utf8(body)) is not None:
        raise _malformed(f"not UTF-8 at byte {at}")
    if (at := too_deep(body)) is not None:
        raise _malformed(f"nested more than {MAX_NESTING} levels deep at byte {at}")


def _decode(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body:
    _check_text(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as problem:
        # The first wrong type may come before the first wrong byte, which is the graver mistake.
        raise _syntax_error(body) or _wrong_shape(_in_our_words(problem)) from None
    except msgspec.DecodeError as problem:
        raise _syntax_error(body) or _malformed(str(problem)) from None


def _syntax_error(body: bytes) -> SockudoError | None:
    try:
        _raw_decoder.decode(body)
    except msgspec.DecodeError as problem:
        at = lone_surrogate(body) if "truncated" in str(problem) else None
        return _malformed(str(problem) if at is None else f"lone surrogate at byte {at}")
    return None


def _malformed(detail: str) -> SockudoError:
    """The refusal for bad JSON: what is wrong and where, without an excerpt of the body."""
    return errors.MALFORMED_JSON(f"The body is not valid JSON: {detail}")


def _wrong_shape(detail: str) -> SockudoError:
    return errors.WRONG_SHAPE(f"Wrong shape of the JSON body: {detail}")


def _in_our_words(problem: msgspec.ValidationError) -> str:
    return str(problem).replace("`", "'").replace("$.", "").replace("$", "the body")


# ---- repeated fields, of which typed decoding would silently keep the last one ----


def _may_repeat(event: EventBody, body: bytes) -> bool:
    """Whether a field could be repeated. A few counts rule it out for nearly every event.

    A name that occurs once is not repeated; one inside a string has escaped quotes and does not count.
    """
    count = body.count
    return (
        count(b'"name"') > 1
        or count(b'"data"') > 1
        or count(b'"channel"') > 1
        or count(b'"channels"') > 1
        or (b"\\u00" in body and _ESCAPED_LETTER.search(body) is not None)
        or (not _is_common(event, body) and any(count(name) > 1 for name in _OTHER_FIELDS))
    )


def _is_common(event: EventBody, body: bytes) -> bool:
    """Whether the event has none of `_OTHER_FIELDS`, not even one that is null."""
    return (
        event.socket_id is None
        and event.info is None
        and event.tags is None
        and event.delta is None
        and event.extras is None
        and event.idempotency_key is None
        and event.message_id is None
        and b"null" not in body
    )


def _members(body: bytes) -> _Members:
    """The members of a body that has been decoded before: names and values in order, objects as lists of members."""
    members: _Members = json.loads(body, object_pairs_hook=list, parse_int=_any_number, parse_float=_any_number)
    return members


def _any_number(_: str) -> int:
    # Values do not matter here, and Python does not read integers of more than 4300 digits.
    return 0


def _refuse_repeats(event: _Members, where: str = "") -> None:
    seen: set[str] = set()
    for name, _ in event:
        if name in seen:
            raise _wrong_shape(f"the field '{name}' is repeated{where}")
        if name in _FIELDS:
            seen.add(name)
