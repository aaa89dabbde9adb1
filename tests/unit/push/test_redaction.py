"""What of a text may be shown (spec: push § 3)."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.push.redaction import redacted


@pytest.mark.parametrize(
    "text",
    [
        "the Token is gone",
        "SECRET",
        "no endpoint",
        "unauthorised",
        "see http://x",
        "see HTTPS://x",
        "x" * 129,
        "dGhpc2lzYXJlZ2lzdHJhdGlvbg",
        "answered dGhpc2lzYXJlZ2lzdHJhdGlv: no",
        "BadDeviceToken: abc",
    ],
)
def test_what_may_hold_a_secret_is_replaced_by_its_hash(text: str) -> None:
    assert redacted(text) == f"[REDACTED:{sha256(text.encode()).hexdigest()[:12]}]"


@pytest.mark.parametrize(
    "text", ["", "quota", "provider status 503", "x y " * 32, "BadCertificateEnvironment", "UNAUTHENTICATED", "a" * 23]
)
def test_what_says_why_stays(text: str) -> None:
    assert redacted(text) == text


@given(st.text())
def test_once_is_enough_and_nothing_long_is_left(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once
    assert len(once) <= 128
    if once != text:
        assert re.fullmatch(r"\[REDACTED:[0-9a-f]{12}\]", once)
