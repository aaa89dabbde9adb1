"""The client's address: proxies are believed as far as they are trusted, clients never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.limits.address import client_address

PEER = ("192.0.2.9", 40000)


def address(
    *headers: tuple[bytes, bytes], hops: int = 0, peer: tuple[str, int] | str | None = PEER, unix: bool = False
) -> str:
    return client_address(peer, headers, hops, unix=unix)


def forwarded(*entries: str) -> tuple[bytes, bytes]:
    return b"x-forwarded-for", ", ".join(entries).encode()


REAL = (b"x-real-ip", b"198.51.100.7")


def test_without_trusted_proxies_the_peer_counts_whatever_the_headers_say() -> None:
    """A server that believes X-Real-IP even then lets any client choose whose limit it uses up."""
    assert address(forwarded("203.0.113.1"), REAL) == "192.0.2.9"


@pytest.mark.parametrize(
    ("hops", "expected"),
    [(1, "203.0.113.3"), (2, "203.0.113.2"), (3, "203.0.113.1"), (4, "203.0.113.1"), (64, "203.0.113.1")],
)
def test_as_many_entries_are_believed_as_proxies_are_trusted(hops: int, expected: str) -> None:
    assert address(forwarded("203.0.113.1", "203.0.113.2", "203.0.113.3"), hops=hops) == expected


def test_several_headers_are_one_list() -> None:
    headers = (forwarded("203.0.113.1"), REAL, forwarded("203.0.113.2", "203.0.113.3"))
    assert address(*headers, hops=1) == "203.0.113.3"
    assert address(*headers, hops=3) == "203.0.113.1"


@pytest.mark.parametrize(
    "entry", ["", "unknown", "_hidden", "203.0.113.1:80", "203.0.113", "fe80::1%chosen", "203.0.113.1\xff"]
)
def test_an_entry_that_is_no_address_gives_way(entry: str) -> None:
    header = (b"x-forwarded-for", entry.encode("latin-1"))
    assert address(header, REAL, hops=1) == "198.51.100.7"
    assert address(header, (b"x-real-ip", entry.encode("latin-1")), hops=1) == "192.0.2.9"


def test_x_real_ip_stands_in_for_a_missing_header() -> None:
    assert address(REAL, hops=1) == "198.51.100.7"
    assert address(hops=1) == "192.0.2.9"


def test_the_last_x_real_ip_is_the_one_the_proxy_added() -> None:
    assert address((b"x-real-ip", b"203.0.113.66"), REAL, hops=1) == "198.51.100.7"


def test_one_address_has_one_spelling() -> None:
    assert address(forwarded("2001:DB8:0::1"), hops=1) == "2001:db8::1"
    assert address(forwarded("::ffff:203.0.113.1"), hops=1) == "203.0.113.1"
    assert address(peer=("::ffff:203.0.113.1", 1)) == "203.0.113.1"
    assert address(peer=("::ffff:1", 1)) == "::ffff:1"
    assert address(peer=("2001:db8::1", 1)) == "2001:db8::1"


def test_a_peer_may_be_a_bare_host() -> None:
    assert address(peer="192.0.2.7") == "192.0.2.7"


@pytest.mark.parametrize("peer", [None, "", ("", 0)])
def test_without_any_address_it_is_unknown(peer: tuple[str, int] | str | None) -> None:
    assert address(peer=peer) == "unknown_ip"
    assert address(peer=peer, unix=True) == "unknown_ip"


def test_on_a_unix_socket_the_proxy_that_connects_is_trusted() -> None:
    headers = (forwarded("203.0.113.66", "203.0.113.1"), REAL)
    assert address(*headers, peer=None, unix=True) == "203.0.113.1"
    assert address(*headers, peer=None, unix=True, hops=2) == "203.0.113.66"
    assert address(REAL, peer=None, unix=True) == "198.51.100.7"


HEADERS = st.lists(st.tuples(st.sampled_from([b"x-forwarded-for", b"x-real-ip", b"host"]), st.binary(max_size=60)))


@given(HEADERS, st.integers(0, 5), st.booleans())
def test_any_headers_give_an_address_and_without_trust_always_the_peers(
    headers: list[tuple[bytes, bytes]], hops: int, unix: bool
) -> None:
    found = client_address(PEER, headers, hops, unix=unix)
    assert found
    if hops == 0 and not unix:
        assert found == "192.0.2.9"


@given(st.lists(st.ip_addresses(), min_size=1, max_size=4), st.lists(st.binary(max_size=20), max_size=3))
def test_what_a_client_sends_ahead_does_not_change_what_trusted_proxies_say(
    added: list[object], sent: list[bytes]
) -> None:
    proxies = [(b"x-forwarded-for", str(entry).encode()) for entry in added]
    client = [(b"x-forwarded-for", text) for text in sent]
    hops = len(added)
    assert client_address(PEER, [*client, *proxies], hops, unix=False) == client_address(
        PEER, proxies, hops, unix=False
    )
