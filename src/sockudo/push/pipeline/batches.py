"""One step of planning: recipients become batches, each the same for whoever plans it (spec: push § 7.2)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from sockudo.jobs.ports import Job
from sockudo.push.delivery import Batch, DeliveryJob, settling_key
from sockudo.push.messages import ShardJob, delivery_message
from sockudo.push.pipeline.recruiting import pages
from sockudo.push.pipeline.seen import Seen
from sockudo.push.ports import PushStore
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import PublishIntent
from sockudo.push.rendering import render

__all__ = ["Planning", "plan_step"]

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
    """Plans about ``most`` recipients from where ``job`` says; what it found before is in ``seen``.

    Whoever has an outcome when a publish is planned again is not sent to again, and has a place in the same batch.

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
                app_id=job.app_id,
                publish_id=job.publish_id,
                target=page.target,
                cursor=page.cursor,
                step=job.step + 1,
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
        self.batches.append(
            Batch(
                app_id=intent.app_id,
                publish_id=intent.publish_id,
                provider=provider,
                batch_id=f"{self._prefix}-batch-{ROUTE_NAMES[provider]}-{self.numbers[provider]}",
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
