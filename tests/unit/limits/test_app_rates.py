"""Limits of an app on its backend: events and queries per second, refused with the limit's name."""

from __future__ import annotations

import pytest

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.resolve import Defaults, resolve
from sockudo.cluster.counters import InProcessCounters
from sockudo.config.apps import App, Limits, Policy
from sockudo.errors import SockudoError
from sockudo.limits.app_rates import AppRates


def app(app_id: str = "shop", *, events: int | None = None, reads: int | None = None) -> LiveApp:
    limits = Limits(max_backend_events_per_second=events, max_read_requests_per_second=reads)
    return resolve(App(app_id, f"k-{app_id}", f"s-{app_id}", True, Policy(limits=limits)), Defaults())


def test_without_a_limit_nothing_is_refused() -> None:
    rates, unlimited = AppRates(InProcessCounters()), app()
    for _ in range(1000):
        rates.check_publish(unlimited, 1000, 0.0)
        rates.check_read(unlimited, 0.0)


def test_events_over_the_limit_wait_for_the_next_second() -> None:
    rates, limited = AppRates(InProcessCounters()), app(events=2)
    rates.check_publish(limited, 1, 5.0)
    rates.check_publish(limited, 1, 5.5)
    with pytest.raises(SockudoError) as refused:
        rates.check_publish(limited, 1, 5.9)
    assert refused.value.spec is errors.RATE_LIMITED
    assert refused.value.retry_after == 1
    assert "More than 2 events in one second" in refused.value.text
    assert "max_backend_events_per_second" in refused.value.text
    rates.check_publish(limited, 1, 6.0)


def test_a_batch_counts_each_event_all_or_none() -> None:
    rates, limited = AppRates(InProcessCounters()), app(events=5)
    rates.check_publish(limited, 3, 0.0)
    with pytest.raises(SockudoError):
        rates.check_publish(limited, 3, 0.0)
    # Nothing of the refused batch was counted.
    rates.check_publish(limited, 2, 0.0)


def test_a_batch_that_never_fits_is_told_to_be_split() -> None:
    with pytest.raises(SockudoError) as refused:
        AppRates(InProcessCounters()).check_publish(app(events=5), 6, 0.0)
    assert refused.value.spec is errors.RATE_LIMITED
    assert "batch of 6 events" in refused.value.text
    assert "limit of 5 events per second" in refused.value.text
    assert "split" in refused.value.text


def test_an_empty_batch_is_no_event() -> None:
    rates, limited = AppRates(InProcessCounters()), app(events=1)
    rates.check_publish(limited, 1, 0.0)
    rates.check_publish(limited, 0, 0.0)


def test_queries_have_a_limit_of_their_own() -> None:
    rates, limited = AppRates(InProcessCounters()), app(events=1, reads=1)
    rates.check_publish(limited, 1, 0.0)
    rates.check_read(limited, 0.0)
    with pytest.raises(SockudoError) as refused:
        rates.check_read(limited, 0.999)
    assert refused.value.spec is errors.RATE_LIMITED
    assert refused.value.retry_after == 1
    assert "max_read_requests_per_second" in refused.value.text
    rates.check_read(limited, 1.0)


def test_apps_do_not_share_a_limit() -> None:
    rates = AppRates(InProcessCounters())
    rates.check_publish(app("one", events=1), 1, 0.0)
    rates.check_publish(app("two", events=1), 1, 0.0)


def test_a_changed_limit_holds_at_once() -> None:
    rates = AppRates(InProcessCounters())
    rates.check_publish(app(events=1), 1, 0.0)
    rates.check_publish(app(events=2), 1, 0.0)
