"""What the tracks of a channel have in common."""

from __future__ import annotations

import pytest

from sockudo.protocol.delta import channel as module
from sockudo.protocol.delta.channel import DeltaChannel
from sockudo.protocol.delta.node import DeltaNode
from sockudo.protocol.delta.settings import INHERITED, ChannelDelta, DeltaOptions
from sockudo.protocol.frames import Frame


def make(options: DeltaOptions, settings: ChannelDelta = INHERITED) -> DeltaChannel:
    return DeltaChannel(DeltaNode(options, lambda: 0.0), "app", "fx:desk", settings)


def test_the_key_path_is_the_channels_else_the_servers() -> None:
    frame = Frame("quote", "fx:desk", '{"symbol":"EURUSD","desk":"ldn"}')
    path = DeltaOptions(conflation_key_path="desk")
    assert make(DeltaOptions()).key_of(frame) is None
    assert make(path).key_of(frame) == "ldn"
    assert make(path, ChannelDelta(conflation_key="symbol")).key_of(frame) == "EURUSD"


def test_a_channel_with_a_path_of_its_own_is_keyed_from_the_start() -> None:
    assert make(DeltaOptions(), ChannelDelta(conflation_key="symbol")).keyed
    assert not make(DeltaOptions(conflation_key_path="symbol")).keyed
    assert not make(DeltaOptions()).keyed


def test_the_limit_of_keys_is_the_channels_else_the_servers() -> None:
    assert make(DeltaOptions()).max_groups == 100
    assert make(DeltaOptions(max_conflation_states_per_channel=None)).max_groups is None
    assert make(DeltaOptions(), ChannelDelta(max_conflation_keys=7)).max_groups == 7
    assert make(DeltaOptions(max_conflation_states_per_channel=0)).max_groups == 1


def test_the_key_of_a_frame_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Frame] = []

    def key_reader(path: str | None) -> object:
        return looked.append

    monkeypatch.setattr(module, "key_reader", key_reader)
    channel = make(DeltaOptions())
    first, second = Frame("a", "fx:desk", "1"), Frame("a", "fx:desk", "1")
    for frame in (first, first, second, second, first):
        assert channel.key_of(frame) is None
    assert [id(frame) for frame in looked] == [id(first), id(second), id(first)]


def test_the_first_number_of_keys_is_above_all_that_were_used_here() -> None:
    channel = make(DeltaOptions())
    assert channel.first_number() == 2**16
    channel.next_number = 2**16 + 40
    assert channel.first_number() == 2**16 + 40
    channel.next_number = 40
    assert channel.first_number() == 2**16


def test_what_a_keyed_channel_came_to_is_kept_for_those_who_come_back() -> None:
    node = DeltaNode(DeltaOptions(), lambda: 0.0)
    keyed = ChannelDelta(conflation_key="symbol")
    channel = DeltaChannel(node, "app", "fx:desk", keyed)
    channel.next_number = 2**16 + 40
    channel.left_by_all()
    assert DeltaChannel(node, "other", "fx:desk", keyed).next_number == 0
    assert DeltaChannel(node, "app", "fx:desk", keyed).next_number == 2**16 + 40
    unkeyed = DeltaChannel(node, "app", "plain", INHERITED)
    unkeyed.next_number = 2**16 + 40
    unkeyed.left_by_all()
    assert DeltaChannel(node, "app", "plain", INHERITED).next_number == 0
