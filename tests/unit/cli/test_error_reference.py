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


def test_every_row_has_an_anchor_an_entry_and_its_texts(page: str) -> None:
    for slug, row in CATALOGUE.items():
        assert page.count(f'<a id="{slug}"></a>\n') == 1, slug
        assert page.count(f"[`{slug}`](#{slug})") == 1, slug
        section = page.partition(f'<a id="{slug}"></a>')[2].partition("<a id=")[0]
        for text in (row.meaning, row.remedy, *row.causes, row.seen_in or ""):
            assert text in section, slug
        reason = "" if row.reason is None else f", `reason` is `{row.reason}`"
        assert (f"| HTTP | {row.status}, `code` is `{row.code}`{reason} |" in section) is (row.status is not None), slug
        assert ("| WebSocket |" in section) is (row.ws is not None), slug
        assert ("can help" in section) is row.retry, slug


def test_the_page_in_the_tree_is_current(page: str) -> None:
    assert PAGE.read_text(encoding="utf-8") == page, "run scripts/docs"
