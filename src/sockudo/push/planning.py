"""Planning a publish: whom its targets lead to now, page by page, and the batches that these become, each the same
for every process that plans it (spec: push § 7.2).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from sockudo.jobs.ports import Job
from sockudo.push.audience import Seen
from sockudo.push.delivery import Batch, DeliveryJob, settling_key
from sockudo.push.messages import ShardJob, delivery_message, fast_batch_id
from sockudo.push.paging import subscription_position
from sockudo.push.ports import Devices, PushStore
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import Device, PublishIntent, Subscription, Target
from sockudo.push.rendering import render
from sockudo.push.validation import CLIENT_SCOPE

__all__ = ["DIRECT_MOST", "Page", "Planning", "few", "pages", "plan_few", "plan_step"]

_PAGE: Final = 1000

DIRECT_MOST: Final = 100
"""Recipients of a publish that is planned while it is accepted. So many take the loop less than a millisecond and fill
one batch of a provider at most, so that the keys of its batches are known from its id."""


class Page(NamedTuple):
    """Some recipients of the target ``origin``. Planning that stops here goes on with ``target`` behind ``cursor``;
    None where it may not stop.
    """

    origin: int
    large: bool
    jobs: list[DeliveryJob]
    target: int
    cursor: str | None


async def pages(
    store: Devices, app_id: str, targets: Sequence[Target], index: int = 0, cursor: str = ""
) -> AsyncIterator[Page]:
    """From the target of this index on. Topics, conditions and filters lead to no device.

    Devices are read now: one that was deleted meanwhile gets nothing.
    """
    while index < len(targets):
        target = targets[index]
        if target.type in ("device", "recipient"):
            end = _end_of_run(targets, index)
            yield Page(index, False, await _named(store, app_id, targets[index:end]), end, "")
            index = end
            continue
        if target.type == "client" and target.client_id is not None:
            async for page in _of_client(store, app_id, target.client_id, index, cursor):
                yield page
        elif target.type == "channel" and target.channel is not None:
            async for page in _of_channel(store, app_id, target.channel, index, cursor):
                yield page
        index, cursor = index + 1, ""


async def few(
    store: Devices, app_id: str, targets: Sequence[Target], devices: Sequence[Device]
) -> list[DeliveryJob] | None:
    """All recipients of the targets; None when these may be more than `DIRECT_MOST`, or lead to others than devices,
    clients and raw recipients. ``devices`` are those that the targets name.
    """
    by_id = {device.id: device for device in devices}
    jobs: list[DeliveryJob] = []
    for target in targets:
        if target.type == "device":
            if target.device_id in by_id:
                jobs.append(_job(by_id[target.device_id]))
        elif target.type == "recipient" and target.recipient is not None:
            jobs.append(DeliveryJob(target.recipient))
        elif target.type == "client" and target.client_id is not None:
            jobs += map(_job, await store.devices_of(app_id, target.client_id, "", DIRECT_MOST + 1))
        else:
            return None
        if len(jobs) > DIRECT_MOST:
            return None
    return jobs


def _end_of_run(targets: Sequence[Target], start: int) -> int:
    """Devices and recipients that are named one after the other are looked up together."""
    end = start
    while end < len(targets) and end - start < _PAGE and targets[end].type in ("device", "recipient"):
        end += 1
    return end


async def _named(store: Devices, app_id: str, targets: Sequence[Target]) -> list[DeliveryJob]:
    ids = list(dict.fromkeys(target.device_id for target in targets if target.device_id is not None))
    found = await _devices(store, app_id, ids)
    jobs = []
    for target in targets:
        if target.recipient is not None:
            jobs.append(DeliveryJob(target.recipient))
        elif target.device_id is not None and target.device_id in found:
            jobs.append(_job(found[target.device_id]))
    return jobs


async def _of_client(
    store: Devices, app_id: str, client_id: str, index: int, cursor: str, *, halts: bool = True
) -> AsyncIterator[Page]:
    while True:
        devices = await store.devices_of(app_id, client_id, cursor, _PAGE)
        cursor = devices[-1].id if devices else cursor
        last = len(devices) < _PAGE
        place = (index + 1, "") if last else (index, cursor)
        yield Page(index, True, [_job(device) for device in devices], place[0], place[1] if halts else None)
        if last:
            return


async def _of_channel(store: Devices, app_id: str, channel: str, index: int, cursor: str) -> AsyncIterator[Page]:
    while True:
        rows = await store.subscriptions(app_id, channel=channel, after=cursor, limit=_PAGE)
        for row in rows:
            if row.client_id is not None and row.device_id.startswith(CLIENT_SCOPE):
                async for page in _of_client(store, app_id, row.client_id, index, "", halts=False):
                    yield page
        cursor = subscription_position(rows[-1], channel=channel) if rows else cursor
        last = len(rows) < _PAGE
        jobs = await _subscribed(store, app_id, rows)
        yield Page(index, True, jobs, index + 1 if last else index, "" if last else cursor)
        if last:
            return


async def _subscribed(store: Devices, app_id: str, rows: Sequence[Subscription]) -> list[DeliveryJob]:
    ids = [row.device_id for row in rows if not row.device_id.startswith(CLIENT_SCOPE)]
    found = await _devices(store, app_id, ids)
    return [_job(found[device_id]) for device_id in ids if device_id in found]


async def _devices(store: Devices, app_id: str, ids: Sequence[str]) -> dict[str, Device]:
    if not ids:
        return {}
    return {device.id: device for device in await store.devices_by_id(app_id, ids)}


def _job(device: Device) -> DeliveryJob:
    return DeliveryJob(device.recipient, device.id)


# ---- batches ----

_BATCH: Final = 500
# The loop gets its turn in between: so many recipients take about a millisecond.
_SLICE: Final = 100


class Planning(NamedTuple):
    """What a step has made. ``planned`` deliveries are in its batches and those of the steps before, or have their
    outcome already; ``counts`` are those in the batches. ``rest`` is where the next one goes on, None when all is
    planned.
    """

    messages: list[Job]
    counts: Counter[Provider]
    planned: int
    rest: ShardJob | None


async def plan_step(
    store: PushStore, intent: PublishIntent, job: ShardJob, seen: Seen, most: int, now_ms: int
) -> Planning:
    """Plans about ``most`` recipients from the place in ``job``; what it found before is in ``seen``.

    A recipient with an outcome is not sent to when a publish is planned again, and keeps its place in the batch.

    Raises what `sockudo.push.rendering.render` raises.
    """
    filling = _Filling(intent, job, now_ms)
    rest = None
    async for page in pages(store, intent.app_id, intent.targets, job.target, job.cursor):
        filling.turn_to(page.origin, large=page.large)
        for place, each in enumerate(page.jobs):
            if place % _SLICE == 0:
                await asyncio.sleep(0)
            if seen.add(each.recipient.provider, each.recipient.token):
                filling.add(each)
        if filling.emitted >= most and page.cursor is not None and page.target < len(intent.targets):
            rest = ShardJob(
                app_id=job.app_id, publish_id=job.publish_id, target=page.target, cursor=page.cursor, step=job.step + 1
            )
            break
    filling.flush()
    batches = filling.batches
    counts, known = filling.counts, job.known
    if job.settled:
        batches = [await _unsettled(store, batch) for batch in batches]
        counts = Counter()
        for batch in batches:
            counts[batch.provider] += len(batch.jobs)
        known += filling.emitted - counts.total()
    emitted = job.emitted + filling.emitted
    if rest is not None:
        numbers = dict(filling.numbers) if filling.fast else {}
        rest = replace(rest, emitted=emitted, batches=numbers, settled=job.settled, known=known)
    messages = [delivery_message(batch, filling.due_at_ms) for batch in batches if batch.jobs]
    # Of those with an outcome some are not among the recipients any more: a device goes when its token is dead.
    return Planning(messages, counts, emitted + max(0, job.settled - known), rest)


def plan_few(intent: PublishIntent, jobs: Sequence[DeliveryJob], now_ms: int) -> Planning:
    """Plans a small publish to these recipients: the batches that `plan_step` makes of them.

    Raises what `sockudo.push.rendering.render` raises.
    """
    filling = _Filling(intent, ShardJob(app_id=intent.app_id, publish_id=intent.publish_id, target=0), now_ms)
    unique: dict[tuple[Provider, str], DeliveryJob] = {}
    for job in jobs:
        unique.setdefault((job.recipient.provider, job.recipient.token), job)
    for job in unique.values():
        filling.add(job)
    filling.flush()
    messages = [delivery_message(batch, filling.due_at_ms) for batch in filling.batches]
    return Planning(messages, filling.counts, filling.emitted, None)


async def _unsettled(store: PushStore, batch: Batch) -> Batch:
    keys = {settling_key(batch, job): job for job in batch.jobs}
    taken = await store.steps_taken(batch.app_id, batch.publish_id, list(keys))
    return replace(batch, jobs=[job for key, job in keys.items() if key not in taken]) if taken else batch


class _Filling:
    """Batches that fill, by provider."""

    def __init__(self, intent: PublishIntent, job: ShardJob, now_ms: int) -> None:
        self.fast = intent.regime == "fastPath"
        self.batches: list[Batch] = []
        self.counts: Counter[Provider] = Counter()
        self.emitted = 0
        self.numbers: Counter[Provider] = Counter(job.batches)
        self._intent = intent
        self._job = job
        self._open: dict[Provider, list[DeliveryJob]] = {}
        self._payloads: dict[Provider, msgspec.Raw] = {}
        self._prefix = "fast"
        waits = intent.not_before_ms is not None and intent.not_before_ms > now_ms
        self.due_at_ms = intent.not_before_ms or 0 if waits else 0

    def turn_to(self, origin: int, *, large: bool) -> None:
        """Of a large publish each target has batches of its own."""
        if self.fast:
            return
        prefix = f"{'shard' if large else 'direct'}-{origin}"
        if self._job.step and large:
            prefix = f"{prefix}-next-{self._job.emitted}"
        if prefix != self._prefix:
            self.flush()
            self.numbers.clear()
            self._prefix = prefix

    def add(self, job: DeliveryJob) -> None:
        provider = job.recipient.provider
        filling = self._open.setdefault(provider, [])
        filling.append(job)
        self.emitted += 1
        self.counts[provider] += 1
        if len(filling) >= _BATCH:
            self._close(provider)

    def flush(self) -> None:
        for provider in list(self._open):
            self._close(provider)

    def _close(self, provider: Provider) -> None:
        intent = self._intent
        self.numbers[provider] += 1
        number = self.numbers[provider]
        batch_id = f"{self._prefix}-batch-{ROUTE_NAMES[provider]}-{number}"
        self.batches.append(
            Batch(
                app_id=intent.app_id,
                publish_id=intent.publish_id,
                provider=provider,
                batch_id=fast_batch_id(provider, number) if self.fast else batch_id,
                payload=self._payload(provider),
                jobs=self._open.pop(provider),
                not_before_ms=intent.not_before_ms,
                expires_at_ms=intent.expires_at_ms,
                trace=intent.trace,
            )
        )

    def _payload(self, provider: Provider) -> msgspec.Raw:
        made = self._payloads.get(provider)
        if made is None:
            rendering = render(provider, self._intent.payload, self._intent.overrides)
            made = self._payloads[provider] = msgspec.Raw(rendering.body)
        return made
