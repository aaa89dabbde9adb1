"""The error reference holds every row of the catalogue, and the page in the tree is current."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockudo.cli.error_reference import render
from sockudo.errors import CATALOGUE

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"


@pytest.fixture(scope="module")
def page() -> str:
    return render()


@pytest.mark.parametrize("slug", sorted(CATALOGUE))
def test_every_row_has_an_anchor_an_entry_and_its_texts(slug: str, page: str) -> None:
    row = CATALOGUE[slug]
    assert page.count(f'<a id="{slug}"></a>\n') == 1
    assert page.count(f"[`{slug}`](#{slug})") == 1
    section = page.partition(f'<a id="{slug}"></a>')[2].partition("<a id=")[0]
    for text in (row.meaning, row.remedy, *row.causes):
        assert text in section
    assert (f"| HTTP | {row.status}, `code` is `{row.code}` |" in section) is (row.status is not None)
    assert ("| WebSocket |" in section) is (row.ws is not None)
    assert ("can help" in section) is row.retry


def test_the_page_in_the_tree_is_current(page: str) -> None:
    assert PAGE.read_text(encoding="utf-8") == page, "run scripts/docs"
