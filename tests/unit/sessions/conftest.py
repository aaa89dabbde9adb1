from __future__ import annotations

import pytest

from support.inside import Node


@pytest.fixture
def node() -> Node:
    """One node with one app that allows nothing out of the ordinary."""
    return Node()
