"""What a join costs in a presence channel of thousands of members across three nodes, and how long a turn of their loops
lasts: real processes, joined by the Unix sockets of workers or by a Redis of this run.

Each member is a connection of its own. A message of the size of `member_added` to the same subscribers is measured
turn about with it: what is above that is the price of presence. Turns are by the clock, so look at them on a machine that has
nothing else to do.

    .venv/bin/python benchmarks/micro/presence.py [--members 10000] [--joins 40] [mesh redis]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import operator
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path

import uvloop

from sockudo.client.auth import Credentials
from sockudo.client.http import ApiClient

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from benchmarks.operators.sockets import connect

from support.ports import free_port
from support.redis import PASSWORD, redis_server

ROOT = Path(__file__).parents[2]
APP = Credentials("app-id", "app-key", "app-secret")
ROOM = "presence-measured"
LAG = re.compile(r"^sockudo_event_loop_lag_ms(?:\{[^}]*\})? ([0-9.]+)", re.MULTILINE)


class Nodes:
    """The processes, by the port of each; workers have one in common."""

    def __init__(self, ports, metrics, processes, pids):
        self.ports, self.metrics, self.processes, self.pids = ports, metrics, processes, pids

    def lag(self):
        """Milliseconds of the longest turn of any node since the last look."""
        found = []
        for port in self.metrics:
            with contextlib.suppress(OSError):
                text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
                found += map(float, LAG.findall(text))
        return max(found)

    def cpu(self):
        """Seconds of CPU of each process so far."""
        return [int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9 for pid in self.pids]


def config(folder, name, port, metrics, more):
    app = {"id": APP.app_id, "key": APP.key, "secret": APP.secret, "enabled": True}
    content = {
        "host": "127.0.0.1",
        "port": port,
        "data_dir": str(folder / name),
        "rate_limiter": {"enabled": False},
        "presence": {"max_members_per_channel": 20_000},
        "app_manager": {"driver": "memory", "array": {"apps": [app]}},
        "metrics": {"enabled": True, "host": "127.0.0.1", "port": metrics},
        "shutdown_grace_period": 1,
        **more,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return [str(ROOT / ".venv/bin/sockudo"), "serve", "--config", str(path)]


def wait_until_ready(port):
    for _ in range(200):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/up", timeout=1)
            return
        time.sleep(0.1)
    raise SystemExit("a node is not ready")


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def started(commands):
    with contextlib.ExitStack() as stack:
        processes = []
        for command in commands:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGKILL)
            processes.append(process)
        yield processes


@contextlib.contextmanager
def on_mesh(folder):
    port, metrics = free_port(), free_port()
    command = [*config(folder, "workers", port, metrics, {}), "--workers", "3"]
    with started([command]) as [supervisor]:
        wait_until_ready(port)
        workers = children(supervisor.pid)
        yield Nodes([port] * 3, [metrics], [], workers)
        os.kill(supervisor.pid, signal.SIGTERM)
        supervisor.wait(20)


@contextlib.contextmanager
def on_redis(folder):
    with redis_server() as server:
        more = {
            "adapter": {"driver": "redis"},
            "database": {"redis": {"host": "127.0.0.1", "port": server.port, "password": PASSWORD}},
        }
        ports = [(free_port(), free_port()) for _ in range(3)]
        commands = [config(folder, f"n{port}", port, metrics, more) for port, metrics in ports]
        with started(commands) as processes:
            for port, _ in ports:
                wait_until_ready(port)
            pids = [process.pid for process in processes]
            yield Nodes([port for port, _ in ports], [metrics for _, metrics in ports], processes, pids)


async def joined(clients):
    for _ in range(3000):
        if all(client.joined for client in clients):
            return
        await asyncio.sleep(0.02)
    raise SystemExit("joins take too long")


async def fill(nodes, members):
    """Every member has a connection; they join a hundred at a time, on all nodes by turns."""
    crowd = []
    for place, port in enumerate(nodes.ports):
        crowd += await connect(port, members // 3 + (place < members % 3))
    began = time.perf_counter()
    for start in range(0, len(crowd), 100):
        some = crowd[start : start + 100]
        for number, client in enumerate(some, start):
            client.join(ROOM, f"member-{number}")
        await joined(some)
    print(f"  {members:,} members came within {time.perf_counter() - began:.0f} s, longest turn {nodes.lag():.0f} ms")
    return crowd


async def cost(nodes, act):
    """Milliseconds of CPU on each node within a quarter of a second that begins with an act."""
    before = nodes.cpu()
    await act()
    await asyncio.sleep(0.25)
    return [(after - earlier) * 1000 for earlier, after in zip(before, nodes.cpu(), strict=True)]


def medians(costs):
    return [statistics.median(each) for each in zip(*costs, strict=True)]


def shown(each):
    return ", ".join(f"{spent:.2f}" for spent in each)


async def measure(nodes, options):
    await fill(nodes, options.members)
    newcomers = await connect(nodes.ports[0], options.joins)
    backend = ApiClient(f"http://127.0.0.1:{nodes.ports[0]}", APP)

    async def rest():
        pass

    async def publish(number):
        await backend.publish(ROOM, "said", {"user_id": f"newcomer-{number}", "user_info": None})

    async def join(number):
        newcomers[number].join(ROOM, f"newcomer-{number}")
        await joined([newcomers[number]])

    await asyncio.sleep(1)
    nodes.lag()
    costs = {"rest": [], "message": [], "join": []}
    for number in range(options.joins):
        # Turn about: what else the machine does is the same for all.
        for name, act in (("rest", rest), ("message", partial(publish, number)), ("join", partial(join, number))):
            costs[name].append(await cost(nodes, act))
    at_rest, message, came = (medians(costs[name]) for name in ("rest", "message", "join"))
    print(f"  a message: {shown(map(operator.sub, message, at_rest))} ms of CPU on the nodes")
    print(f"  a join: {shown(map(operator.sub, came, at_rest))} ms, {shown(map(operator.sub, came, message))} more than the message")
    print(f"  longest turn meanwhile {nodes.lag():.0f} ms")
    if nodes.processes:
        nodes.lag()
        nodes.processes[-1].kill()
        await asyncio.sleep(20)
        print(f"  a node died with {options.members // 3:,} members: longest turn of the others {nodes.lag():.0f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carriers", nargs="*", default=["mesh", "redis"])
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--joins", type=int, default=40)
    options = parser.parse_args()
    for name in options.carriers:
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as folder, {"mesh": on_mesh, "redis": on_redis}[name](Path(folder)) as nodes:
            uvloop.run(measure(nodes, options))


if __name__ == "__main__":
    main()
