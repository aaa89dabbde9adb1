"""Webhook deliveries in this process: lost with it, and the definition of what every other queue has to do."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.webhooks.ports import Claim, Endpoints, Outcome
from sockudo.webhooks.records import Attempt, Counts, Delivery, State

__all__ = ["KEPT_ATTEMPTS", "MemoryWebhookQueue"]

KEPT_ATTEMPTS: Final = 20
"""Attempts of a delivery that are kept, the newest."""

_EXPIRED_AT_ONCE: Final = 1000

_LaneKey = tuple[str, str, int]

_log = structlog.get_logger("sockudo.webhooks")


class _Lane:
    """Deliveries in order. The first is the head; ``token`` is set while somebody has it."""

    __slots__ = ("lease_until_ms", "token", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Delivery] = deque()
        self.token: str | None = None
        self.lease_until_ms = 0

    def free(self, now_ms: int) -> bool:
        return self.token is None or self.lease_until_ms <= now_ms

    @property
    def ready_at_ms(self) -> int:
        due = self.waiting[0].due_at_ms
        return due if self.token is None else max(due, self.lease_until_ms)


class MemoryWebhookQueue:
    """Holds at most ``capacity`` deliveries that wait, or as many as come in one call while none do."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._waiting = 0
        self._sequence = 0
        self._lanes: dict[_LaneKey, _Lane] = {}
        self._known: dict[str, Delivery] = {}
        self._attempts: dict[str, deque[Attempt]] = {}
        # Settled ones, the oldest first.
        self._delivered: OrderedDict[str, Delivery] = OrderedDict()
        self._dead: OrderedDict[str, Delivery] = OrderedDict()

    async def start(self) -> None:
        """Nothing has to be opened."""

    async def close(self) -> None:
        """Says what is lost with the process."""
        if self._waiting:
            _log.warning("webhooks are lost with the process: their queue is in memory", deliveries=self._waiting)

    async def append(self, deliveries: Sequence[Delivery]) -> None:
        new = [delivery for delivery in deliveries if delivery.id not in self._known]
        if self._waiting and self._waiting + len(new) > self._capacity:
            raise errors.SERVICE_UNAVAILABLE(f"The webhook queue is full: {self._waiting} deliveries wait")
        for delivery in new:
            if delivery.id not in self._known:
                self._add(msgspec.structs.replace(delivery))

    def _add(self, delivery: Delivery) -> None:
        self._sequence += 1
        delivery.sequence = self._sequence
        self._known[delivery.id] = delivery
        self._lanes.setdefault(_lane_key(delivery), _Lane()).waiting.append(delivery)
        self._waiting += 1

    async def claim(
        self, now_ms: int, lease_until_ms: int, limit: int, *, besides: Endpoints = frozenset()
    ) -> list[Claim]:
        due = [
            lane
            for key, lane in self._lanes.items()
            if lane.waiting[0].due_at_ms <= now_ms and lane.free(now_ms) and key[:2] not in besides
        ]
        due.sort(key=lambda lane: (lane.waiting[0].due_at_ms, lane.waiting[0].sequence))
        claims = []
        for lane in due[:limit]:
            lane.token, lane.lease_until_ms = unique_id(), lease_until_ms
            claims.append(Claim(msgspec.structs.replace(lane.waiting[0]), lane.token))
        return claims

    async def renew(self, claims: Sequence[Claim], lease_until_ms: int) -> None:
        for claim in claims:
            lane = self._held(claim)
            if lane is not None:
                lane.lease_until_ms = max(lane.lease_until_ms, lease_until_ms)

    async def settle(self, outcomes: Sequence[tuple[Claim, Outcome]], now_ms: int) -> list[bool]:
        return [self._settle(claim, outcome, now_ms) for claim, outcome in outcomes]

    def _held(self, claim: Claim) -> _Lane | None:
        lane = self._lanes.get(_lane_key(claim.delivery))
        return lane if lane is not None and lane.token == claim.token else None

    def _settle(self, claim: Claim, outcome: Outcome, now_ms: int) -> bool:
        lane = self._held(claim)
        if lane is None:
            return False
        lane.token = None
        delivery = lane.waiting[0]
        if outcome.attempt is not None:
            delivery.attempts += 1
            if delivery.first_attempt_at_ms is None:
                delivery.first_attempt_at_ms = outcome.attempt.at_ms
            self._attempts.setdefault(delivery.id, deque(maxlen=KEPT_ATTEMPTS)).append(outcome.attempt)
        if outcome.state == "waiting":
            delivery.due_at_ms = outcome.due_at_ms
        else:
            lane.waiting.popleft()
            self._end(delivery, outcome.state, outcome.reason, now_ms)
            if not lane.waiting:
                del self._lanes[_lane_key(delivery)]
        return True

    def _end(self, delivery: Delivery, state: State, reason: str | None, now_ms: int) -> None:
        delivery.state, delivery.reason, delivery.settled_at_ms = state, reason, now_ms
        self._waiting -= 1
        (self._delivered if state == "delivered" else self._dead)[delivery.id] = delivery

    async def next_due(self, *, besides: Endpoints = frozenset()) -> int | None:
        return min((lane.ready_at_ms for key, lane in self._lanes.items() if key[:2] not in besides), default=None)

    # ---- for those who look ----

    async def counts(self) -> Mapping[tuple[str, str], Counts]:
        states = Counter((delivery.app_id, delivery.endpoint, delivery.state) for delivery in self._known.values())
        leased = Counter(key[:2] for key, lane in self._lanes.items() if lane.token is not None)
        return {
            (app_id, endpoint): Counts(
                waiting=states[app_id, endpoint, "waiting"],
                leased=leased[app_id, endpoint],
                delivered=states[app_id, endpoint, "delivered"],
                dead=states[app_id, endpoint, "dead"],
            )
            for app_id, endpoint in {(app_id, endpoint) for app_id, endpoint, _ in states}
        }

    async def page(
        self,
        app_id: str,
        *,
        endpoint: str | None = None,
        state: State | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Delivery]:
        fitting = [
            delivery
            for delivery in self._known.values()
            if delivery.app_id == app_id
            and (endpoint is None or delivery.endpoint == endpoint)
            and (state is None or delivery.state == state)
            and (before is None or delivery.sequence < before)
        ]
        fitting.sort(key=lambda delivery: -delivery.sequence)
        return [msgspec.structs.replace(delivery) for delivery in fitting[:limit]]

    async def get(self, app_id: str, delivery_id: str) -> tuple[Delivery, list[Attempt]] | None:
        delivery = self._known.get(delivery_id)
        if delivery is None or delivery.app_id != app_id:
            return None
        return msgspec.structs.replace(delivery), list(self._attempts.get(delivery_id, ()))

    async def replay(
        self, app_id: str, now_ms: int, *, ids: Sequence[str] | None = None, endpoint: str | None = None
    ) -> int:
        if ids is None:
            chosen = [each for each in self._dead.values() if endpoint is None or each.endpoint == endpoint]
        else:
            known = (self._known.get(delivery_id) for delivery_id in dict.fromkeys(ids))
            chosen = [each for each in known if each is not None and each.state != "waiting"]
        chosen = [each for each in chosen if each.app_id == app_id]
        chosen.sort(key=lambda delivery: delivery.sequence)
        for delivery in chosen:
            (self._delivered if delivery.state == "delivered" else self._dead).pop(delivery.id)
            delivery.state = "waiting"
            delivery.reason = delivery.settled_at_ms = delivery.first_attempt_at_ms = None
            delivery.attempts = 0
            delivery.created_at_ms = delivery.due_at_ms = now_ms
            self._add(delivery)
        return len(chosen)

    async def expire(self, app_id: str, endpoint: str, created_before_ms: int, now_ms: int, reason: str) -> int:
        count = 0
        for key, lane in sorted(self._lanes.items(), key=lambda item: item[0]):
            if key[:2] != (app_id, endpoint) or not lane.free(now_ms):
                continue
            lane.token = None
            overdue = [each for each in lane.waiting if each.created_at_ms < created_before_ms]
            for delivery in overdue[: _EXPIRED_AT_ONCE - count]:
                lane.waiting.remove(delivery)
                self._end(delivery, "dead", reason, now_ms)
                count += 1
            if not lane.waiting:
                del self._lanes[key]
        return count

    async def trim(self, keep_delivered: int, keep_dead: int) -> int:
        count = 0
        for settled, keep in ((self._delivered, keep_delivered), (self._dead, keep_dead)):
            while len(settled) > keep:
                delivery_id, _ = settled.popitem(last=False)
                del self._known[delivery_id]
                self._attempts.pop(delivery_id, None)
                count += 1
        return count


def _lane_key(delivery: Delivery) -> _LaneKey:
    return delivery.app_id, delivery.endpoint, delivery.lane
