"""What PostgreSQL adds to the promises of every carrier: restarts, poolers, rows, and listeners that stand still."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sockudo import errors
from sockudo.config.sections.databases import AdapterPostgres, Postgres
from sockudo.drivers.carriers.postgres import PostgresCarrier
from sockudo.storage.postgres_connection import PostgresConnection
from support.carriers import Heard
from support.databases import DatabaseServer, postgres_server
from support.forked import ForkedProcess
from support.pgbouncer import pgbouncer
from support.ports import free_port
from support.waiting import wait_until

TOPIC = "c:app:room"
LONG = bytes(9_000)
CHILD = Path(__file__).parent / "carrier_child.py"

Opened = tuple[PostgresCarrier, Heard]
Open = Callable[..., AbstractAsyncContextManager[Opened]]


@pytest.fixture
def prefix() -> str:
    return f"test_{secrets.token_hex(4)}"


@pytest.fixture
def opened(postgres: DatabaseServer, prefix: str) -> Open:
    """Opens a carrier on the run's database, or on another one."""

    @asynccontextmanager
    async def open_one(
        server: Postgres = postgres.postgres, mode: str = "auto", **options: Any
    ) -> AsyncIterator[Opened]:
        carrier, heard = PostgresCarrier(server, AdapterPostgres(prefix, mode), **options), Heard()
        await asyncio.wait_for(carrier.open(heard), 20)
        try:
            yield carrier, heard
        finally:
            await carrier.close()

    return open_one


@pytest.fixture
def pooled(postgres: DatabaseServer) -> Iterator[Postgres]:
    with pgbouncer(postgres) as through:
        yield through


def is_back(heard: Heard) -> bool:
    """The connection was lost, and is there again; on a busy machine it may have been lost twice."""
    return heard.links[-1] == "up" and "down" in heard.links


async def refusal(opening: AbstractAsyncContextManager[Opened]) -> str:
    with pytest.raises(errors.SockudoError) as refused:
        async with opening:
            pass
    return refused.value.text


async def exchange(a: PostgresCarrier, b: PostgresCarrier, heard: Heard) -> None:
    await asyncio.wait_for(b.subscribe(TOPIC), 10)
    payloads = [secrets.token_bytes(8), secrets.token_bytes(8) + LONG, secrets.token_bytes(8)]
    for payload in payloads:
        a.publish(TOPIC, payload)
    await heard.until(lambda heard: [payload for _, payload in heard.payloads[-3:]] == payloads)


async def test_where_notifications_arrive_nothing_is_polled(opened: Open) -> None:
    async with opened() as (a, _), opened() as (b, heard):
        await exchange(a, b, heard)
        assert "polled" not in a.name


async def test_behind_a_pooler_that_changes_connections_the_table_is_polled(opened: Open, pooled: Postgres) -> None:
    async with opened(pooled) as (a, _), opened(pooled) as (b, heard):
        assert a.name.endswith("polled")
        for _ in range(20):
            await exchange(a, b, heard)


async def test_one_that_polls_and_one_that_is_notified_hear_each_other(opened: Open, pooled: Postgres) -> None:
    async with opened(pooled) as (a, at_a), opened() as (b, at_b):
        await exchange(a, b, at_b)
        await exchange(b, a, at_a)


async def test_notifications_that_are_asked_for_and_do_not_arrive_end_the_start(opened: Open, pooled: Postgres) -> None:
    assert 'adapter.postgres.mode = "notify"' in await refusal(opened(pooled, "notify"))


async def test_a_database_that_cannot_be_used_is_named_with_its_setting(opened: Open, postgres: DatabaseServer) -> None:
    nowhere = msgspec.structs.replace(postgres.postgres, port=free_port())
    wrong = msgspec.structs.replace(postgres.postgres, password="guess")
    for server in (nowhere, wrong):
        text = await refusal(opened(server))
        assert "Correct database.postgres" in text
        assert "guess" not in text


async def test_after_a_crash_of_the_database_everything_goes_on(opened: Open) -> None:
    with postgres_server() as server:
        async with opened(server.postgres) as (a, at_a), opened(server.postgres) as (b, at_b):
            await exchange(a, b, at_b)
            [(backend,)] = server.execute("SELECT pg_backend_pid()")
            # One process that dies takes all with it, and the table is empty afterwards.
            os.kill(backend, signal.SIGKILL)
            for heard in (at_a, at_b):
                await heard.until(lambda heard: heard.links == ["up", "down", "up"], 30)
            await exchange(a, b, at_b)
            await exchange(b, a, at_a)


async def test_a_server_that_does_not_answer_is_given_up(opened: Open) -> None:
    with postgres_server() as server:
        async with opened(server.postgres, timeout_ms=500) as (a, heard):
            with server.frozen():
                a.publish(TOPIC, b"lost")
                await heard.until(lambda heard: heard.links[-1] == "down")
            await heard.until(is_back, 30)
            await exchange(a, a, heard)


async def test_what_the_server_does_not_take_is_dropped_within_bounds_and_told(opened: Open) -> None:
    with postgres_server() as server:
        async with opened(server.postgres) as (a, heard):
            with server.frozen():
                for _ in range(100):
                    a.publish(TOPIC, bytes(500_000))
                    await asyncio.sleep(0)
                assert a.dropped > 0
                assert heard.losses[0] == (TOPIC,)


async def test_rows_that_were_written_while_it_was_away_come_late(
    opened: Open, postgres: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as (a, at_a), opened() as (b, at_b):
        await exchange(a, b, at_b)
        back = asyncio.Event()
        make = PostgresConnection.make

        async def made_later(*args: Any) -> PostgresConnection:
            await back.wait()
            return await make(*args)

        monkeypatch.setattr(PostgresConnection, "make", made_later)
        b.reconnect()
        await at_b.until(lambda heard: heard.links == ["up", "down"])
        await a.subscribe("c:app:other")
        for number in range(5):
            a.publish(TOPIC, b"%d" % number + LONG)
            a.publish("c:app:other", b"%d" % number)
            await at_a.until(lambda heard, number=number: len(heard.payloads) == number + 1)
        back.set()
        await at_b.until(lambda heard: heard.links == ["up", "down", "up"])
        assert [payload[:1] for _, payload in at_b.payloads[-5:]] == [b"0", b"1", b"2", b"3", b"4"]


async def test_long_and_short_payloads_of_any_size_keep_their_order(opened: Open) -> None:
    async with opened() as (a, _), opened() as (b, heard):
        await b.subscribe(TOPIC)
        sizes = [10, 5_800, 5_900, 6_000, 100_000, 10, 10, 2_000_000, 10]
        payloads = [b"%d:" % number + bytes(sizes[number % len(sizes)]) for number in range(100)]
        for payload in payloads:
            a.publish(TOPIC, payload)
            await asyncio.sleep(0.001)
        await heard.until(lambda heard: len(heard.payloads) == 100, 30)
        assert [payload for _, payload in heard.payloads] == payloads


async def test_equal_payloads_of_one_turn_all_arrive(opened: Open) -> None:
    async with opened() as (a, heard):
        await a.subscribe(TOPIC)
        for _ in range(10):
            for _ in range(10):
                a.publish(TOPIC, bytes(1_000))
            await asyncio.sleep(0)
        await heard.until(lambda heard: len(heard.payloads) == 100)


async def test_one_that_starts_is_not_told_what_was_sent_before(opened: Open) -> None:
    for mode in ("poll", "notify"):
        async with opened(mode=mode) as (a, at_a):
            await exchange(a, a, at_a)
            async with opened(mode=mode) as (b, heard):
                await exchange(a, b, heard)
                assert len(heard.payloads) == 3


async def test_one_whose_loop_stands_still_is_cut_off_and_comes_back(opened: Open, postgres: DatabaseServer) -> None:
    async with opened(still_seconds=1) as (a, heard):
        await a.subscribe(TOPIC)

        assert a._link.current is not None
        pid = a._link.current.listening._connection.info.backend_pid

        def is_cut() -> bool:
            [(count,)] = postgres.execute(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")  # noqa: S608
            return not count

        assert not is_cut()
        # The loop stands still, while the server is asked.
        wait_until(is_cut, "the connection to be cut", timeout=20)
        await heard.until(is_back)
        await exchange(a, a, heard)


async def test_a_process_that_is_stopped_does_not_hold_the_queue_of_the_server(
    opened: Open, postgres: DatabaseServer, prefix: str
) -> None:
    place = msgspec.json.encode(postgres.postgres).decode()
    with ForkedProcess([place, prefix], program=CHILD, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        child.send_signal(signal.SIGSTOP)
        async with opened(mode="notify") as (a, heard):
            await a.subscribe("all")
            deadline = time.monotonic() + 100
            while postgres.execute(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"):  # noqa: S608
                assert time.monotonic() < deadline
                # More than the system holds for a reader that does not read.
                for _ in range(1_000):
                    a.publish("all", bytes(5_000))
                    if not len(a._outbox) % 30:
                        await asyncio.sleep(0)
                await asyncio.sleep(0.1)
            count = len(heard.payloads)
            a.publish("all", b"last")
            await heard.until(lambda heard: len(heard.payloads) > count, 30)
