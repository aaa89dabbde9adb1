"""Delta compression by channel: patterns, words and settings (spec: filters-deltas § 2.10)."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.config.app_deltas import read_deltas


def read(raw: dict[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    problems: list[str] = []
    found = read_deltas(raw, "deltas", lambda path, text: problems.append(f"{path} {text}"))
    return found, problems


@pytest.mark.parametrize("pattern", ["news", "p*", "*s", "p*s", "*", "private-a"])
@pytest.mark.parametrize(("raw", "word"), [("inherit", "inherit"), ("Disabled", "disabled"), (" XDELTA3 ", "xdelta3")])
def test_words_in_any_case(pattern: str, raw: str, word: str) -> None:
    assert read({pattern: raw}) == ({pattern: word}, [])


def test_settings_keep_what_was_written() -> None:
    settings = {
        "enabled": "no",
        "algorithm": "Fossil",
        "conflation_key": "data.symbol",
        "max_messages_per_key": "3",
        "max_conflation_keys": 4,
        "enable_tags": True,
    }
    assert read({"a*": settings, "b": {}, "c": {"conflation_key": None}}) == (
        {
            "a*": {
                "enabled": False,
                "algorithm": "fossil",
                "conflation_key": "data.symbol",
                "max_messages_per_key": 3,
                "max_conflation_keys": 4,
                "enable_tags": True,
            },
            "b": {},
            "c": {},
        },
        [],
    )


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"": "fossil"}, "deltas[''] is no pattern: a channel name with at most one '*'"),
        ({"a*b*": "fossil"}, "deltas['a*b*'] is no pattern: a channel name with at most one '*'"),
        ({3: "fossil"}, "deltas[3] is no pattern: a channel name with at most one '*'"),
        ({"a": "zip"}, "deltas['a'] = 'zip' is none of inherit, disabled, fossil, xdelta3"),
        ({"a": None}, "deltas['a'] = None is none of inherit, disabled, fossil, xdelta3"),
        ({"a": True}, "deltas['a'] = True is none of inherit, disabled, fossil, xdelta3"),
        ({"a": {"algorithm": "inherit"}}, "deltas['a'].algorithm = 'inherit' is none of fossil, xdelta3"),
        ({"a": {"enable": True}}, "deltas['a'].enable is not known; did you mean 'enabled'?"),
        ({"a": {"max_conflation_keys": 0}}, "deltas['a'].max_conflation_keys = 0 is not a whole number of 1 or more"),
        ({"a": {"conflation_key": 3}}, "deltas['a'].conflation_key = 3 is not text: put it in quotes"),
    ],
)
def test_refusals(raw: dict[Any, Any], problem: str) -> None:
    assert read(raw)[1] == [problem]


def test_every_problem_at_once_and_the_rest_is_read() -> None:
    found, problems = read({"a": "zip", "b": {"enabled": "perhaps", "algorithm": "fossil"}, "c": "fossil"})
    assert found == {"b": {"algorithm": "fossil"}, "c": "fossil"}
    assert len(problems) == 2
