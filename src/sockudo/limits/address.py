"""Who is asking: the client's address behind the proxies that are trusted (spec: platform § 4.3, 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

__all__ = ["UNKNOWN", "client_address"]

UNKNOWN = "unknown_ip"
"""Stands for clients of which no address is known; they share one bucket."""

_Headers = Sequence[tuple[bytes, bytes]]


def client_address(peer: tuple[str, int] | str | None, headers: _Headers, trust_hops: int, *, unix: bool) -> str:
    """The address that limits are kept for; one text for one address, however it was written.

    ``peer`` is the connection's other end, host or (host, port). ``trust_hops`` proxies in front are trusted to have
    added to X-Forwarded-For. ``headers`` have lower-case names; they are read only if there is such a proxy, as
    otherwise any client could choose its bucket. On a Unix socket (``unix``) each client is a proxy, so one at
    least is trusted.
    """
    hops = max(trust_hops, 1) if unix else trust_hops
    if hops > 0:
        forwarded = _forwarded_by_proxies(headers, hops)
        if forwarded is not None:
            return forwarded
    host = peer[0] if isinstance(peer, tuple) else peer
    if not host:
        return UNKNOWN
    # A socket that listens on both families shows IPv4 clients like this; all other peers are written one way.
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def _forwarded_by_proxies(headers: _Headers, hops: int) -> str | None:
    forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for")
    if forwarded:
        # Each proxy adds at the end. Only the entries added by trusted ones are to be believed.
        entries = forwarded.split(b",")
        address = _address(entries[max(0, len(entries) - hops)])
        if address is not None:
            return address
    for name, value in reversed(headers):
        if name == b"x-real-ip":
            return _address(value)
    return None


def _address(text: bytes) -> str | None:
    try:
        address = ip_address(text.strip().decode("ascii"))
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            # Free text after the %: each variant would be a bucket of its own.
            return None
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(address)
