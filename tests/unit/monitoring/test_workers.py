"""One scrape for all workers of a server."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sockudo.cluster.in_process import Network, join_network
from sockudo.cluster.router import Router
from sockudo.monitoring.workers import Exposition, join_metrics, merged


def exposition(worker: int, connected: int) -> Exposition:
    registry = CollectorRegistry()
    Gauge("connected", "Connections", ["app_id"], registry=registry).labels('odd "app" {1} # x').set(connected)
    Counter("said", "Messages", registry=registry).inc(worker + 1)
    Histogram("times", "Times", registry=registry).observe(connected)
    if worker:
        Gauge("later", "Of one worker alone", registry=registry).set(1)
    return Exposition(str(worker), generate_latest(registry))


def test_every_series_has_the_number_of_its_worker_and_each_family_is_there_once() -> None:
    text = merged([exposition(0, 3), exposition(1, 5)]).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(families) == len([line for line in text.splitlines() if line.startswith("# TYPE")])
    connected = {sample.labels["worker"]: sample for sample in families["connected"].samples}
    assert {worker: sample.value for worker, sample in connected.items()} == {"0": 3, "1": 5}
    assert connected["1"].labels["app_id"] == 'odd "app" {1} # x'
    assert families["connected"].documentation == "Connections"
    assert [s.value for s in families["said"].samples if s.name == "said_total"] == [1, 2]
    assert families["times"].type == "histogram"
    assert {sample.labels["worker"] for sample in families["later"].samples} == {"1"}


def test_labels_may_be_empty() -> None:
    assert merged([Exposition("4", b"# HELP a b\n# TYPE a gauge\na{} 1.0\n")]) == (
        b'# HELP a b\n# TYPE a gauge\na{worker="4"} 1.0\n'
    )


async def test_a_scrape_asks_the_workers_of_its_own_server() -> None:
    network, loop = Network(), asyncio.get_running_loop()
    scrapes = []
    for label, connected in (("here/0", 1), ("here/1", 2), ("elsewhere/0", 4)):
        bus, _ = join_network(loop.call_soon, network, label)
        router = Router()

        async def scrape(connected: int = connected) -> bytes:
            return exposition(0, connected).text

        scrapes.append(join_metrics(router, bus, label, scrape))
        bus.attach(router)
    text = (await scrapes[1]()).decode()
    [connected] = [family for family in text_string_to_metric_families(text) if family.name == "connected"]
    assert [(sample.labels["worker"], sample.value) for sample in connected.samples] == [("0", 1), ("1", 2)]
