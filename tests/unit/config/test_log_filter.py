"""Log filters: a level for everything, others by logger."""

from __future__ import annotations

import pytest

from sockudo.config.log_filter import LogFilter, parse, preset


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("info", LogFilter(20)),
        ("WARN", LogFilter(30)),
        ("off", LogFilter(100)),
        ("", LogFilter(20)),
        ("sockudo=debug", LogFilter(20, (("sockudo", 10),))),
        ("info, sockudo::edge=trace ,uvicorn=error", LogFilter(20, (("sockudo.edge", 5), ("uvicorn", 40)))),
        ("error,a=debug,a=info", LogFilter(40, (("a", 20),))),
    ],
)
def test_filters(text: str, expected: LogFilter) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["loud", "sockudo=loud", "=debug", "info,sockudo", "sockudo[span]=x"])
def test_broken_filters(text: str) -> None:
    with pytest.raises(ValueError, match=r"^has '"):
        parse(text)


def test_presets_can_be_parsed() -> None:
    assert parse(preset(debug=False)) == LogFilter(20)
    assert parse(preset(debug=True)) == LogFilter(20, (("sockudo", 10),))
