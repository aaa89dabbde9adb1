"""What is claimed for one endpoint: which deliveries make the next request, and which have to wait for it."""

from __future__ import annotations

from collections.abc import Sequence

from sockudo.webhooks.queue import Claim
from sockudo.webhooks.requests import is_joinable

__all__ = ["Backlog"]


class Backlog:
    """Claims of an endpoint that are not under way, in their order. Of a channel one request is under way at a time."""

    __slots__ = ("_busy", "under_way", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Claim] = []
        # Requests that are being made, and the channels that they are about.
        self.under_way = 0
        self._busy: set[str] = set()

    def next(self, size: int) -> list[Claim]:
        """The claims of the next request, with ``size`` events at most where they are several; none when all that waits
        is behind what is under way. `ended` has to be called for them.
        """
        chosen: list[Claim] = []
        left: list[Claim] = []
        passed = set(self._busy)
        events = 0
        for claim in self.waiting:
            delivery = claim.delivery
            fits = not chosen or (is_joinable(delivery) and events + delivery.events <= size)
            if delivery.channel in passed or not fits:
                # What is behind it in its channel stays behind it.
                passed.add(delivery.channel)
                left.append(claim)
                continue
            chosen.append(claim)
            events += delivery.events
            if not is_joinable(delivery):
                events = size
        self.waiting = left
        if chosen:
            self.under_way += 1
            self._busy.update(claim.delivery.channel for claim in chosen)
        return chosen

    def ended(self, claims: Sequence[Claim], *, arrived: bool) -> list[Claim]:
        """The request of these claims has ended. Unless it arrived, what waits behind them is no longer next: it is
        taken out, and returned.
        """
        channels = {claim.delivery.channel for claim in claims}
        self.under_way -= 1
        self._busy -= channels
        if arrived:
            return []
        behind = [claim for claim in self.waiting if claim.delivery.channel in channels]
        self.waiting = [claim for claim in self.waiting if claim.delivery.channel not in channels]
        return behind

    def empty(self) -> list[Claim]:
        """Takes out all that waits."""
        waiting, self.waiting = self.waiting, []
        return waiting
