"""Publishes that are repeated while the first one is still being stored: its outcome is theirs
(spec: http-api § 9.1)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sockudo import errors
from sockudo.base.stream_records import Row
from sockudo.config.apps import History as HistoryOverride
from sockudo.errors import SockudoError
from sockudo.publishing import OK
from support.durable import Durable, Held, refuse
from support.inside import Node, live_app
from support.waiting import settle


class Backend:
    """What an app's backend asks a publisher over a store whose next commit hangs until `end`."""

    def __init__(self, durable: Durable) -> None:
        self.durable = durable
        self.node = Node(live_app(history=HistoryOverride(enabled=True)))
        self.node.components.history.put(durable.history)
        node = self.node
        self.api = node.event_api()
        self.held = Held()
        durable.store.plan("commit", self.held)

    def events(self, data: str = "1", key: str = "k", **fields: Any) -> asyncio.Future[bytes]:
        body = {"name": "tide", "channel": "news", "data": data, "idempotency_key": key, **fields}
        answer = self.api.publish(*self._asked(body))
        assert isinstance(answer, asyncio.Future)
        return answer

    def batch(self, *keys: str, header: str | None = None) -> asyncio.Future[bytes]:
        items = [{"name": "tide", "channel": "news", "data": "1", "idempotency_key": key} for key in keys]
        app, state, body, _, now = self._asked({"batch": items})
        answer = self.api.publish_batch(app, state, body, header, now)
        assert isinstance(answer, asyncio.Future)
        return answer

    def _asked(self, body: Any) -> tuple[Any, Any, bytes, None, float]:
        return self.node.app, self.node.state, json.dumps(body).encode(), None, self.node.clock.monotonic()

    def rows(self) -> list[Row]:
        return self.durable.rows()


async def outcome(answer: asyncio.Future[bytes]) -> bytes | errors.ErrorSpec:
    try:
        return await answer
    except SockudoError as problem:
        return problem.spec


@pytest.fixture
def durable() -> Durable:
    return Durable()


@pytest.mark.parametrize("lost", [False, True])
async def test_repeats_end_as_the_first_one_does(durable: Durable, lost: bool) -> None:
    async with durable:
        backend = Backend(durable)
        answers = [backend.events(), backend.events(), backend.batch("k"), backend.events()]
        await settle()
        assert not any(answer.done() for answer in answers)
        with pytest.raises(SockudoError) as other:
            backend.events("2")
        assert other.value.spec is errors.IDEMPOTENCY_CONFLICT
        await backend.held.release(refuse() if lost else None)
        due = {errors.HISTORY_UNAVAILABLE} if lost else {OK, b"{}"}
        assert {await outcome(answer) for answer in answers} == due
        assert len(backend.rows()) == (0 if lost else 1)


async def test_after_a_failure_the_key_is_free_again(durable: Durable) -> None:
    async with durable:
        backend = Backend(durable)
        first = backend.events()
        await backend.held.release(refuse())
        assert await outcome(first) is errors.HISTORY_UNAVAILABLE
        assert await outcome(backend.events()) == OK
        assert len(backend.rows()) == 1


async def test_a_whole_batch(durable: Durable) -> None:
    async with durable:
        backend = Backend(durable)
        answers = [backend.batch("a", "b", header="k"), backend.batch("a", "b", header="k")]
        await settle()
        assert not any(answer.done() for answer in answers)
        await backend.held.release()
        assert [await outcome(answer) for answer in answers] == [b"{}", b"{}"]
        assert len(backend.rows()) == 2


async def test_a_batch_fails_with_the_request_that_has_its_item(durable: Durable) -> None:
    """Its caller would think that the item is safe."""
    async with durable:
        backend = Backend(durable)
        first = backend.events()
        batch = backend.batch("k", "other")
        await backend.held.release(refuse())
        assert await outcome(first) is errors.HISTORY_UNAVAILABLE
        assert await outcome(batch) is errors.HISTORY_UNAVAILABLE


async def test_a_caller_that_has_gone_leaves_the_others_waiting(durable: Durable) -> None:
    async with durable:
        backend = Backend(durable)
        first, again = backend.events(), backend.events()
        gone = asyncio.ensure_future(asyncio.wait((first,)))
        await settle()
        gone.cancel()
        await backend.held.release()
        assert await outcome(again) == OK
