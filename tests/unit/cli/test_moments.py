"""Times on the command line."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import typer

from sockudo.cli.moments import local_time, read_moment, read_seconds


@pytest.fixture(autouse=True)
def lisbon_in_summer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock that is one hour ahead of UTC, without a database of time zones."""
    monkeypatch.setenv("TZ", "XXX-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1767225600123", 1767225600123),
        ("0", 0),
        ("2026-01-01T00:00:00Z", 1767225600000),
        ("2026-01-01T00:00:00.123Z", 1767225600123),
        ("2026-01-01T02:00:00+02:00", 1767225600000),
        ("2026-01-01T01:00", 1767225600000),
        ("2026-01-01 01:00:00", 1767225600000),
        ("2026-01-01", 1767222000000),
        ("1969-12-31T23:59:59Z", -1000),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert read_moment(text, "--at") == expected


@pytest.mark.parametrize("text", ["", "yesterday", "1767225600", "2026-13-01", "2026", "99999-01-01"])
def test_what_is_no_moment(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        read_moment(text, "--at")
    assert caught.value.exit_code == 2
    assert "--at" in capsys.readouterr().err


def test_local_time() -> None:
    assert local_time(1767225600123) == "2026-01-01 01:00:00.123"
    assert local_time(None) == "-"
    assert local_time(10**18) == str(10**18)


def test_spans() -> None:
    assert [read_seconds(text) for text in ("90s", "5m", "2h", "1d", "10", "m", "5 m", "-5s")] == [
        90, 300, 7200, 86_400, None, None, None, None,
    ]  # fmt: skip
