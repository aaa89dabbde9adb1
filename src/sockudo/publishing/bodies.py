"""Bodies of the publish endpoints, decoded and checked for their shape (spec: http-api § 5.1 and 6)."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from sockudo.base.decoding import mismatch
from sockudo.publishing.extras import check_extras
from sockudo.publishing.json_body import check_text, decode, members, refuse_repeats, wrong_shape

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
        """``data`` as it is delivered: always a string (spec: http-api § 5.1)."""
        data = self.data
        if type(data) is str:
            return data
        return msgspec.json.encode(data).decode()


class BatchBody(msgspec.Struct):
    """Several events, to be published one after the other."""

    batch: list[EventBody]


_event_decoder = msgspec.json.Decoder(EventBody)
_batch_decoder = msgspec.json.Decoder(BatchBody)
_FIELDS: Final = frozenset(EventBody.__struct_fields__)
# Everything but name, data, channels and channel.
_OTHER_FIELDS: Final = tuple(b'"%b"' % name.encode() for name in EventBody.__struct_fields__[4:])
# An escape that stands for a character of a field's name: one that is used is an attempt to get past a check.
_ESCAPED_LETTER: Final = re.compile(rb"\\u00(?:5[fF]|[67])")


def decode_event(body: bytes) -> EventBody:
    """Raises errors.MALFORMED_JSON for bad syntax and errors.WRONG_SHAPE for JSON of another shape; nothing else."""
    try:
        event = _event_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        event = decode(_event_decoder, body)
    if _is_plain(event, body):
        return event
    check_text(body)
    if _may_repeat(event, body):
        refuse_repeats(members(body), _FIELDS)
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
    batch = decode(_batch_decoder, body)
    given = members(body)
    if [name for name, _ in given].count("batch") > 1:
        raise wrong_shape("the field 'batch' is repeated")
    for name, items in given:
        if name == "batch":
            for index, item in enumerate(items):
                refuse_repeats(item, _FIELDS, f" (item {index} of the batch)")
    for index, event in enumerate(batch.batch):
        _check_extras(event, f" (item {index} of the batch)")
    return batch


def _check_extras(event: EventBody, where: str = "") -> None:
    if event.extras is None:
        return
    try:
        check_extras(event.extras)
    except msgspec.ValidationError as problem:
        raise wrong_shape(f"{mismatch(problem)}{where}") from None


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
