"""What is asked of messages that change, over a store in memory (spec: messages § 7 and 9)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from sockudo.base.message_records import Change, Mutation, Version, log_of
from sockudo.base.stream_records import Append, Committed, Create, Retention
from sockudo.drivers import MemoryHistoryStore
from sockudo.history import History
from sockudo.history.messages import VersionsQuery
from sockudo.history.query import Purge, Reset
from sockudo.history.replay import Replayed
from sockudo.hub.streams.versions import with_data
from sockudo.testing import FakeClock

APP = "app"
LOG = log_of("room")


@pytest.fixture
async def history() -> AsyncIterator[History]:
    running = History(MemoryHistoryStore(), FakeClock(1000))
    await running.start()
    yield running
    await running.close()


def a_serial(number: int) -> str:
    return f"{1_000_000:020d}:node:{number:020d}"


async def submit(history: History, change: Any, row: bytes = b"", at: int = 1_000_000, **fields: Any) -> Committed:
    return await history.submit(Append(APP, LOG, row, "id", None, at, change=change, **fields), lambda _: None)


async def create(history: History, number: int, data: Any = "a", at: int = 1_000_000, **fields: Any) -> Committed:
    serial = a_serial(number)
    version = with_data(Version("create", serial, serial, at, name="said", message_id=f"id-{number}"), data)
    row = b'{"event":"said","channel":"room","message_serial":"%s"}' % serial.encode()
    return await submit(history, Create(version, "room"), row, at, **fields)


async def change(
    history: History, number: int, message: int, action: Change, data: Any, at: int = 1_000_000, **fields: Any
) -> Committed:
    return await submit(history, Mutation(action, a_serial(message), a_serial(number), at, data=data), at=at, **fields)


async def replayed(history: History, **options: Any) -> Sequence[tuple[int | None, Any]]:
    info = await history.attach(APP, LOG)
    outcome = await history.replay(APP, LOG, stream_id=info.stream_id, max_size=100, **options)
    assert isinstance(outcome, Replayed), outcome
    return [(frame.serial, frame.data) for frame in outcome.frames]


async def test_what_is_not_there_is_none(history: History) -> None:
    assert await history.messages.latest(APP, "room", a_serial(1)) is None
    assert await history.messages.versions(APP, "room", a_serial(1), VersionsQuery(10)) is None
    assert await history.messages.at(APP, "room", 1) is None
    assert (await history.messages.history_head(APP, "room")).serial == 0


async def test_the_two_streams_of_a_channel_are_told_apart(history: History) -> None:
    await create(history, 1)
    await change(history, 2, 1, "append", "b")
    assert (await history.messages.history_head(APP, "room")).serial == 1
    assert (await history.attach(APP, LOG)).head.serial == 2
    found = await history.messages.at(APP, "room", 2)
    assert found is not None
    assert (found.version.action, found.version.text) == ("append", "b")


async def test_a_replay_has_fragments_or_all_of_the_text(history: History) -> None:
    await create(history, 1, "a")
    await change(history, 2, 1, "append", "b")
    await create(history, 3, "x")
    await change(history, 4, 1, "append", "c")
    await change(history, 5, 1, "update", "new")
    await change(history, 6, 1, "append", "er")
    await change(history, 7, 3, "append", "y")
    assert await replayed(history, serial=3) == [(4, "c"), (5, "new"), (6, "er"), (7, "y")]
    assert await replayed(history, serial=3, whole=True) == [(4, "abc"), (5, "new"), (6, "newer"), (7, "xy")]


async def test_all_of_a_text_whose_beginning_is_past_its_time(history: History) -> None:
    hour = Retention(window_ms=3_600_000)
    await create(history, 1, "a", retention=hour)
    await change(history, 2, 1, "append", "b", at=5_000_000, retention=hour)
    await change(history, 3, 1, "append", "c", at=5_000_000, retention=hour)
    assert await replayed(history, serial=1, whole=True) == [(2, "ab"), (3, "abc")]


async def test_what_operators_do_to_a_history_they_do_to_its_versions(history: History) -> None:
    for number in range(1, 4):
        await create(history, number, at=1_000_000 * number)
    await change(history, 4, 1, "append", "b", at=3_000_000)
    purge = Purge(confirm_channel="room", confirm_operation="purge", reason="r", mode="before_serial", before_serial=3)
    await history.purge(APP, "room", purge)
    assert await history.messages.latest(APP, "room", a_serial(2)) is None
    assert await history.messages.latest(APP, "room", a_serial(3)) is not None
    await history.reset(APP, "room", Reset("room", "reset", "r"))
    assert await history.messages.latest(APP, "room", a_serial(3)) is None
    assert (await history.attach(APP, LOG)).head.serial == 0
