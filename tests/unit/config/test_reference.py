"""The reference page holds everything that is declared, and the page in the tree is current."""

from __future__ import annotations

from pathlib import Path

from sockudo.config import foreign, unsupported
from sockudo.config.app_shape import APP_FIELDS
from sockudo.config.reference import render_reference
from sockudo.config.schema import declared, sections, variables

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_everything_is_on_the_page() -> None:
    page = render_reference()
    for setting in declared().values():
        assert f"`{setting.path.rpartition('.')[2]}`" in page
        assert setting.key.meaning.replace("|", "\\|") in page
    for name in (*variables(), *foreign.READ, *foreign.ADVICE, *APP_FIELDS):
        assert f"`{name}`" in page
    for path in (*unsupported.PARTS, *unsupported.NO_EFFECT):
        assert f"`{path}`" in page
    for section in sections():
        assert f"### `[{section}]`" in page or not any(path.rpartition(".")[0] == section for path in declared())


def test_the_page_is_the_same_every_time() -> None:
    assert render_reference() == render_reference()
    assert "spec:" not in render_reference()


def test_the_page_in_the_tree_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_reference(), "run scripts/docs"
