"""A client that gets messages as differences and trusts nothing: a strict decoder, and what may be sent when
(spec: filters-deltas § 2.5, 2.6, 2.9 and 3)."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import vcdiff_decoder

from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import WebSocket
from support.wire import JSON, Event, compact

__all__ = [
    "CHOSEN_APP",
    "ENABLED",
    "BinaryDeltaReader",
    "DeltaReader",
    "Witness",
    "confirmed",
    "decode_fossil",
    "delta_server",
    "enable",
    "publish",
    "quote",
    "reader_of",
]

CHOSEN_APP = Credentials("chosen", "chosen-key", "chosen-secret")

CHANNELS = {
    "keyed*": {"conflation_key": "pair"},
    "deep*": {"conflation_key": "data.at.pair", "algorithm": "xdelta3"},
    "few*": {"conflation_key": "pair", "max_conflation_keys": 2},
    "none*": "disabled",
    "xd*": "xdelta3",
    "bare*": {"enable_tags": False},
}
ENABLED = "sockudo:delta_compression_enabled"

_DIGITS = {
    character: value
    for value, character in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~")
}
_IDS = ("message_id", "stream_id", "serial")
_METADATA = re.compile(rb',"__delta_seq":(\d+)(?:,"__conflation_key":("(?:\\.|[^"\\])*"))?}$')


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self) -> int:
        start, value = self.at, 0
        while self.at < len(self.data) and (digit := _DIGITS.get(chr(self.data[self.at]))) is not None:
            value = value * 64 + digit
            self.at += 1
        assert self.at > start, f"a number was due at {start} of {self.data!r}"
        assert self.data[start : start + 1] != b"0" or self.at == start + 1, "a leading zero"
        assert value < 2**32
        return value

    def take(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        assert len(found) == count, "the delta is cut off"
        self.at += count
        return found


def decode_fossil(base: bytes, delta: bytes) -> bytes:
    """The target of a Fossil delta, written from the format's description; every doubt is an AssertionError."""
    cursor = _Cursor(delta)
    size = cursor.number()
    assert cursor.take(1) == b"\n"
    target = bytearray()
    while True:
        count = cursor.number()
        operator = cursor.take(1)
        if operator == b";":
            break
        assert count > 0
        if operator == b"@":
            offset = cursor.number()
            assert cursor.take(1) == b","
            assert offset + count <= len(base)
            target += base[offset : offset + count]
        else:
            assert operator == b":", operator
            target += cursor.take(count)
        assert len(target) <= size
    assert cursor.at == len(delta)
    assert len(target) == size
    padded = bytes(target) + bytes(-size % 4)
    total = sum(int.from_bytes(padded[at : at + 4], "big") for at in range(0, len(padded), 4))
    assert count == total % 2**32
    return bytes(target)


class DeltaReader:
    """Reads the frames of a connection that are messages, and gives back the plain text of each.

    ``kinds`` has a letter for each: F for a whole one that can be a base, D for a difference, P for a plain one.
    ``algorithms`` are those of the differences. What a library could stumble over is refused.
    """

    def __init__(self, client: WebSocket) -> None:
        self.client = client
        self.kinds = ""
        self.algorithms: set[str] = set()
        self.sizes: list[tuple[int, int]] = []
        # By channel, then by key: number and text of the last frame with metadata.
        self._bases: dict[str, dict[str | None, tuple[int, bytes]]] = {}
        self._used: set[tuple[str, str | None, int]] = set()
        self._keyed: set[str] = set()

    def forget(self, channel: str) -> None:
        """As after an unsubscribe, or an error in the client."""
        self._bases.pop(channel, None)

    def unsubscribed(self, channel: str) -> None:
        """As after an unsubscribe from the channel by its name: nothing of it is left."""
        self.forget(channel)
        self._keyed.discard(channel)
        self._used = {used for used in self._used if used[0] != channel}

    def events(self, found: list[Event]) -> list[bytes]:
        """The plain texts of messages that were taken from the connection already."""
        return [self.take(compact(each).encode()) for each in found]

    def read(self) -> bytes:
        """The plain text of the next message."""
        return self.take(self.client.text().encode())

    def messages(self, count: int) -> list[bytes]:
        return [self.read() for _ in range(count)]

    def take(self, text: bytes) -> bytes:
        frame: Event = json.loads(text)
        assert compact(frame).encode() == text, "not compact"
        if frame["event"] == "sockudo:delta":
            return self._delta(frame, text)
        found = _METADATA.search(text)
        if found is None:
            assert "__delta_seq" not in frame
            self.kinds += "P"
            return text
        plain = text[: found.start()] + b"}"
        number, key = int(found[1]), None if found[2] is None else json.loads(found[2])
        assert frame["__delta_seq"] == number
        self.kinds += "F"
        self._keep(frame["channel"], number, key, plain)
        return plain

    def _delta(self, frame: Event, text: bytes) -> bytes:
        # Some libraries cannot cut the metadata out cleanly, and keep another end than the last brace.
        plain = self._target(frame, (b"}", b"?", b":7}"))
        said: Event = json.loads(plain)
        for name in _IDS:
            assert frame.get(name) == said.get(name)
        self.sizes.append((len(text), len(plain)))
        return plain

    def _target(self, frame: Event, ends: tuple[bytes, ...]) -> bytes:
        """What the difference makes of the base, the same whichever of ``ends`` the base has for its last byte."""
        self.kinds += "D"
        data: dict[str, Any] = frame["data"]
        order = ["event", "delta", "seq", "algorithm", "conflation_key", "base_index"]
        assert list(data) == [name for name in order if name in data]
        channel, key = frame["channel"], data.get("conflation_key")
        number, base = self._bases[channel][key]
        assert data["base_index"] == number
        algorithm = data.get("algorithm", "fossil")
        self.algorithms.add(algorithm)
        raw = base64.b64decode(data["delta"], validate=True)
        (plain,) = {self._decode(algorithm, base[:-1] + end, raw) for end in ends}
        said: Event = json.loads(plain)
        assert (said["channel"], said["event"]) == (channel, data["event"])
        self._keep(channel, data["seq"], key, plain)
        return plain

    @staticmethod
    def _decode(algorithm: str, base: bytes, delta: bytes) -> bytes:
        if algorithm == "fossil":
            return decode_fossil(base, delta)
        assert algorithm == "xdelta3"
        # The source is declared without its last byte.
        found: bytes = vcdiff_decoder.decode(base, delta)
        return found

    def _keep(self, channel: str, number: int, key: str | None, plain: bytes) -> None:
        assert (channel, key, number) not in self._used, f"{number} was used before"
        assert number < 2**31
        self._used.add((channel, key, number))
        if key is not None:
            self._keyed.add(channel)
            assert number >= 2**16
        assert key is not None or channel not in self._keyed, "a keyed channel has no other bases"
        bases = self._bases.setdefault(channel, {})
        assert key not in bases or number > bases[key][0]
        bases[key] = (number, plain)


class BinaryDeltaReader(DeltaReader):
    """The same on a connection in a binary format: what it gives back is the JSON of what all clients see of a frame.

    Those keep a text of their own making of each frame, of which only the beginning is certain.
    """

    def read(self) -> bytes:
        return self.take_event(self.client.event())

    def events(self, found: list[Event]) -> list[bytes]:
        return [self.take_event(each) for each in found]

    def take_event(self, frame: Event) -> bytes:
        if frame["event"] == "sockudo:delta":
            assert set(frame) <= {"event", "channel", "data", *_IDS}
            plain = self._target(frame, (b"}", b',"tags":{"10":"a"},"serial":7}', b"?"))
            said: Event = json.loads(plain)
            assert list(said) == ["event", "channel", "data"]
            assert compact(said).encode() == plain
            return seen({**said, **{name: frame[name] for name in _IDS if name in frame}})
        number, key = frame.get("__delta_seq"), frame.get("__conflation_key")
        if number is None:
            assert key is None
            self.kinds += "P"
        else:
            self.kinds += "F"
            base = compact({name: frame[name] for name in ("event", "channel", "data")}).encode()
            self._keep(frame["channel"], number, key, base)
        return seen(frame)


def seen(frame: Event) -> bytes:
    """What clients of a binary format show of a frame, as JSON; where it has more, that too."""
    hidden = ("tags", "__delta_seq", "__conflation_key")
    order = sorted(name for name in frame if name not in hidden)
    return compact({name: frame[name] for name in order}).encode()


def reader_of(client: WebSocket) -> DeltaReader:
    """A reader for the format of the connection."""
    return DeltaReader(client) if client.wire is JSON else BinaryDeltaReader(client)


def delta_server() -> ServerProcess:
    """A server with an app whose channels have settings of their own, by the beginning of their names."""
    apps = [app_record(DEFAULT_APP), app_record(CHOSEN_APP, channels={"channel_delta_compression": CHANNELS})]
    return start_server({**STREAMS, "app_manager": {"array": {"apps": apps}}})


def quote(number: int, **fields: Any) -> str:
    """Data that is long enough, and changes a little."""
    return compact({"pair": "EURUSD", "bid": 1.08 + number / 10_000, "text": 'ö€🌊 "\\\n' * 20, **fields})


def publish(server: Any, channel: str, *numbers: int, event: str = "quote", **fields: Any) -> None:
    for number in numbers:
        server.publish(channel, event, quote(number), **fields)


def enable(client: WebSocket, data: object = None, algorithm: str = "fossil") -> DeltaReader:
    """Asks for differences on all channels."""
    client.say("sockudo:enable_delta_compression", data)
    assert client.event() == {"event": ENABLED, "data": {"enabled": True, "algorithm": algorithm}}
    return reader_of(client)


def confirmed(client: WebSocket, channel: str, algorithm: str = "fossil") -> None:
    """The next frame says that one channel comes as differences."""
    data = {"enabled": True, "algorithm": algorithm, "channel": channel}
    assert client.event() == {"event": ENABLED, "channel": channel, "data": data}


class Witness:
    """A connection that gets everything whole: the texts that are to be reconstructed."""

    def __init__(self, client: WebSocket) -> None:
        self.client = client

    def messages(self, count: int) -> list[bytes]:
        if self.client.wire is JSON:
            return [self.client.text().encode() for _ in range(count)]
        return [seen(self.client.event()) for _ in range(count)]

    def events(self, found: list[Event]) -> list[bytes]:
        return [compact(each).encode() if self.client.wire is JSON else seen(each) for each in found]
