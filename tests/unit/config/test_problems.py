"""The refusal tells everything, and guesses names."""

from __future__ import annotations

import pytest

from sockudo.config.problems import ConfigError, nearest


def test_one_problem_is_its_own_text() -> None:
    assert str(ConfigError(["port is odd"])) == "port is odd"


def test_several_problems_are_a_list() -> None:
    error = ConfigError(["a", "b"])
    assert error.problems == ("a", "b")
    assert str(error) == "2 problems in the configuration:\n  - a\n  - b"


@pytest.mark.parametrize(
    ("word", "guess"),
    [("prot", "port"), ("Max-Messages", "max_messages"), ("maxMessages", "max_messages"), ("zzz", None)],
)
def test_nearest(word: str, guess: str | None) -> None:
    assert nearest(word, ["port", "host", "max_messages"]) == guess
