"""What a decoder does not say of a JSON text: checked against plain, slow ways of finding out."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.protocol.json_text import MAX_NESTING, lone_surrogate, not_utf8, syntax_problem, too_deep


def test_the_deepest_text_that_is_allowed() -> None:
    assert too_deep(b"[" * MAX_NESTING + b"]" * MAX_NESTING) is None
    assert too_deep(b"[" * (MAX_NESTING + 1)) == MAX_NESTING
    assert too_deep(b'{"a":' * 20_000) == 5 * MAX_NESTING


def test_many_brackets_are_not_deep() -> None:
    assert too_deep(b"[" + b"[],{}," * 1000 + b"0]") is None


def test_brackets_in_strings_do_not_count() -> None:
    assert too_deep(json.dumps({"a": '["' * 500, "b": "\\" * 7 + "[" * 500}).encode()) is None
    assert too_deep(b'"' + b"[" * 500) is None


def test_a_string_before_the_brackets_moves_the_place() -> None:
    text = b'["[[[",' + b"[" * 200
    assert too_deep(text) == 7 + MAX_NESTING - 1


@given(st.text(alphabet='[]{}"\\a', max_size=600))
def test_depth_agrees_with_counting_by_hand(text: str) -> None:
    data = ("[" * 100 + text).encode()
    depth, quoted, escaped = 0, False, False
    expected = None
    for at, sign in enumerate(data.decode()):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = sign == "\\", sign != '"'
        elif sign == '"':
            quoted = True
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        if depth > MAX_NESTING:
            expected = at
            break
    assert too_deep(data) == expected


def test_lone_surrogates() -> None:
    assert lone_surrogate(b'"\\ud83d\\ude00 \\u00e9"') is None
    assert lone_surrogate(b'"a\\ud83d"') == 2
    assert lone_surrogate(b'"\\ude00\\ud83d"') == 1
    assert lone_surrogate(b'"\\\\ud83d"') is None


@given(st.binary())
def test_encoding_agrees_with_decoding(data: bytes) -> None:
    at = not_utf8(data)
    if at is None:
        data.decode()
    else:
        data[:at].decode()
        assert data.decode("utf-8", "replace") != data.decode("utf-8", "ignore")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"a":1} x', ("trailing characters", 8)),
        (b"1,2", ("trailing characters", 1)),
        (b'{"a":1,}', ("trailing comma", 7)),
        (b"[1", ("unexpected end", 2)),
        (b"", ("unexpected end", 0)),
        (b"NaN", ("invalid character", 0)),
        (b"{a}", ("invalid character", 1)),
        (b' "\\ud800"', ("lone surrogate", 2)),
    ],
)
def test_what_is_wrong_with_the_syntax_is_said_in_our_words(text: bytes, problem: tuple[str, int]) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(text)
    assert syntax_problem(caught.value, text) == problem
