"""One Node process and one browser for all tests of a run, and stock clients on the module's server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import certifi
import pusher
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from browser.visitors import running_chromium
from clients.node import MASTER_KEY, JsClient, Node, NodeSdk, open_echo, open_pusher
from clients.web import BUILT, LAB, Site, WebClient, in_node, in_page
from support.server import ServerProcess
from support.waiting import PATIENCE

_names = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody here is asked for a certificate: to read all authorities of the world takes each HTTP client 30 ms."""
    end = "-----END CERTIFICATE-----\n"
    first = tmp_path_factory.mktemp("authority") / "one.pem"
    first.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(first))
        yield


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    running = Node()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def recovery_node() -> Iterator[Node]:
    """The same with the recovery plug-in in its clients."""
    running = Node("recovery_harness.mjs")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for the pages of a module: asynchronous tests of others have no room beside Playwright's loop."""
    with sync_playwright() as playwright, running_chromium(playwright) as running:
        yield running.browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """An empty page with a profile of its own."""
    with chromium.new_page() as opened:
        opened.set_default_timeout(PATIENCE * 1000)
        yield opened


@pytest.fixture
def profile(chromium: Browser) -> Iterator[BrowserContext]:
    """A profile whose pages know of each other."""
    with chromium.new_context() as opened:
        opened.set_default_timeout(PATIENCE * 1000)
        yield opened


@pytest.fixture
def pusher_js(node: Node, server: ServerProcess) -> Iterator[Callable[..., JsClient]]:
    """Opens pusher-js connections to the module's server; see `open_pusher` for the fields. Closed at the end."""
    opened: list[JsClient] = []

    def open_one(*, server: ServerProcess = server, **fields: Any) -> JsClient:
        client = open_pusher(node, server, f"pusher-js-{next(_names)}", **fields)
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.close()


@pytest.fixture
def echo(node: Node, server: ServerProcess) -> Iterator[Callable[..., JsClient]]:
    """The same for laravel-echo."""
    opened: list[JsClient] = []

    def open_one(**fields: Any) -> JsClient:
        client = open_echo(node, server, f"echo-{next(_names)}", **fields)
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.close()


@pytest.fixture
def node_sdk(node: Node, server: ServerProcess) -> NodeSdk:
    return NodeSdk(node, server)


def make_python_sdk(server: ServerProcess) -> pusher.Pusher:
    """Pusher's Python SDK for the app whose id is a number, the only kind it takes."""
    app = server.numeric_app
    return pusher.Pusher(
        app_id=app.id,
        key=app.key,
        secret=app.secret,
        ssl=False,
        host=server.host,
        port=server.port,
        encryption_master_key_base64=MASTER_KEY,
    )


@pytest.fixture
def python_sdk(server: ServerProcess) -> pusher.Pusher:
    return make_python_sdk(server)


class Publisher(Protocol):
    """What a backend does, whichever SDK it uses."""

    app: dict[str, str]

    def trigger(self, channels: str | list[str], event: str, data: Any, *, socket_id: str | None = None) -> None: ...

    def send_to_user(self, user: str, event: str, data: Any) -> None: ...

    def terminate(self, user: str) -> None: ...


class _ThroughNode:
    def __init__(self, sdk: NodeSdk) -> None:
        self.sdk = sdk
        self.app = sdk.target["app"]

    def trigger(self, channels: str | list[str], event: str, data: Any, *, socket_id: str | None = None) -> None:
        params = {} if socket_id is None else {"socket_id": socket_id}
        assert self.sdk.trigger(channels, event, data, **params) == {"status": 200, "body": {"ok": True}}

    def send_to_user(self, user: str, event: str, data: Any) -> None:
        assert self.sdk.send_to_user(user, event, data) == {"status": 200, "body": {"ok": True}}

    def terminate(self, user: str) -> None:
        assert self.sdk.terminate(user) == {"status": 200, "body": {"ok": True}}


class _ThroughPython:
    def __init__(self, sdk: pusher.Pusher, server: ServerProcess) -> None:
        self.sdk = sdk
        app = server.numeric_app
        self.app = {"id": app.id, "key": app.key, "secret": app.secret}

    def trigger(self, channels: str | list[str], event: str, data: Any, *, socket_id: str | None = None) -> None:
        assert self.sdk.trigger(channels, event, data, socket_id) == {"ok": True}

    def send_to_user(self, user: str, event: str, data: Any) -> None:
        assert self.sdk.send_to_user(user, event, data) == {"ok": True}

    def terminate(self, user: str) -> None:
        assert self.sdk.terminate_user_connections(user) == {"ok": True}


@pytest.fixture(params=["pusher-node", "pusher-python"])
def publisher(request: pytest.FixtureRequest, server: ServerProcess) -> Publisher:
    """A backend with each of the stock SDKs; open the receiving client with ``app=publisher.app``."""
    kind: Literal["pusher-node", "pusher-python"] = request.param
    if kind == "pusher-python":
        return _ThroughPython(make_python_sdk(server), server)
    return _ThroughNode(NodeSdk(request.getfixturevalue("node"), server))


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as running:
        yield running


@pytest.fixture(scope="session")
def web_node() -> Iterator[Node]:
    """The client for browsers in Node."""
    running = Node("web_harness.mjs", str(BUILT), str(LAB))
    yield running
    running.stop()


@pytest.fixture
def web(request: pytest.FixtureRequest, site: Site) -> Iterator[Callable[[str], WebClient]]:
    """Makes clients for browsers by their names: in Node, or in a page of Chromium. Closed at the end."""
    if request.param == "node":
        run = in_node(request.getfixturevalue("web_node"))
    else:
        page = request.getfixturevalue("page")
        page.goto(site.origin)
        run = in_page(page)
    opened: list[WebClient] = []

    def make(name: str) -> WebClient:
        opened.append(WebClient(run, name))
        return opened[-1]

    yield make
    for client in opened:
        client.close()
