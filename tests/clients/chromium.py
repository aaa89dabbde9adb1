"""Headless Chromium and its pages, each looked at through its DevTools socket."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from support.parts import cannot_run
from support.waiting import PATIENCE, wait_until

__all__ = ["Chromium", "Page", "running_chromium"]

PART = "headless Chromium"
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Page:
    """A page that has been opened. `wait_for` waits inside the page, so nothing polls from here."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._numbers = itertools.count(1)

    def _send(self, method: str, **params: Any) -> int:
        number = next(self._numbers)
        self._devtools.send(json.dumps({"id": number, "method": method, "params": params}))
        return number

    def _receive(self, field: str, value: object, timeout: float) -> Any:
        while True:
            message = json.loads(self._devtools.recv(timeout))
            if message.get(field) == value:
                return message

    def open(self, url: str) -> None:
        """Goes to an address and returns when all of the page has been loaded."""
        self._send("Page.enable")
        self._send("Page.navigate", url=url)
        self._receive("method", "Page.loadEventFired", 30)

    def close(self) -> None:
        self._send("Page.close")

    def evaluate(self, expression: str, *, timeout: float = PATIENCE) -> Any:
        """The value of a JavaScript expression, or of the promise that it gives."""
        number = self._send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        result = self._receive("id", number, timeout)["result"]
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str, *, timeout: float = PATIENCE) -> Any:
        """The first truthy value of an expression about the document, looked at whenever the document changes."""
        script = f"""new Promise((resolve, reject) => {{
          const look = () => {{
            const value = {expression}
            if (!value) return
            watcher.disconnect()
            resolve(value)
          }}
          const watcher = new MutationObserver(look)
          watcher.observe(document, {{ childList: true, subtree: true, characterData: true, attributes: true }})
          const late = () => reject(new Error("not in time; the page says: " + document.body.innerText))
          setTimeout(late, {timeout * 1000})
          look()
        }})"""
        return self.evaluate(script, timeout=timeout + 5)


class Chromium:
    """The running browser."""

    def __init__(self, port: int) -> None:
        self._port = port

    @contextlib.contextmanager
    def open_page(self, url: str) -> Iterator[Page]:
        """Opens a page, which is closed afterwards. What it stores stays with its origin."""
        target = self._ask("PUT", "new?about:blank")
        with connect(target["webSocketDebuggerUrl"], max_size=None, proxy=None) as devtools:
            page = Page(devtools)
            page.open(url)
            yield page
            page.close()

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


@contextlib.contextmanager
def running_chromium() -> Iterator[Chromium]:
    """A browser with an empty profile; both are gone afterwards. A machine that has none skips the test that asked."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        cannot_run(PART, "chromium is not installed (apt-get install chromium)")
    with tempfile.TemporaryDirectory(prefix="sockudo-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [browser, *SWITCHES, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield Chromium(_devtools_port(process, Path(profile)))
        finally:
            # What was started may be a script that waits for the browser.
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _devtools_port(process: subprocess.Popen[bytes], profile: Path) -> int:
    announced = profile / "DevToolsActivePort"

    def look() -> int:
        if process.poll() is not None:
            cannot_run(PART, f"chromium ended with {process.returncode} at its start")
        lines = announced.read_text().splitlines() if announced.exists() else []
        return int(lines[0]) if lines else 0

    return wait_until(look, "Chromium to start", timeout=30)
