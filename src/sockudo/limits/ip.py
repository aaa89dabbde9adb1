"""Requests, failed authentication and upgrades of one client address (spec: http-api § 10.5; platform § 4.3)."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

from sockudo import errors
from sockudo.base.windows import Verdict
from sockudo.cluster.ports import Counters
from sockudo.config.sections.limits import RateLimiter
from sockudo.errors import SockudoError

__all__ = ["Counted", "IpLimits"]

Counted = Literal["api", "failed_auth", "upgrade"]
"""What is counted of an address."""

_LABELS: Final[dict[Counted, tuple[str, str]]] = {
    "api": ("api_rate_limit", "http_api"),
    "failed_auth": ("failed_auth", "http_api"),
    "upgrade": ("websocket_rate_limit", "websocket_upgrade"),
}
_NAMES: Final[dict[Counted, str]] = {
    "api": "requests",
    "failed_auth": "requests with a wrong key, signature or time",
    "upgrade": "WebSocket upgrades",
}

# Of a table that sets its window alone.
_API_REQUESTS: Final = 100
_UPGRADES: Final = 20
# What no crowd of clients behind one address does, not even after a restart of the server.
_BURST: Final = (6000, 60)


class IpLimits:
    """The limits of every client address, as the settings have them.

    Unless they limit requests, only those whose authentication fails are counted: a backend has one address, and so
    have all clients behind a proxy. ``checks`` and ``triggered`` count hits and refusals by (limiter, request context),
    the labels of the metrics. ``counts_requests``: every request of the API counts.
    """

    __slots__ = (
        "_counters",
        "_limits",
        "api_trust_hops",
        "checks",
        "counts_requests",
        "enabled",
        "triggered",
        "upgrade_trust_hops",
    )

    def __init__(self, settings: RateLimiter, counters: Counters) -> None:
        self.checks: Counter[tuple[str, str]] = Counter()
        self.triggered: Counter[tuple[str, str]] = Counter()
        self._counters = counters
        # How many hits in how many seconds.
        self._limits: dict[Counted, tuple[int, int]] = {}
        self.replace(settings)

    def replace(self, settings: RateLimiter) -> None:
        """Takes over other settings. A limit that stays as it was goes on counting; counters are never reset."""
        self.enabled = settings.enabled and settings.driver != "none"
        self.api_trust_hops = settings.api_rate_limit.trust_hops
        self.upgrade_trust_hops = settings.websocket_rate_limit.trust_hops
        failed = settings.failed_auth
        wanted: dict[Counted, tuple[int, int] | None] = {
            "api": settings.api_rate_limit.limit(_API_REQUESTS),
            "failed_auth": (failed.max_requests, failed.window_seconds),
            "upgrade": settings.websocket_rate_limit.limit(_UPGRADES) or _BURST,
        }
        limits = {what: limit for what, limit in wanted.items() if self.enabled and limit is not None}
        for what, limit in self._limits.items():
            if limits.get(what) != limit:
                self._counters.forget(f"address_{what}")
        self._limits = limits
        self.counts_requests = "api" in limits

    def hit(self, what: Counted, address: str, now: float) -> Verdict | None:
        """Counts one of the address; None where that is not limited."""
        limit = self._limits.get(what)
        if limit is None:
            return None
        verdict = self._counters.hit(f"address_{what}", address, *limit, now)
        labels = _LABELS[what]
        self.checks[labels] += 1
        if not verdict.allowed:
            self.triggered[labels] += 1
        return verdict

    @staticmethod
    def headers(verdict: Verdict) -> list[tuple[bytes, bytes]]:
        """What every limited reply carries. Retry-After belongs to the refusal, like that of any other error."""
        return [
            (b"x-ratelimit-limit", b"%d" % verdict.limit),
            (b"x-ratelimit-remaining", b"%d" % verdict.remaining),
            (b"x-ratelimit-reset", b"%d" % verdict.reset),
        ]

    @staticmethod
    def refusal(verdict: Verdict, what: Counted) -> SockudoError:
        """The error that answers a refused hit, with ``retry_after``; its text names the setting."""
        return errors.RATE_LIMITED(
            f"More than {verdict.limit} {_NAMES[what]} in {verdict.window} s from this address "
            f"(rate_limiter.{_LABELS[what][0]}.max_requests); try again in {verdict.reset} s",
            retry_after=verdict.reset,
        )
