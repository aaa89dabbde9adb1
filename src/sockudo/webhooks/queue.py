"""Deliveries in a job queue: a job each, whose ordering key is the channel, in the stage of what became of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, get_args

import msgspec

from sockudo.jobs.ports import Job, Lease, ListedJobQueue, QueueSpec, StoredJob
from sockudo.webhooks.earlier import EarlierQueue, by_channel
from sockudo.webhooks.records import Attempt, Counts, Delivery, Outcome, State

__all__ = ["KEPT_ATTEMPTS", "WEBHOOK_QUEUE", "Claim", "Endpoints", "WebhookQueue", "delivery_job"]

KEPT_ATTEMPTS: Final = 20
"""Attempts of a delivery that are kept, the newest."""

WEBHOOK_QUEUE: Final = QueueSpec(
    get_args(State), "webhook", "webhook queue", "webhooks", "sockudo.webhooks", ("delivered", "dead")
)

Endpoints = Collection[tuple[str, str]]
"""Endpoints by app id and endpoint id."""

# Deliveries that are expired, dropped or replayed in one step.
_AT_ONCE: Final = 1000
# For what takes no request.
_SHORT_LEASE_MS: Final = 60_000

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[Delivery, list[Attempt]]).decode


class Claim(NamedTuple):
    """A delivery that one process may attempt until its lease ends, and what was tried before."""

    delivery: Delivery
    lease: Lease
    tried: list[Attempt]

    @property
    def token(self) -> str:
        """Proves the claim."""
        return self.lease.token


class WebhookQueue:
    """Deliveries that wait, and what became of others.

    Every method raises errors.SERVICE_UNAVAILABLE when the queue cannot be reached, and nothing has changed then; none
    hangs for good. Times are Unix milliseconds. The first waiting delivery of a channel to an endpoint holds up those
    behind it, so a channel keeps its order in every case.
    """

    def __init__(self, jobs: ListedJobQueue, earlier: EarlierQueue | None = None) -> None:
        self._jobs = jobs
        self._earlier = earlier

    async def start(self) -> None:
        """Opens the queue, brings its schema up to date and carries over what a version before has left in its own;
        several processes may do so at once.
        """
        await self._jobs.start()
        if self._earlier is None:
            return
        try:
            async with self._earlier as earlier:
                while found := await earlier.take(_AT_ONCE):
                    await self._keep([(each, tried) for whole, tried in found for each in by_channel(whole)])
                    await earlier.drop([whole for whole, _ in found])
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Gives everything back. Calling it twice does no harm."""
        await self._jobs.close()

    async def append(self, deliveries: Sequence[Delivery]) -> None:
        """Keeps all of them, behind those of their channels, in this order; once it has returned they survive the
        process. An id that is known already is not appended again.
        """
        await self._keep([(each, ()) for each in deliveries])

    async def _keep(self, deliveries: Sequence[tuple[Delivery, Sequence[Attempt]]]) -> None:
        if deliveries:
            came_at_ms = min(min(each.created_at_ms, each.due_at_ms) for each, _ in deliveries)
            await self._jobs.put([delivery_job(*each) for each in deliveries], came_at_ms)

    async def claim(
        self,
        now_ms: int,
        lease_until_ms: int,
        limit: int,
        *,
        per_endpoint: int | None = None,
        run: int = 1,
        besides: Endpoints = frozenset(),
    ) -> list[Claim]:
        """At most ``limit`` due deliveries that none before them holds up, those that have been due for longest first;
        at most ``per_endpoint`` of one endpoint, and none of those in ``besides``.

        Up to ``run`` of a channel come together, one behind the other, as far as they may be joined. No other process
        gets anything of these channels before ``lease_until_ms``. After that any may; until one has, the holder may
        still renew the lease and settle.
        """
        leases = await self._jobs.lease(
            "waiting", limit, now_ms, lease_until_ms, per_app=per_endpoint, run=run, besides=besides
        )
        return [_claim(lease) for lease in leases]

    async def renew(self, claims: Sequence[Claim], lease_until_ms: int) -> None:
        """Keeps the leases for longer; one that has been lost stays lost."""
        await self._jobs.extend([claim.lease for claim in claims], lease_until_ms)

    async def settle(self, outcomes: Sequence[tuple[Claim, Outcome]], now_ms: int) -> list[bool]:
        """Ends claims, for each whether it was still the last of its delivery; nothing changes for one that was not.

        An attempt is counted in the delivery and kept beside it. One that goes on waiting keeps its place.
        """
        changes = [(claim.lease, _settled(claim, outcome, now_ms)) for claim, outcome in outcomes]
        return await self._jobs.change(changes, now_ms)

    async def settle_joined(
        self, claims: Sequence[Claim], joined: Delivery, attempt: Attempt, now_ms: int
    ) -> list[bool]:
        """The claimed deliveries have arrived in one request, ``joined``, which takes their place; for each whether the
        claim was still the last of its delivery.
        """
        arrived = msgspec.structs.replace(
            joined, state="delivered", settled_at_ms=now_ms, attempts=1, first_attempt_at_ms=attempt.at_ms
        )
        return await self._jobs.settle([claim.lease for claim in claims], [delivery_job(arrived, [attempt])], now_ms)

    async def next_due(self, *, besides: Endpoints = frozenset()) -> int | None:
        """When the next delivery may be claimed; None when nothing waits."""
        return await self._jobs.next_due(["waiting"], besides=besides)

    # ---- what there is ----

    async def counts(self) -> Mapping[tuple[str, str], Counts]:
        """Counts by app and endpoint, for all that the queue knows of."""
        found: dict[tuple[str, str], dict[str, int]] = {}
        for (endpoint, stage), (jobs, leased) in (await self._jobs.tallies()).items():
            counts = found.setdefault(endpoint, {})
            counts[stage] = jobs
            if stage == "waiting":
                counts["leased"] = leased
        return {endpoint: Counts(**counts) for endpoint, counts in found.items()}

    async def page(
        self,
        app_id: str,
        *,
        endpoint: str | None = None,
        state: State | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Delivery]:
        """The newest deliveries of an app first, below the sequence ``before``."""
        found = await self._jobs.page(app_id, group=endpoint, stage=state, before=before, limit=limit)
        return [_stored(each)[0] for each in found]

    async def get(self, app_id: str, delivery_id: str) -> tuple[Delivery, list[Attempt]] | None:
        """A delivery and what was tried, oldest first, as far as it is kept; None when it is not known."""
        [found] = await self._jobs.find([delivery_id])
        return None if found is None or found.job.app_id != app_id else _stored(found)

    # ---- by hand, and giving up ----

    async def replay(
        self, app_id: str, now_ms: int, *, ids: Sequence[str] | None = None, endpoint: str | None = None
    ) -> int:
        """Has settled deliveries made again, behind those of their channels and as if for the first time; how many.

        With ``ids`` those, delivered or dead; else every dead one, of an endpoint or of all. They keep the order that
        they had among themselves.
        """
        if ids is None:
            chosen = await self._all_dead(app_id, endpoint)
        else:
            found = [each for each in await self._jobs.find(list(dict.fromkeys(ids))) if each is not None]
            settled = (each for each in found if each.job.app_id == app_id and each.job.stage != "waiting")
            chosen = [each.job.key for each in sorted(settled, key=lambda each: each.number)]
        count = 0
        for start in range(0, len(chosen), _AT_ONCE):
            leases = await self._jobs.take(chosen[start : start + _AT_ONCE], now_ms, now_ms + _SHORT_LEASE_MS)
            done = await self._jobs.settle(leases, [_as_new(lease, now_ms) for lease in leases], now_ms)
            count += sum(done)
        return count

    async def _all_dead(self, app_id: str, endpoint: str | None) -> list[str]:
        """Ids, the oldest first."""
        keys: list[str] = []
        before: int | None = None
        while page := await self._jobs.page(app_id, group=endpoint, stage="dead", before=before, limit=_AT_ONCE):
            keys += (each.job.key for each in page)
            before = page[-1].number
        return keys[::-1]

    async def expire(self, app_id: str, endpoint: str, created_before_ms: int, now_ms: int, reason: str) -> int:
        """Gives up what was created earlier and waits for an endpoint that is left alone; how many.

        Channels of which something is claimed are not touched; of the others any delivery may go, wherever it stands.
        Bounded work: call it again.
        """
        leases = await self._jobs.take_old(
            "waiting", (app_id, endpoint), created_before_ms, _AT_ONCE, now_ms, now_ms + _SHORT_LEASE_MS
        )
        claims = [_claim(lease) for lease in leases]
        late = Outcome("dead", None, reason=reason)
        outcomes = [
            (claim, late)
            if claim.delivery.created_at_ms < created_before_ms
            else (claim, Outcome("waiting", None, claim.delivery.due_at_ms))
            for claim in claims
        ]
        done = await self.settle(outcomes, now_ms)
        return sum(had and outcome is late for had, (_, outcome) in zip(done, outcomes, strict=True))

    async def trim(self, keep_delivered: int, keep_dead: int) -> int:
        """Drops the oldest settled deliveries beyond so many of each; how many. Bounded work: call it again."""
        dropped = await self._jobs.trim("delivered", keep_delivered, _AT_ONCE)
        return dropped + await self._jobs.trim("dead", keep_dead, _AT_ONCE)


def delivery_job(delivery: Delivery, tried: Sequence[Attempt]) -> Job:
    """How a delivery is kept, with its attempts."""
    return Job(
        delivery.state,
        delivery.id,
        delivery.app_id,
        _encode((delivery, tried)),
        delivery.due_at_ms if delivery.settled_at_ms is None else delivery.settled_at_ms,
        delivery.endpoint,
        # Events of no channel are in order too.
        f"#{delivery.channel}",
        delivery.alone,
    )


def _stored(stored: StoredJob) -> tuple[Delivery, list[Attempt]]:
    delivery, tried = _decode(stored.job.body)
    delivery.sequence = stored.number
    return delivery, tried


def _claim(lease: Lease) -> Claim:
    delivery, tried = _stored(StoredJob(lease.job, lease.number))
    return Claim(delivery, lease, tried)


def _settled(claim: Claim, outcome: Outcome, now_ms: int) -> Job:
    delivery, tried = msgspec.structs.replace(claim.delivery), claim.tried
    delivery.state = outcome.state
    delivery.alone = delivery.alone or outcome.alone
    if outcome.attempt is not None:
        delivery.attempts += 1
        if delivery.first_attempt_at_ms is None:
            delivery.first_attempt_at_ms = outcome.attempt.at_ms
        tried = [*tried, outcome.attempt][-KEPT_ATTEMPTS:]
    if outcome.state == "waiting":
        delivery.due_at_ms = outcome.due_at_ms
    else:
        delivery.reason, delivery.settled_at_ms = outcome.reason, now_ms
    return delivery_job(delivery, tried)


def _as_new(lease: Lease, now_ms: int) -> Job:
    delivery, tried = _decode(lease.job.body)
    delivery.state = "waiting"
    delivery.reason = delivery.settled_at_ms = delivery.first_attempt_at_ms = None
    delivery.attempts = 0
    delivery.created_at_ms = delivery.due_at_ms = now_ms
    # What is sent again has the id that it is looked for by.
    delivery.alone = True
    return delivery_job(delivery, tried)
