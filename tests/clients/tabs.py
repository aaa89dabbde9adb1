"""Pages of one profile whose clients share a connection, and what can happen to a page."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from playwright.sync_api import Error, Page

from clients.web import Site, WebClient, in_page
from support.server import ServerProcess
from support.waiting import wait_until

__all__ = ["PageWithSockets", "Tab", "expect_connections", "leader"]

SomeTab = TypeVar("SomeTab", bound="PageWithSockets")

SOCKETS = """
globalThis.sockets = []
globalThis.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url)
    sockets.push(this)
  }
}
"""


class PageWithSockets:
    """A page of which it is known whether it has the connection, and that can end or stop."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.devtools = page.context.new_cdp_session(page)
        page.add_init_script(SOCKETS)

    def crash(self) -> None:
        """Its process ends, and has no time to say so."""
        with self.page.expect_event("crash"), contextlib.suppress(Error):
            self.page.goto("chrome://crash")

    def close_page(self) -> None:
        self.page.close()

    def hang(self) -> None:
        """Nothing runs in it any more, and it is told nothing of that."""
        paused: list[Any] = []

        def note(event: Any) -> None:
            paused.append(event)

        self.devtools.once("Debugger.paused", note)
        self.page.evaluate("{ setInterval(() => {}, 5) }")
        self.devtools.send("Debugger.enable")
        self.devtools.send("Debugger.pause")
        # What has come from the browser is looked at while it is asked something.
        wait_until(lambda: self.page.context.cookies() or paused, "a page that has stopped")

    def freeze(self) -> None:
        """The same as browsers do it to pages in the background: a headless one freezes none."""
        self.page.evaluate("() => { document.dispatchEvent(new Event('freeze')) }")
        self.hang()

    def thaw(self) -> None:
        self.devtools.send("Debugger.resume")
        self.devtools.send("Debugger.disable")
        self.page.evaluate("() => { document.dispatchEvent(new Event('resume')) }")

    def leads(self) -> bool:
        """Whether the connection is in this tab."""
        held: bool = self.page.evaluate("sockets.some(({ readyState }) => readyState < WebSocket.CLOSING)")
        return held


class Tab(PageWithSockets, WebClient):
    """A client that shares, in a page of its own."""

    def __init__(self, page: Page, site: Site, url: str, **options: Any) -> None:
        PageWithSockets.__init__(self, page)
        self._site, self._url, self._options = site, url, {"share": True, **options}
        WebClient.__init__(self, in_page(page), "tab")
        self.load()

    def load(self) -> None:
        self.page.goto(self._site.origin)
        self.open(self._site, self._url, **self._options)

    def do_disconnect(self) -> None:
        self.do("client.disconnect()")

    def note_frames(self) -> None:
        """From now on all that reaches this tab is noted, whether its application hears of it or not."""
        self.do("{ client.frames = []; client.connection.bind('message', (frame) => client.frames.push(frame)) }")

    def frames(self, event: str) -> list[Any]:
        """Channel and data of the frames of an event."""
        found: list[Any] = self.do("client.frames.filter((frame) => frame.event === arg)", event)
        return [[frame.get("channel"), frame.get("data")] for frame in found]


def leader(tabs: Sequence[SomeTab]) -> SomeTab:
    """The tab with the connection, once there is one."""
    return wait_until(lambda: next((each for each in tabs if each.leads()), None), "a tab with the connection")


def expect_connections(server: ServerProcess, count: int) -> None:
    """Waits until the server has so many, as its dashboard shows them: those of closed pages go in a moment."""

    def found() -> bool:
        counts = re.findall(r"^sockudo_connected\S* (\S+)$", server.metrics(), re.MULTILINE)
        return sum(int(float(each)) for each in counts) == count

    wait_until(found, f"{count} connections")
