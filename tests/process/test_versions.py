"""A deploy: servers of the version before and of this one are nodes of one cluster, and one replaces the other."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sockudo.client.auth import Credentials
from sockudo.client.events import Event
from sockudo.client.http import ApiClient
from sockudo.client.wire import Wire
from sockudo.testing import RecordingClient
from support.joined import PatientClient
from support.parts import cannot_run
from support.redis import PASSWORD, RedisProcess
from support.server import DEFAULT_APP, FROM_NOTHING, ServerProcess, app_record, start_server

ROOT = Path(__file__).parent.parent.parent
V2 = Wire(2)
APP = Credentials(DEFAULT_APP.id, DEFAULT_APP.key, DEFAULT_APP.secret)
VERSION_BEFORE = os.environ.get("SOCKUDO_VERSION_BEFORE")
"""Another commit to run beside this tree than the last one that the newest change of the server was made on."""


def git(*arguments: str) -> bytes:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the version before."""
    part = "the version before"
    try:
        changed = git("status", "--porcelain", "src/sockudo").strip()
        commits = git("rev-list", "--max-count=2", "HEAD", "--", "src/sockudo").decode().split()
        wanted = VERSION_BEFORE or (commits[0] if changed else commits[1])
        packed = git("archive", wanted, "src")
    except (OSError, subprocess.CalledProcessError, IndexError):
        cannot_run(part, "this tree has no history (a shallow clone, or an archive)")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


class Deploy:
    """Servers of both versions on one broker, with a backend of each."""

    def __init__(self, before: Path, redis: RedisProcess, stack: AsyncExitStack) -> None:
        self._before = before
        self._redis = redis
        self._stack = stack

    async def start(self, version: str, name: str) -> tuple[ServerProcess, ApiClient]:
        """Starts a server ``before`` or ``now``."""
        access = {"host": "127.0.0.1", "port": self._redis.port, "password": PASSWORD}
        config: Mapping[str, Any] = {
            "adapter": {"driver": "redis", "redis": {"prefix": "deploy"}},
            "database": {"redis": access},
            "history": {"enabled": False},
            "app_manager": {"array": {"apps": [app_record(DEFAULT_APP, connection_recovery={"enabled": True})]}},
        }
        env = {"INSTANCE_PROCESS_ID": name}
        if version == "before":
            env["PYTHONPATH"] = str(self._before)
        server = self._stack.enter_context(start_server(config, env=env, command=FROM_NOTHING))
        return server, await self._stack.enter_async_context(ApiClient(server.url, APP))

    async def client(self, server: ServerProcess, **options: Any) -> RecordingClient:
        return await self._stack.enter_async_context(await PatientClient.connect(server.url, APP, **options))


@pytest.fixture
async def deploy(before: Path, redis: RedisProcess) -> AsyncIterator[Deploy]:
    async with AsyncExitStack() as stack:
        yield Deploy(before, redis, stack)


def serials(client: RecordingClient) -> list[int | None]:
    return [event.serial for event in client.events if event.event == "tide"]


async def tides(client: RecordingClient, count: int) -> list[Event]:
    return [await client.expect("tide", channel="news", data={"n": number}) for number in range(count)]


@pytest.mark.parametrize("order", [("before", "now"), ("now", "before")])
async def test_both_versions_are_one_server_to_clients_and_backends(deploy: Deploy, order: tuple[str, str]) -> None:
    servers, backends = zip(*[await deploy.start(version, version) for version in order], strict=True)
    members = [await deploy.client(server) for server in servers]
    for member, user in zip(members, ("ana", "ben"), strict=True):
        await member.subscribe("presence-room", user_id=user)
    await members[0].expect("pusher_internal:member_added", channel="presence-room")
    watching = [await deploy.client(server, wire=V2) for server in servers]
    for client in watching:
        await client.socket.subscribe("news", APP)
        await client.expect("sockudo_internal:subscription_succeeded", channel="news")
    for number in range(10):
        await backends[number % 2].publish("news", "tide", {"n": number})
    for client in watching:
        await tides(client, 10)
        assert serials(client) == list(range(1, 11))
    for backend in backends:
        assert sorted(await backend.users("presence-room")) == ["ana", "ben"]
        state = await backend.channel("presence-room", info=("user_count", "subscription_count"))
        assert (state["user_count"], state["subscription_count"]) == (2, 2)
    await members[1].close()
    await members[0].expect("pusher_internal:member_removed", channel="presence-room")
    # Nothing that one sent was unknown to the other, for now.
    for server in servers:
        assert re.search(r"node_items_unreadable_total(\{.*\})? 0(\.0)?$", server.metrics(), re.MULTILINE)


async def test_a_server_is_replaced_by_one_of_this_version_and_clients_resume_there(deploy: Deploy) -> None:
    old, old_backend = await deploy.start("before", "a")
    client = await deploy.client(old, wire=V2)
    await client.socket.subscribe("news", APP)
    await client.expect("sockudo_internal:subscription_succeeded", channel="news")
    for number in range(3):
        await old_backend.publish("news", "tide", {"n": number})
    last = (await tides(client, 3))[-1]
    new, new_backend = await deploy.start("now", "b")
    # The one that stops hands over what it numbered.
    await new_backend.publish("news", "tide", {"n": 3})
    assert old.terminate() == 0
    await new_backend.publish("news", "tide", {"n": 4})
    resumed = await deploy.client(new, wire=V2)
    await resumed.socket.resume({"news": {"stream_id": last.stream_id, "serial": last.serial}})
    await resumed.expect("sockudo:resume_success")
    for number in (3, 4):
        await resumed.expect("tide", channel="news", data={"n": number})
    assert serials(resumed) == [4, 5]
