"""What a worker takes with it when it ends while its server is in use: connections, and nothing that was answered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from promises.followers import Backend, Follower
from promises.test_durability import everything_stored
from support.server import ServerProcess, start_server, wait_for_line
from support.waiting import until

PUBLISHERS = FOLLOWERS = 6
DURABLE = {
    "workers": 2,
    "drain_window": 1,
    "log_level": "info",
    "connection_recovery": {"enabled": True, "max_buffer_size": 100_000},
    "history": {"enabled": True, "backend": "sqlite", "sqlite": {"synchronous": "normal"}},
}


def workers(server: ServerProcess) -> list[int]:
    pid = server.process.pid
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def kill_a_worker(server: ServerProcess) -> None:
    os.kill(workers(server)[0], signal.SIGKILL)


def replace_all(server: ServerProcess) -> None:
    server.send_signal(signal.SIGUSR2)


class Traffic:
    """Publishers that go on whatever happens, and followers that come back."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.accepted: list[str] = []
        self.refused: list[int] = []
        self.cut = 0
        self.followers = [
            Follower(server.host, server.port, server.app, "chat", resume_first=True) for number in range(FOLLOWERS)
        ]
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        for follower in self.followers:
            await follower.connect()
            await follower.ready()
        works = [*map(self._publish, range(PUBLISHERS)), *map(self._follow, self.followers)]
        self._tasks = [asyncio.ensure_future(work) for work in works]

    async def _publish(self, number: int) -> None:
        backend, count = Backend(self._server.host, self._server.port, self._server.app), 0
        while not self._ended.is_set():
            count += 1
            data = f"{number}:{count}"
            try:
                status, _ = await backend.publish("chat", data)
            except (OSError, asyncio.IncompleteReadError):
                self.cut += 1
                continue
            if status == 200:
                self.accepted.append(data)
            else:
                self.refused.append(status)
        backend.close()

    async def _follow(self, follower: Follower) -> None:
        while not self._ended.is_set():
            if not follower.subscribed.is_set():
                await self._come_back(follower)
            await asyncio.sleep(0.02)

    async def _come_back(self, follower: Follower) -> None:
        follower.cut()
        # The worker that took the connection may be on its way out as well.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            await follower.connect()
            await follower.ready()

    async def end(self) -> None:
        """Returns once every follower has heard the last message."""
        self._ended.set()
        await asyncio.gather(*self._tasks)
        backend = Backend(self._server.host, self._server.port, self._server.app)
        assert (await backend.publish("chat", "the last one"))[0] == 200
        backend.close()
        for follower in self.followers:
            if not follower.subscribed.is_set():
                follower.cut()
                await follower.connect()
                await follower.ready()
            await until(lambda of=follower: bool(of.heard) and of.heard[-1][1] == "the last one")  # type: ignore[misc]
            follower.cut()


async def used(server: ServerProcess, meanwhile: Callable[[ServerProcess], None], told: str) -> Traffic:
    traffic = Traffic(server)
    await traffic.begin()
    await until(lambda: len(traffic.accepted) > 100)
    meanwhile(server)
    await asyncio.to_thread(wait_for_line, server, told)
    seen = len(traffic.accepted)
    await until(lambda: len(traffic.accepted) > seen + 200)
    await traffic.end()
    return traffic


@pytest.mark.parametrize(
    ("meanwhile", "told"),
    [
        pytest.param(kill_a_worker, "a worker ended and is started again", id="kill -9"),
        pytest.param(replace_all, "a worker has left", id="rolling restart"),
    ],
)
def test_v2_clients_miss_and_repeat_nothing(meanwhile: Callable[[ServerProcess], None], told: str) -> None:
    with start_server(DURABLE) as server:
        wait_for_line(server, "all workers are ready")
        traffic = uvloop.run(used(server, meanwhile, told))
        stored = everything_stored(server)
    assert [serial for serial, _ in stored] == list(range(1, len(stored) + 1))
    data = [text for _, text in stored]
    assert len(data) == len(set(data)), "a publish was stored twice"
    assert set(traffic.accepted) <= set(data), "an answered publish is gone"
    assert traffic.refused == []
    for follower in traffic.followers:
        assert [what for what in follower.broken if "'code': 4200" not in what] == []
        assert follower.rebuilt == []
        assert follower.heard == stored
