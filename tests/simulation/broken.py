"""Rules of joined nodes that are broken on purpose, one at a time: the simulation has to see each.

A rule is broken by having the real code do what it would do without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from sockudo.cluster.members import NetworkMembership
from sockudo.cluster.network import NetworkBus
from sockudo.cluster.shared_counters import SharedCounters
from sockudo.history.sequencer import Sequencer
from sockudo.hub import AppState, Hub
from sockudo.hub.streams.replay import ReplayBuffers
from sockudo.publishing.following import Following
from sockudo.publishing.publisher import Publisher
from sockudo.publishing.rosters import Rosters
from sockudo.publishing.stored_streams import StoredStreams

__all__ = ["RULES", "Rule", "broken"]


class Rule(NamedTuple):
    """What holds, and what has the nodes do without it; ``kind`` are the lives that show it."""

    says: str
    kind: str
    places: tuple[tuple[type, str, Callable[[Any], Any]], ...]
    """Class, method, and what makes the one that is put there from the real one."""


@contextmanager
def broken(name: str) -> Iterator[None]:
    """While this lasts nodes do not keep to the rule."""
    with ExitStack() as stack:
        for owner, method, make in RULES[name].places:
            stack.enter_context(patch.object(owner, method, make(getattr(owner, method))))
        yield


def _nothing(_real: Any) -> Any:
    return lambda *_args, **_options: None


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _real: lambda *_args, **_options: value


def _noting_the_dead(real: Any) -> Any:
    def accepts(self: Any, node_id: str, incarnation: int) -> bool:
        self.from_the_dead = not real(self, node_id, incarnation)
        return not self.from_the_dead

    return accepts


def _not_from_the_dead(real: Any) -> Any:
    def take_dead(self: Any, dead: Any) -> None:
        if not self.membership.from_the_dead:
            real(self, dead)

    return take_dead


def _judging_while_deaf(real: Any) -> Any:
    def be_deaf(self: Any, now: float) -> None:
        real(self, now)
        for peer in tuple(self._peers.values()):
            if now - peer.seen_at > self.timing.timeout:
                self._bury(peer, "is silent")

    return be_deaf


def _counting_for_each_place(real: Any) -> Any:
    def change_own(self: Any, place: Any, *args: Any) -> None:
        self._counter = self._versions.get(place, 0)
        real(self, place, *args)

    return change_own


def _applying_what_is_old(real: Any) -> Any:
    def take_state(self: Any, place: Any, node_id: str, state: Any) -> None:
        roster = self._rosters.get(place)
        view = None if roster is None else roster.views.get(node_id)
        if view is not None:
            view.version = (0, 0)
        real(self, place, node_id, state)

    return take_state


def _delivering_as_it_comes(_real: Any) -> Any:
    def offer(self: Any, key: Any, position: Any, message_id: Any, _size: int, deliver: Any) -> None:
        self._heads.advance(key, position, message_id)
        deliver(position)

    return offer


def _opening_without_a_floor(real: Any) -> Any:
    return lambda self, gate, *_: real(self, gate, {})


def _going_on_in_the_old_stream(real: Any) -> Any:
    def begin(self: Any, channel: str, now: float) -> Any:
        before = self.get(channel)
        buffer = real(self, channel, now)
        if before is not None:
            buffer.restart(*before.head[:1], now, before.next_serial)
        return buffer

    return begin


def _forgetting_what_came(real: Any) -> Any:
    def arrived(self: Any, topic: str, payload: bytes) -> None:
        self._places.get(topic, {}).clear()
        real(self, topic, payload)

    return arrived


def _claiming_here(_real: Any) -> Any:
    return lambda self, *args: self.local.claim(*args)


def _without_a_key(real: Any) -> Any:
    def publish_once(self: Any, app: Any, state: Any, frame: Any, policy: Any, key: str, how: Any, now: float) -> Any:
        if policy is not None and policy.history is not None:
            return self._number(app, state, frame, policy, how, now)
        return real(self, app, state, frame, policy, key, how, now)

    return publish_once


RULES: dict[str, Rule] = {
    "dead": Rule(
        "what a node that was held dead says of this one counts",
        "wild",
        ((NetworkMembership, "accepts", _noting_the_dead), (NetworkBus, "_take_dead", _not_from_the_dead)),
    ),
    "incarnation": Rule(
        "a node that was held dead goes on as its next incarnation",
        "wild",
        ((NetworkMembership, "take_dead", _nothing),),
    ),
    "deaf": Rule(
        "a deaf node judges none",
        "wild",
        ((NetworkMembership, "_be_deaf", _judging_while_deaf),),
    ),
    "sequence": Rule(
        "an item that comes again is dropped",
        "wild",
        ((NetworkBus, "arrived", _forgetting_what_came),),
    ),
    "gaps": Rule(
        "what may have been lost is read anew",
        "wild",
        ((NetworkBus, "_gap", _nothing),),
    ),
    "counter": Rule(
        "versions of entries come from one counter of the node",
        "wild",
        ((Rosters, "change_own", _counting_for_each_place),),
    ),
    "old-state": Rule(
        "entries that are older than what is known are not taken",
        "wild",
        ((Rosters, "_take_state", _applying_what_is_old),),
    ),
    "burial": Rule(
        "the entries of a node that went go with it",
        "wild",
        ((Rosters, "_nodes_changed", _nothing),),
    ),
    "completed": Rule(
        "a presence subscription is acknowledged once the entries of all nodes are known",
        "calm",
        ((Rosters, "completed", _nothing),),
    ),
    "scrub": Rule(
        "nodes compare what they know every 30 seconds",
        "wild",
        ((Rosters, "scrub", _nothing), (StoredStreams, "scrub", _nothing), (Following, "_refresh", _nothing)),
    ),
    "store": Rule(
        "durable channels are compared with the store",
        "wild",
        ((StoredStreams, "_compare", _nothing),),
    ),
    "sequencer": Rule(
        "messages are delivered in the order of their serials",
        "calm",
        ((Sequencer, "offer", _delivering_as_it_comes),),
    ),
    "attach": Rule(
        "where no one listens a node does not know where a durable channel is",
        "calm",
        ((Publisher, "follows", _always(True)),),
    ),
    "floor": Rule(
        "what a resume has sent is not sent again from behind the gate",
        "wild",
        ((Hub, "open", _opening_without_a_floor),),
    ),
    "interrupt": Rule(
        "clients learn that their stream does not go on",
        "wild",
        ((AppState, "interrupt", _nothing),),
    ),
    "token": Rule(
        "a token is passed and not copied",
        "calm",
        ((Following, "_given", _nothing),),
    ),
    "new-stream": Rule(
        "an owner without a token begins another stream",
        "wild",
        ((ReplayBuffers, "begin", _going_on_in_the_old_stream),),
    ),
    "fence": Rule(
        "a node that others may hold dead publishes and numbers nothing",
        "wild",
        ((NetworkMembership, "fenced", _always(False)),),
    ),
    "claims": Rule(
        "one node decides who has an idempotency key",
        "calm",
        ((SharedCounters, "claim", _claiming_here),),
    ),
    "key": Rule(
        "on a durable channel the key is stored with the message",
        "calm",
        ((Publisher, "_publish_once", _without_a_key),),
    ),
}
