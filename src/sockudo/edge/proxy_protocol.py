"""The PROXY protocol, versions 1 and 2: the header in which a load balancer names the client. Without IO.

Version 1 is a line of text, version 2 a binary header with extensions (TLVs), which are skipped. The text of an error
never repeats what was received.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

__all__ = ["Parsed", "parse"]

_V1_START = b"PROXY "
_V1_MAX = 107
_V2_START = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = 16
# Addresses take 216 bytes at most; the rest is room for TLVs, such as what was read from a client's certificate.
_V2_MAX_BODY = 4096

_LOCAL, _PROXY = 0, 1
# By family of version 2: bytes of an address, and of the whole block of both addresses and ports.
_V2_FAMILIES = {0: (0, 0), 1: (4, 12), 2: (16, 36), 3: (108, 216)}
_INET, _INET6 = 1, 2
_TRANSPORTS = (0, 1, 2)


class Parsed(NamedTuple):
    """A header that has arrived whole.

    ``source`` is the client's address and port; None where the proxy speaks for itself or does not know the client.
    ``consumed`` is the header's length: what follows is the connection's own data.
    """

    source: tuple[str, int] | None
    consumed: int


def parse(buffer: bytes) -> Parsed | None:
    """The header at the front of ``buffer``, all that has arrived so far; None while more is needed.

    Raises ValueError, with one line of text, for a header that is malformed or longer than it may be, at the latest
    when it has arrived whole. No more than the longest header is waited for.
    """
    if _begins(buffer, _V1_START):
        return _parse_v1(buffer)
    if _begins(buffer, _V2_START):
        return _parse_v2(buffer)
    raise ValueError("the connection does not begin with a PROXY protocol header")


def _begins(buffer: bytes, start: bytes) -> bool:
    return start.startswith(buffer[: len(start)])


# ---- version 1 ----


def _parse_v1(buffer: bytes) -> Parsed | None:
    end = buffer.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(buffer) >= _V1_MAX:
            raise ValueError(f"PROXY v1: no end of line within {_V1_MAX} bytes")
        return None
    consumed = end + 2
    fields = buffer[len(_V1_START) : end].split(b" ")
    if fields[0] == b"UNKNOWN":
        return Parsed(None, consumed)
    if fields[0] not in (b"TCP4", b"TCP6"):
        raise ValueError("PROXY v1: the protocol must be TCP4, TCP6 or UNKNOWN")
    if len(fields) != 5:
        raise ValueError("PROXY v1: expected two addresses and two ports, one space apart")
    source, _ = (_v1_address(fields[0], field) for field in fields[1:3])
    port, _ = (_v1_port(field) for field in fields[3:5])
    return Parsed((source, port), consumed)


def _v1_address(protocol: bytes, field: bytes) -> str:
    kind = IPv4Address if protocol == b"TCP4" else IPv6Address
    try:
        address = kind(field.decode("ascii"))
    except ValueError:
        raise ValueError(f"PROXY v1: an address is not one of {protocol.decode()}") from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError("PROXY v1: an address has a scope")
    return str(address)


def _v1_port(field: bytes) -> int:
    # Leading zeros are forbidden, as they could be taken for octal numbers.
    if not field.isdigit() or len(field) > 5 or (len(field) > 1 and field.startswith(b"0")) or int(field) > 65_535:
        raise ValueError("PROXY v1: a port is not a number from 0 to 65535")
    return int(field)


# ---- version 2 ----


def _parse_v2(buffer: bytes) -> Parsed | None:
    have = len(buffer)
    if have > 12 and (buffer[12] >> 4 != 2 or buffer[12] & 0x0F not in (_LOCAL, _PROXY)):
        raise ValueError("PROXY v2: unknown version or command")
    if have < _V2_FIXED:
        return None
    length = int.from_bytes(buffer[14:16], "big")
    if length > _V2_MAX_BODY:
        raise ValueError(f"PROXY v2: {length} bytes of addresses and extensions, more than {_V2_MAX_BODY}")
    consumed = _V2_FIXED + length
    if buffer[12] & 0x0F == _LOCAL:
        return Parsed(None, consumed) if have >= consumed else None
    family, transport = buffer[13] >> 4, buffer[13] & 0x0F
    if family not in _V2_FAMILIES or transport not in _TRANSPORTS:
        raise ValueError("PROXY v2: unknown address family or transport")
    size, block = _V2_FAMILIES[family]
    if length < block:
        raise ValueError(f"PROXY v2: {length} bytes are too few for the addresses")
    if have < consumed:
        return None
    if transport == 0 or family not in (_INET, _INET6):
        return Parsed(None, consumed)
    raw = buffer[_V2_FIXED : _V2_FIXED + size]
    address = IPv4Address(raw) if family == _INET else IPv6Address(raw)
    ports = _V2_FIXED + 2 * size
    return Parsed((str(address), int.from_bytes(buffer[ports : ports + 2], "big")), consumed)
