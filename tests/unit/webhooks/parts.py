"""Parts of webhooks for tests that take them one by one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from sockudo import errors
from sockudo.apps.signer import Signer
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.webhooks.endpoints import AppEndpoints, Endpoint, Retry, app_endpoints
from sockudo.webhooks.queue import WEBHOOK_QUEUE, WebhookQueue
from sockudo.webhooks.records import Answer, Delivery, Event, Target

__all__ = [
    "FailingQueue",
    "ScriptedSender",
    "Sent",
    "a_delivery",
    "an_event",
    "endpoints_of",
    "events_in",
    "memory_queue",
    "resolver",
]

_numbers = itertools.count(1)

Reaction = Callable[[str, int], Awaitable[Answer]]
"""What an endpoint does with the request of that delivery, by how many requests it has had before."""


def an_event(name: str = "channel_occupied", channel: str = "room", time_ms: int = 0, **about: Any) -> Event:
    return Event(name, channel, msgspec.json.encode({"name": name, "channel": channel, **about}), time_ms)


def a_delivery(delivery_id: str | None = None, **fields: Any) -> Delivery:
    """One that is due at 0; its id is its body unless the test says otherwise."""
    name = delivery_id or f"d-{next(_numbers)}"
    about: dict[str, Any] = {
        "app_id": "app",
        "endpoint": "one",
        "channel": "room",
        "body": name.encode(),
        "events": 1,
        "created_at_ms": 0,
        "due_at_ms": 0,
    }
    return Delivery(id=name, **{**about, **fields})


def endpoints_of(*entries: Mapping[str, Any], retry: Retry | None = None) -> AppEndpoints:
    """Endpoints for everything that is occupied or vacated, unless an entry says otherwise."""
    defaults = {"url": "http://hooks.test/", "event_types": ["channel_occupied", "channel_vacated"]}
    made = app_endpoints("app", [{**defaults, **entry} for entry in entries], retry or Retry(), 10_000)
    assert made.ignored == ()
    return made


def resolver(*endpoints: Endpoint) -> Callable[[str, str], tuple[Endpoint, str, Signer] | str]:
    by_id = {endpoint.id: endpoint for endpoint in endpoints}

    def resolve(app_id: str, endpoint_id: str) -> tuple[Endpoint, str, Signer] | str:
        endpoint = by_id.get(endpoint_id)
        return "endpoint_removed" if endpoint is None else (endpoint, "the-key", Signer("the-secret"))

    return resolve


def events_in(body: bytes) -> list[dict[str, Any]]:
    """Events of a request's body."""
    events = msgspec.json.decode(body)["events"]
    assert isinstance(events, list)
    return events


class Sent(msgspec.Struct, frozen=True):
    """One request. ``at`` in seconds of the loop's time."""

    target: Target
    body: bytes
    at: float

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.target.headers)


class ScriptedSender:
    """Answers as it is told; 200 at once when it is told nothing. ``behaviours`` are by URL."""

    def __init__(self, **behaviours: Reaction) -> None:
        self.sent: list[Sent] = []
        self.under_way = 0
        self.most_under_way = 0
        self.closed = False
        self.behaviour: Reaction | None = None
        self.behaviours: dict[str, Reaction] = dict(behaviours)

    async def send(self, target: Target, body: bytes) -> Answer:
        before = sum(each.target.url == target.url for each in self.sent)
        self.sent.append(Sent(target, body, asyncio.get_running_loop().time()))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            behaviour = self.behaviours.get(target.url, self.behaviour)
            return Answer(200) if behaviour is None else await behaviour(body.decode(), before)
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        self.closed = True

    def bodies(self, url: str | None = None) -> list[str]:
        return [each.text for each in self.sent if url in (None, each.target.url)]


def memory_queue(capacity: int = 100_000) -> WebhookQueue:
    """A queue in memory."""
    return WebhookQueue(MemoryJobQueue(WEBHOOK_QUEUE, capacity))


class FailingQueue(WebhookQueue):
    """A queue in memory that refuses the calls that are in ``broken``, and counts all of them."""

    def __init__(self, capacity: int = 100_000) -> None:
        super().__init__(MemoryJobQueue(WEBHOOK_QUEUE, capacity))
        self.broken: set[str] = set()
        self.calls: list[str] = []
        self.appended: list[list[Delivery]] = []

    def _check(self, call: str) -> None:
        self.calls.append(call)
        if call in self.broken:
            raise errors.SERVICE_UNAVAILABLE("The webhook queue does not answer (test)")

    async def append(self, deliveries: Sequence[Delivery]) -> None:
        self._check("append")
        await super().append(deliveries)
        self.appended.append(list(deliveries))

    async def claim(self, *args: Any, **fields: Any) -> Any:
        self._check("claim")
        return await super().claim(*args, **fields)

    async def settle(self, *args: Any) -> Any:
        self._check("settle")
        return await super().settle(*args)

    async def settle_joined(self, *args: Any) -> Any:
        self._check("settle")
        return await super().settle_joined(*args)

    async def renew(self, *args: Any) -> None:
        self._check("renew")
        await super().renew(*args)
