"""The chats that pages have: what the start page gives to paste, and `examples/chat-web`, each against a development
server that is killed and started again. Every line is shown once, in the same order to everybody."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from clients.line import Line
from sockudo.testing.loop_thread import LoopThread
from support.dev_server import DevServer
from support.waiting import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat-web"

expect.set_options(timeout=2 * PATIENCE * 1000)


@pytest.fixture
def dev_server(chromium: Browser, tmp_path: Path) -> Iterator[DevServer]:
    del chromium
    server = DevServer(tmp_path)
    server.start()
    yield server
    server.end()


@pytest.fixture
def other(chromium: Browser) -> Iterator[Page]:
    """The page of another visitor."""
    with chromium.new_page() as opened:
        yield opened


def say(page: Page, text: str) -> None:
    page.locator("input").fill(text)
    page.locator("input").press("Enter")


def shows(page: Page, *lines: str) -> None:
    expect(page.locator(":not(#waiting) > li")).to_have_text(list(lines))


# ---- pasted ----


@pytest.fixture
def pasted(dev_server: DevServer, tmp_path: Path) -> str:
    """The address of a file with the code, and nothing else."""
    with urlopen(dev_server.url) as answer:
        [code] = re.findall(r'(?s)id="code-chat">(.*?)</code>', answer.read().decode())
    file = tmp_path / "page.html"
    file.write_text(html.unescape(code))
    return file.as_uri()


def test_pasted_chat_loses_nothing(page: Page, other: Page, pasted: str, dev_server: DevServer) -> None:
    page.goto(pasted)
    say(page, "<b>one</b>")
    shows(page, "<b>one</b>")
    page.reload()
    shows(page, "<b>one</b>")
    other.goto(pasted)
    shows(other, "<b>one</b>")
    dev_server.kill()
    say(page, "two")
    dev_server.start()
    for each in (page, other):
        shows(each, "<b>one</b>", "two")
    dev_server.stop()
    say(other, "three")
    dev_server.start()
    for each in (page, other):
        shows(each, "<b>one</b>", "two", "three")
        each.reload()
        shows(each, "<b>one</b>", "two", "three")


# ---- the example ----


@pytest.fixture
def line(dev_server: DevServer) -> Iterator[Line]:
    """The network between the server and everybody else."""
    loop = LoopThread("line")
    made = Line(loop, dev_server)
    yield made
    made.close()
    loop.close()


@pytest.fixture
def example(line: Line) -> Iterator[str]:
    """The address of its page."""
    command = [sys.executable, str(EXAMPLE / "server.py"), "0"]
    env = {**os.environ, "SOCKUDO_URL": f"http://{line.host}:{line.port}"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def test_example_loses_nothing(page: Page, other: Page, example: str, dev_server: DevServer, line: Line) -> None:
    page.goto(f"{example}/?name=ana")
    other.goto(f"{example}/?name=ben")
    lines = []

    def both_show(*more: str) -> None:
        lines.extend(more)
        for each in (page, other):
            shows(each, *lines)

    say(page, "<b>one</b>")
    both_show("ana: <b>one</b>")
    line.cut()
    say(other, "two")
    both_show("ben: two")
    dev_server.kill()
    say(page, "three")
    say(page, "four")
    # What the server has not taken is still to be sent after a reload, also when there is no client to load yet.
    page.reload()
    dev_server.start()
    both_show("ana: three", "ana: four")
    other.reload()
    dev_server.stop()
    say(other, "five")
    dev_server.start()
    both_show("ben: five")


def test_example_backend_takes_lines_of_its_page_alone(page: Page, example: str) -> None:
    page.goto(example)
    post = """([body, type]) => fetch("publish", { method: "POST", headers: { "Content-Type": type }, body })
      .then(({ status }) => status)"""
    said = json.dumps({"data": {"id": "1", "name": "ana", "text": "hello"}})
    assert page.evaluate(post, [said, "application/json"]) == 200
    assert page.evaluate(post, [said, "text/plain"]) == 400
    for wrong in ("{", "[]", "{}", '{"data": {"id": 1}}', json.dumps({"data": {"id": "", "name": "a", "text": "b"}})):
        assert page.evaluate(post, [wrong, "application/json"]) == 400, wrong
    assert page.evaluate(post, ["x" * 9000, "application/json"]) == 400
    shows(page, "ana: hello")
