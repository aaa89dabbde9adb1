"""How the pages use their room: the header in one row, no place that is nothing, addresses in one piece."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from browser.town import PAGES, Town
from browser.visitors import Chromium, Visitor, log_in
from support.server import ServerProcess

NOT_FOUND = "the server responded with a status of 404"

ROWS = """() => new Set([...document.querySelectorAll(".brand, .menu a, .logout")]
  .map((each) => Math.round(each.getBoundingClientRect().top + each.getBoundingClientRect().height / 2))).size"""

EMPTY_PLACES = """() => [...document.querySelectorAll(".stats")]
  .map((each) => [each, document.querySelector(".card")].map((one) => getComputedStyle(one).backgroundColor))
  .filter(([own, card]) => own !== card)
  .length"""

BROKEN = """() => [...document.querySelectorAll("th.address a, td.address")]
  .filter((each) => each.textContent.trim().length <= 32 && each.getClientRects().length > 1)
  .map((each) => each.textContent)"""

# Where the figures of a row of tiles end, by where the tiles begin.
FIGURES = """() => {
  const rows = {};
  for (const tile of document.querySelectorAll(".tiles > div")) {
    const figure = tile.querySelector("dd").getBoundingClientRect();
    (rows[Math.round(tile.getBoundingClientRect().top)] ??= new Set()).add(Math.round(figure.bottom));
  }
  return Object.values(rows).map((each) => each.size);
}"""

# How many plots stand in each row.
PLOTS = """() => {
  const rows = {};
  for (const plot of document.querySelectorAll(".plots > figure")) {
    const top = Math.round(plot.getBoundingClientRect().top);
    rows[top] = (rows[top] ?? 0) + 1;
  }
  return Object.values(rows);
}"""


@pytest.fixture(scope="module")
def server(built: Town) -> ServerProcess:
    return built.server


@pytest.fixture(scope="module")
def walker(chromium: Chromium, server: ServerProcess) -> Iterator[Visitor]:
    """One visitor for all pages."""
    with Visitor(chromium, server, log_in(server), expected=[NOT_FOUND]) as visitor:
        yield visitor


@pytest.mark.parametrize("width", [800, 900, 1000, 1280])
def test_the_header_is_one_row(walker: Visitor, width: int) -> None:
    page = walker.open("/dashboard/apps")
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate(ROWS) == 1
    assert page.evaluate("() => document.querySelector('.top').offsetHeight") <= 60
    menu = page.locator(".menu ul")
    assert menu.evaluate("each => each.scrollWidth - each.clientWidth") <= 0


def test_the_header_begins_where_the_page_begins(walker: Visitor) -> None:
    page = walker.open("/dashboard/apps")
    page.set_viewport_size({"width": 1920, "height": 800})
    brand, title = page.locator(".brand").bounding_box(), page.locator("h1").bounding_box()
    assert brand is not None
    assert title is not None
    assert abs(brand["x"] - title["x"]) <= 2


@pytest.mark.parametrize("name", ["overview", "app"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_place_without_a_figure_is_a_piece_of_the_card(walker: Visitor, built: Town, name: str, width: int) -> None:
    page = walker.open(built.pages[name])
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate(EMPTY_PLACES) == 0


@pytest.mark.parametrize("name", ["webhooks", "app-webhooks", "deliveries"])
def test_an_address_stands_in_one_line(walker: Visitor, built: Town, name: str) -> None:
    page = walker.open(built.pages[name])
    for width in (800, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(BROKEN) == []


def test_no_page_shows_a_backtick(built: Town) -> None:
    for name in PAGES:
        gone = name in ("connection-gone", "nothing")
        page = built.operator.page(built.pages[name], status=404 if gone else 200)
        shown = page.source.partition("<main")[2].partition("</main>")[0]
        assert "`" not in shown, name


def test_times_are_told_by_their_distance(walker: Visitor, built: Town) -> None:
    page = walker.open(built.pages["deliveries"])
    moment = page.locator("main time").first
    assert moment.inner_text().endswith(("ago", "now"))
    assert "UTC" in (moment.get_attribute("title") or "")


def test_the_head_of_a_long_table_stays(walker: Visitor, built: Town) -> None:
    page = walker.open(built.pages["channel-history"])
    page.set_viewport_size({"width": 1280, "height": 800})
    box = page.locator(".scroll").first
    head = box.locator("thead th").first
    before = head.bounding_box()
    box.evaluate("each => each.scrollTo(0, each.scrollHeight)")
    assert box.evaluate("each => each.scrollTop") > 0
    assert head.bounding_box() == before


@pytest.mark.parametrize(("name", "id"), [("connection", "socket-id"), ("delivery", "delivery-id")])
def test_an_id_can_be_copied(walker: Visitor, built: Town, name: str, id: str) -> None:
    page = walker.open(built.pages[name])
    page.locator(f"[data-copy={id}]").click()
    page.locator(".toast").first.wait_for()
    assert page.locator(f"#{id}").inner_text() in page.url


@pytest.mark.parametrize("width", [800, 1280, 1920])
def test_figures_of_a_row_stand_on_one_line(walker: Visitor, width: int) -> None:
    page = walker.open("/dashboard")
    page.set_viewport_size({"width": width, "height": 800})
    assert set(page.evaluate(FIGURES)) == {1}


@pytest.mark.parametrize("width", [1280, 1920])
def test_no_plot_is_alone_in_a_row_of_several(walker: Visitor, width: int) -> None:
    page = walker.open("/dashboard")
    page.set_viewport_size({"width": width, "height": 800})
    rows = page.evaluate(PLOTS)
    assert len(set(rows)) == 1 or rows[-1] > 1


def test_a_message_of_the_history_is_a_row_and_no_box(walker: Visitor, built: Town) -> None:
    page = walker.open(built.pages["channel-history"])
    page.set_viewport_size({"width": 1280, "height": 800})
    heights = page.evaluate("() => [...document.querySelectorAll('tbody tr')].map((each) => each.offsetHeight)")
    assert heights
    assert sorted(heights)[len(heights) // 2] <= 60
    assert max(heights) <= 110
