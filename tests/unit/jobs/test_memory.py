"""The job queue in memory: what it holds at most; what it does is in the contract suite."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from sockudo.errors import SockudoError
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Job
from sockudo.push.messages import PUSH_QUEUE


def messages(count: int, first: int = 0, size: int = 10) -> list[Job]:
    return [Job("publish_log", f"{n}", "app", b"x" * size) for n in range(first, first + count)]


@pytest.mark.parametrize("limits", [{"capacity": 3}, {"capacity_bytes": 30}])
async def test_it_refuses_what_is_too_much_and_takes_what_follows(limits: dict[str, int]) -> None:
    queue = MemoryJobQueue(PUSH_QUEUE, **limits)
    await queue.put(messages(3), 1)
    with pytest.raises(SockudoError, match="The push queue is full: 3 messages wait") as caught:
        await queue.put(messages(1, first=3), 1)
    assert caught.value.spec.slug == "service_unavailable"
    [lease] = await queue.lease("publish_log", 1, 1, 100)
    # Otherwise what is full would never get empty.
    assert await queue.settle([lease], messages(2, first=10), 1) == [True]
    leases = await queue.lease("publish_log", 9, 1, 100)
    assert len(leases) == 4
    await queue.settle(leases, [], 1)
    await queue.put(messages(1, first=3), 1)


async def test_what_is_lost_with_the_process_is_told() -> None:
    queue = MemoryJobQueue(PUSH_QUEUE)
    with capture_logs() as lines:
        await queue.close()
        await queue.put(messages(2), 1)
        await queue.close()
    assert [(line["log_level"], line["messages"]) for line in lines] == [("warning", 2)]
