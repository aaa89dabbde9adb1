"""What is sent together, and when rows are deleted again."""

from __future__ import annotations

import asyncio
from typing import Any

from sockudo.drivers.carriers.outbox import Outbox
from sockudo.drivers.carriers.postgres_link import Sender
from sockudo.drivers.carriers.postgres_packets import Packer, Row, items_of
from support.virtual_time import in_virtual_time

SENDER = b"s" * 16


class FakeConnection:
    def __init__(self) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()


class FakeStatements:
    """Takes 10 ms for each transaction, and writes down which there were."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []

    async def _take(self, what: str, of: object) -> None:
        await asyncio.sleep(0.01)
        self.done.append((what, of))

    async def notify(self, _: object, channels: list[str], texts: list[str]) -> None:
        await self._take("notify", len(texts))

    async def put(self, _: object, sender: bytes, row: Row, channels: list[str], texts: list[str]) -> None:
        await self._take("put", len(items_of(row.body)))

    async def delete(self, _: object, sender: bytes, number: int) -> None:
        await self._take("delete", number)

    async def sweep(self, _: object) -> None:
        await self._take("sweep", None)


class Running:
    def __init__(self) -> None:
        self.connection: Any = FakeConnection()
        self.statements: Any = FakeStatements()
        self.outbox = Outbox(lambda _: None)
        self.as_row = False
        self.sender = Sender(
            self.connection, self.statements, self.outbox, Packer("bus", SENDER), SENDER, lambda: self.as_row
        )
        self.task = asyncio.create_task(self.sender.run())

    async def send(self, count: int) -> None:
        for _ in range(count):
            self.outbox.add("c:app:room", b"x")
        self.sender.wake()
        await self.sender.sent.wait()

    async def end(self) -> list[tuple[str, Any]]:
        self.connection.ended.set_result("over")
        await self.task
        return [each for each in self.statements.done if each[0] != "sweep"]


@in_virtual_time
async def test_what_comes_while_a_transaction_runs_goes_together_in_the_next() -> None:
    running = Running()
    running.as_row = True
    for _ in range(20):
        running.outbox.add("c:app:room", b"x")
        running.sender.wake()
        await asyncio.sleep(0.004)
    await running.sender.sent.wait()
    sizes = [count for what, count in await running.end() if what == "put"]
    assert sum(sizes) == 20
    assert len(sizes) <= 9


@in_virtual_time
async def test_rows_are_deleted_by_their_sender_after_a_minute() -> None:
    running = Running()
    running.as_row = True
    for _ in range(3):
        await running.send(1)
        await asyncio.sleep(20)
    await asyncio.sleep(100)
    done = await running.end()
    assert [what for what, _ in done] == ["put", "put", "put", "delete", "delete", "delete"]
    assert [number for what, number in done if what == "delete"] == [1, 2, 3]


@in_virtual_time
async def test_notifications_leave_nothing_to_delete_and_rows_of_the_dead_are_swept() -> None:
    running = Running()
    await running.send(3)
    await asyncio.sleep(300)
    sweeps = sum(what == "sweep" for what, _ in running.statements.done)
    assert 3 <= sweeps <= 10
    assert await running.end() == [("notify", 1)]


@in_virtual_time
async def test_the_end_of_the_connection_ends_it() -> None:
    running = Running()
    await running.send(1)
    assert await running.end() == [("notify", 1)]
