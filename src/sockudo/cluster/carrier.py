"""The port of what stands between nodes: a broker or a mesh of sockets that carries bytes on topics.

A carrier knows nothing of nodes, items or requests; `sockudo.cluster.network` builds a bus and a membership on it
(spec: platform § 10.2). Adding one is this port, and a line in `sockudo.drivers.carriers`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

__all__ = ["Carrier", "CarrierObserver"]


class CarrierObserver(Protocol):
    """What a carrier tells. Called on the node's event loop; must not raise."""

    def arrived(self, topic: str, payload: bytes) -> None:
        """Takes a payload; those of one publisher on one topic come in order, a node's own ones included."""

    def connected(self) -> None:
        """The carrier works, for the first time or again; what was subscribed to is confirmed.

        Called again after each loss of the connection: what was published meanwhile is lost.
        """

    def disconnected(self, reason: str) -> None:
        """The connection is lost; the carrier makes it anew by itself. ``reason`` is for people, without secrets."""

    def lost(self, topics: Sequence[str] | None) -> None:
        """Payloads on these topics may be lost though the connection holds; None stands for every topic."""

    def gone(self, topics: Collection[str]) -> None:
        """What subscribed to these topics has ended, for certain. Carriers that cannot know do not tell."""


class Carrier(Protocol):
    """Carries payloads to everything that subscribed to their topic, the publisher itself included.

    Promises of every carrier: payloads of one publisher on one topic keep their order; a payload may be lost, and may
    arrive twice; nothing is promised about the order between publishers, or between topics of one. What waits in
    it is bounded: past the bound the oldest payloads are dropped, counted in ``dropped``, and `CarrierObserver.lost`
    is called.
    """

    name: str
    """What and where it is, for people, without secrets: ``redis at db-1:6379``."""

    max_payload: int
    """The longest payload, in bytes, of which the node makes use; longer items are refused before."""

    @property
    def dropped(self) -> int:
        """Payloads that were not sent because too much waited, since the start."""

    async def open(self, observer: CarrierObserver) -> None:
        """Connects, and tells ``observer`` from now on; returns after its `connected`.

        Raises ``errors.SockudoError`` with what to do when it cannot be reached, or not used as configured.
        """

    async def close(self) -> None:
        """Sends what waits, for a second at most, and disconnects. The observer is not called any more."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Sends a payload soon. Never waits and never raises; without a connection it is dropped."""

    def subscribe(self, topic: str) -> Awaitable[None]:
        """From its end on payloads of the topic arrive. It ends only when the broker confirmed, so perhaps never.

        Several subscriptions of one turn of the loop go out together. One topic is subscribed to once, however often
        this is called.
        """

    def unsubscribe(self, topic: str) -> None:
        """Ends the subscription, soon; a topic that was not subscribed to is ignored."""

    @property
    def interested(self) -> Callable[[str], bool] | None:
        """Says whether something else may have subscribed to a topic: False only when that is certain.

        None for a carrier that cannot know.
        """

    def reconnect(self) -> None:
        """Drops the connection and makes it anew, because nothing arrives through it although it looks well."""
