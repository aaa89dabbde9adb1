"""The examples of docs/testing.md are run as they stand there."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import sockudo.testing

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def _title(block: str) -> str:
    found = re.search(r"def (\w+)", block)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("block", BLOCKS, ids=_title)
def test_examples_work(block: str) -> None:
    names: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)  # noqa: S102 - our own page
    for name, function in names.items():
        if name.startswith("test_"):
            result = function()
            if inspect.isawaitable(result):
                asyncio.run(_awaited(result))


async def _awaited(result: Any) -> None:
    await result


@pytest.mark.parametrize("name", [name for name in sockudo.testing.__all__ if name not in {"Credentials", "Event"}])
def test_every_public_name_is_on_the_page(name: str) -> None:
    if name == "TestServer":
        name = "serve("
    if name == "BlockingClient":
        name = "blocking_client("
    assert name in PAGE.read_text()
