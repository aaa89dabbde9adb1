"""How the numbers of the overview are written, and that every one of them exists."""

from __future__ import annotations

from math import nan
from pathlib import Path

import pytest

from sockudo import dashboard, errors
from sockudo.dashboard.plots import PLOTS, TILES, Unit, numbers, shown
from sockudo.dashboard.ring import Ring
from sockudo.dashboard.samples import SERIES
from sockudo.webhooks.dashboard.area import webhook_area
from support.inside import HandComponent


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "count", "–"),
        (0, "count", "0"),
        (12_345, "count", "12,345"),
        (0.26, "rate", "0.3/s"),
        (12.0, "rate", "12/s"),
        (1234.5, "rate", "1,234/s"),
        (3.14, "ms", "3.1 ms"),
        (523, "bytes", "523 B"),
        (1536, "bytes", "1.5 KiB"),
        (77_500_000, "bytes", "73.9 MiB"),
        (5 * 2**40, "bytes", "5,120 GiB"),
        (2048, "byte rate", "2 KiB/s"),
    ],
)
def test_values_are_written_for_people(value: float | None, unit: Unit, text: str) -> None:
    assert shown(value, unit) == text


def test_every_line_and_tile_is_a_series_of_the_samples() -> None:
    figures = webhook_area(HandComponent("webhooks", errors.SERVICE_UNAVAILABLE)).figures
    assert figures is not None
    for tiles, plots, series in ((TILES, PLOTS, SERIES), (figures.tiles, figures.plots, figures.series)):
        drawn = {line.series for plot in plots for line in plot.lines}
        assert drawn == set(series)
        assert {tile.series for tile in tiles} <= drawn
    assert len({plot.id for plot in (*PLOTS, *figures.plots)}) == len(PLOTS) + len(figures.plots)


def test_no_plot_has_more_lines_than_there_are_looks_for() -> None:
    style = (Path(dashboard.__file__).parent / "static/dashboard.css").read_text()
    for number in range(1, max(len(plot.lines) for plot in PLOTS) + 1):
        assert f"--line-{number}:" in style


def test_a_line_in_three_values() -> None:
    ring = Ring(("up", "unknown"), 5)
    assert numbers(ring.rows())["up"] == (None, None, None)
    for at, value in enumerate((3.0, 9.0, 1.0, 4.0), start=1):
        ring.append(at, (value, nan))
    assert numbers(ring.rows()) == {"up": (4, 1, 9), "unknown": (None, None, None)}
    ring.append(9, (nan, nan))
    assert numbers(ring.rows())["up"] == (None, 1, 9)
