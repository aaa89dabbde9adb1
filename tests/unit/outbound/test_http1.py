"""HTTP/1.1 for fan-out: its bound of connections, and whom it may call. Both clients are in tests/contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sockudo.outbound.connecting import Connector, address_of
from sockudo.outbound.exchange import Exchange
from sockudo.outbound.http1 import Http1
from sockudo.outbound.ports import ExchangeError, Reply
from sockudo.outbound.resolver import Resolver
from support.receivers import Gate, Receiver

SOON = 5.0


async def problem(http: Exchange, url: str) -> str:
    with pytest.raises(ExchangeError) as caught:
        await http.post(url, [], b"{}", deadline=asyncio.get_running_loop().time() + SOON)
    return caught.value.problem


def test_the_text_of_an_address_has_no_path() -> None:
    assert "secret" not in repr(address_of("https://x.test/secret?secret"))


# ---- bounds ----


async def bounded(most: int, work: Callable[[Http1, Receiver, Gate], Awaitable[None]]) -> None:
    gate = Gate()
    http = Http1(Connector(Resolver(), allow_private=True), most=most)
    async with Receiver(gate) as receiver:
        await work(http, receiver, gate)
        http.close()


def started(http: Http1, receiver: Receiver, *, within: float = SOON) -> asyncio.Task[Reply]:
    deadline = asyncio.get_running_loop().time() + within
    return asyncio.create_task(http.post(address_of(receiver.url), [], b"", deadline))


async def test_no_more_connections_than_allowed() -> None:
    async def work(http: Http1, receiver: Receiver, gate: Gate) -> None:
        tasks = [started(http, receiver) for _ in range(20)]
        for _ in range(3):
            await gate.arrivals.get()
        gate.open.set()
        assert {reply.status for reply in await asyncio.gather(*tasks)} == {200}
        assert receiver.connections == http.connections == 3

    await bounded(3, work)


async def test_who_waits_in_line_may_give_up() -> None:
    async def work(http: Http1, receiver: Receiver, gate: Gate) -> None:
        first = started(http, receiver)
        await gate.arrivals.get()
        late, cancelled, third = started(http, receiver, within=0.05), started(http, receiver), started(http, receiver)
        with pytest.raises(ExchangeError, match="timeout"):
            await late
        cancelled.cancel()
        gate.open.set()
        assert (await first).status == (await third).status == 200
        assert cancelled.cancelled() or (await asyncio.gather(cancelled, return_exceptions=True))
        assert http.connections == 1

    await bounded(1, work)


async def test_a_place_is_free_again_after_a_failure() -> None:
    http = Http1(Connector(Resolver(), allow_private=True), most=1)
    async with Receiver() as receiver:
        url = receiver.url
    for _ in range(3):
        deadline = asyncio.get_running_loop().time() + SOON
        with pytest.raises(ExchangeError, match="connection_refused"):
            await http.post(address_of(url), [], b"", deadline)
    assert http.connections == 0
    assert not http._origins
    http.close()


async def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    http = Http1(Connector(Resolver(), allow_private=True))
    async with Receiver() as receiver:
        for _ in range(3):
            await started(http, receiver)
            (origin,) = http._origins.values()
            (idle,) = origin._idle
            idle.idle_since -= 5
        assert (receiver.connections, http.connections) == (3, 1)
        http.close()
        assert http.connections == 0


# ---- who may be called ----


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://push.test/", "address_refused"),
        ("https://127.0.0.1:9/", "address_refused"),
        ("https://[::1]:9/", "address_refused"),
        ("https://private.test/", "address_refused"),
        ("https://unknown.test/", "dns_failed"),
    ],
)
async def test_only_public_addresses_and_only_tls(url: str, word: str) -> None:
    def lookup(host: str) -> list[str]:
        if host == "unknown.test":
            raise OSError
        return ["169.254.169.254", "10.1.2.3"]

    http = Exchange(resolver=Resolver(lookup))
    assert await problem(http, url) == word
    await http.close()
