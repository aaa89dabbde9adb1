"""Group commit: calls that come together are done together, and each gets what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.storage.group_commit import Bounds, Call, GroupCommit


class Store:
    """Doubles numbers, as slowly as the test wants."""

    def __init__(self) -> None:
        self.rounds: list[list[int]] = []
        self.taken_back: list[tuple[int, int]] = []
        self.problem: BaseException | None = None
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.begun = asyncio.Event()
        self.in_second: Callable[[], object] = lambda: None
        self.bounds = Bounds(group=1000, waiting=1000)
        self.open()

    def open(self) -> None:
        self.commits = GroupCommit(self.work, self.bounds, self.refusal, name="the thing", withdraw=self.unclaimed)

    async def call(self, number: int) -> Any:
        """A number is as heavy as it is large."""
        return await self.commits.do(number, max(number, 0))

    def refusal(self, text: str) -> SockudoError:
        return errors.SERVICE_UNAVAILABLE(f"The thing {text}")

    async def work(self, waiting: Sequence[Call]) -> list[int]:
        calls = [call.request for call in waiting]
        self.rounds.append(calls)
        self.begun.set()
        if len(self.rounds) == 2:
            self.in_second()
        await self.may_end.wait()
        if 13 in calls:
            raise errors.INVALID_INPUT("Not that number")
        if self.problem is not None:
            raise self.problem
        return [2 * call for call in calls]

    def unclaimed(self, call: int, result: Any) -> list[int]:
        self.taken_back.append((call, result))
        return [-call] if call > 0 else []


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = Store()
    yield store
    store.may_end.set()
    await store.commits.close()


async def held_up(store: Store) -> asyncio.Task[Any]:
    """A first round that does not end yet."""
    store.may_end.clear()
    task = asyncio.create_task(store.call(1))
    await store.begun.wait()
    return task


async def test_what_comes_together_is_done_together(store: Store) -> None:
    assert await asyncio.gather(*(store.call(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert store.rounds == [[0, 1, 2, 3, 4]]


async def test_what_comes_during_a_round_waits_for_the_next(store: Store) -> None:
    first = await held_up(store)
    others = [asyncio.create_task(store.call(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in others)
    store.may_end.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6]
    assert store.rounds == [[1], [2, 3]]


async def test_a_round_that_fails_fails_for_all_of_it_and_no_other(store: Store) -> None:
    store.problem = errors.SERVICE_UNAVAILABLE("Gone", retry_after=7)
    answers = await asyncio.gather(store.call(1), store.call(2), return_exceptions=True)
    assert [(type(answer), str(answer), answer.retry_after) for answer in answers] == [(SockudoError, "Gone", 7)] * 2
    assert answers[0] is not answers[1]
    store.problem = None
    assert await store.call(3) == 6


async def test_a_call_that_cannot_be_stored_fails_alone(store: Store) -> None:
    answers = await asyncio.gather(*(store.call(number) for number in (1, 13, 2)), return_exceptions=True)
    assert (answers[0], str(answers[1]), answers[2]) == (2, "Not that number", 4)
    assert store.rounds == [[1, 13, 2], [1], [13, 2], [13], [2]]


async def test_a_mistake_reaches_who_called(store: Store) -> None:
    store.problem = KeyError("a bug")
    with pytest.raises(KeyError, match="a bug"):
        await store.call(1)
    store.problem = None
    assert await store.call(1) == 2


async def test_a_call_whose_caller_has_gone_is_not_begun(store: Store) -> None:
    first = await held_up(store)
    gone, stays = asyncio.create_task(store.call(2)), asyncio.create_task(store.call(3))
    await asyncio.sleep(0)
    gone.cancel()
    store.may_end.set()
    assert (await first, await stays) == (2, 6)
    assert store.rounds == [[1], [3]]
    assert store.taken_back == []


async def test_a_result_that_nobody_waits_for_is_taken_back(store: Store) -> None:
    first = await held_up(store)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    store.may_end.set()
    await store.commits.close()
    assert store.taken_back == [(1, 2)]
    assert store.rounds == [[1], [-1]]


async def test_a_result_on_its_way_to_somebody_who_goes_is_taken_back(store: Store) -> None:
    first = await held_up(store)
    second = asyncio.create_task(store.call(2))
    await asyncio.sleep(0)
    # The first round has ended then, and its caller has not been woken yet.
    store.in_second = first.cancel
    store.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == 4
    await store.commits.close()
    assert store.taken_back == [(1, 2)]
    assert store.rounds == [[1], [2], [-1]]


async def test_rounds_are_bounded(store: Store) -> None:
    store.bounds = Bounds(group=10, waiting=1000)
    store.open()
    await asyncio.gather(*(store.call(number) for number in (4, 4, 4, 4, 50, 1)))
    assert store.rounds == [[4, 4, 4], [4, 50], [1]]


async def test_rounds_have_a_number_of_calls_at_most(store: Store) -> None:
    store.bounds = Bounds(group=1000, waiting=1000, calls=2)
    store.open()
    await asyncio.gather(*(store.call(number) for number in (1, 2, 3)))
    assert store.rounds == [[1, 2], [3]]


async def test_what_waits_is_bounded(store: Store) -> None:
    store.bounds = Bounds(group=1000, waiting=10)
    store.open()
    first = await held_up(store)
    waiting = asyncio.create_task(store.call(11))
    await asyncio.sleep(0)
    with pytest.raises(SockudoError, match="The thing has more to do than it can"):
        await store.call(1)
    store.may_end.set()
    assert (await first, await waiting) == (2, 22)
    assert await store.call(1) == 2


async def test_closing_waits_for_what_was_asked_for(store: Store) -> None:
    first = await held_up(store)
    second = asyncio.create_task(store.call(2))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.commits.close())
    await asyncio.sleep(0)
    assert not closing.done()
    store.may_end.set()
    await closing
    assert (await first, await second) == (2, 4)


async def test_a_loop_that_ends_leaves_nobody_waiting() -> None:
    store = Store()
    first = await held_up(store)
    second = asyncio.create_task(store.call(2))
    await asyncio.sleep(0)
    [running] = [task for task in asyncio.all_tasks() if task.get_name() == "group commit of the thing"]
    running.cancel()
    assert [type(answer) for answer in await asyncio.gather(first, second, running, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 3
