"""Webhooks as a service: from events of the hub to the deliveries to endpoints (spec: platform § 5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.signer import Signer
from sockudo.base.clock import Clock
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.hub.edges import ChannelCounted, ChannelOccupied, ChannelVacated, MemberReported, UserReported
from sockudo.hub.events import CacheMissed, ClientEvent
from sockudo.inspector import Inspector
from sockudo.webhooks.batches import Batches, BatchOptions
from sockudo.webhooks.deliverer import Deliverer, DeliveryOptions
from sockudo.webhooks.endpoints import AppEndpoints, Endpoint, Retry, app_endpoints
from sockudo.webhooks.events import app_event
from sockudo.webhooks.queue import WebhookQueue
from sockudo.webhooks.recorder import Recorder
from sockudo.webhooks.records import Event, Sender
from sockudo.webhooks.traced import WebhookTraces

__all__ = ["WebhookOptions", "Webhooks"]

_TICK: Final = 0.25
# Departures that are reported in one turn of the loop: thousands may be due at once, and publishes must not wait.
_SLICE: Final = 20

_log = structlog.get_logger("sockudo.webhooks")


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """``timeout_ms`` of a request where the endpoint has none of its own."""

    batches: BatchOptions = field(default_factory=BatchOptions)
    delivery: DeliveryOptions = field(default_factory=DeliveryOptions)
    retry: Retry = field(default_factory=Retry)
    timeout_ms: int = 10_000


class Webhooks:
    """Hears what happens, keeps it in ``queue`` and has it sent. The queue is opened and closed here.

    ``apps`` looks an app up by its id. Nothing that is called from the hub waits or fails.
    """

    def __init__(
        self,
        queue: WebhookQueue,
        sender: Sender,
        apps: Callable[[str], LiveApp | None],
        clock: Clock,
        options: WebhookOptions | None = None,
        inspector: Inspector | None = None,
    ) -> None:
        self.options = options = options or WebhookOptions()
        self.queue = queue
        self._sender = sender
        self._apps = apps
        self._time = clock.time
        self._endpoints: dict[str, tuple[LiveApp, AppEndpoints]] = {}
        # None where nothing is traced.
        self._traces: WebhookTraces | None = None
        self.recorder = Recorder(self.endpoints, self.say, clock.monotonic, clock.time)
        self.deliverer = Deliverer(
            queue,
            sender,
            self._resolve,
            clock.monotonic,
            clock.time,
            options.delivery,
            Inspector(clock.time) if inspector is None else inspector,
        )
        self.batches = Batches(queue, clock.monotonic, clock.time, options.batches, self.deliverer.wake)
        self._tasks: list[asyncio.Task[None]] = []
        recorder = self.recorder
        self.observers: dict[type, Callable[[Any], None]] = {
            ChannelOccupied: lambda event: recorder.occupied(*event),
            ChannelVacated: lambda event: recorder.vacated(*event),
            ChannelCounted: lambda event: recorder.counted(*event),
            UserReported: self._user_reported,
            MemberReported: self._member_reported,
            CacheMissed: lambda event: recorder.missed(*event),
            ClientEvent: lambda event: recorder.client_event(*event),
        }

    def trace(self, traces: WebhookTraces) -> None:
        """Has every delivery traced; to be called before `start`."""
        self._traces = self.batches.traces = self.deliverer.traces = traces
        self.recorder.cause = traces.cause

    # ---- running ----

    async def start(self) -> None:
        """Opens the queue and goes on with what it holds. Raises errors.SERVICE_UNAVAILABLE."""
        await self.queue.start()
        works = (self.batches.run(), self.deliverer.run(), self.deliverer.keep_house(), self._tick())
        self._tasks = start_tasks(*works)

    async def close(self, seconds: float = 5.0) -> None:
        """Puts everything into the queue, gives the requests under way so long to end, and closes.

        What the queue holds then is sent by the next process; with a queue in memory it is lost, and logged.
        """
        self.recorder.flush()
        await end_tasks(self._tasks[:1] + self._tasks[3:])
        await self.batches.flush()
        await self._finish(seconds)
        await end_tasks(self._tasks)
        await self.deliverer.drain()
        await self._sender.close()
        await self.queue.close()

    async def _finish(self, seconds: float) -> None:
        """Lets what is due now go out, for so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.deliverer.idle()

    async def _tick(self) -> None:
        while True:
            more = self.recorder.tick(_SLICE)
            await asyncio.sleep(0 if more else _TICK)

    async def check(self) -> bool:
        """True while the queue does its work. Raises errors.SERVICE_UNAVAILABLE with the reason when it does not."""
        problem = self.batches.problem or self.deliverer.problem
        if problem is not None:
            raise errors.SERVICE_UNAVAILABLE(problem)
        return True

    def now_ms(self) -> int:
        """The time of day as deliveries have it."""
        return int(self._time() * 1000)

    # ---- who hears of what ----

    def endpoints(self, app_id: str) -> AppEndpoints | None:
        """The endpoints of an app, None when it has none."""
        app = self._apps(app_id)
        if app is None or not app.record.policy.webhooks:
            return None
        known = self._endpoints.get(app_id)
        if known is None or known[0].record is not app.record:
            made = app_endpoints(app_id, app.record.policy.webhooks, self.options.retry, self.options.timeout_ms)
            for reason in made.ignored:
                _log.warning("a webhook is not used", app_id=app_id, reason=reason)
            known = self._endpoints[app_id] = (app, made)
        return known[1]

    def _resolve(self, app_id: str, endpoint_id: str) -> tuple[Endpoint, str, Signer] | str:
        app = self._apps(app_id)
        if app is None:
            return "app_removed"
        endpoints = self.endpoints(app_id)
        endpoint = endpoints.by_id.get(endpoint_id) if endpoints is not None else None
        if endpoint is None:
            return "endpoint_removed"
        return endpoint, app.key, app.signer

    def say(self, app_id: str, event: Event) -> None:
        """Notifies the endpoints of an app that want the event."""
        endpoints = self.endpoints(app_id)
        if endpoints is not None:
            if self._traces is not None and not event.trace:
                event = event._replace(trace=self._traces.cause())
            self.batches.add(endpoints, event)

    def tell(self, app_id: str, name: str, about: Mapping[str, Any]) -> None:
        """Notifies them of an event that is about no channel: ``about`` has the members of the event."""
        self.say(app_id, app_event(name, about, self.now_ms()))

    # ---- what is observed ----

    def _user_reported(self, event: UserReported) -> None:
        if event.online:
            self.recorder.online(event.app_id, event.user_id)
        else:
            self.recorder.offline(event.app_id, event.user_id)

    def _member_reported(self, reported: MemberReported) -> None:
        app_id, channel, event = reported
        if event.kind == "member_added":
            self.recorder.member_added(app_id, channel, event.user_id)
        elif event.kind == "member_removed":
            self.recorder.member_removed(app_id, channel, event.user_id)
        else:
            self.recorder.member_updated(app_id, channel, event.user_id, event.user_info)
