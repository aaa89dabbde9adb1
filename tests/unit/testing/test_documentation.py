"""The examples of docs/testing.md run as they stand there, with pytest and no configuration."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sockudo.testing

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_examples_run_where_only_pytest_is_installed(tmp_path: Path) -> None:
    """They needed pytest-asyncio in its automatic mode once, and the page did not say so."""
    for number, block in enumerate(BLOCKS):
        assert "def test_" in block
        (tmp_path / f"test_example_{number}.py").write_text(block)
    command = (
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:asyncio",
        "-p",
        "no:anyio",
        "-p",
        "no:cacheprovider",
    )
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(rf"^{len(BLOCKS)} passed in ", run.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in sockudo.testing.__all__ if name not in {"Credentials", "Event"}])
def test_every_public_name_is_on_the_page(name: str) -> None:
    if name == "TestServer":
        name = "serve("
    if name == "BlockingClient":
        name = "blocking_client("
    assert name in PAGE.read_text()


def test_every_fixture_is_on_the_page() -> None:
    from sockudo.testing import pytest_plugin

    fixtures = [name for name in pytest_plugin.__all__ if name.startswith("sockudo_")]
    assert len(fixtures) == 4
    assert all(f"`{name}`" in PAGE.read_text() for name in fixtures)
