"""Origin patterns, one row each (spec: platform § 1.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.config.origins import allows_everything, check_pattern, matcher, why_unmatched


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed"),
    [
        ("*", "https://anything.test", True),
        ("any", None, True),
        ("ANY", "", True),
        ("https://shop.test", "https://shop.test", True),
        ("https://shop.test", "HTTPS://Shop.Test", True),
        ("https://shop.test", "http://shop.test", False),
        ("https://shop.test", "https://shop.test:8443", False),
        ("https://shop.test", None, False),
        ("https://shop.test", "null", False),
        ("shop.test:8443", "https://shop.test:8443", True),
        ("shop.test:8443", "http://shop.test:8443", True),
        ("shop.test:8443", "https://shop.test", False),
        ("shop.test", "https://evil-shop.test", False),
        ("*.shop.test", "https://shop.test", True),
        ("*.shop.test", "http://a.b.shop.test", True),
        ("*.shop.test", "https://notshop.test", False),
        ("*.shop.test", "https://shop.test.evil.test", False),
        ("https://*.shop.test", "https://a.shop.test", True),
        ("https://*.shop.test", "http://a.shop.test", False),
        ("https://*.shop.test", "https://shop.test", False),
        ("http://localhost:*", "http://localhost:5173", True),
        ("http://localhost:*", "http://localhost.evil.test:80", False),
        ("localhost:*", "https://localhost:5173", True),
        ("https://aba*aba", "https://aba", False),
        ("*", None, True),
        ("shop.test", "", False),
    ],
)
def test_rows(pattern: str, origin: str | None, allowed: bool) -> None:
    assert check_pattern(pattern) is None
    assert matcher([pattern])(origin) is allowed
    assert matcher(["https://other.test", pattern])(origin) is allowed


def test_no_patterns_allow_everything() -> None:
    assert matcher([])("https://anything.test") is True
    assert matcher(())(None) is True


def test_a_wildcard_anywhere_in_the_list_allows_everything() -> None:
    assert allows_everything(["https://shop.test", " Any "]) is True
    assert allows_everything(["https://shop.test"]) is False
    assert allows_everything([]) is False


@pytest.mark.parametrize("pattern", ["", "  ", "a*b*", "*.", "https://", "a b.test", "https://shop.test/"])
def test_useless_patterns(pattern: str) -> None:
    assert check_pattern(pattern) is not None


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4), st.none() | st.text(max_size=20))
def test_matching_is_total_and_ignores_case(patterns: list[str], origin: str | None) -> None:
    """Any patterns and any origin give an answer, the same for the upper-cased ASCII origin."""
    decide = matcher(patterns)
    answer = decide(origin)
    assert answer in (True, False)
    if origin is not None and origin.isascii():
        assert decide(origin.upper()) is answer


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("https://shop.test/basket", "has '/basket' behind the host"),
        ("shop.test/", "has '/' behind the host"),
        ("https://shop.test?a=b", "has '?a=b' behind the host"),
        ("https://shop.test#top", "has '#top' behind the host"),
        ("*.shop.test/basket", "has '/basket' behind the host"),
        ("https://ana@shop.test", "has a user in front of the host"),
        ("https://:8443", "has no host"),
        (":8443", "has no host"),
        ("https://*.", "has no domain beside the '.'"),
        ("https://*.:8443", "has no domain beside the '.'"),
        (".shop.test", "has nothing before a '.'"),
        ("*..shop.test", "has nothing before a '.'"),
        ("https://shop..test", "has nothing before a '.'"),
        ("https://shop.test:", "ends in ':'"),
        ("https://shop.test:https", "has 'https' for a port"),
        ("https://shop.test:70000", "has '70000' for a port"),
        ("https://shop.test:443", "names the port 443"),
        ("http://*.shop.test:80", "names the port 80"),
        ("wss://shop.test", "is the address of a WebSocket: the origin of the page begins with 'https://'"),
        ("ws://shop.test", "begins with 'http://'"),
        ("ht tps", None),
        ("1https://shop.test", "has a scheme that none is"),
        ("https://a.test,https://b.test", "give each pattern on its own"),
        ("a.test;b.test", "has ';' in the host"),
        ("::1", "an IPv6 address stands in brackets"),
        ("https://süß.test", "'xn--'"),
        ("*.ø.test", "'xn--'"),
    ],
)
def test_patterns_that_no_page_matches(pattern: str, why: str | None) -> None:
    said = why_unmatched(pattern)
    if why is None:
        assert said is None
    else:
        assert said is not None
        assert why in said


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "any",
        "null",
        "https://shop.test",
        "HTTPS://Shop.test:8443",
        "shop.test:443",
        "http://shop.test:443",
        "*.shop.test",
        "https://*.shop.test",
        "https://shop.test.",
        "https://*",
        "http*://shop.test",
        "*://shop.test",
        "http://localhost:*",
        "localhost:*",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "http://[::1]",
        "capacitor://localhost",
        "chrome-extension://abcdef",
        "https://xn--s-xfa5b.test",
        "my_host.test",
        "https://pr-*.shop.test:3000",
    ],
)
def test_patterns_that_some_page_matches(pattern: str) -> None:
    assert check_pattern(pattern) is None
    assert why_unmatched(pattern) is None


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
ORIGINS = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https", "capacitor", "tauri"]),
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.sampled_from(["", ":3000", ":8443"]),
)


@given(ORIGINS, st.data())
def test_nothing_is_said_of_a_pattern_that_a_browser_fits(origin: str, data: st.DataObject) -> None:
    """A pattern that matches an origin as browsers send it is never called useless."""
    cut = data.draw(st.integers(0, len(origin)))
    rest = data.draw(st.integers(cut, len(origin)))
    for pattern in (origin, origin.partition("://")[2], f"{origin[:cut]}*{origin[rest:]}"):
        if check_pattern(pattern) is None and matcher([pattern])(origin):
            assert why_unmatched(pattern) is None, pattern


@given(st.text(max_size=30))
def test_every_text_is_judged(text: str) -> None:
    """Whatever is typed, there is an answer and no failure."""
    assert why_unmatched(text) != ""
