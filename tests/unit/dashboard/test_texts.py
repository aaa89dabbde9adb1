"""Data from outside becomes text that people can read, whatever it is."""

from __future__ import annotations

import msgspec
import pytest

from sockudo.dashboard.texts import duration, moment, pretty, prose


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"a":[1,2]}', '{\n  "a": [\n    1,\n    2\n  ]\n}'),
        (msgspec.Raw(b'{"a":"<b>"}'), '{\n  "a": "<b>"\n}'),
        ({"a": 1}, '{\n  "a": 1\n}'),
        ("plain words", "plain words"),
        ('{"a":', '{"a":'),
        ("", ""),
        ("[" * 3000, "[" * 3000),
        (b"\xff", "�"),
    ],
)
def test_json_has_line_breaks_and_the_rest_stays(data: object, expected: str) -> None:
    assert pretty(data) == expected


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("`sockudo tail` shows <it>", "<code>sockudo tail</code> shows &lt;it&gt;"),
        ("name `<b>`, or `x`.", "name <code>&lt;b&gt;</code>, or <code>x</code>."),
        ("one ` alone", "one ` alone"),
        ("plain", "plain"),
    ],
)
def test_words_between_backticks_are_code(text: str, markup: str) -> None:
    assert prose(text) == markup


def test_long_data_is_cut() -> None:
    shown = pretty("x" * 30_000)
    assert shown.startswith("x" * 20_000 + "…")
    assert "30,000" in shown
    assert len(shown) < 20_100


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3_660, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations_have_their_two_largest_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_moments_are_in_utc() -> None:
    assert moment(1_767_225_600_999) == "2026-01-01 00:00:00 UTC"
