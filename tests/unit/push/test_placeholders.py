"""Placeholders: what is put in, what is refused, and that nothing else ever comes out (spec: push § 4)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.placeholders import MOST_BYTES, substituted

DATA: dict[str, Any] = {
    "name": "Ana",
    "no": 8841,
    "price": 2.5,
    "new": True,
    "none": None,
    "list": [1],
    "parcel": {"no": 7, "a": {"b": {"c": "deep", "d": {"e": "deeper"}}}},
    "": "empty",
}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("no placeholder", "no placeholder"),
        ("", ""),
        ("Hi {{ data.name }}!", "Hi Ana!"),
        ("{{data.name}}{{  data.no  }}", "Ana8841"),
        ("{{ data.price }} {{ data.new }}", "2.5 true"),
        ("[{{ data.none }}]", "[]"),
        ("{{ data.parcel.no }}", "7"),
        ("{{ data.parcel.a.b.c }}", "deep"),
        ("a } b { c }} d", "a } b { c }} d"),
    ],
)
def test_values_are_put_in(text: str, made: str) -> None:
    assert substituted(text, DATA, "title") == made


def test_what_is_put_in_is_not_looked_at_again() -> None:
    assert substituted("{{ data.a }}", {"a": "{{ data.b }}"}, "title") == "{{ data.b }}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ data.nobody }}", "placeholder key is missing (title: data.nobody)"),
        ("{{ data.parcel.no.more }}", "placeholder key is missing (title: data.parcel.no.more)"),
        ("{{ data..no }}", "placeholder key is missing (title: data..no)"),
        ("{{ data.list }}", "placeholder value must be scalar (title: data.list)"),
        ("{{ data.parcel }}", "placeholder value must be scalar (title: data.parcel)"),
        ("{{ name }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data. }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data.na-me }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data.näme }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data.parcel.a.b.d.e }}", "placeholder key must use a bounded data.* path (title)"),
        ("{{}}", "placeholder key must use a bounded data.* path (title)"),
        ("{{ data.name", "unterminated placeholder (title)"),
        ("{{ data.name }", "unterminated placeholder (title)"),
        ("{{ {{ data.name }}", "unterminated placeholder (title)"),
    ],
)
def test_refusals_name_field_and_key(text: str, reason: str) -> None:
    with pytest.raises(SockudoError) as caught:
        substituted(text, DATA, "title")
    assert caught.value.spec is errors.INVALID_INPUT
    assert caught.value.text == f"invalid template substitution: {reason}"


@pytest.mark.parametrize("data", [None, {}])
def test_without_data_every_key_is_missing(data: dict[str, Any] | None) -> None:
    with pytest.raises(SockudoError, match="placeholder key is missing"):
        substituted("{{ data.a }}", data, "body")


def test_a_text_may_grow_to_its_bound_in_bytes_and_no_further() -> None:
    data = {"a": "é" * (MOST_BYTES // 2)}
    assert len(substituted("{{ data.a }}", data, "body").encode()) == MOST_BYTES
    with pytest.raises(SockudoError, match=r"rendered output is too large \(over 4096 bytes\) \(body\)"):
        substituted("{{ data.a }}.", data, "body")
    with pytest.raises(SockudoError, match="rendered output is too large"):
        substituted("{{ data.a }}" * 1000, {"a": "x" * 4000}, "body")


_words = st.sampled_from(["{{", "}}", "{", "}", " ", "data.", "data.a", "data.b.c", ".", "é", "x" * 50, "\0"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(_words, max_size=40).map("".join), st.dictionaries(st.sampled_from(["a", "b"]), _values, max_size=2))
def test_any_text_is_within_its_bound_or_refused(text: str, data: dict[str, Any]) -> None:
    made: str | SockudoError
    try:
        made = substituted(text, data, "title")
    except SockudoError as problem:
        made = problem
    if isinstance(made, SockudoError):
        assert made.spec is errors.INVALID_INPUT
        assert made.text.startswith("invalid template substitution: ")
    else:
        assert len(made.encode()) <= MOST_BYTES
