"""From names to connections: what is looked up when, which addresses are tried, and which never."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest

from sockudo.outbound.reaching import AddressRefusedError, UnknownNameError, checked_addresses, first_connected
from sockudo.outbound.resolver import Lookup, Resolver, system_lookup

PUBLIC, OTHER, PUBLIC_6 = "8.8.8.8", "1.1.1.1", "2606:4700::1111"


class Stream:
    """A connection that only knows where it leads."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Connector:
    """Connects to whatever is in ``reachable``; what is in ``silent`` never answers, everything else refuses."""

    def __init__(self, *reachable: str, silent: Iterable[str] = ()) -> None:
        self.reachable = set(reachable)
        self.silent = set(silent)
        self.tried: list[str] = []
        self.streams: list[Stream] = []

    async def connect(self, host: str) -> Stream:
        self.tried.append(host)
        if host in self.silent:
            await asyncio.Event().wait()
        if host not in self.reachable:
            raise ConnectionRefusedError(host)
        self.streams.append(Stream(host))
        return self.streams[-1]


class Names:
    """A name server whose answers a test decides; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def connect(names: Lookup, connector: Connector, *, host: str = "hooks.test", allow_private: bool = False) -> str:
    addresses = await checked_addresses(Resolver(names), host, allow_private=allow_private)
    return (await first_connected(connector.connect, Stream.close, addresses)).address


async def test_connects_to_the_address_that_was_checked() -> None:
    names, connector = Names([PUBLIC], ["127.0.0.1"]), Connector(PUBLIC, "127.0.0.1")
    assert await connect(names, connector) == PUBLIC
    assert names.asked == ["hooks.test"]
    assert connector.tried == [PUBLIC]


async def test_a_name_that_changes_its_answer_to_a_private_address_is_refused_then() -> None:
    names, connector = Names([PUBLIC], ["169.254.169.254"]), Connector(PUBLIC, "169.254.169.254")
    await connect(names, connector)
    with pytest.raises(AddressRefusedError):
        await connect(names, connector)
    assert connector.tried == [PUBLIC]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "fd00::1", "::ffff:127.0.0.1"])
async def test_private_addresses_are_only_connected_to_when_they_are_allowed(address: str) -> None:
    connector = Connector(address)
    with pytest.raises(AddressRefusedError):
        await connect(Names([address]), connector)
    assert connector.tried == []
    assert await connect(Names([address]), connector, allow_private=True) == address


async def test_a_private_address_among_public_ones_is_left_out() -> None:
    connector = Connector("10.0.0.1", OTHER)
    assert await connect(Names(["10.0.0.1", PUBLIC, "127.0.0.1", OTHER]), connector) == OTHER
    assert connector.tried == [PUBLIC, OTHER]


async def test_private_addresses_are_not_what_is_left_when_the_public_ones_refuse() -> None:
    connector = Connector("10.0.0.1")
    with pytest.raises(ConnectionRefusedError):
        await connect(Names([PUBLIC, "10.0.0.1"]), connector)
    assert connector.tried == [PUBLIC]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.1"])
async def test_an_address_in_the_url_is_checked_and_not_looked_up(host: str) -> None:
    names = Names([PUBLIC])
    with pytest.raises(AddressRefusedError):
        await connect(names, Connector(PUBLIC), host=host)
    assert names.asked == []


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433", "0177.0.0.1"])
async def test_other_spellings_of_this_machine_are_seen_through(host: str) -> None:
    connector = Connector("127.0.0.1", "::1")
    with pytest.raises((AddressRefusedError, UnknownNameError)):
        await connect(system_lookup, connector, host=host)
    assert connector.tried == []


async def test_the_first_address_wins_without_the_others_being_tried() -> None:
    connector = Connector(PUBLIC, OTHER)
    assert await connect(Names([PUBLIC, OTHER]), connector) == PUBLIC
    assert connector.tried == [PUBLIC]


async def test_an_address_that_refuses_is_followed_by_the_next_at_once() -> None:
    connector = Connector(OTHER)
    async with asyncio.timeout(0.2):
        assert await connect(Names([PUBLIC, OTHER]), connector) == OTHER


async def test_an_address_that_is_silent_does_not_hold_up_the_others() -> None:
    connector = Connector(OTHER, silent=[PUBLIC])
    assert await connect(Names([PUBLIC, OTHER]), connector) == OTHER
    assert connector.tried == [PUBLIC, OTHER]


async def test_kinds_of_addresses_take_turns() -> None:
    connector = Connector()
    addresses = [PUBLIC_6, "2606:4700::2", "2606:4700::3", PUBLIC, OTHER]
    with pytest.raises(ConnectionRefusedError):
        await connect(Names(addresses), connector)
    assert connector.tried == [PUBLIC_6, PUBLIC, "2606:4700::2", OTHER, "2606:4700::3"]


async def test_a_name_with_many_addresses_is_not_a_way_to_make_many_connections() -> None:
    connector = Connector()
    with pytest.raises(ConnectionRefusedError):
        await connect(Names([f"8.8.8.{number}" for number in range(100)]), connector)
    assert len(connector.tried) == 8


async def test_two_that_connect_at_once_leave_one_open() -> None:
    gate = asyncio.Event()

    class Slow(Connector):
        async def connect(self, host: str) -> Stream:
            self.tried.append(host)
            if host == OTHER:
                gate.set()
            await gate.wait()
            self.streams.append(Stream(host))
            return self.streams[-1]

    connector = Slow()
    address = await connect(Names([PUBLIC, OTHER]), connector)
    assert [stream.address for stream in connector.streams if not stream.closed] == [address]


async def test_whoever_gives_up_leaves_no_connection_behind() -> None:
    connector = Connector(silent=[PUBLIC, OTHER])
    before = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await connect(Names([PUBLIC, OTHER]), connector)
    assert connector.tried == [PUBLIC, OTHER]
    assert asyncio.all_tasks() == before


# ---- the resolver ----


class Stuck:
    """A name server that is silent about ``stuck`` until `release`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.called = threading.Event()
        self._released = threading.Event()

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        self.called.set()
        if host.startswith("stuck"):
            self._released.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return (PUBLIC,)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
async def stuck() -> AsyncIterator[Stuck]:
    names = Stuck()
    yield names
    names.release()


async def test_a_name_that_nobody_answers_for_holds_up_no_other(stuck: Stuck) -> None:
    resolver = Resolver(stuck)
    waiting = [asyncio.create_task(resolver.resolve(f"stuck-{number}.test")) for number in range(20)]
    async with asyncio.timeout(5):
        assert await resolver.resolve("hooks.test") == (PUBLIC,)
    assert not any(task.done() for task in waiting)
    stuck.release()
    problems = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(problem, OSError) for problem in problems)


async def test_a_name_is_looked_up_once_for_all_that_want_it(stuck: Stuck) -> None:
    resolver = Resolver(stuck)
    waiting = [asyncio.create_task(resolver.resolve("stuck.test")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    stuck.release()
    problems = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(problem, OSError) for problem in problems)
    assert stuck.asked == ["stuck.test"]


async def test_the_next_question_is_asked_anew() -> None:
    names = Names([PUBLIC], [OTHER])
    resolver = Resolver(names)
    assert await resolver.resolve("hooks.test") == [PUBLIC]
    assert await resolver.resolve("hooks.test") == [OTHER]


async def test_closing_waits_for_no_name_server(stuck: Stuck) -> None:
    resolver = Resolver(stuck)
    waiting = asyncio.create_task(resolver.resolve("stuck.test"))
    assert await asyncio.to_thread(stuck.called.wait, 10)
    async with asyncio.timeout(1):
        await resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_name_that_cannot_be_one_leads_nowhere() -> None:
    for host in ("a..b", "x" * 64 + ".test"):
        with pytest.raises(UnknownNameError):
            await connect(system_lookup, Connector(), host=host)
