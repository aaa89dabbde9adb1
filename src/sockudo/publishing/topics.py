"""Which topics this node hears, each as long as something here has a reason (spec: platform § 10.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from typing import NamedTuple

from sockudo.cluster.items import channel_topic, user_topic
from sockudo.cluster.ports import Bus
from sockudo.protocol.names import USER_CHANNEL_PREFIX

__all__ = ["Place", "Topics", "user_place"]


class Place(NamedTuple):
    """A channel of an app, or a user by the name of its channel."""

    app_id: str
    name: str

    @property
    def topic(self) -> str:
        """The topic of what happens there."""
        if self.name.startswith(USER_CHANNEL_PREFIX):
            return user_topic(self.app_id, self.name.removeprefix(USER_CHANNEL_PREFIX))
        return channel_topic(self.app_id, self.name)


def user_place(app_id: str, user_id: str) -> Place:
    """The place of a user."""
    return Place(app_id, USER_CHANNEL_PREFIX + user_id)


class Topics:
    """Subscribes to a topic with its first reason, and ends that with the last one."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._reasons: Counter[str] = Counter()

    def __contains__(self, topic: str) -> bool:
        return topic in self._reasons

    def confirmed(self, topic: str) -> Awaitable[None] | None:
        """What ends when the subscription is confirmed; None when it is. The topic has a reason."""
        return self._bus.subscribe(topic)

    def want(self, topic: str) -> Awaitable[None] | None:
        """One reason more; what is returned ends when what is published from then on arrives, None when it does."""
        self._reasons[topic] += 1
        return self._bus.subscribe(topic)

    def unwant(self, topic: str) -> None:
        """One reason less; without any that is ignored."""
        left = self._reasons[topic] - 1
        if left > 0:
            self._reasons[topic] = left
            return
        if self._reasons.pop(topic, 0):
            self._bus.unsubscribe(topic)
