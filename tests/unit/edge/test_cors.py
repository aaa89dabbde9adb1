"""Cross-origin headers: one constant answer for a wildcard, one per origin for a list, none without origins."""

from __future__ import annotations

import pytest

from sockudo.edge.cors import Cors
from support.edge import settings

VARY = (b"vary", b"origin, access-control-request-method, access-control-request-headers")


def cors(*origins: str, credentials: bool = True) -> Cors:
    return Cors(settings(cors={"origin": origins, "credentials": credentials}))


@pytest.mark.parametrize("origins", [("*",), ("any",), ("https://a.test", " ANY ")])
def test_a_wildcard_answers_all_alike_and_without_credentials(origins: tuple[str, ...]) -> None:
    policy = cors(*origins)
    expected = [(b"access-control-allow-origin", b"*"), VARY]
    assert policy.constant == expected
    for origin in (None, b"https://a.test", b"null", b"\xff"):
        assert policy.headers(origin) == expected


def test_no_origins_allow_nothing() -> None:
    policy = cors()
    assert policy.constant == [VARY]
    assert policy.headers(b"https://a.test") == [VARY]


def test_a_listed_origin_is_repeated_as_it_came() -> None:
    policy = cors("https://a.test", "*.b.test", "c.test:8080")
    assert policy.constant is None
    for origin in (b"https://a.test", b"HTTPS://A.test", b"http://b.test", b"https://x.b.test", b"ws://c.test:8080"):
        assert policy.headers(origin) == [
            (b"access-control-allow-origin", origin),
            VARY,
            (b"access-control-allow-credentials", b"true"),
        ]


@pytest.mark.parametrize(
    "origin",
    [None, b"", b"null", b"http://a.test", b"https://a.test.evil", b"https://notb.test", b"http://c.test", b"\xff"],
)
def test_others_are_served_without_the_header(origin: bytes | None) -> None:
    assert cors("https://a.test", "*.b.test", "c.test:8080").headers(origin) == [VARY]


def test_credentials_can_be_switched_off() -> None:
    found = cors("https://a.test", credentials=False).headers(b"https://a.test")
    assert found == [(b"access-control-allow-origin", b"https://a.test"), VARY]


def test_preflights_add_methods_and_headers() -> None:
    for policy in (cors("*"), cors("https://a.test")):
        found = dict(policy.preflight(b"https://a.test"))
        assert found[b"access-control-allow-methods"] == b"GET,POST,PUT,PATCH,DELETE,OPTIONS"
        names = found[b"access-control-allow-headers"].split(b",")
        assert names[:2] == [b"authorization", b"content-type"]
        assert b"x-idempotency-key" in names
        assert all(name == name.lower() == name.strip() for name in names)
    assert b"access-control-allow-origin" not in dict(cors("https://a.test").preflight(b"https://b.test"))
