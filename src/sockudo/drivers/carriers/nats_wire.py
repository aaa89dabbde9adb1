"""The text protocol of NATS: bytes of a server in, its messages out, and the lines of a client. No IO.

https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

__all__ = ["PING", "PONG", "NatsHandler", "NatsReader", "ProtocolError", "connect_line", "publish_line", "subject_of"]

PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"

# INFO is the longest line: it lists the servers of a cluster.
_LONGEST_LINE: Final = 1024 * 1024
_LONGEST_PAYLOAD: Final = 64 * 1024 * 1024
_PLAIN: Final = re.compile(r"[a-z0-9]+", re.ASCII)


class ProtocolError(Exception):
    """The peer speaks another protocol."""


class NatsHandler(Protocol):
    """What a server sends."""

    def on_info(self, info: dict[str, Any]) -> None: ...
    def on_message(self, sid: bytes, payload: bytes) -> None: ...
    def on_ping(self) -> None: ...
    def on_pong(self) -> None: ...
    def on_error(self, text: str) -> None: ...


class NatsReader:
    """Cuts what a server sends, wherever it was broken in two, and hands it to ``handler``."""

    def __init__(self, handler: NatsHandler) -> None:
        self._handler = handler
        self._buffer = bytearray()
        # Of the message whose payload is awaited: its subscription and length.
        self._sid = b""
        self._length = -1
        self._others: dict[bytes, Callable[[bytes], None]] = {
            b"PING": lambda _: handler.on_ping(),
            b"PONG": lambda _: handler.on_pong(),
            b"+OK": lambda _: None,
            b"INFO": lambda rest: handler.on_info(_info(rest)),
            b"-ERR": lambda rest: handler.on_error(rest.strip(b" '").decode("utf-8", "replace")),
        }

    def feed(self, data: bytes) -> None:
        """Takes bytes in. Raises `ProtocolError`, after which the connection is of no use."""
        buffer, at = self._buffer, 0
        buffer += data
        try:
            while True:
                if self._length >= 0:
                    end = at + self._length
                    if len(buffer) < end + 2:
                        return
                    if buffer[end : end + 2] != b"\r\n":
                        raise ProtocolError("a message does not end where its length says")
                    payload, self._length = bytes(buffer[at:end]), -1
                    at = end + 2
                    self._handler.on_message(self._sid, payload)
                end = buffer.find(b"\r\n", at)
                if end < 0:
                    if len(buffer) - at > _LONGEST_LINE:
                        raise ProtocolError("a line does not end")
                    return
                line = bytes(buffer[at:end])
                at = end + 2
                self._take(line)
        finally:
            del buffer[:at]

    def _take(self, line: bytes) -> None:
        if line[:4] in (b"MSG ", b"msg "):
            # MSG <subject> <sid> [reply-to] <#bytes>
            words = line.split()
            if not 4 <= len(words) <= 5 or not words[-1].isdigit() or int(words[-1]) > _LONGEST_PAYLOAD:
                raise ProtocolError("a message has no useful length")
            self._sid, self._length = words[2], int(words[-1])
            return
        word, _, rest = line.partition(b" ")
        take = self._others.get(word.upper())
        if take is None:
            raise ProtocolError("it does not speak the protocol of NATS")
        take(rest)


def _info(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ProtocolError("it does not speak the protocol of NATS") from error


def connect_line(options: dict[str, object]) -> bytes:
    """What a client begins with."""
    return b"CONNECT %b\r\n" % msgspec.json.encode(options)


def publish_line(subject: bytes, payload: bytes) -> bytes:
    """A payload for the subscribers of the subject."""
    return b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload)


def subject_of(prefix: str, topic: str) -> bytes:
    """The subject of a topic: ``c:app:room.1`` is ``{prefix}.c.YXBw.cm9vbS4x``, another one for each topic.

    Names of apps and channels have characters that mean something in a subject, so they come in base64url
    (spec: platform § 10.11).
    """
    kind, *names = topic.split(":", 2)
    first = kind if _PLAIN.fullmatch(kind) else f"_{_coded(kind)}"
    return ".".join((prefix.rstrip("."), first, *map(_coded, names))).encode()


def _coded(text: str) -> str:
    # Nothing at all would be no part of a subject, and a "-" alone is no base64url.
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode() or "-"
