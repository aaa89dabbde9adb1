"""What the mesh knows that other carriers do not: who wants what, and who is gone."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sockudo.drivers.carriers import mesh
from sockudo.drivers.carriers.mesh import MeshCarrier, mesh_carrier
from support.carriers import Heard

TOPIC = "c:app:room"


class Workers:
    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.opened: list[MeshCarrier] = []

    async def open(self) -> tuple[MeshCarrier, Heard]:
        carrier, heard = mesh_carrier(self.run_dir), Heard()
        await carrier.open(heard)
        self.opened.append(carrier)
        return carrier, heard


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    workers = Workers(tmp_path / "run")
    yield workers
    for carrier in workers.opened:
        await carrier.close()


async def test_interest_is_exact(workers: Workers) -> None:
    (a, _), (b, _) = await workers.open(), await workers.open()
    assert not a.interested(TOPIC)
    await a.subscribe(TOPIC)
    assert not a.interested(TOPIC)
    await b.subscribe(TOPIC)
    assert a.interested(TOPIC)
    b.unsubscribe(TOPIC)
    await b.subscribe("c:app:later")
    assert not a.interested(TOPIC)


async def test_a_newcomer_knows_the_topics_of_all_before_it_is_open(workers: Workers) -> None:
    (a, _), (b, _) = await workers.open(), await workers.open()
    await a.subscribe("c:app:a")
    await b.subscribe("c:app:b")
    c, _ = await workers.open()
    assert c.interested("c:app:a")
    assert c.interested("c:app:b")
    assert not c.interested("c:app:c")


async def test_workers_that_open_at_once_find_each_other(workers: Workers) -> None:
    found = await asyncio.gather(*(workers.open() for _ in range(6)))
    await asyncio.gather(*(carrier.subscribe(TOPIC) for carrier, _ in found))
    for number, (carrier, _) in enumerate(found):
        carrier.publish(TOPIC, b"%d" % number)
    for _, heard in found:
        await heard.until(lambda heard: len(heard.payloads) == 6)
        assert heard.links == ["up"]


async def test_the_run_directory_is_for_its_owner_alone(workers: Workers) -> None:
    await workers.open()
    assert stat.S_IMODE(workers.run_dir.stat().st_mode) == 0o700


async def test_the_socket_of_a_worker_that_is_gone_is_removed(workers: Workers) -> None:
    workers.run_dir.mkdir()
    left = workers.run_dir / "1-gone.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    a, heard = await workers.open()
    assert heard.links == ["up"]
    assert not left.exists()
    await a.subscribe(TOPIC)


async def test_a_worker_that_leaves_is_no_loss(workers: Workers) -> None:
    (a, heard), (b, _) = await workers.open(), await workers.open()
    await b.subscribe(TOPIC)
    await b.close()
    await a.subscribe(TOPIC)
    assert not a.interested(TOPIC)
    assert heard.links == ["up"]
    assert heard.losses == []
    assert heard.ended == []


async def test_a_worker_that_dies_may_be_a_loss_and_holds_up_nothing(workers: Workers) -> None:
    (a, heard), (b, _) = await workers.open(), await workers.open()
    await b.subscribe(TOPIC)
    assert b._server is not None
    b._observer = None
    b._server.close()
    for link in b._every_link():
        link.abort()
    await heard.until(lambda heard: heard.losses == [None])
    assert heard.ended == [[TOPIC]]
    await a.subscribe(TOPIC)
    assert heard.links == ["up"]


async def test_after_its_loop_stood_still_it_takes_every_topic_for_wanted(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    (a, _), (b, heard) = await workers.open(), await workers.open()
    await b.subscribe(TOPIC)
    now = mesh.time.monotonic()
    with monkeypatch.context() as patched:
        patched.setattr(mesh.time, "monotonic", lambda: now + 1)
        assert a.interested("c:app:other")
        a.publish("c:app:other", b"for all")
    await a.subscribe(TOPIC)
    a.publish(TOPIC, b"end")
    await heard.until(lambda heard: heard.payloads == [(TOPIC, b"end")])


async def test_a_payload_that_is_too_long_is_dropped_and_counted(workers: Workers) -> None:
    a, heard = await workers.open()
    await a.subscribe(TOPIC)
    a.publish(TOPIC, b"x" * (a.max_payload + 1))
    a.publish(TOPIC, b"x" * a.max_payload)
    await heard.until(lambda heard: len(heard.payloads) == 1)
    assert a.dropped == 1


async def test_the_longest_payload_crosses(workers: Workers) -> None:
    (a, _), (b, heard) = await workers.open(), await workers.open()
    await b.subscribe(TOPIC)
    longest = bytes(range(256)) * (a.max_payload // 256)
    a.publish(TOPIC, longest)
    await heard.until(lambda heard: heard.payloads == [(TOPIC, longest)])
