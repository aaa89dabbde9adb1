"""Promise 1: a publish that was answered 200 on a durable channel survives ``kill -9`` right after the answer."""

from __future__ import annotations

import asyncio
import random
import signal

import uvloop

from promises.followers import Backend, Follower
from promises.restarts import Restart
from support.server import ServerProcess
from support.waiting import until

PUBLISHERS = 16
ROUNDS = 3


async def publish_until_killed(server: ServerProcess, name: str, after: int) -> list[str]:
    """What was answered 200 before the process was gone, which is killed ``after`` so many."""
    accepted: list[str] = []

    async def publish(number: int) -> None:
        backend, count = Backend(server.host, server.port, server.app), 0
        while True:
            data = f"{name}:{number}:{count}"
            try:
                status, _ = await backend.publish("chat", data)
            except (OSError, asyncio.IncompleteReadError):
                return
            assert status == 200
            accepted.append(data)
            count += 1

    publishing = [asyncio.ensure_future(publish(number)) for number in range(PUBLISHERS)]
    await until(lambda: len(accepted) >= after)
    server.send_signal(signal.SIGKILL)
    await asyncio.gather(*publishing)
    return accepted


def everything_stored(server: ServerProcess) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    params = {"direction": "oldest_first", "limit": "100"}
    while True:
        reply = server.signed("GET", f"/apps/{server.app.id}/channels/chat/history", params=params)
        assert reply.status == 200, reply.text
        page = reply.json()
        found.extend((item["serial"], item["message"]["data"]) for item in page["items"])
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


def test_what_was_answered_is_there_after_kill_9(restart: Restart) -> None:
    accepted: list[str] = []
    server = restart()
    for number in range(ROUNDS):
        accepted += uvloop.run(publish_until_killed(server, str(number), random.randrange(50, 300)))
        assert server.wait() == -signal.SIGKILL
        server = restart()
    stored = everything_stored(server)
    assert [serial for serial, _ in stored] == list(range(1, len(stored) + 1))
    data = [text for _, text in stored]
    assert len(data) == len(set(data)), "a publish was stored twice"
    assert len(accepted) > ROUNDS * PUBLISHERS
    assert set(accepted) <= set(data), "an answered publish is gone"


async def follow_through_a_crash(restart: Restart) -> tuple[Follower, list[str]]:
    server = restart()
    client = Follower(server.host, server.port, server.app, "chat", resume_first=True)
    await client.connect()
    await client.ready()
    accepted = await publish_until_killed(server, "before", 200)
    client.cut()
    server.wait()
    server = await asyncio.to_thread(restart)
    backend = Backend(server.host, server.port, server.app)
    assert (await backend.publish("chat", "after"))[0] == 200
    await client.connect()
    await client.ready()
    await until(lambda: bool(client.heard) and client.heard[-1][1] == "after")
    client.cut()
    backend.close()
    return client, accepted


def test_a_client_that_comes_back_after_the_crash_misses_and_repeats_nothing(restart: Restart) -> None:
    restart._config["connection_recovery"] = {"enabled": True, "max_buffer_size": 100_000}
    client, accepted = uvloop.run(follow_through_a_crash(restart))
    assert client.rebuilt == []
    assert client.broken == []
    serials = [serial for serial, _ in client.heard]
    assert serials == list(range(serials[0], serials[0] + len(serials)))
    heard = [data for _, data in client.heard]
    assert set(accepted) <= set(heard)
    assert len(heard) == len(set(heard))
