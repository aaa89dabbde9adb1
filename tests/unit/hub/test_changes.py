"""Versions of messages on their way to subscribers (spec: messages § 5)."""

from __future__ import annotations

import pytest

from sockudo.hub.outgoing import EVERYTHING, Wants
from sockudo.protocol.formats import V1_JSON, V2_JSON
from sockudo.protocol.frames import Frame
from support.world import Peer, World

FRAGMENT = Frame("sockudo:message.append", "news", "b")
WHOLE = Frame("sockudo:message.append", "news", "ab")


def join(world: World, wants: Wants = EVERYTHING, name: str = "news", *, v1: bool = False) -> Peer:
    connection, peer = world.connect(V1_JSON if v1 else V2_JSON)
    world.hub.subscribe(connection, name, wants)
    return peer


@pytest.mark.parametrize("name", ["news", "new*"])
def test_each_gets_what_it_wants_and_v1_nothing(world: World, name: str) -> None:
    delta, full, old = join(world, name=name), join(world, Wants(whole=True), name), join(world, name=name, v1=True)
    assert world.app.wants_whole("news")
    world.hub.publish_change(world.app, FRAGMENT, WHOLE)
    world.settle()
    assert [peer.events() for peer in (delta, full, old)] == [[(FRAGMENT.event, "b")], [(FRAGMENT.event, "ab")], []]


def test_what_is_whole_is_the_same_for_all(world: World) -> None:
    peers = [join(world), join(world, Wants(whole=True))]
    world.hub.publish_change(world.app, Frame("sockudo:message.update", "news", "new"), None)
    world.settle()
    assert [peer.events() for peer in peers] == [[("sockudo:message.update", "new")]] * 2


def test_all_of_the_text_is_needed_while_somebody_wants_it(world: World) -> None:
    assert not world.app.wants_whole("news")
    join(world)
    assert not world.app.wants_whole("news")
    connection, _ = world.connect(V2_JSON)
    world.hub.subscribe(connection, "news", Wants(whole=True))
    assert world.app.wants_whole("news")
    world.hub.unsubscribe(connection, "news")
    assert not world.app.wants_whole("news")


def test_who_hears_a_channel_twice_gets_a_change_once(world: World) -> None:
    connection, peer = world.connect(V2_JSON)
    world.hub.subscribe(connection, "news")
    world.hub.subscribe(connection, "new*")
    world.hub.publish_change(world.app, FRAGMENT, None)
    world.settle()
    assert peer.events() == [(FRAGMENT.event, "b")]
