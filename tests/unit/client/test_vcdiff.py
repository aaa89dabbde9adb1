"""The reader of VCDIFF, against this server's encoder, another decoder, and broken input."""

from __future__ import annotations

import base64
import itertools
import random
import zlib
from contextlib import suppress

import pytest
import vcdiff_decoder
from hypothesis import given
from hypothesis import strategies as st

from sockudo.client.vcdiff import MalformedVcdiffError, decode
from sockudo.protocol.delta import vcdiff

EXAMPLE = base64.b64decode("1sPEAAABXgAZXwAQAwE1fSIsInNlcmlhbCI6NDJ9E08RAA==")
BASE = rb'{"event":"quote","channel":"fx:desk","data":"{\"pair\":\"EURUSD\",\"bid\":1.0812}","serial":41}'


def _varint(value: int) -> bytes:
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127 | 128)
    return bytes(reversed(groups))


def _delta(
    size: int, data: bytes, instructions: bytes, addresses: bytes = b"", source: int = 0, checksum: bytes | None = None
) -> bytes:
    """A delta of one window over the first ``source`` bytes of the base."""
    sizes = b"".join(map(_varint, (len(data), len(instructions), len(addresses))))
    rest = _varint(size) + b"\0" + sizes + (checksum or b"") + data + instructions + addresses
    indicator = (1 if source else 0) | (4 if checksum is not None else 0)
    window = bytes([indicator]) + (_varint(source) + b"\0" if source else b"") + _varint(len(rest)) + rest
    return b"\xd6\xc3\xc4\0\0" + window


def test_the_specified_example() -> None:
    assert decode(BASE, EXAMPLE) == BASE.replace(b"1.0812", b"1.0815").replace(b"41}", b"42}")


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=30))
def test_what_the_server_writes(start: bytes, middle: bytes, new: bytes) -> None:
    base, target = start + middle + start, middle + new + start
    delta = vcdiff.encode(base, target)
    assert decode(base, delta) == target == vcdiff_decoder.decode(base, delta)


def test_every_code_of_the_table_means_what_another_decoder_reads() -> None:
    """One window for each code: what the code makes, behind some bytes that it can copy from."""
    numbers = random.Random(7)
    base = bytes(numbers.randrange(256) for _ in range(400))
    for code in range(256):
        # Near and same caches hold 0 at the start, so every mode has an address to copy from.
        head = _delta_of_code(code)
        assert decode(base, head) == vcdiff_decoder.decode(base, head), code


def _delta_of_code(code: int) -> bytes:
    """A delta with the instruction ``code``, sizes of 5 where it has none of its own, and what else it reads."""
    for explicit, size, addresses in itertools.product((0, 1), range(1, 40), (0, 1)):
        # What is copied or repeated is not among the data, and beside a copy no code adds more than four bytes.
        for data in sorted({*range(min(size, 4) + 1), size}):
            instructions = bytes([code]) + b"\x05" * explicit
            delta = _delta(size, b"abcdefghijklmnopqrstuvwxyz"[:data], instructions, b"\x28" * addresses, 300)
            try:
                decode(b"\0" * 400, delta)
            except MalformedVcdiffError:
                continue
            return delta
    raise AssertionError(f"no input fits code {code}")


def test_a_copy_may_repeat_what_it_makes() -> None:
    # ADD 2, then COPY 7 from the first byte that was added.
    assert decode(b"", _delta(9, b"ab", b"\x03\x17", b"\x00")) == b"ababababa"


def test_a_run() -> None:
    assert decode(b"", _delta(300, b"z", b"\x00" + _varint(300))) == b"z" * 300


def test_a_checksum_is_compared() -> None:
    right = zlib.adler32(b"ab").to_bytes(4)
    assert decode(b"", _delta(2, b"ab", b"\x03", checksum=right)) == b"ab"
    with pytest.raises(MalformedVcdiffError, match="checksum"):
        decode(b"", _delta(2, b"ab", b"\x03", checksum=b"\0\0\0\0"))


def test_headers_of_applications_are_passed_over() -> None:
    plain = _delta(2, b"ab", b"\x03")
    assert decode(b"", b"\xd6\xc3\xc4\0\x04\x03xyz" + plain[5:]) == b"ab"


@pytest.mark.parametrize(
    ("delta", "said"),
    [
        (b"", "ends before"),
        (b"nonsense", "does not begin"),
        (b"\xd6\xc3\xc4\0\x01", "secondary compression"),
        (b"\xd6\xc3\xc4\0\x02", "code table"),
        (b"\xd6\xc3\xc4\0\0\x02", "window over the target"),
        (_delta(2, b"ab", b"\x03", source=5), "longer base"),
        (_delta(3, b"ab", b"\x03"), "another number of bytes"),
        (_delta(1, b"ab", b"\x03"), "more bytes than it announces"),
        (_delta(2, b"abc", b"\x03"), "another number of bytes"),
        (_delta(2**31 - 1, b"ab", b"\x03"), "more than 16777216"),
        (_delta(4, b"", b"\x14", b"\x00"), "from where nothing is"),
        (_delta(2, b"a", b"\x03"), "ends before 2 bytes"),
        (_delta(2, b"ab", b"\x03")[:-1], "ends before"),
        (b"\xd6\xc3\xc4\0\0\0\xff\xff\xff\xff\xff", "number over"),
        (b"\xd6\xc3\xc4\0\0\0\x05\x00\x01\x00\x00\x00", "compressed sections"),
    ],
)
def test_what_cannot_be_read(delta: bytes, said: str) -> None:
    with pytest.raises(MalformedVcdiffError, match=said):
        decode(b"", delta)


@given(st.data())
def test_broken_input_raises_one_error(data: st.DataObject) -> None:
    broken = bytearray(EXAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedVcdiffError):
        decode(BASE, bytes(broken[: data.draw(st.integers(0, len(broken)))]))
