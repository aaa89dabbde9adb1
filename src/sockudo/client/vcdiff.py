"""Reading VCDIFF (RFC 3284), which the protocol calls ``xdelta3``, with the default code table
(spec: filters-deltas § 3.2).

Without secondary compression, code tables of their own and deltas of deltas: no server of this protocol sends them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["MalformedVcdiffError", "decode"]

_MAGIC: Final = b"\xd6\xc3\xc4\x00"
_MAX_TARGET: Final = 16 * 1024 * 1024
_MAX_NUMBER: Final = 2**31 - 1

_NOOP, _ADD, _RUN, _COPY = range(4)
_NEAR: Final = 4
_SAME: Final = 3

_SOURCE: Final = 0x01
_CHECKSUM: Final = 0x04
_APP_HEADER: Final = 0x04


class MalformedVcdiffError(ValueError):
    """The delta breaks the format, needs a part of it that is not read here, or was made for another base."""


class _Half(NamedTuple):
    """One of the two instructions of a code; a ``size`` of 0 is read from the instructions."""

    kind: int
    size: int = 0
    mode: int = 0


def _code_table() -> list[tuple[_Half, _Half]]:
    """The default code table (RFC 3284 § 5.6)."""
    nothing = _Half(_NOOP)
    modes = range(2 + _NEAR + _SAME)
    table = [(_Half(_RUN), nothing)]
    table += [(_Half(_ADD, size), nothing) for size in range(18)]
    table += [(_Half(_COPY, size, mode), nothing) for mode in modes for size in (0, *range(4, 19))]
    for mode in modes:
        longest = 6 if mode < 2 + _NEAR else 4
        table += [(_Half(_ADD, a), _Half(_COPY, c, mode)) for a in range(1, 5) for c in range(4, longest + 1)]
    table += [(_Half(_COPY, 4, mode), _Half(_ADD, 1)) for mode in modes]
    return table


_TABLE: Final = _code_table()


class _Reader:
    """Bytes and numbers, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._content)

    def take(self, count: int) -> bytes:
        piece = self._content[self._at : self._at + count]
        if len(piece) != count:
            raise MalformedVcdiffError(f"ends before {count} bytes that are announced, at byte {self._at}")
        self._at += count
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        value = 0
        while True:
            byte = self.byte()
            value = value << 7 | byte & 0x7F
            if value > _MAX_NUMBER:
                raise MalformedVcdiffError(f"number over {_MAX_NUMBER} before byte {self._at}")
            if byte < 0x80:
                return value


def decode(base: bytes, delta: bytes) -> bytes:
    """The target of ``delta``. Raises MalformedVcdiffError for everything that cannot be read."""
    reader = _Reader(delta)
    if reader.take(4) != _MAGIC:
        raise MalformedVcdiffError("does not begin as VCDIFF does")
    header = reader.byte()
    if header & ~_APP_HEADER:
        raise MalformedVcdiffError("needs secondary compression or a code table")
    if header & _APP_HEADER:
        reader.take(reader.number())
    target = bytearray()
    while not reader.at_end:
        target += _window(base, reader, _MAX_TARGET - len(target))
    return bytes(target)


def _window(base: bytes, reader: _Reader, most: int) -> bytes:
    indicator = reader.byte()
    if indicator & ~(_SOURCE | _CHECKSUM):
        raise MalformedVcdiffError("has a window over the target")
    source = b""
    if indicator & _SOURCE:
        count, start = reader.number(), reader.number()
        source = base[start : start + count]
        if len(source) != count:
            raise MalformedVcdiffError("made for a longer base")
    rest = _Reader(reader.take(reader.number()))
    size = rest.number()
    if size > most:
        raise MalformedVcdiffError(f"makes more than {_MAX_TARGET} bytes")
    if rest.byte():
        raise MalformedVcdiffError("has compressed sections")
    sizes = [rest.number() for _ in range(3)]
    checksum = int.from_bytes(rest.take(4)) if indicator & _CHECKSUM else None
    data, instructions, addresses = (_Reader(rest.take(count)) for count in sizes)
    made = _Window(source, size, data, instructions, addresses).made()
    if checksum is not None and checksum != _adler32(made):
        raise MalformedVcdiffError("checksum differs: made for another base")
    return made


def _adler32(content: bytes) -> int:
    import zlib

    return zlib.adler32(content)


class _Window:
    """One window while it is made: ``_text`` is the source and behind it what there is of the target."""

    def __init__(self, source: bytes, size: int, data: _Reader, instructions: _Reader, addresses: _Reader) -> None:
        self._text = bytearray(source)
        self._source = len(source)
        self._end = len(source) + size
        self._data = data
        self._instructions = instructions
        self._addresses = addresses
        self._near = [0] * _NEAR
        self._next_near = 0
        self._same = [0] * (_SAME * 256)

    def made(self) -> bytes:
        while not self._instructions.at_end:
            for half in _TABLE[self._instructions.byte()]:
                if half.kind != _NOOP:
                    self._run(half.kind, half.size or self._instructions.number(), half.mode)
        if len(self._text) != self._end or not self._data.at_end or not self._addresses.at_end:
            raise MalformedVcdiffError("makes another number of bytes than it announces")
        return bytes(self._text[self._source :])

    def _run(self, kind: int, count: int, mode: int) -> None:
        if len(self._text) + count > self._end:
            raise MalformedVcdiffError("makes more bytes than it announces")
        if kind == _ADD:
            self._text += self._data.take(count)
        elif kind == _RUN:
            self._text += self._data.take(1) * count
        else:
            self._copy(self._address(mode), count)

    def _copy(self, start: int, count: int) -> None:
        # A copy may go on into what it has just made: then a period of bytes is repeated.
        period = len(self._text) - start
        piece = bytes(self._text[start : start + count])
        self._text += piece if count <= period else (piece * (count // period + 1))[:count]

    def _address(self, mode: int) -> int:
        here = len(self._text)
        if mode == 0:
            address = self._addresses.number()
        elif mode == 1:
            address = here - self._addresses.number()
        elif mode < 2 + _NEAR:
            address = self._near[mode - 2] + self._addresses.number()
        else:
            address = self._same[(mode - 2 - _NEAR) * 256 + self._addresses.byte()]
        if not 0 <= address < here:
            raise MalformedVcdiffError("copies from where nothing is")
        self._near[self._next_near] = address
        self._next_near = (self._next_near + 1) % _NEAR
        self._same[address % (_SAME * 256)] = address
        return address
