from __future__ import annotations

import pytest

from support.edge import EdgeNode


@pytest.fixture
async def node() -> EdgeNode:
    """One node with its edge, without limits by address."""
    return EdgeNode()
