"""Push stores of every kind, and records for them, in short."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import convert, json, structs

from sockudo.config.sections import Mysql, Postgres
from sockudo.push.lifecycle import Step, StepKind
from sockudo.push.outcomes import change_status
from sockudo.push.ports import PushStore
from sockudo.push.recipients import FcmRecipient
from sockudo.push.records import (
    Counters,
    DeadLetter,
    DeliveryEvent,
    DeliveryResult,
    Device,
    Payload,
    PublishIntent,
    PublishStatus,
    State,
    Subscription,
    Target,
)
from sockudo.push.stores.schema import push_tables
from sockudo.push.stores.sql import FILE_NAME, MemoryPushStore, SqlPushStore, mysql_push, postgres_push, sqlite_push
from support.databases import DatabaseServer, empty_file

__all__ = [
    "DAY",
    "NOW",
    "RACED",
    "PushPlace",
    "Raced",
    "a_device",
    "a_letter",
    "a_status",
    "a_step",
    "a_subscription",
    "accept",
    "an_event",
    "an_intent",
    "raced",
    "walked",
]

NOW = 1_767_225_600_000
DAY = 86_400_000

RACED = 60
"""Publishes, locks and keys that processes race for; ten steps for each."""


class Raced(NamedTuple):
    """What one of them got: names of publishes, steps, locks and keys, and how often it changed the shared status."""

    accepted: list[str]
    lost: dict[str, int]
    steps: list[str]
    locks: list[str]
    keys: list[str]
    changes: int


class PushPlace:
    """Where a test keeps what it pushes; `open` is one node's store on it, and memory has one node only.

    ``server`` is None for what is no server.
    """

    def __init__(self, kind: str, folder: Path, server: DatabaseServer | None, prefix: str = "pushing") -> None:
        self.kind = kind
        self.folder = folder
        self.server = server
        self.prefix = prefix

    @property
    def tables(self) -> list[str]:
        return [table.name for table in vars(push_tables(self.prefix)).values()]

    def make(self, *, timeout_ms: int = 5000) -> PushStore:
        """A store that was not started."""
        return MemoryPushStore() if self.kind == "memory" else self.make_sql(timeout_ms=timeout_ms)

    def make_sql(self, *, timeout_ms: int = 5000, **changes: Any) -> SqlPushStore:
        """With another way to its server where there are changes."""
        if self.server is None:
            return sqlite_push(self.folder, timeout_ms=timeout_ms)
        if self.kind == "postgres":
            postgres = structs.replace(self.server.postgres, **changes)
            return postgres_push(postgres, prefix=self.prefix, timeout_ms=timeout_ms)
        mysql = structs.replace(self.server.mysql, **changes)
        return mysql_push(mysql, prefix=self.prefix, timeout_ms=timeout_ms)

    @asynccontextmanager
    async def open(self, *, timeout_ms: int = 5000) -> AsyncIterator[PushStore]:
        store = self.make(timeout_ms=timeout_ms)
        await store.start()
        try:
            yield store
        finally:
            await store.close()

    def description(self) -> str:
        """What `contract/push_store_child.py` has to be told to open it."""
        server = None if self.server is None else structs.asdict(self.server.database)
        return json.encode([self.kind, str(self.folder), self.prefix, server]).decode()

    @classmethod
    def described(cls, text: str) -> PushPlace:
        kind, folder, prefix, database = json.decode(text)
        server = None
        if database is not None:
            server = DatabaseServer(convert(database, Postgres if kind == "postgres" else Mysql), pid=0)
        return cls(kind, Path(folder), server, prefix)

    def drop(self) -> None:
        """Takes the tables away."""
        if self.server is not None:
            names = [*self.tables, f"{self.prefix}_migrations"]
            self.server.execute(*(f"DROP TABLE IF EXISTS {name}" for name in names))

    def empty(self) -> None:
        """Takes out what another test has left; the tables stay."""
        if self.kind == "sqlite":
            empty_file(self.folder / FILE_NAME)
        elif self.server is not None:
            found = self.server.execute("SELECT table_name FROM information_schema.tables")
            kept = f"{self.prefix}_schema_version"
            names = [name for name in self.tables if (name,) in found and name != kept]
            self.server.execute(*(f"DELETE FROM {name}" for name in names))  # noqa: S608


def a_device(device_id: str = "phone", token: str | None = None, **fields: Any) -> Device:
    values: dict[str, Any] = {
        "app_id": "app",
        "form_factor": "phone",
        "platform": "android",
        "timezone": "Asia/Tokyo",
        "locale": "ja-JP",
        "recipient": FcmRecipient(token or f"token-{device_id}"),
        **fields,
    }
    return Device(id=device_id, **values)


def a_subscription(channel: str = "news", device_id: str = "phone", app_id: str = "app", **fields: Any) -> Subscription:
    values: dict[str, Any] = {"provider": "fcm", "token_hash": "h", **fields}
    return Subscription(app_id=app_id, channel=channel, device_id=device_id, **values)


def an_intent(publish_id: str = "ship", app_id: str = "app", at: int = NOW, **fields: Any) -> PublishIntent:
    values: dict[str, Any] = {
        "targets": [Target(type="channel", channel="news")],
        "payload": Payload(title="Shipped", template_data={"parcel": {"no": 8841}}),
        "regime": "fastPath",
        **fields,
    }
    return PublishIntent(app_id=app_id, publish_id=publish_id, accepted_at_ms=at, **values)


def a_status(
    publish_id: str = "ship", app_id: str = "app", at: int = NOW, state: State = "queued", **fields: Any
) -> PublishStatus:
    values: dict[str, Any] = {"counters": Counters(planned=3), **fields}
    return PublishStatus(app_id=app_id, publish_id=publish_id, state=state, created_at_ms=at, **values)


async def accept(
    store: PushStore, publish_id: str = "ship", app_id: str = "app", at: int = NOW, **fields: Any
) -> PublishStatus:
    """The status of a publish that nobody has accepted before."""
    status = a_status(publish_id, app_id, at, **fields)
    assert await store.accept(status, an_intent(publish_id, app_id, at), [f"id:{publish_id}"], at + DAY) is None
    stored = await store.status(app_id, publish_id)
    assert stored is not None
    return stored


def an_event(event_id: str = "e", at: int = NOW, publish_id: str = "ship", app_id: str = "app") -> DeliveryEvent:
    result = DeliveryResult(
        app_id=app_id, publish_id=publish_id, provider="fcm", batch_id="fast-batch-fcm-1", outcome="accepted"
    )
    return DeliveryEvent(event_id=event_id, occurred_at_ms=at, result=result)


def a_step(key: str, kind: StepKind = "accepted", *, publish_id: str = "ship", **fields: Any) -> Step:
    """With an event of its own."""
    return Step(key, kind, "fcm", event=an_event(f"event-{key}", publish_id=publish_id), **fields)


def a_letter(letter_id: str = "letter", at: int = NOW, publish_id: str = "ship", **fields: Any) -> DeadLetter:
    values: dict[str, Any] = {
        "app_id": "app",
        "provider": "fcm",
        "stage": "retry_schedule",
        "key": "k",
        "reason": "retry attempts exhausted: quota",
        "payload": b"\x00\xff message",
        **fields,
    }
    return DeadLetter(dead_letter_id=letter_id, publish_id=publish_id, occurred_at_ms=at, **values)


async def walked(page: Callable[[str, int], Any], position: Callable[[Any], str], limit: int = 1) -> list[Any]:
    """All of a list, a page at a time; fails when it does not end."""
    found: list[Any] = []
    after = ""
    for _ in range(10_000):
        rows = await page(after, limit)
        if not rows:
            return found
        assert len(rows) <= limit
        found += rows
        after = position(rows[-1])
    raise AssertionError("the list has no end")


async def raced(store: PushStore, name: str) -> Raced:
    """Asks for everything that others want as well, all at once; there has to be a publish ``shared``.

    ``name`` is a small number: publishes plan as many recipients, so that one can tell who accepted them.
    """
    names = [f"n{number:02d}" for number in range(RACED)]
    order = random.Random(name)

    def shuffled(count: int) -> list[int]:
        return order.sample(range(count), count)

    async def one_accept(publish_id: str) -> PublishStatus | None:
        status = a_status(publish_id, counters=Counters(planned=int(name)))
        return await store.accept(
            status, an_intent(publish_id), [f"id:{publish_id}", f"intent:{publish_id}"], NOW + DAY
        )

    async def some_steps() -> list[str]:
        found: list[str] = []
        steps = [a_step(f"s{number:03d}", publish_id="shared") for number in shuffled(10 * RACED)]
        for start in range(0, len(steps), 20):
            taken, _ = await store.take_steps("app", "shared", steps[start : start + 20], NOW, NOW + DAY)
            found += [step.key for step in taken]
        return found

    async def some_changes() -> int:
        for _ in range(10):
            await change_status(store, "app", "shared", _one_more_planned, NOW)
        return 10

    accepts, steps, locks, keys, changes = await asyncio.gather(
        asyncio.gather(*(one_accept(names[number]) for number in shuffled(RACED))),
        some_steps(),
        asyncio.gather(*(store.lock("app", each, name, NOW, NOW + DAY) for each in names)),
        asyncio.gather(*(store.record_once("app", f"key:{each}", NOW, NOW + DAY) for each in names)),
        some_changes(),
    )
    lost = {status.publish_id: status.counters.planned for status in accepts if status is not None}
    return Raced(
        accepted=sorted(set(names) - set(lost)),
        lost=lost,
        steps=steps,
        locks=[each for each, got in zip(names, locks, strict=True) if got],
        keys=[each for each, got in zip(names, keys, strict=True) if got],
        changes=changes,
    )


def _one_more_planned(status: PublishStatus) -> PublishStatus:
    return structs.replace(status, counters=structs.replace(status.counters, planned=status.counters.planned + 1))
