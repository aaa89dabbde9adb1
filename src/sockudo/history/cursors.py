"""Cursors: where a page ended, and the request it belongs to (spec: history § 7.1)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from sockudo import errors
from sockudo.base.stream_records import StreamInfo
from sockudo.history.heads import StreamKey
from sockudo.history.query import HistoryQuery

__all__ = ["Cursor", "decode_cursor", "encode_cursor"]

_VERSION: Final = 1
_MAX_SIZE: Final = 16 * 1024


class _Bounds(msgspec.Struct):
    start_serial: int | None
    end_serial: int | None
    start_time_ms: int | None
    end_time_ms: int | None


class Cursor(msgspec.Struct):
    """``serial`` is that of the last message of the page before, and not part of the next one."""

    version: int
    app_id: str
    channel: str
    stream_id: str
    serial: int
    direction: str
    bounds: _Bounds

    def check_stream(self, info: StreamInfo | None, subject: str = "History") -> None:
        """Raises errors.HISTORY_QUERY when the stream cannot go on from here."""
        if info is None or info.stream_id != self.stream_id:
            raise errors.HISTORY_QUERY(f"Expired {subject.lower()} cursor: channel stream changed")
        oldest = info.retained.oldest_serial
        if self.serial < (info.next_serial if oldest is None else oldest):
            raise errors.HISTORY_QUERY(f"Expired {subject.lower()} cursor: cursor points before retained history")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Cursor).decode
_decode_version = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def encode_cursor(key: StreamKey, query: HistoryQuery, stream_id: str, serial: int) -> str:
    """The cursor behind the message with ``serial``."""
    cursor = Cursor(_VERSION, *key, stream_id, serial, query.direction, _Bounds(*query.bounds))
    return base64.urlsafe_b64encode(_encode(cursor)).rstrip(b"=").decode()


def decode_cursor(key: StreamKey, query: HistoryQuery, text: str, subject: str = "History") -> Cursor:
    """The cursor in ``text``, once it is clear that it belongs to this request; ``subject`` is what is asked for.

    Raises errors.HISTORY_QUERY.
    """
    if len(text) > _MAX_SIZE:
        raise errors.HISTORY_QUERY(f"{subject} cursor exceeds 16 KiB")
    cursor = _read(text, subject.lower())
    if cursor.app_id != key[0]:
        raise _other(f"{subject} cursor app does")
    if cursor.channel != key[1]:
        raise _other(f"{subject} cursor channel does")
    if cursor.direction != query.direction:
        raise _other(f"{subject} cursor direction does")
    if cursor.bounds != _Bounds(*query.bounds):
        raise _other(f"{subject} cursor bounds do")
    return cursor


def _read(text: str, subject: str) -> Cursor:
    try:
        padded = text.encode() + b"=" * (-len(text) % 4)
        plain = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as problem:
        raise errors.HISTORY_QUERY(f"Invalid {subject} cursor: it is not base64url") from problem
    try:
        version = _decode_version(plain).get("version", msgspec.Raw(b"null"))
        if bytes(version) != b"%d" % _VERSION:
            raise errors.HISTORY_QUERY(f"Unsupported {subject} cursor version: {bytes(version)[:20].decode()}")
        return _decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise errors.HISTORY_QUERY(f"Invalid {subject} cursor: it is not one of this server's") from problem


def _other(what: str) -> errors.SockudoError:
    return errors.HISTORY_QUERY(f"{what} not match the request")
