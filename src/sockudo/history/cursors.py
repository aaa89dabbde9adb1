"""Cursors: where a page ended, and the request it belongs to (contract 30 § 7.1)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from sockudo import errors
from sockudo.history.heads import StreamKey
from sockudo.history.query import HistoryQuery
from sockudo.streams.records import StreamInfo

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

    def check_stream(self, info: StreamInfo | None) -> None:
        """Raises errors.HISTORY_QUERY when the stream cannot go on from here."""
        if info is None or info.stream_id != self.stream_id:
            raise errors.HISTORY_QUERY("Expired history cursor: channel stream changed")
        oldest = info.retained.oldest_serial
        if self.serial < (info.next_serial if oldest is None else oldest):
            raise errors.HISTORY_QUERY("Expired history cursor: cursor points before retained history")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Cursor).decode
_decode_version = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def encode_cursor(key: StreamKey, query: HistoryQuery, stream_id: str, serial: int) -> str:
    """The cursor behind the message with ``serial``."""
    cursor = Cursor(_VERSION, *key, stream_id, serial, query.direction, _Bounds(*query.bounds))
    return base64.urlsafe_b64encode(_encode(cursor)).rstrip(b"=").decode()


def decode_cursor(key: StreamKey, query: HistoryQuery, text: str) -> Cursor:
    """The cursor in ``text``, once it is clear that it belongs to this request. Raises errors.HISTORY_QUERY."""
    if len(text) > _MAX_SIZE:
        raise errors.HISTORY_QUERY("History cursor exceeds 16 KiB")
    cursor = _read(text)
    if cursor.app_id != key[0]:
        raise _other("app does")
    if cursor.channel != key[1]:
        raise _other("channel does")
    if cursor.direction != query.direction:
        raise _other("direction does")
    if cursor.bounds != _Bounds(*query.bounds):
        raise _other("bounds do")
    return cursor


def _read(text: str) -> Cursor:
    try:
        padded = text.encode() + b"=" * (-len(text) % 4)
        plain = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as problem:
        raise errors.HISTORY_QUERY("Invalid history cursor: it is not base64url") from problem
    try:
        version = _decode_version(plain).get("version", msgspec.Raw(b"null"))
        if bytes(version) != b"%d" % _VERSION:
            raise errors.HISTORY_QUERY(f"Unsupported history cursor version: {bytes(version)[:20].decode()}")
        return _decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise errors.HISTORY_QUERY("Invalid history cursor: it is not one of this server's") from problem


def _other(what: str) -> errors.SockudoError:
    return errors.HISTORY_QUERY(f"History cursor {what} not match the request")
