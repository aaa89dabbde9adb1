"""What docs/moving.md says about the server is true of it: what is missing is refused, what is there works.

The page once denied the dashboard and push notifications, which both existed: it decides whether people move.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from sockudo.config import ConfigError, load
from sockudo.server.commands import app as command_line

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "moving.md").read_text()
README = (DOCS.parent / "README.md").read_text()

MISSING = {
    "Apps in DynamoDB": '[app_manager]\ndriver = "dynamodb"',
    "A path prefix": 'path_prefix = "/realtime"',
    "Webhooks to AWS Lambda": (
        '[[app_manager.array.apps]]\nid = "1"\nkey = "k"\nsecret = "s"\nenabled = true\n'
        "[[app_manager.array.apps.policy.webhooks]]\n"
        'event_types = ["channel_occupied"]\nlambda_function = "notify"'
    ),
}
"""What the page calls missing, by the first words of its row, with a configuration that asks for it."""


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table below ``heading``, cell by cell."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_nothing_else_is_said_to_be_missing() -> None:
    missing = [cells[0] for cells in rows("What is not there yet")]
    assert len(missing) == len(MISSING)
    assert all(any(row.startswith(name) for row in missing) for name in MISSING)


@pytest.mark.parametrize("name", MISSING)
def test_what_is_said_to_be_missing_is_missing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sockudo.toml"
    path.write_text(MISSING[name] + "\n")
    try:
        answer = " ".join(load(path=path, environ={}, cwd=tmp_path).warnings)
    except ConfigError as refusal:
        answer = str(refusal)
    assert re.search("not part of this version|has no effect|Lambda|not supported|this version", answer), answer


@pytest.mark.parametrize(
    ("page", "word"), [("dashboard.md", "dashboard"), ("push.md", "push"), ("webhooks.md", "webhooks")]
)
def test_what_there_is_has_a_page_a_command_and_a_link(page: str, word: str) -> None:
    assert (DOCS / page).exists()
    assert f"({page})" in PAGE
    root: Any = typer.main.get_command(command_line)
    assert word in root.list_commands(root.make_context("sockudo", [], resilient_parsing=True))
    assert f"(docs/{page})" in README
