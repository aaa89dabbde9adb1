"""What the operator says about deltas, for the server and by pattern for channels (spec: filters-deltas § 2.10)."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.config.sections.delivery import DeltaCompression
from sockudo.protocol.delta.settings import INHERITED, Algorithm, ChannelDelta, ChannelDeltas, DeltaOptions


def test_the_defaults_are_those_of_the_configuration() -> None:
    section = DeltaCompression()
    options = DeltaOptions()
    for field in DeltaOptions.__slots__:
        assert getattr(options, field) == getattr(section, field), field


@pytest.mark.parametrize(
    ("value", "settings"),
    [
        ("inherit", INHERITED),
        ("disabled", ChannelDelta(enabled=False)),
        ("fossil", ChannelDelta(algorithm=Algorithm.FOSSIL, enable_tags=True)),
        ("xdelta3", ChannelDelta(algorithm=Algorithm.XDELTA3, enable_tags=True)),
        ({}, ChannelDelta(algorithm=Algorithm.FOSSIL, enable_tags=True)),
        ({"enabled": False}, ChannelDelta(enabled=False, algorithm=Algorithm.FOSSIL, enable_tags=True)),
        (
            {
                "algorithm": "xdelta3",
                "conflation_key": "symbol",
                "max_messages_per_key": 10,
                "max_conflation_keys": 7,
                "enable_tags": False,
            },
            ChannelDelta(True, Algorithm.XDELTA3, "symbol", 7, False),
        ),
    ],
)
def test_words_and_objects(value: Any, settings: ChannelDelta) -> None:
    assert ChannelDeltas({"fx:desk": value}).of("fx:desk") == settings


def test_only_objects_and_algorithms_are_settings_of_the_channels_own() -> None:
    deltas = ChannelDeltas({"a": "inherit", "b": "disabled", "c": "fossil", "d": {"enable_tags": False}, "e": {}})
    assert [deltas.of(name).enable_tags for name in "abcdef"] == [None, None, True, False, True, None]


def chosen(channel: str, *patterns: str) -> str | None:
    """The pattern that was chosen, told by the number in its settings."""
    found = ChannelDeltas({pattern: {"max_conflation_keys": n} for n, pattern in enumerate(patterns)}).of(channel)
    return None if found is INHERITED else patterns[found.max_conflation_keys or 0]


@pytest.mark.parametrize("pattern", ["news-sport", "news-*", "*-sport", "n*t", "news-sport*", "*news-sport", "*"])
def test_patterns_that_fit(pattern: str) -> None:
    assert chosen("news-sport", pattern) == pattern


@pytest.mark.parametrize("pattern", ["news", "new-*", "*-spor", "n*x", "news-sport*t", "News-*", "news-sport-*"])
def test_patterns_that_do_not_fit(pattern: str) -> None:
    assert chosen("news-sport", pattern) is None


@pytest.mark.parametrize(
    ("patterns", "winner"),
    [
        (("news-*", "news-sport", "*"), "news-sport"),
        (("*", "n*", "news-*"), "news-*"),
        (("*-sport", "n*"), "n*"),
        (("news-*", "news-*t", "news-*rt"), "news-*rt"),
        (("*t", "*ort", "*-sport"), "*-sport"),
    ],
)
def test_an_exact_name_wins_then_the_longest_start_then_the_longest_pattern(
    patterns: tuple[str, ...], winner: str
) -> None:
    assert chosen("news-sport", *patterns) == winner
    assert chosen("news-sport", *reversed(patterns)) == winner
