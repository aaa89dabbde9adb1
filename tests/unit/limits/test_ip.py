"""Limits per address: two of them, apart from each other, replaced while they count."""

from __future__ import annotations

from sockudo import errors
from sockudo.cluster.counters import InProcessCounters
from sockudo.config.sections.limits import ApiRateLimit, RateLimiter, WebSocketRateLimit
from sockudo.limits.ip import IpLimits


def limiter(api: int = 2, upgrades: int = 1, seconds: int = 60, *, enabled: bool = True) -> RateLimiter:
    return RateLimiter(
        enabled=enabled,
        api_rate_limit=ApiRateLimit(max_requests=api, window_seconds=seconds, trust_hops=1),
        websocket_rate_limit=WebSocketRateLimit(max_requests=upgrades, window_seconds=seconds, trust_hops=2),
    )


def test_api_and_upgrades_are_counted_apart() -> None:
    limits = IpLimits(limiter(), InProcessCounters())
    verdicts = [limits.hit("api", "192.0.2.1", 0.0) for _ in range(3)]
    assert [verdict and verdict.allowed for verdict in verdicts] == [True, True, False]
    upgrade = limits.hit("upgrade", "192.0.2.1", 0.0)
    assert upgrade is not None
    assert upgrade.allowed
    assert upgrade.limit == 1
    other = limits.hit("api", "192.0.2.2", 0.0)
    assert other is not None
    assert other.allowed


def test_trusted_proxies_are_those_of_each_limit() -> None:
    limits = IpLimits(limiter(), InProcessCounters())
    assert (limits.api_trust_hops, limits.upgrade_trust_hops) == (1, 2)


def test_off_means_no_verdict_and_no_count() -> None:
    for settings in (limiter(enabled=False), RateLimiter(driver="none")):
        limits = IpLimits(settings, InProcessCounters())
        assert limits.enabled is False
        assert limits.hit("api", "192.0.2.1", 0.0) is None
        assert limits.hit("upgrade", "192.0.2.1", 0.0) is None
        assert not limits.checks


def test_checks_and_refusals_are_counted_for_the_metrics() -> None:
    limits = IpLimits(limiter(), InProcessCounters())
    for _ in range(3):
        limits.hit("api", "192.0.2.1", 0.0)
        limits.hit("upgrade", "192.0.2.1", 0.0)
    api, upgrade = ("api_rate_limit", "http_api"), ("websocket_rate_limit", "websocket_upgrade")
    assert limits.checks == {api: 3, upgrade: 3}
    assert limits.triggered == {api: 1, upgrade: 2}


def test_headers_tell_limit_rest_and_reset() -> None:
    limits = IpLimits(limiter(), InProcessCounters())
    limits.hit("api", "192.0.2.1", 0.0)
    verdict = limits.hit("api", "192.0.2.1", 12.5)
    assert verdict is not None
    assert limits.headers(verdict) == [
        (b"x-ratelimit-limit", b"2"),
        (b"x-ratelimit-remaining", b"0"),
        (b"x-ratelimit-reset", b"48"),
    ]


def test_a_refusal_names_the_limit_and_when_to_come_back() -> None:
    limits = IpLimits(limiter(api=1), InProcessCounters())
    limits.hit("api", "192.0.2.1", 0.0)
    verdict = limits.hit("api", "192.0.2.1", 48.0)
    assert verdict is not None
    error = limits.refusal(verdict, "api")
    assert error.spec is errors.RATE_LIMITED
    setting = "rate_limiter.api_rate_limit.max_requests"
    assert error.text == f"More than 1 requests in 60 s from this address ({setting}); try again in 12 s"
    assert error.retry_after == 12


def test_a_limit_that_stays_goes_on_counting_and_a_changed_one_starts_afresh() -> None:
    limits = IpLimits(limiter(api=1, upgrades=1), InProcessCounters())
    limits.hit("api", "192.0.2.1", 0.0)
    limits.hit("upgrade", "192.0.2.1", 0.0)
    limits.replace(limiter(api=2, upgrades=1))
    api, upgrade = limits.hit("api", "192.0.2.1", 1.0), limits.hit("upgrade", "192.0.2.1", 1.0)
    assert api is not None
    assert upgrade is not None
    assert (api.allowed, api.limit, api.remaining) == (True, 2, 1)
    assert upgrade.allowed is False
    assert limits.checks["api_rate_limit", "http_api"] == 2


def test_limits_can_be_switched_off_and_on() -> None:
    limits = IpLimits(limiter(), InProcessCounters())
    limits.replace(limiter(enabled=False))
    assert limits.hit("api", "192.0.2.1", 0.0) is None
    limits.replace(limiter())
    assert limits.enabled is True
    assert limits.hit("api", "192.0.2.1", 0.0) is not None


def test_without_a_configured_limit_right_requests_are_not_counted() -> None:
    limits = IpLimits(RateLimiter(), InProcessCounters())
    assert not limits.counts_requests
    assert limits.hit("api", "192.0.2.1", 0.0) is None
    for _ in range(5000):
        verdict = limits.hit("upgrade", "192.0.2.1", 0.0)
        assert verdict is not None
        assert verdict.allowed
    failures = [limits.hit("failed_auth", "192.0.2.1", 0.0) for _ in range(101)]
    assert [verdict.allowed for verdict in failures if verdict is not None] == [True] * 100 + [False]


def test_a_table_that_sets_its_window_alone_is_filled_up() -> None:
    limits = IpLimits(
        RateLimiter(
            api_rate_limit=ApiRateLimit(window_seconds=30), websocket_rate_limit=WebSocketRateLimit(window_seconds=30)
        ),
        InProcessCounters(),
    )
    api, upgrade = limits.hit("api", "192.0.2.1", 0.0), limits.hit("upgrade", "192.0.2.1", 0.0)
    assert api is not None
    assert (api.limit, api.window) == (100, 30)
    assert upgrade is not None
    assert (upgrade.limit, upgrade.window) == (20, 30)


def test_proxies_alone_are_no_limit() -> None:
    assert not IpLimits(RateLimiter(api_rate_limit=ApiRateLimit(trust_hops=2)), InProcessCounters()).counts_requests
