from __future__ import annotations

import pytest

from support.world import Sockets, World


@pytest.fixture(params=["one by one", "at once"])
def world(request: pytest.FixtureRequest) -> World:
    """Deliveries to many are a write for each, or one for all."""
    return World(sockets=Sockets(lambda size: size) if request.param == "at once" else None)
