"""The client for browsers in pages that are reloaded, put aside and woken; and what needs a backend."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import nacl.secret
import pytest
from playwright.sync_api import Page

from clients.line import Line
from clients.web import Site, WebClient, in_page
from sockudo.testing.loop_thread import LoopThread
from support.http_server import Asked
from support.server import STREAMS, Reply, ServerProcess, start_server

_names = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(STREAMS) as running:
        yield running


@pytest.fixture
def open_page(page: Page, site: Site, server: ServerProcess) -> Callable[..., WebClient]:
    """A client in a page that is new, or loaded again."""

    def open_one(url: str = server.url, **options: Any) -> WebClient:
        page.goto(site.origin)
        client = WebClient(in_page(page), f"page-{next(_names)}").open(site, url, **options)
        client.connected()
        return client

    return open_one


def say(server: ServerProcess, channel: str, *numbers: int) -> None:
    for number in numbers:
        server.publish(channel, "said", str(number))


def test_reloaded_page_goes_on_where_it_was(
    open_page: Callable[..., WebClient], page: Page, server: ServerProcess, unique: str
) -> None:
    heard: list[int] = []
    for turn in range(10):
        client = open_page(positions="session")
        client.subscribe(unique)
        if turn:
            client.waits_for(unique, "recovered")
        say(server, unique, 3 * turn, 3 * turn + 1)
        client.wait("client.heard.some(([, , data]) => data === arg)", 3 * turn + 1)
        heard += client.heard(unique)
        page.goto("about:blank")
        say(server, unique, 3 * turn + 2)
    assert heard == list(range(29))


def test_page_that_was_put_aside(
    open_page: Callable[..., WebClient], page: Page, server: ServerProcess, unique: str
) -> None:
    """It gives up its connection, and takes it up again when it is shown."""
    client = open_page(minReconnectDelay=100_000, maxReconnectDelay=100_000)
    client.subscribe(unique)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert client.do("client.connection.state") == "connecting"
    say(server, unique, 1)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    client.waits_for(unique, "recovered")
    assert client.heard(unique) == [1]
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    client.do("{ client.connect() }")
    client.waits_for(unique, "recovered", 2)


def test_network_that_returns_is_tried_at_once(
    open_page: Callable[..., WebClient], page: Page, server: ServerProcess, unique: str
) -> None:
    loop = LoopThread("line")
    line = Line(loop, server)
    try:
        client = open_page(f"http://{line.host}:{line.port}", minReconnectDelay=100_000, maxReconnectDelay=100_000)
        client.subscribe(unique)
        line.cut()
        client.wait("client.connection.state === 'connecting'")
        page.evaluate("dispatchEvent(new Event('offline'))")
        assert client.do("client.connection.state") == "unavailable"
        page.evaluate("dispatchEvent(new Event('online'))")
        client.waits_for(unique, "recovered")
        assert client.do("client.states.map(([state]) => state)") == [
            "connected",
            "connecting",
            "unavailable",
            "connected",
        ]
    finally:
        line.close()
        loop.close()


def test_page_finds_the_server_that_its_script_came_from(page: Page, site: Site) -> None:
    page.goto(site.origin)
    url = page.evaluate("""new Promise((resolve) => {
      class Nothing { constructor(url) { resolve(url) } close() {} }
      new Sockudo("app-key", { WebSocket: Nothing })
    })""")
    assert url == f"ws://127.0.0.1:{site.port}/app/app-key?protocol=2&client=sockudo-js&version=0.1.0"


def test_module_and_dedicated_worker(page: Page, site: Site, server: ServerProcess, unique: str) -> None:
    """In a worker there is no page; the module is the same."""
    say(server, unique, 7)
    page.goto(site.origin)
    code = f"""
      import Sockudo from "{site.origin}/client/sockudo.mjs"
      const sockudo = new Sockudo("app-key", {{ url: "{server.url}", format: "msgpack" }})
      sockudo.subscribe("{unique}", {{ rewind: 1 }}).bind("said", (data) => postMessage(data))
    """
    heard = page.evaluate(
        """(code) => new Promise((resolve, reject) => {
          const script = new Blob([code], { type: "text/javascript" })
          const worker = new Worker(URL.createObjectURL(script), { type: "module" })
          worker.onmessage = ({ data }) => resolve(data)
          worker.onerror = ({ message }) => reject(new Error(message))
        })""",
        code,
    )
    assert heard == 7


def test_encrypted_channel_whose_secret_changes(
    open_page: Callable[..., WebClient], site: Site, server: ServerProcess, unique: str
) -> None:
    channel = f"private-encrypted-{unique}"

    def publish(number: int) -> None:
        sealed = nacl.secret.SecretBox(site.secret).encrypt(json.dumps(number).encode(), os.urandom(24))
        data = {"nonce": sealed.nonce, "ciphertext": sealed.ciphertext}
        server.publish(
            channel, "said", json.dumps({name: base64.b64encode(part).decode() for name, part in data.items()})
        )

    client = open_page()
    client.subscribe(channel)
    publish(1)
    client.waits_for(channel, "said")
    site.secret = hashlib.sha256(b"two").digest()
    for number in (2, 3, 4):
        publish(number)
    client.waits_for(channel, "said", 4)
    assert client.heard(channel) == [1, 2, 3, 4]


def test_publish_through_the_backend_is_delivered_once(
    open_page: Callable[..., WebClient], site: Site, server: ServerProcess, unique: str
) -> None:
    """The first answer is lost on its way; what is asked again has the same key."""
    keys: list[str] = []

    def publish(asked: Asked) -> Reply:
        wanted = json.loads(asked.body)
        keys.append(wanted["idempotency_key"])
        body = {name: wanted[name] for name in ("channel", "name", "idempotency_key")}
        path = f"/apps/{server.app.id}/events"
        reply = server.signed("POST", path, body={**body, "data": json.dumps(wanted["data"])})
        return Reply(503 if len(keys) == 1 else reply.status, {}, reply.body)

    site.answers["/publish"] = publish
    client = open_page(publishing={"endpoint": f"{site.origin}/publish"})
    client.subscribe(unique)
    client.do("client.channel(arg).publish('said', {text: 'once'})", unique)
    assert len(keys) == 2
    assert keys[0] == keys[1]
    say(server, unique, 2)
    client.waits_for(unique, "said", 2)
    assert client.heard(unique) == [{"text": "once"}, 2]
