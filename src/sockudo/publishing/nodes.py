"""Messages between nodes: which this one has to hear, and how an accepted one gets to the others (spec: platform § 10).

A node subscribes to the topic of each channel that has subscribers here, of each user who is signed in here, and of an
app with pattern subscribers. While it is alone on its bus nothing of that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from sockudo.cluster.items import Item, channel_topic, patterns_topic, user_topic
from sockudo.cluster.ports import Bus, Membership, NodeChange, Received
from sockudo.hub import Hub
from sockudo.hub.events import ChannelClosed, ChannelOpened
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import META, USER_CHANNEL_PREFIX, WILDCARD, ChannelKind
from sockudo.publishing.topics import Topics

__all__ = ["Message", "OtherNodes"]


class Message(Item, frozen=True, tag="message"):
    """A message that a node accepted and delivered to its own subscribers.

    ``exclude`` is the socket that does not get it, ``compress`` whether it may be delivered as a delta. Between
    processes JSON text in `Frame.data` travels as a string, which ``json`` says.
    """

    app_id: str
    frame: Frame
    exclude: str | None = None
    compress: bool = True
    json: bool = False

    def packed(self) -> Message:
        """This message as it travels between processes."""
        data = self.frame.data
        if not isinstance(data, msgspec.Raw):
            return self
        frame = replace(self.frame, data=bytes(data).decode())
        return Message(self.app_id, frame, self.exclude, self.compress, json=True)

    def unpacked(self) -> Frame:
        """The frame as it was published."""
        data = self.frame.data
        if self.json and isinstance(data, str):
            return replace(self.frame, data=msgspec.Raw(data.encode()))
        return self.frame


class OtherNodes:
    """The nodes besides this one, as far as publishing has to do with them."""

    def __init__(self, bus: Bus, membership: Membership, topics: Topics, hub: Hub) -> None:
        self.bus = bus
        self._hub = hub
        self._joined = False
        self._topics = topics
        membership.watch(self._nodes_changed)
        self._nodes_changed(None)

    def wanted(self, app_id: str, channel: str, kind: ChannelKind) -> Sequence[str]:
        """The topics of a channel that another node may hear; nearly always none, and then nothing is made for them."""
        interested = self.bus.interested
        if kind.user:
            topic = user_topic(app_id, channel.removeprefix(USER_CHANNEL_PREFIX))
            return (topic,) if interested(topic) else ()
        topic = channel_topic(app_id, channel)
        by_name = interested(topic)
        if not kind.protected and interested(patterns := patterns_topic(app_id)):
            return (topic, patterns) if by_name else (patterns,)
        return (topic,) if by_name else ()

    def publish(self, message: Message, topics: Sequence[str]) -> None:
        """Publishes a message on the topics that are `wanted`."""
        if topics and self.bus.networked:
            message = message.packed()
        for topic in topics:
            self.bus.publish(topic, message)

    def is_copy(self, received: Received, message: Message) -> bool:
        """Whether the message comes by the channel's own topic too: then this one is dropped."""
        if received.topic != patterns_topic(message.app_id):
            return False
        return channel_topic(message.app_id, message.frame.channel or "") in self._topics

    # ---- which topics this node hears ----

    def _nodes_changed(self, _change: NodeChange | None) -> None:
        if self._joined or (self.bus.alone and not self.bus.networked):
            return
        self._joined = True
        observers = self._hub.observers
        observers.add(ChannelOpened, self._channel_opened)
        observers.add(ChannelClosed, self._channel_closed)
        for state in self._hub.states():
            for channel in state.everything():
                self._channel_opened(ChannelOpened(state.app_id, channel.name, channel.kind))

    def _channel_opened(self, event: ChannelOpened) -> None:
        if event.kind is not META:
            self._topics.want(_topic(event))

    def _channel_closed(self, event: ChannelClosed) -> None:
        if event.kind is not META:
            self._topics.unwant(_topic(event))


def _topic(event: ChannelOpened | ChannelClosed) -> str:
    return patterns_topic(event.app_id) if event.kind is WILDCARD else channel_topic(event.app_id, event.channel)
