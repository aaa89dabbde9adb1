"""Who is asked where the server is, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from sockudo.config.sections.redis import Redis, RedisAccess, RedisTls
from sockudo.storage import redis_reach
from sockudo.storage.redis_reach import RedisReach
from sockudo.storage.redis_wire import Login, RedisWireError

SLOTS = [[0, 8_000, [b"10.0.0.1", 1]], [8_001, 16_383, [b"10.0.0.2", 2]]]


class FakeWire:
    def __init__(self, answers: Any) -> None:
        self.answers = answers
        self.heard: list[Any] = []
        self.closed = False

    def ask(self, *command: str) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        if isinstance(self.answers, Exception):
            answer.set_exception(self.answers)
        else:
            answer.set_result(self.answers)
        return answer

    def next(self) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        if self.heard:
            answer.set_result(self.heard.pop(0))
        else:
            answer.set_exception(RedisWireError("it closed the connection"))
        return answer

    def close(self, reason: str = "") -> None:
        self.closed = True


class Servers:
    """What answers at each address; what is not here refuses connections."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: dict[str, FakeWire] = {}
        self.dialled: list[tuple[str, Login]] = []
        monkeypatch.setattr(redis_reach, "dial", self._dial)

    async def _dial(self, host: str, port: int, login: Login, seconds: float) -> FakeWire:
        self.dialled.append((f"{host}:{port}", login))
        if f"{host}:{port}" not in self.at:
            raise RedisWireError("connection refused")
        return self.at[f"{host}:{port}"]

    @property
    def asked(self) -> list[str]:
        asked = [place for place, _ in self.dialled]
        self.dialled.clear()
        return asked


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    return Servers(monkeypatch)


def sentinels() -> RedisAccess:
    return Redis(sentinels=("s:1", "s:2", "s:3"), password="of master", sentinel_password="of sentinels").access()


async def test_one_server_is_where_it_is_said_to_be(servers: Servers) -> None:
    assert await RedisReach(Redis(host="h", port=7).access()).find() == ("h", 7)
    assert servers.asked == []


async def test_the_sentinel_that_answered_last_is_asked_first(servers: Servers) -> None:
    servers.at["s:2"] = FakeWire([b"10.0.0.7", b"6379"])
    reach = RedisReach(sentinels())
    assert await reach.find() == ("10.0.0.7", 6379)
    assert {login.password for _, login in servers.dialled} == {"of sentinels"}
    assert servers.asked == ["s:1", "s:2"]
    assert await reach.find() == ("10.0.0.7", 6379)
    assert servers.asked == ["s:2"]
    assert servers.at["s:2"].closed


async def test_what_every_sentinel_said_is_told(servers: Servers) -> None:
    servers.at["s:2"] = FakeWire(None)
    servers.at["s:3"] = FakeWire(RedisWireError("NOPERM"))
    with pytest.raises(RedisWireError) as told:
        await RedisReach(sentinels()).find()
    assert str(told.value) == (
        "no Sentinel names the master 'mymaster' (s:1: connection refused; s:2: it knows no master of this name; "
        "s:3: NOPERM)"
    )


async def test_a_switch_of_this_master_is_told(servers: Servers) -> None:
    wire = servers.at["s:2"] = FakeWire([b"subscribe", b"+switch-master", 1])
    message = [b"message", b"+switch-master"]
    wire.heard = [[*message, b"other a 1 b 2"], [b"pong", b""], [*message, b"mymaster a 1 b 2"]]
    switched = asyncio.Event()
    watching = asyncio.ensure_future(RedisReach(sentinels()).watch(switched.set, 5.0))
    # The first one does not answer; after a second it is the next one's turn.
    await asyncio.wait_for(switched.wait(), 5)
    assert wire.heard == []
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert servers.asked[:2] == ["s:1", "s:2"]


async def test_without_sentinels_nothing_is_watched(servers: Servers) -> None:
    await RedisReach(Redis().access()).watch(lambda: None, 5.0)
    assert servers.asked == []


async def test_a_cluster_is_asked_where_its_slots_are(servers: Servers) -> None:
    reach = RedisReach(Redis().cluster_access(("a:1", "redis://:own@b:2")))
    servers.at["b:2"] = FakeWire(SLOTS)
    assert await reach.find(7) == ("10.0.0.1", 1)
    assert [login.password for _, login in servers.dialled] == ["", "own"]
    assert servers.asked == ["a:1", "b:2"]
    # Its masters are asked before the seeds from now on.
    servers.at["10.0.0.2:2"] = FakeWire(SLOTS)
    assert await reach.find(9_000) == ("10.0.0.2", 2)
    assert servers.asked == ["10.0.0.1:1", "10.0.0.2:2"]
    assert await reach.find() in {("10.0.0.1", 1), ("10.0.0.2", 2)}


async def test_a_cluster_that_is_not_whole(servers: Servers) -> None:
    reach = RedisReach(Redis().cluster_access(("a:1",)))
    with pytest.raises(RedisWireError, match=r"no server says which slots are where \(a:1: connection refused\)"):
        await reach.find(7)
    servers.at["a:1"] = FakeWire([])
    with pytest.raises(RedisWireError, match="it knows of no slots"):
        await reach.find(7)
    servers.at["a:1"] = FakeWire([[0, 1]])
    with pytest.raises(RedisWireError, match="its answer to CLUSTER SLOTS cannot be read"):
        await reach.find(7)
    servers.at["a:1"] = FakeWire(SLOTS[1:])
    with pytest.raises(RedisWireError, match="no master of the cluster has the slot"):
        await reach.find(7)


async def test_the_second_connection_does_not_leave_the_first_behind(servers: Servers) -> None:
    wire = servers.at["h:6379"] = FakeWire(None)
    reach = RedisReach(Redis(host="h").access())
    assert await reach.dial_both("h", 6379, 1) == (wire, wire)

    async def once(*_: Any) -> FakeWire:
        if servers.dialled:
            raise RedisWireError("connection refused")
        servers.dialled.append(("h:6379", Login()))
        return wire

    servers.dialled.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_reach, "dial", once)
        with pytest.raises(RedisWireError):
            await reach.dial_both("h", 6379, 1)
    assert wire.closed


async def test_a_file_of_tls_that_is_none(servers: Servers, tmp_path: Any) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("this is no certificate\n")
    reach = RedisReach(Redis(master_tls=RedisTls(enabled=True, ca_path=str(pem))).access())
    with pytest.raises(RedisWireError, match="a file of its TLS cannot be used"):
        await reach.dial("h", 1, 1)
    with pytest.raises(RedisWireError, match="a file of its TLS cannot be used"):
        await RedisReach(Redis(master_tls=RedisTls(enabled=True, client_cert_path="/nowhere")).access()).dial("h", 1, 1)


async def test_encryption_as_configured(servers: Servers) -> None:
    servers.at["h:6379"] = FakeWire(None)
    for tls in (RedisTls(), RedisTls(enabled=True), RedisTls(enabled=True, accept_invalid_certs=True)):
        await RedisReach(Redis(host="h", master_tls=tls).access()).dial("h", 6379, 1)
    none, checked, any_will_do = (login.context for _, login in servers.dialled)
    assert none is None
    assert checked is not None
    assert checked.check_hostname
    assert any_will_do is not None
    assert not any_will_do.check_hostname
