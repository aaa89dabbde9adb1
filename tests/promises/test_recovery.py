"""Promises 2 and 3: serials in delivery order whatever the number of publishers, and every message exactly once
however often a client is cut off."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
import uvloop

from promises.followers import Backend, Follower
from support.server import ServerProcess, start_server
from support.waiting import until

CUTS = int(os.environ.get("SOCKUDO_CUTS", "250"))
"""How often clients are cut off on each of the two channels, all of them together."""

SEED = int(os.environ.get("SOCKUDO_CUTS_SEED", random.SystemRandom().randrange(2**32)))

PER_SECOND = 200
FOLLOWERS = 60
PUBLISHERS = 64
EACH = 25


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    config = {
        "log_level": "warn",
        "connection_recovery": {"enabled": True, "max_buffer_size": 500},
        "history": {"enabled": True, "backend": "sqlite"},
    }
    with start_server(config) as running:
        yield running


def follower(server: ServerProcess, channel: str, **options: bool) -> Follower:
    return Follower(server.host, server.port, server.app, channel, **options)


async def publishers_against(server: ServerProcess, channel: str) -> tuple[list[Follower], list[str]]:
    followers = [follower(server, channel) for _ in range(8)]
    for each in followers:
        await each.connect()
        await each.ready()
    accepted: list[str] = []

    async def publish(number: int) -> None:
        backend = Backend(server.host, server.port, server.app)
        for count in range(EACH):
            status, body = await backend.publish(channel, f"{number}:{count}")
            assert (status, body) == (200, {"ok": True})
            accepted.append(f"{number}:{count}")
        backend.close()

    await asyncio.gather(*(publish(number) for number in range(PUBLISHERS)))
    await until(lambda: all(len(each.heard) >= len(accepted) for each in followers))
    for each in followers:
        each.cut()
    return followers, accepted


def test_sixty_four_publishers_make_one_contiguous_stream(server: ServerProcess) -> None:
    """Every subscriber sees every serial once, in order, and each publisher's messages in the order it sent them."""
    followers, accepted = uvloop.run(publishers_against(server, "busy"))
    total = PUBLISHERS * EACH
    assert len(accepted) == total
    for each in followers:
        assert each.broken == []
        assert [serial for serial, _ in each.heard] == list(range(1, total + 1))
        assert sorted(data for _, data in each.heard) == sorted(accepted)
        counts: dict[str, int] = {}
        for _, data in each.heard:
            number, _, count = data.partition(":")
            assert int(count) == counts.get(number, -1) + 1
            counts[number] = int(count)
    page = server.signed("GET", f"/apps/{server.app.id}/channels/busy/history", params={"limit": "100"}).json()
    stored = [item["serial"] for item in page["items"]]
    assert stored == list(range(total, total - 100, -1))


class Storm:
    """Clients that are cut at random moments while one backend publishes at a steady rate."""

    def __init__(self, server: ServerProcess, dice: random.Random) -> None:
        self.server = server
        self.dice = dice
        self.said: dict[int, str] = {}
        self.cuts = 0
        self.over = False

    async def publish(self, channel: str) -> None:
        backend = Backend(self.server.host, self.server.port, self.server.app)
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        while not self.over:
            number += 1
            status, _ = await backend.publish(channel, str(number))
            assert status == 200
            self.said[number] = str(number)
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - loop.time()))
        backend.close()

    async def break_again_and_again(self, client: Follower) -> None:
        while self.cuts < CUTS:
            await asyncio.sleep(self.dice.expovariate(1 / 0.4))
            self.cuts += 1
            # Anywhere: in the handshake, before the acknowledgement, in the middle of a replay, or long after it.
            client.cut()
            await asyncio.sleep(self.dice.choice([0, 0, 0.02, 0.2]))
            await client.connect()
            if self.dice.random() < 0.7:
                await client.ready()

    async def run(self, channel: str, clients: list[Follower]) -> None:
        for client in clients:
            await client.connect()
            await client.ready()
        publishing = asyncio.ensure_future(self.publish(channel))
        await asyncio.gather(*(self.break_again_and_again(client) for client in clients))
        self.over = True
        await publishing
        for client in clients:
            await client.ready()
        last = max(self.said)
        await until(lambda: all(client.heard and client.heard[-1][0] >= last for client in clients))
        for client in clients:
            client.cut()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("channel", ["news", "private-news"])
def test_cut_off_at_random_moments_everybody_has_every_message_exactly_once(
    server: ServerProcess, channel: str
) -> None:
    print(f"seed: SOCKUDO_CUTS_SEED={SEED}")
    storm = Storm(server, random.Random(SEED))
    clients = [follower(server, channel, resume_first=number % 2 == 0) for number in range(FOLLOWERS // 2)]
    uvloop.run(storm.run(channel, clients))
    recovered = 0
    for client in clients:
        serials = [serial for serial, _ in client.heard]
        assert len(serials) == len(set(serials)), "a message came twice"
        assert sorted(serials) == list(range(min(serials), max(storm.said) + 1)), "a message is missing"
        assert client.rebuilt or min(serials) == 1
        assert all(storm.said[serial] == data for serial, data in client.heard), "a message came under another number"
        for failure in client.rebuilt:
            assert failure["code"] in {"position_expired", "stream_reset", "continuity_unverifiable"}, failure
        assert not [problem for problem in client.broken if problem.startswith("error")]
        if client.resume_first:
            assert client.broken == []
            assert all(after == before + 1 for before, after in pairwise(serials))
        recovered += client.recovered
    assert storm.cuts >= CUTS
    assert recovered > CUTS
    assert "ERROR" not in {json.loads(line)["level"] for line in server.log.splitlines() if line.startswith("{")}
