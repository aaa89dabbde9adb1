"""Bodies of the publish endpoints, decoded and checked for their shape (contract 20 § 5.1 and 6)."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from sockudo import errors
from sockudo.errors import SockudoError

__all__ = ["BatchBody", "EventBody", "decode_batch", "decode_event"]


class _AiExtras(msgspec.Struct):
    transport: dict[str, str] | None = None
    codec: dict[str, str] | None = None


class _Extras(msgspec.Struct):
    headers: dict[str, str | float | bool] | None = None
    ephemeral: bool | None = None
    echo: bool | None = None
    ai: _AiExtras | None = None


class EventBody(msgspec.Struct):
    """One event as a backend sends it. Only the fields that protocol V1 delivers have an effect."""

    name: str | None = None
    data: Any = None
    channels: list[str] | None = None
    channel: str | None = None
    socket_id: str | None = None
    info: str | None = None
    tags: dict[str, str] | None = None
    delta: bool | None = None
    extras: _Extras | None = None
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
# Everything but name, data, channels and channel.
_OTHER_FIELDS = tuple(b'"%b"' % name.encode() for name in EventBody.__struct_fields__[4:])

Body = TypeVar("Body")


def decode_event(body: bytes) -> EventBody:
    """Raises errors.MALFORMED_JSON for bad syntax and errors.WRONG_SHAPE for JSON of another shape."""
    event = _decode(_event_decoder, body)
    # A name that occurs once cannot be repeated; one inside a string is escaped and does not count.
    count = body.count
    if count(b'"name"') > 1 or count(b'"data"') > 1 or count(b'"channel"') > 1 or count(b'"channels"') > 1:
        _refuse_repeats(body)
    elif not _is_plain(event) and any(count(key) > 1 for key in _OTHER_FIELDS):
        _refuse_repeats(body)
    return event


def _is_plain(event: EventBody) -> bool:
    """Whether the event has none of `_OTHER_FIELDS`."""
    return (
        event.socket_id is None
        and event.info is None
        and event.tags is None
        and event.delta is None
        and event.extras is None
        and event.idempotency_key is None
        and event.message_id is None
    )


def decode_batch(body: bytes) -> BatchBody:
    """Like `decode_event`; one item of the wrong shape refuses the whole batch before anything is published."""
    batch = _decode(_batch_decoder, body)
    _refuse_repeats(body)
    return batch


def _decode(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as problem:
        raise errors.WRONG_SHAPE(f"Wrong shape of the JSON body: {_in_our_words(problem)}") from None
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise malformed(problem) from None
    except RecursionError:
        raise errors.MALFORMED_JSON("The body is nested too deeply") from None


def malformed(problem: Exception) -> SockudoError:
    """The refusal for bad JSON: what is wrong and where, without an excerpt of the body."""
    return errors.MALFORMED_JSON(f"The body is not valid JSON: {problem}")


def _in_our_words(problem: msgspec.ValidationError) -> str:
    return str(problem).replace("`", "'").replace("$.", "").replace("$", "the body")


def _refuse_repeats(body: bytes) -> None:
    """Finds a field that an event repeats; typed decoding would silently keep the last one."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            names = [name for name, _ in items]
            found["\0repeated"] = next(name for name in names if names.count(name) > 1)
        return found

    decoded = json.loads(body, object_pairs_hook=pairs)
    events = [decoded, *(decoded.get("batch") or ())]
    for event in events:
        if "\0repeated" in event:
            raise errors.WRONG_SHAPE(
                f"Wrong shape of the JSON body: the field '{event[chr(0) + 'repeated']}' is repeated"
            )
