"""The metrics of histories: every name that the specification promises, fed by real histories (spec: history § 9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sockudo import errors
from sockudo.base.stream_records import KEEP_ALL, Append, Retention
from sockudo.hub.view import HubView
from sockudo.monitoring import HistorySources, Metrics, history_measures
from support.durable import NOW_MS, Held, lose, refuse
from support.waiting import settle
from unit.history.presence import ROOM, Observed, added, observed_app, removed

COMMON = {
    "writes_total": "counter",
    "write_failures_total": "counter",
    "write_latency_ms": "histogram",
    "retained_bytes": "gauge",
    "evictions_total": "counter",
    "evicted_bytes_total": "counter",
    "queue_depth": "gauge",
    "degraded_channels": "gauge",
    "reset_required_channels": "gauge",
}
PROMISED = {
    **{f"history_{name}": kind for name, kind in COMMON.items()},
    **{f"presence_history_{name}": kind for name, kind in COMMON.items()},
    "history_retained_messages": "gauge",
    "history_retained_versions": "gauge",
    "history_retained_version_bytes": "gauge",
    "history_version_evictions_total": "counter",
    "presence_history_retained_events": "gauge",
}


@dataclass
class Loop:
    worst_ms: float = 0.0
    stalls: int = 0

    def take_worst_ms(self) -> float:
        return 0.0


class Scraped(Observed):
    """Histories and their exposition."""

    def __init__(self, *, durable: bool = True) -> None:
        super().__init__(durable=durable)
        self.metrics = Metrics(
            HubView(self.world.hub),
            refused=Counter(),
            limits=lambda: None,
            loop=Loop(),
            prefix="sockudo_",
            port=9601,
            sources=[lambda: history_measures(HistorySources(lambda: self.kept, lambda: self.presence))],
        )

    async def say(self, *texts: str, retention: Retention = KEEP_ALL) -> None:
        for text in texts:
            append = Append("app", "news", text.encode(), None, "said", NOW_MS, retention)
            await self.kept.submit(append, lambda _: None)

    async def looked(self) -> None:
        await self.time.elapse(10)
        await self.kept.refresh_totals()
        await self.presence.refresh_totals()

    def value(self, name: str, **labels: str) -> float | None:
        wanted = {"port": "9601", **labels}
        for family in text_string_to_metric_families(self.metrics.render().decode()):
            for sample in family.samples:
                if (sample.name, sample.labels) == (f"sockudo_{name}", wanted):
                    return sample.value
        return None

    def of_app(self, name: str) -> float | None:
        return self.value(name, app_id="app")


@pytest.fixture
async def scraped() -> AsyncIterator[Scraped]:
    async with Scraped() as running:
        yield running


async def test_every_promised_name_has_its_type_and_a_help_line(scraped: Scraped) -> None:
    text = scraped.metrics.render().decode()
    for name, kind in PROMISED.items():
        assert f"# TYPE sockudo_{name} {kind}\n" in text
        assert f"# HELP sockudo_{name} " in text


async def test_without_histories_nothing_is_said_of_them(scraped: Scraped) -> None:
    scraped.metrics = Metrics(
        HubView(scraped.world.hub), refused=Counter(), limits=lambda: None, loop=Loop(), prefix="sockudo_", port=1
    )
    assert "history_writes" not in scraped.metrics.render().decode()


async def test_messages_and_events_are_counted_apart(scraped: Scraped) -> None:
    await scraped.say("one", "three")
    await scraped.happen(added("ana"), added("ben"), added("cid"))
    await scraped.looked()
    size = sum(len(row.message) for row in scraped.rows())
    for name, expected in {
        "history_writes_total": 2,
        "history_retained_messages": 2,
        "history_retained_bytes": 8,
        "history_write_latency_ms_count": 2,
        "presence_history_writes_total": 3,
        "presence_history_retained_events": 3,
        "presence_history_retained_bytes": size,
    }.items():
        assert scraped.of_app(name) == expected, name


async def test_events_in_memory_count_too() -> None:
    async with Scraped(durable=False) as scraped:
        await scraped.happen(added("ana"))
        scraped.app = observed_app(durable=True)
        scraped.durable_history.put(scraped.kept)
        await scraped.happen(added("ben"))
        await scraped.looked()
        assert scraped.of_app("presence_history_retained_events") == 2
        assert scraped.of_app("presence_history_writes_total") == 2


async def test_what_retention_took(scraped: Scraped) -> None:
    await scraped.say("12345", "1", retention=Retention(max_messages=1))
    scraped.app = observed_app(max_events_per_channel=1)
    await scraped.happen(added("ana"))
    [row] = scraped.rows()
    await scraped.happen(removed("ana"))
    assert scraped.of_app("history_evictions_total") == 1
    assert scraped.of_app("history_evicted_bytes_total") == 5
    assert scraped.of_app("presence_history_evictions_total") == 1
    assert scraped.of_app("presence_history_evicted_bytes_total") == len(row.message)


async def test_how_long_commits_take(scraped: Scraped) -> None:
    held = Held()
    scraped.store.plan("commit", held)
    future = scraped.kept.submit(Append("app", "news", b"1", None, None, NOW_MS), lambda _: None)
    await scraped.time.elapse(0.02)
    assert scraped.value("history_queue_depth") == 1
    await held.release()
    await future
    assert scraped.value("history_queue_depth") == 0
    assert scraped.value("history_write_latency_ms_bucket", app_id="app", le="10.0") == 0
    assert scraped.value("history_write_latency_ms_bucket", app_id="app", le="25.0") == 1
    assert scraped.value("history_write_latency_ms_sum", app_id="app") == pytest.approx(20)


async def test_messages_that_could_not_be_stored_and_their_streams(scraped: Scraped) -> None:
    scraped.store.plan("commit", lose(done=False))
    scraped.store.plan("info", refuse(), refuse())
    with pytest.raises(errors.SockudoError):
        await scraped.say("one")
    await settle()
    assert scraped.of_app("history_write_failures_total") == 1
    assert scraped.of_app("history_degraded_channels") == 1
    assert scraped.of_app("presence_history_write_failures_total") is None
    for _ in range(3):
        await scraped.time.elapse(1)
    assert scraped.of_app("history_degraded_channels") is None
    assert scraped.of_app("history_degradations_total") == scraped.of_app("history_healings_total") == 1


async def test_events_that_wait_and_those_that_are_lost(scraped: Scraped) -> None:
    scraped.store.plan("commit", refuse())
    await scraped.happen(added("ana"))
    assert scraped.value("presence_history_queue_depth") == 1
    assert scraped.of_app("presence_history_degraded_channels") == 1
    assert scraped.of_app("presence_history_reset_required_channels") == 0
    assert scraped.of_app("presence_history_write_failures_total") == 1
    assert scraped.of_app("history_write_failures_total") is None
    await scraped.time.elapse(1)
    assert scraped.value("presence_history_queue_depth") == 0
    scraped.store.plan("commit", refuse(errors.INVALID_INPUT))
    await scraped.happen(added("ben"))
    await scraped.looked()
    assert scraped.of_app("presence_history_lost_total") == 1
    # Known here and written in the store, and yet one.
    assert scraped.of_app("presence_history_degraded_channels") == 1
    assert scraped.of_app("presence_history_reset_required_channels") == 1
    assert scraped.of_app("history_reset_required_channels") is None


async def test_streams_that_another_process_marked(scraped: Scraped) -> None:
    await scraped.say("one")
    await scraped.happen(added("ana"))
    await scraped.kept.require_reset("app", "news", "broken")
    await scraped.kept.require_reset("app", f"[presence-history]{ROOM}", "lost")
    await scraped.looked()
    for prefix in ("history", "presence_history"):
        assert scraped.of_app(f"{prefix}_reset_required_channels") == 1
        assert scraped.of_app(f"{prefix}_degraded_channels") == 1
