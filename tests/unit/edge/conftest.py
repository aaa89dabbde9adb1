from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from support.edge import EdgeNode


@pytest.fixture
async def node() -> EdgeNode:
    """One node with its edge, without limits by address."""
    return EdgeNode()


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """What is entered here is left at the end of the test."""
    with contextlib.ExitStack() as opened:
        yield opened
