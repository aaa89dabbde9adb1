"""What is there of one app can be listed and found by name, whatever shelf it is on."""

from __future__ import annotations

import pytest

from support.world import World


@pytest.fixture
def world() -> World:
    return World()


def test_channels_metachannels_and_patterns_are_found_by_name(world: World) -> None:
    connection, _ = world.connect()
    for name in ("news", "[meta]news", "new*"):
        assert world.app.find(name) is None
        world.hub.subscribe(connection, name)
        found = world.app.find(name)
        assert found is not None
        assert found is connection.channels[name].channel
    assert [channel.name for channel in world.app.everything()] == ["news", "[meta]news", "new*"]
    world.hub.disconnect(connection)
    assert world.app.everything() == []
