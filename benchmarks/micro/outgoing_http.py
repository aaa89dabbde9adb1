"""What a request to a server of others costs this process: our two clients, and httpcore and httpx as they come.

The server is a process of its own that answers after 20 ms, as providers of notifications do. Printed, for 8, 32 and 64
requests at a time: requests per second as they came, and CPU of this process per request.

    .venv/bin/python benchmarks/micro/outgoing_http.py [--requests 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
import tempfile
import time
from pathlib import Path

import httpcore
import httpx
import uvloop
from push_providers import stand_in

from sockudo.outbound.client import Client
from sockudo.outbound.exchange import Exchange

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.certificates import write_certificate

HEADERS = [("authorization", "bearer " + "t" * 180), ("content-type", "application/json")]
BODY = b"x" * 300


def deadline():
    return asyncio.get_running_loop().time() + 10


def exchange(url, cafile, http2):
    http = Exchange(allow_local=True, cafile=cafile)

    async def one():
        return (await http.post(url, HEADERS, BODY, deadline=deadline(), http2=http2)).status

    return one, http.close


def client(url, cafile, _):
    http = Client(allow_private=True, cafile=cafile)

    async def one():
        return (await http.post(url, HEADERS, BODY, deadline=deadline())).status

    return one, http.close


def core(url, cafile, http2):
    tls = ssl.create_default_context(cafile=cafile)
    pool = httpcore.AsyncConnectionPool(ssl_context=tls, max_connections=None, max_keepalive_connections=None, http2=http2)

    async def one():
        headers = [("host", "127.0.0.1"), *HEADERS, ("content-length", str(len(BODY)))]
        return (await pool.request("POST", url, headers=headers, content=BODY)).status

    return one, pool.aclose


def x(url, cafile, http2):
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    http = httpx.AsyncClient(verify=ssl.create_default_context(cafile=cafile), http2=http2, limits=limits)

    async def one():
        return (await http.post(url, headers=HEADERS, content=BODY)).status_code

    return one, http.aclose


async def timed(name, one, close, requests, at_once):
    async def worker(count):
        for _ in range(count):
            assert await one() == 200

    await asyncio.gather(*(worker(2) for _ in range(at_once)))
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker(requests // at_once) for _ in range(at_once)))
    cpu, took = time.process_time() - cpu, time.perf_counter() - began
    made = requests // at_once * at_once
    print(f"{at_once:>3} at a time  {name:<22} {made / took:>7,.0f} /s {cpu / made * 1e6:>7,.0f} µs", flush=True)
    await close()


async def measure(requests, plain, secure, cafile):
    path = "/v1/projects/p/messages:send"
    rows = [
        ("HTTP/1.1 for webhooks", client, plain, False),
        ("HTTP/1.1 for fan-out", exchange, plain, False),
        ("HTTP/1.1 httpcore", core, plain, False),
        ("HTTP/1.1 httpx", x, plain, False),
        ("HTTP/2   for fan-out", exchange, secure, True),
        ("HTTP/2   httpcore", core, secure, True),
        ("HTTP/2   httpx", x, secure, True),
    ]
    for at_once in (8, 32, 64):
        for name, made, url, http2 in rows:
            await timed(name, *made(url + path, cafile, http2), requests, at_once)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = write_certificate(Path(folder))
        plain, plain_url = stand_in()
        secure, secure_url = stand_in("--certificate", str(certificate), "--key", str(key))
        try:
            uvloop.run(measure(given.requests, plain_url, secure_url, str(certificate)))
        finally:
            plain.terminate()
            secure.terminate()
            plain.wait()
            secure.wait()


if __name__ == "__main__":
    main()
