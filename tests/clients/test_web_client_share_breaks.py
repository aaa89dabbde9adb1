"""Tabs that share a connection while everything around them breaks: each message comes once and in order."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from clients.line import Line
from clients.tabs import Tab, leader
from clients.web import Site
from sockudo.testing.loop_thread import LoopThread
from support.server import ServerProcess, start_server
from support.waiting import PATIENCE

KILLS = int(os.environ.get("SOCKUDO_KILLS", "8"))
CUTS = int(os.environ.get("SOCKUDO_CUTS", "16"))
TABS = 3
RATE = 100
"""Messages a second."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    config = {
        "connection_recovery": {"enabled": True, "max_buffer_size": 20_000},
        "history": {"enabled": True, "backend": "memory"},
    }
    with start_server(config) as running:
        yield running


@pytest.fixture
def line(server: ServerProcess) -> Iterator[Line]:
    loop = LoopThread("line")
    opened = Line(loop, server)
    yield opened
    opened.close()
    loop.close()


@pytest.fixture
def tab(profile: BrowserContext, site: Site, line: Line, unique: str) -> Callable[..., Tab]:
    """Opens a tab that notes what it hears on the channel."""

    def open_one() -> Tab:
        opened = Tab(profile.new_page(), site, f"http://{line.host}:{line.port}", positions="session")
        follow(opened, unique)
        return opened

    return open_one


def follow(tab: Tab, channel: str) -> None:
    """What the tab hears outlives a reload, as its places do."""
    tab.do(
        """{
          globalThis.said = JSON.parse(sessionStorage.getItem("said") ?? "[]")
          addEventListener("pagehide", () => sessionStorage.setItem("said", JSON.stringify(said)))
          const channel = client.subscribe(arg)
          channel.bind("said", (number) => said.push(number))
          channel.bind("gap", ({ code, reason }) => said.push([code, reason]))
        }""",
        channel,
    )
    tab.do("client.channel(arg).subscribed().then(() => true)", channel)


class Publisher:
    """Publishes numbers, until it is left."""

    def __init__(self, server: ServerProcess, channel: str) -> None:
        self.server, self.channel = server, channel
        self.count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher")

    def say(self) -> None:
        self.server.publish(self.channel, "said", str(self.count))
        self.count += 1

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.say()
            # A machine that falls behind is not made to catch up.
            due = max(due + 1 / RATE, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)


def check(tabs: list[Tab], publisher: Publisher) -> None:
    """Each tab has heard everything since its first message, once and in order."""
    publisher.say()
    last = publisher.count - 1
    for tab in tabs:
        tab.wait("said.at(-1) === arg", last)
        heard: list[Any] = tab.do("said")
        assert heard == list(range(heard[0], last + 1))


@pytest.mark.timeout(60 + 15 * KILLS)
def test_leaders_are_killed(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    tabs = [tab() for _ in range(TABS)]
    with Publisher(server, unique) as publisher:
        for number in range(KILLS):
            killed = leader(tabs)
            tabs.remove(killed)
            if number % 2:
                killed.close_page()
            else:
                killed.crash()
            tabs.append(tab())
            for each in tabs:
                each.connected()
    check(tabs, publisher)


@pytest.mark.timeout(60 + 15 * CUTS)
def test_cuts_reloads_freezes_and_moves(
    tab: Callable[..., Tab], server: ServerProcess, line: Line, site: Site, unique: str
) -> None:
    chance = random.Random(unique)
    tabs = [tab() for _ in range(TABS)]

    def cut(_: Tab) -> None:
        line.loop.call(functools.partial(line.proxy.cut_after, chance.randrange(200, 12_000)))
        tabs[0].wait("client.connection.state !== 'connected'")
        line.loop.call(line.proxy.heal)

    def reload(chosen: Tab) -> None:
        chosen.load()
        follow(chosen, unique)

    def move(chosen: Tab) -> None:
        chosen.page.goto(f"{site.origin}/client/sockudo.d.ts")
        for each in tabs:
            if each is not chosen:
                each.connected()
        chosen.load()
        follow(chosen, unique)

    def freeze(chosen: Tab) -> None:
        chosen.freeze()
        for each in tabs:
            if each is not chosen:
                each.connected()
        chosen.thaw()

    with Publisher(server, unique) as publisher:
        for number in range(CUTS):
            chosen = leader(tabs) if chance.random() < 0.5 else chance.choice(tabs)
            (cut, reload, move, freeze)[number % 4](chosen)
            for each in tabs:
                each.connected()
    check(tabs, publisher)
