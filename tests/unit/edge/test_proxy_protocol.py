"""PROXY protocol headers: whole and byte by byte, both versions, and nothing that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.edge.proxy_protocol import Parsed, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4_BLOCK = bytes([203, 0, 113, 5, 192, 0, 2, 1]) + (40001).to_bytes(2, "big") + (6001).to_bytes(2, "big")
V6_BLOCK = bytes.fromhex("20010db8" + "00" * 11 + "05" + "20010db8" + "00" * 11 + "01" + "9c41" + "1771")

TCP4 = b"PROXY TCP4 203.0.113.5 192.0.2.1 40001 6001\r\n"
TCP6 = b"PROXY TCP6 2001:db8::5 2001:db8::1 40001 6001\r\n"


def v2(family: int, body: bytes, *, command: int = 0x21, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return SIGNATURE + bytes([command, family]) + size.to_bytes(2, "big") + body


VALID = [
    pytest.param(TCP4, ("203.0.113.5", 40001), id="v1 TCP4"),
    pytest.param(TCP6, ("2001:db8::5", 40001), id="v1 TCP6"),
    pytest.param(b"PROXY TCP4 255.255.255.255 0.0.0.0 0 65535\r\n", ("255.255.255.255", 0), id="v1 extremes"),
    pytest.param(b"PROXY UNKNOWN\r\n", None, id="v1 unknown"),
    pytest.param(b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None, id="v1 unknown, longest line"),
    pytest.param(v2(0x11, V4_BLOCK), ("203.0.113.5", 40001), id="v2 TCP4"),
    pytest.param(v2(0x12, V4_BLOCK), ("203.0.113.5", 40001), id="v2 UDP4"),
    pytest.param(v2(0x21, V6_BLOCK), ("2001:db8::5", 40001), id="v2 TCP6"),
    pytest.param(v2(0x11, V4_BLOCK + b"\x01\x00\x02h2"), ("203.0.113.5", 40001), id="v2 TCP4 with a TLV"),
    pytest.param(v2(0x21, V6_BLOCK + b"\x04" * 4060), ("2001:db8::5", 40001), id="v2 longest"),
    pytest.param(v2(0x31, b"\x00" * 216), None, id="v2 Unix"),
    pytest.param(v2(0x00, b""), None, id="v2 unspecified"),
    pytest.param(v2(0x10, V4_BLOCK), None, id="v2 unspecified transport"),
    pytest.param(v2(0x00, b"", command=0x20), None, id="v2 local"),
    pytest.param(v2(0x11, V4_BLOCK, command=0x20), None, id="v2 local with addresses"),
    pytest.param(v2(0xFF, b"abc", command=0x20), None, id="v2 local with anything"),
]


@pytest.mark.parametrize(("header", "source"), VALID)
def test_a_header_is_read_whole_and_what_follows_is_left(header: bytes, source: tuple[str, int] | None) -> None:
    assert parse(header) == Parsed(source, len(header))
    assert parse(header + b"GET / HTTP/1.1\r\n\r\n") == Parsed(source, len(header))


@pytest.mark.parametrize(("header", "source"), VALID)
def test_a_header_that_has_not_arrived_whole_is_waited_for(header: bytes, source: tuple[str, int] | None) -> None:
    for have in range(len(header)):
        assert parse(header[:have]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"X",
        b"proxy TCP4",
        b"\r\n\r\n\x00\r\nQUIX",
        b"\x16\x03\x01",
        b"PROXY  TCP4 203.0.113.5 192.0.2.1 1 2\r\n",
        b"PROXY \r\n",
        b"PROXY TCP5 203.0.113.5 192.0.2.1 1 2\r\n",
        b"PROXY UDP4 203.0.113.5 192.0.2.1 1 2\r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1 1\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1 1 2 3\r\n",
        b"PROXY TCP4 203.0.113.5  192.0.2.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::5 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 203.0.113.5 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n",
        b"PROXY TCP4 203.0.113.256 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.5 host 1 2\r\n",
        b"PROXY TCP4 203.0.113.5\xff 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1 65536 2\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1 1 65536\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1 01 2\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1 -1 2\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1 +1 2\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1 1_0 2\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1  2\r\n",
        b"PROXY TCP4 203.0.113.5 192.0.2.1 1 2\n\r\n",
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY UNKNOWN " + b"x" * 200,
        v2(0x11, V4_BLOCK, command=0x11),
        v2(0x11, V4_BLOCK, command=0x22),
        v2(0x41, V4_BLOCK),
        v2(0x13, V4_BLOCK),
        v2(0x11, V4_BLOCK[:-1]),
        v2(0x21, V6_BLOCK[:-1]),
        v2(0x31, b"\x00" * 215),
        v2(0x11, b"", length=4097),
        v2(0x00, b"", command=0x20, length=0xFFFF),
    ],
)
def test_anything_else_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\APROXY v[12]: |\Athe connection does not begin") as refused:
        parse(data)
    assert "\n" not in str(refused.value)


def test_a_version_2_header_is_refused_before_its_body_arrives() -> None:
    for command, family in ((0x31, 0x11), (0x21, 0x55)):
        with pytest.raises(ValueError, match=r"\APROXY v2"):
            parse(v2(family, b"", command=command, length=12))


def outcome(data: bytes) -> Parsed | str | None:
    try:
        return parse(data)
    except ValueError:
        return "refused"


STARTS = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 1.2.3.4 1.2.3.4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00"])


@given(STARTS, st.binary(max_size=160))
def test_arriving_byte_by_byte_changes_nothing(start: bytes, rest: bytes) -> None:
    """Growing input is waited for until one outcome appears, and more input never changes it."""
    data = start + rest
    final = outcome(data)
    seen = [outcome(data[:have]) for have in range(len(data) + 1)]
    decided = [found for found in seen if found is not None]
    assert all(found == final for found in decided)
    assert None not in seen[len(seen) - len(decided) :]
    if isinstance(final, Parsed):
        assert len(seen) - len(decided) == final.consumed


@given(STARTS, st.binary(max_size=160), st.integers(0, 255))
def test_no_input_is_waited_for_beyond_the_longest_header(start: bytes, rest: bytes, filler: int) -> None:
    assert outcome(start + rest + bytes([filler]) * 4200) is not None


@given(st.ip_addresses(), st.integers(0, 65_535), st.binary(max_size=50))
def test_what_a_proxy_writes_is_what_is_read(address: object, port: int, rest: bytes) -> None:
    version = 4 if "." in str(address) else 6
    line = f"PROXY TCP{version} {address} {address} {port} {port}\r\n".encode()
    raw = getattr(address, "packed", b"")
    binary = v2(0x11 if version == 4 else 0x21, raw + raw + port.to_bytes(2, "big") * 2 + rest)
    for header in (line, binary):
        assert parse(header + rest) == Parsed((str(address), port), len(header))
