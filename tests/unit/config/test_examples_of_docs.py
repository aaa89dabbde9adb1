"""What the pages show of apps can be pasted into a file as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sockudo.config import load

DOCS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"```toml\n(.*?)```", re.DOTALL)
EXAMPLES = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, text in enumerate(BLOCK.findall(page.read_text()))
    if "app_manager.array.apps" in text
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_fragment_with_an_app_is_a_configuration(text: str, tmp_path: Path) -> None:
    (tmp_path / "sockudo.toml").write_text(text)
    environ = dict.fromkeys(re.findall(r"\$\{([A-Z_]+)\}", text), "a-long-secret-of-the-app")
    loaded = load(path=Path("sockudo.toml"), environ=environ, cwd=tmp_path)
    assert loaded.settings.apps
    assert loaded.settings.apps[0].enabled


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 5
