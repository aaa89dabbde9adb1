"""The pages for people who add something name files and names that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "docs" / "extending").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_paths_and_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:src|tests|scripts|docs|benchmarks)/[\w./-]*)`", text)
    missing = [path for path in paths if not (ROOT / path).exists()]
    missing += [link for link in re.findall(r"\]\(([^)#:]+)", text) if not (page.parent / link).exists()]
    assert paths
    assert missing == []


def test_every_page_is_named_for_contributors() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"docs/extending/{page.name}" not in contributing] == []
