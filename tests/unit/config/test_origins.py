"""Origin patterns of contract 70 § 1.3, one row each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.config.origins import allows_everything, check_pattern, matcher


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
