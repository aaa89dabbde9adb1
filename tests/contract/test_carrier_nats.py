"""What NATS adds to the promises of every carrier: clusters, logins, TLS, limits of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from sockudo import errors
from sockudo.config.sections.nats import AdapterNats, NatsTls
from sockudo.drivers.carriers.nats import NatsCarrier
from support.carriers import Heard
from support.certificates import write_chain
from support.nats import NatsProcess, nats_cluster, nats_server
from support.nats_accounts import write_credentials
from support.ports import free_port
from support.waiting import wait_until

TOPIC = "c:app:room"


@asynccontextmanager
async def opened(settings: AdapterNats, **changes: object) -> AsyncIterator[tuple[NatsCarrier, Heard]]:
    carrier, heard = NatsCarrier(msgspec.structs.replace(settings, **changes)), Heard()
    await asyncio.wait_for(carrier.open(heard), 20)
    try:
        yield carrier, heard
    finally:
        await carrier.close()


async def refusal(settings: AdapterNats, **changes: object) -> str:
    with pytest.raises(errors.SockudoError) as refused:
        async with opened(settings, **changes):
            pass
    return refused.value.text


async def exchange(a: NatsCarrier, b: NatsCarrier, heard: Heard) -> None:
    await asyncio.wait_for(b.subscribe(TOPIC), 10)
    a.publish(TOPIC, b"hello")
    await heard.until(lambda heard: (TOPIC, b"hello") in heard.payloads)


async def test_when_its_server_dies_it_goes_to_another_one_that_it_was_told_of() -> None:
    with nats_cluster() as (first, second):
        async with opened(second.settings) as (a, _), opened(first.settings) as (b, heard):
            await b.subscribe("c:app:other")
            await exchange(b, b, heard)
            first.kill()
            await heard.until(lambda heard: heard.links == ["up", "down", "up"])
            a.publish("c:app:other", b"after")
            await heard.until(lambda heard: ("c:app:other", b"after") in heard.payloads)


async def test_it_comes_back_when_its_server_does(nats_alone: NatsProcess) -> None:
    async with opened(nats_alone.settings) as (a, _), opened(nats_alone.settings) as (b, heard):
        await exchange(a, b, heard)
        nats_alone.kill()
        await heard.until(lambda heard: heard.links == ["up", "down"])
        a.publish(TOPIC, b"lost")
        nats_alone.start()
        await heard.until(lambda heard: heard.links == ["up", "down", "up"], 30)
        heard.payloads.clear()
        async with opened(nats_alone.settings) as (c, _):
            await exchange(c, b, heard)
        assert heard.payloads == [(TOPIC, b"hello")]


async def test_a_server_that_cannot_be_reached_is_named_with_its_setting() -> None:
    text = await refusal(AdapterNats(servers=(f"nats://127.0.0.1:{free_port()}",)))
    assert "connection refused" in text
    assert "adapter.nats.servers" in text


async def test_a_server_of_another_protocol_is_refused() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR unknown command\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port := free_port()):
        assert "adapter.nats.servers" in await refusal(AdapterNats(servers=(f"127.0.0.1:{port}",)))


async def test_a_login_that_is_not_accepted_is_named_with_its_setting(tmp_path: Path) -> None:
    with nats_server('authorization { user: ann, password: "p@ss w0rd" }') as server:
        async with opened(server.settings, username="ann", password="p@ss w0rd") as (a, heard):
            await exchange(a, a, heard)
        wrong = await refusal(server.settings, username="ann", password="guess")
        assert "adapter.nats.username and adapter.nats.password" in wrong
        assert "guess" not in wrong
        assert "adapter.nats.token" in await refusal(server.settings)
    with nats_server("authorization { token: s3cret }") as server:
        async with opened(server.settings, token="s3cret") as (a, heard):
            await exchange(a, a, heard)
        assert "Correct adapter.nats.token" in await refusal(server.settings, token="guess")
    ours, others = tmp_path / "ours.creds", tmp_path / "others.creds"
    config = write_credentials(ours)
    write_credentials(others)
    with nats_server(config) as server:
        async with opened(server.settings, credentials_path=str(ours)) as (a, heard):
            await exchange(a, a, heard)
        assert "adapter.nats.credentials_path" in await refusal(server.settings, credentials_path=str(others))
        others.write_text(others.read_text().replace("SU", "SA"))
        assert "is no file with the JWT" in await refusal(server.settings, credentials_path=str(others)[:-1])


async def test_a_user_that_may_not_use_the_subjects_is_refused() -> None:
    permissions = 'permissions: { publish: "theirs.>", subscribe: "theirs.>" }'
    with nats_server(f"authorization {{ users: [ {{ user: ann, password: x, {permissions} }} ] }}") as server:
        text = await refusal(server.settings, username="ann", password="x", prefix="ours")
        assert "'ours.>'" in text
        assert "adapter.nats.prefix" in text
        async with opened(server.settings, username="ann", password="x", prefix="theirs") as (a, heard):
            await exchange(a, a, heard)


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    authority, (certificate, key) = write_chain(tmp_path)
    with nats_server(f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}') as server:
        place = f"127.0.0.1:{server.port}"
        tls = NatsTls(ca_path=str(authority))
        async with opened(server.settings, tls=tls) as (a, heard):
            await exchange(a, a, heard)
        async with opened(server.settings, servers=(f"tls://{place}",), tls=tls) as (a, heard):
            await exchange(a, a, heard)
        assert "adapter.nats.tls.ca_path" in await refusal(server.settings)
    with nats_server() as server:
        assert "does not offer TLS" in await refusal(server.settings, servers=(f"tls://127.0.0.1:{server.port}",))


async def test_payloads_longer_than_the_server_takes_come_whole_and_in_order() -> None:
    with nats_server("max_payload: 4096") as server:
        async with opened(server.settings) as (a, _), opened(server.settings) as (b, heard):
            await b.subscribe(TOPIC)
            payloads = [b"%d:" % number + bytes(number % 4 * 5_000) for number in range(200)]
            for payload in payloads:
                a.publish(TOPIC, payload)
            await heard.until(lambda heard: len(heard.payloads) == 200)
            assert [payload for _, payload in heard.payloads] == payloads


async def test_a_server_that_does_not_answer_is_given_up(nats_alone: NatsProcess) -> None:
    async with opened(nats_alone.settings, request_timeout_ms=500) as (a, heard):
        with nats_alone.frozen():
            await heard.until(lambda heard: heard.links[-1] == "down")
        # On a busy machine it may have been lost twice.
        await heard.until(lambda heard: heard.links[-1] == "up" and "down" in heard.links, 20)
        await exchange(a, a, heard)


async def test_what_a_server_does_not_take_is_dropped_within_bounds_and_told(nats_alone: NatsProcess) -> None:
    async with opened(nats_alone.settings) as (a, heard):
        with nats_alone.frozen():
            for _ in range(100):
                a.publish(TOPIC, bytes(500_000))
                await asyncio.sleep(0)
            assert a.dropped > 0
            assert heard.losses[0] == (TOPIC,)


async def test_a_reader_that_is_too_slow_is_told_that_it_has_lost_something() -> None:
    with nats_server("max_pending: 1MB") as server:
        async with opened(server.settings) as (a, _), opened(server.settings) as (b, heard):
            await b.subscribe(TOPIC)
            assert b._link.current is not None
            transport = b._link.current._transport
            assert transport is not None
            transport.pause_reading()
            for _ in range(64):
                a.publish(TOPIC, bytes(1_000_000))
                await asyncio.sleep(0.01)
            await asyncio.to_thread(wait_until, lambda: "Slow Consumer" in server.log, "the server to cut it")
            transport.resume_reading()
            await heard.until(lambda heard: heard.links == ["up", "down", "up"])
            await exchange(a, b, heard)
