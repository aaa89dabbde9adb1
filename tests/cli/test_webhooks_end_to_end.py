"""``sockudo webhooks`` against a running server and endpoints that fail, and the code that docs/webhooks.md shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import commands
from support.endpoint import WebhookEndpoint
from support.parts import cannot_run
from support.ports import free_port
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.waiting import wait_until
from support.websocket import WebSocket

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


@pytest.fixture
def endpoint() -> Iterator[WebhookEndpoint]:
    with WebhookEndpoint() as running:
        yield running


@pytest.fixture
def server(endpoint: WebhookEndpoint) -> Iterator[ServerProcess]:
    hook = {"url": f"{endpoint.url}?token=s3cret", "event_types": ["channel_occupied"]}
    app = app_record(DEFAULT_APP, webhooks=[hook])
    config = {"app_manager": {"array": {"apps": [app]}}, "webhooks": {"allow_private_addresses": True}}
    with start_server(config) as running:
        yield running


def run(server: ServerProcess, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return commands.run(
        ["webhooks", *arguments],
        env=commands.environment(server.url, DEFAULT_APP),
        # Where no configuration lies that would be taken.
        cwd=Path(__file__).parent,
        code=code,
        secrets=("s3cret", DEFAULT_APP.secret),
    )


def occupy(server: ServerProcess, *channels: str) -> None:
    with WebSocket(server).greeting() as client:
        for channel in channels:
            client.subscribe(channel)


def dead(server: ServerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(server, "dead", "--json").stdout.splitlines()]


def test_a_dead_letter_is_found_explained_and_sent_again(server: ServerProcess, endpoint: WebhookEndpoint) -> None:
    endpoint.status = 404
    occupy(server, "harbor")
    [letter] = wait_until(lambda: dead(server), "a dead letter")
    shown = run(server, "list")
    assert "0 waiting, 1 dead, 0 delivered" in shown.stdout
    assert "correct the webhook's url" in shown.stderr
    whole = run(server, "show", letter["id"])
    assert "dead: refused" in whole.stdout
    assert '"channel": "harbor"' in whole.stdout
    assert f"sockudo webhooks replay {letter['id']}" in whole.stderr
    assert "Add --yes" in run(server, "replay", letter["id"], code=2).stderr

    endpoint.status = 200
    assert run(server, "replay", "--all", "--yes").stdout == "1 delivery sent again.\n"
    endpoint.waits_for(bool)
    first, again = endpoint.requests
    assert (first.delivery, first.body) == (again.delivery, again.body)
    assert first.delivery == letter["id"]
    wait_until(lambda: "0 dead, 1 delivered" in run(server, "list").stdout, "the delivery to be settled")
    assert dead(server) == []
    assert "No webhook delivery of the app has the id 'x'" in run(server, "show", "x", code=1).stderr


def test_an_endpoint_is_tried_out(server: ServerProcess, endpoint: WebhookEndpoint) -> None:
    other = ("--app-id", "1", "--key", "k", "--secret", "s")
    assert "private address" in run(server, "test", endpoint.url, *other, code=1).stderr
    assert endpoint.requests == []
    tried = run(server, "test", endpoint.url, *other, "--allow-private", "--event", "member_added")
    assert "The endpoint takes webhooks." in tried.stdout
    [request] = endpoint.requests
    assert request.events[0]["name"] == "member_added"
    endpoint.status = 302
    assert "Redirects are not followed" in run(server, "test", endpoint.url, "--allow-private", code=1).stderr


def code(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[0]


def test_the_python_code_of_the_page_takes_what_the_server_signs(
    server: ServerProcess, endpoint: WebhookEndpoint
) -> None:
    names: dict[str, Any] = {}
    exec(code("python"), names)  # noqa: S102 - our own page
    occupy(server, "harbor")
    endpoint.waits_for(bool)
    [request] = endpoint.requests
    signature = request.headers["x-pusher-signature"]
    assert names["events_of"](DEFAULT_APP.secret, signature, request.body) == request.events
    for wrong in (signature[::-1], "", "é"):
        with pytest.raises(ValueError, match="signature"):
            names["events_of"](DEFAULT_APP.secret, wrong, request.body)


def test_the_node_code_of_the_page_takes_what_the_server_signs(server: ServerProcess, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        cannot_run("the Node code of docs/webhooks.md", "there is no node")
    port = free_port()
    script = tmp_path / "endpoint.cjs"
    script.write_text(code("js").replace("listen(3000)", f"listen({port}, '127.0.0.1', () => console.log('ready'))"))
    environment = {**os.environ, "PUSHER_APP_SECRET": DEFAULT_APP.secret}
    with subprocess.Popen([node, str(script)], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            url = f"http://127.0.0.1:{port}/pusher"
            assert "200 after" in run(server, "test", url, "--allow-private").stdout
            assert process.stdout.readline() == "channel_occupied sockudo-test\n"
            other = ("--secret", "another", "--app-id", "1", "--key", "k")
            assert "over the raw body" in run(server, "test", url, "--allow-private", *other, code=1).stderr
        finally:
            process.terminate()
