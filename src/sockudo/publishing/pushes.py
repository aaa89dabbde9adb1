"""Events that are notifications, too: what publishing asks of push (spec: push § 9)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from sockudo import errors

__all__ = ["EventPushes", "NoPushes"]


class EventPushes(Protocol):
    """``events`` are the names of events that rules look for."""

    @property
    def events(self) -> Collection[str]: ...

    async def before(self, app_id: str, name: str, data: Any, channels: Sequence[str], wanted: object) -> object:
        """What is done before the event is published: rules are applied to it, and ``wanted``, its ``extras.push``,
        is accepted for each channel. Raises a `SockudoError` when the event must not be published.
        """
        ...

    def after(self, accepted: object) -> None:
        """The event has been published; what `before` returned may go on. Never waits or fails."""


class NoPushes:
    """Push is off, and there are no rules."""

    events: Collection[str] = frozenset()

    async def before(self, app_id: str, name: str, data: Any, channels: Sequence[str], wanted: object) -> object:
        raise errors.PUSH_DISABLED("push admission unavailable: push providers are disabled")

    def after(self, accepted: object) -> None:
        pass
