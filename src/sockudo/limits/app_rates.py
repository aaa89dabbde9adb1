"""An app's own limits per second on its backend: events published and questions asked (spec: http-api § 10.5)."""

from __future__ import annotations

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.cluster.ports import Counters

__all__ = ["AppRates"]


class AppRates:
    """Windows of one second for each app; a limit of 0 means unlimited.

    Unlike hits of a client, a refused request does not count: after a batch that did not fit a single event still may.
    """

    __slots__ = ("_counters",)

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def check_publish(self, app: LiveApp, events: int, now: float) -> None:
        """Counts a publish of ``events`` events, all or none; a batch has as many as it has items.

        Raises errors.RATE_LIMITED when they are over ``max_backend_events_per_second``.
        """
        limit = app.limits.max_backend_events_per_second
        if not limit or self._fits("app_publishes", app.id, events, limit, now):
            return
        if events > limit:
            raise errors.RATE_LIMITED(
                f"A batch of {events} events is over the app's limit of {limit} events per second "
                "(max_backend_events_per_second); split it",
                retry_after=1,
            )
        raise errors.RATE_LIMITED(
            f"More than {limit} events in one second from this app (max_backend_events_per_second); try again in 1 s",
            retry_after=1,
        )

    def check_read(self, app: LiveApp, now: float) -> None:
        """Counts one query. Raises errors.RATE_LIMITED when it is over ``max_read_requests_per_second``."""
        limit = app.limits.max_read_requests_per_second
        if limit and not self._fits("app_reads", app.id, 1, limit, now):
            raise errors.RATE_LIMITED(
                f"More than {limit} queries in one second from this app (max_read_requests_per_second); "
                "try again in 1 s",
                retry_after=1,
            )

    def _fits(self, name: str, app_id: str, cost: int, limit: int, now: float) -> bool:
        return self._counters.hit(name, app_id, limit, 1, now, cost=cost, count_refused=False).allowed
