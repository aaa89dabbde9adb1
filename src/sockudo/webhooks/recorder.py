"""What becomes an event: the observer of channels, members and users (spec: platform § 5.3).

A change that is undone within the grace period does not reach an endpoint: a page that is loaded again leaves and
comes back, and neither is reported. So a departure is held for that long, and a return takes it away.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, NamedTuple

from sockudo.base.spans import TraceHeaders
from sockudo.webhooks import events
from sockudo.webhooks.endpoints import AppEndpoints
from sockudo.webhooks.records import Event

__all__ = ["GRACE", "Recorder"]

GRACE = 3.0
"""Seconds for which a departure is held."""

_Kind = Literal["channel", "member", "user"]

_CAME: dict[_Kind, str] = {"channel": "channel_occupied", "member": "member_added", "user": "user_online"}
_WENT: dict[_Kind, str] = {"channel": "channel_vacated", "member": "member_removed", "user": "user_offline"}


class _Who(NamedTuple):
    """``channel`` is empty for a user of the app, ``user_id`` for a channel itself."""

    app_id: str
    kind: _Kind
    channel: str
    user_id: str


class Recorder:
    """Turns what happens into events for ``say``, which is called in their order and must not wait.

    ``endpoints`` are those of an app by its id, None for an app without any; ``now`` are monotonic seconds and ``time``
    Unix seconds. Someone has to call `tick` now and then: nothing else ends a grace period.
    """

    def __init__(
        self,
        endpoints: Callable[[str], AppEndpoints | None],
        say: Callable[[str, Event], None],
        now: Callable[[], float],
        time: Callable[[], float],
        grace: float = GRACE,
    ) -> None:
        self._endpoints = endpoints
        self._say = say
        self._now = now
        self._time = time
        self._grace = grace
        # The trace at this moment: what is reported later belongs to the trace of its cause.
        self.cause: Callable[[], TraceHeaders] = tuple
        # Departures by when they are to be reported, the first one first: all are held for the same time.
        self._held: OrderedDict[_Who, tuple[float, TraceHeaders]] = OrderedDict()

    # ---- channels ----

    def occupied(self, app_id: str, channel: str) -> None:
        """A channel has its first subscription."""
        self._came(_Who(app_id, "channel", channel, ""))

    def vacated(self, app_id: str, channel: str) -> None:
        """A channel has lost its last subscription."""
        self._went(_Who(app_id, "channel", channel, ""))

    def counted(self, app_id: str, channel: str, count: int) -> None:
        """A channel that is not a presence channel has so many subscriptions now."""
        if self._wanted(app_id, "subscription_count"):
            self._say(app_id, events.subscription_count(channel, count, self._now_ms()))

    def missed(self, app_id: str, channel: str) -> None:
        """A client subscribed to an empty cache channel."""
        if self._wanted(app_id, "cache_miss"):
            self._say(app_id, events.cache_miss(channel, self._now_ms()))

    def client_event(
        self, app_id: str, channel: str, event: str, data: bytes, socket_id: str, user_id: str | None
    ) -> None:
        """A client event on a channel; ``data`` is JSON text."""
        if self._wanted(app_id, "client_event"):
            self._say(app_id, events.client_event(channel, event, data, socket_id, user_id, self._now_ms()))

    # ---- members and users ----

    def member_added(self, app_id: str, channel: str, user_id: str) -> None:
        """A user has its first connection in a presence channel."""
        self._came(_Who(app_id, "member", channel, user_id))

    def member_removed(self, app_id: str, channel: str, user_id: str) -> None:
        """A user has lost its last connection there, and any grace of the channel's own is over."""
        self._went(_Who(app_id, "member", channel, user_id))

    def member_updated(self, app_id: str, channel: str, user_id: str, user_info: bytes | None) -> None:
        """A member changed its ``user_info``, JSON text."""
        if self._wanted(app_id, "member_updated"):
            event = events.member_event("member_updated", channel, user_id, self._now_ms(), user_info)
            self._say(app_id, event)

    def online(self, app_id: str, user_id: str) -> None:
        """A user is signed in on its first connection."""
        self._came(_Who(app_id, "user", "", user_id))

    def offline(self, app_id: str, user_id: str) -> None:
        """A user has lost its last signed-in connection."""
        self._went(_Who(app_id, "user", "", user_id))

    # ---- what time brings ----

    def tick(self, most: int | None = None) -> bool:
        """Reports the departures whose grace is over, ``most`` of them at a time; whether there may be more."""
        now = self._now()
        reported = 0
        while self._held and reported != most:
            who, (due, cause) = next(iter(self._held.items()))
            if due > now:
                return False
            del self._held[who]
            self._tell(_WENT[who.kind], who, cause)
            reported += 1
        return bool(self._held)

    def flush(self) -> None:
        """Reports every departure that is held: the process ends, so no client comes back here."""
        while self._held:
            who, (_, cause) = self._held.popitem(last=False)
            self._tell(_WENT[who.kind], who, cause)

    @property
    def next_due(self) -> float | None:
        """When `tick` has something to do next, in monotonic seconds."""
        return next((due for due, _ in self._held.values()), None)

    def _came(self, who: _Who) -> None:
        if self._held.pop(who, None) is None:
            self._tell(_CAME[who.kind], who)

    def _went(self, who: _Who) -> None:
        wanted = self._endpoints(who.app_id)
        if wanted is None or not wanted.events.intersection((_CAME[who.kind], _WENT[who.kind])):
            return
        # A departure that is reported again counts from now: the return before it was not reported.
        self._held.pop(who, None)
        self._held[who] = (self._now() + self._grace, self.cause())

    def _tell(self, name: str, who: _Who, cause: TraceHeaders = ()) -> None:
        if not self._wanted(who.app_id, name):
            return
        now_ms = self._now_ms()
        if who.kind == "channel":
            event = events.channel_event(name, who.channel, now_ms)
        elif who.kind == "member":
            event = events.member_event(name, who.channel, who.user_id, now_ms)
        else:
            event = events.user_event(name, who.user_id, now_ms)
        self._say(who.app_id, event._replace(trace=cause) if cause else event)

    def _wanted(self, app_id: str, event: str) -> bool:
        endpoints = self._endpoints(app_id)
        return endpoints is not None and event in endpoints.events

    def _now_ms(self) -> int:
        return int(self._time() * 1000)
