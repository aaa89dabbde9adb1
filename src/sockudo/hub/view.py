"""What the rest of the server may know of the hub: values, never its live objects."""

from __future__ import annotations

from collections.abc import Sequence

from sockudo.cluster.directory import NOTHING, ChannelCounts
from sockudo.hub.channel import Channel
from sockudo.hub.hub import Hub

__all__ = ["HubView"]


class HubView:
    """This node's half of the `Directory`: channels, counts and members of each app."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def channels(self, app_id: str, prefix: str = "") -> dict[str, ChannelCounts]:
        """The occupied channels whose name starts with ``prefix``."""
        state = self._hub.apps.get(app_id)
        if state is None:
            return {}
        return {
            name: _counts(channel)
            for name, channel in state.channels.items()
            if channel.occupied and name.startswith(prefix)
        }

    def channel(self, app_id: str, name: str) -> ChannelCounts:
        """The counts of one channel. A channel that only holds a member in its grace period counts that."""
        channel = self._channel(app_id, name)
        return NOTHING if channel is None else _counts(channel)

    def members(self, app_id: str, name: str) -> Sequence[str]:
        """The users of a presence channel, in the order in which they came."""
        channel = self._channel(app_id, name)
        return () if channel is None or channel.presence is None else tuple(channel.presence.infos())

    def _channel(self, app_id: str, name: str) -> Channel | None:
        state = self._hub.apps.get(app_id)
        return None if state is None else state.channels.get(name)


def _counts(channel: Channel) -> ChannelCounts:
    return ChannelCounts(channel.subscription_count, 0 if channel.presence is None else channel.presence.user_count)
