"""Requests and upgrades of one client address (contract 70 § 4.3, 20 § 10.5)."""

from __future__ import annotations

from collections import Counter

from sockudo import errors
from sockudo.config.sections.limits import RateLimit, RateLimiter
from sockudo.errors import SockudoError
from sockudo.limits.windows import FixedWindows, Verdict

__all__ = ["IpLimits"]

_API = ("api_rate_limit", "http_api")
_UPGRADE = ("websocket_rate_limit", "websocket_upgrade")


class IpLimits:
    """Both limits of every client address, as the settings have them.

    ``checks`` and ``triggered`` count hits and refusals by (limiter, request context), the labels of the metrics.
    """

    __slots__ = ("_api", "_upgrade", "api_trust_hops", "checks", "enabled", "triggered", "upgrade_trust_hops")

    def __init__(self, settings: RateLimiter) -> None:
        self.checks: Counter[tuple[str, str]] = Counter()
        self.triggered: Counter[tuple[str, str]] = Counter()
        self._api: FixedWindows | None = None
        self._upgrade: FixedWindows | None = None
        self.replace(settings)

    def replace(self, settings: RateLimiter) -> None:
        """Takes over other settings. A limit that stays as it was goes on counting; counters are never reset."""
        self.enabled = settings.enabled and settings.driver != "none"
        self.api_trust_hops = settings.api_rate_limit.trust_hops
        self.upgrade_trust_hops = settings.websocket_rate_limit.trust_hops
        self._api = _windows(settings.api_rate_limit, self._api) if self.enabled else None
        self._upgrade = _windows(settings.websocket_rate_limit, self._upgrade) if self.enabled else None

    def api(self, address: str, now: float) -> Verdict | None:
        """Counts one HTTP API request; None while limits are off."""
        return self._hit(self._api, _API, address, now)

    def upgrade(self, address: str, now: float) -> Verdict | None:
        """Counts one WebSocket upgrade; None while limits are off."""
        return self._hit(self._upgrade, _UPGRADE, address, now)

    def _hit(self, windows: FixedWindows | None, labels: tuple[str, str], address: str, now: float) -> Verdict | None:
        if windows is None:
            return None
        verdict = windows.hit(address, now)
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
    def refusal(verdict: Verdict) -> SockudoError:
        """The error that answers a refused hit, with ``retry_after``."""
        return errors.RATE_LIMITED(
            f"More than {verdict.limit} requests in {verdict.window} s from this address; "
            f"try again in {verdict.reset} s",
            retry_after=verdict.reset,
        )


def _windows(limit: RateLimit, current: FixedWindows | None) -> FixedWindows:
    wanted = (limit.max_requests, limit.window_seconds)
    if current is not None and (current.max_requests, current.window_seconds) == wanted:
        return current
    return FixedWindows(*wanted)
