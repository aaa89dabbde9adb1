"""Headless Chromium driven by Playwright: visitors with a session and a size, who notice mistakes.

Playwright keeps an event loop in the thread that started it, so a module that uses it has no asynchronous tests.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Error, Page, Request, sync_playwright

from support.operators import PASSWORD
from support.parts import cannot_run
from support.server import ServerProcess
from support.waiting import PATIENCE

__all__ = ["DESK", "PHONE", "SIZES", "Visit", "Visitor", "dashboard_url", "log_in", "running_chromium"]

PART = "the dashboard in headless Chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome")

Size = tuple[int, int]
PHONE: Final[Size] = (360, 740)
DESK: Final[Size] = (1280, 800)
SIZES: Final = {"phone": PHONE, "desk": DESK}

_SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")


def dashboard_url(server: ServerProcess, path: str = "/dashboard") -> str:
    return f"http://127.0.0.1:{server.metrics_port}{path}"


def log_in(server: ServerProcess) -> str:
    """The session cookie of a new login, as ``name=value``."""
    reply = server.request(
        "POST",
        "/dashboard/login",
        body=urlencode({"password": PASSWORD}).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        port=server.metrics_port,
    )
    assert reply.status == 303, reply.text
    return reply.headers["set-cookie"].partition(";")[0]


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    """A browser without windows; a machine that has none skips the test that asked."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        cannot_run(PART, "chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=executable, args=_SWITCHES)
        except Error as error:
            cannot_run(PART, f"chromium did not start: {str(error).splitlines()[0]}")
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visitor:
    """One person at the dashboard, with a browser profile of their own; for ``with``.

    Whatever a page does wrong on the way is noted, and fails the test at the end: errors and warnings of the console
    (the ones of the content security policy are among them), exceptions, requests to another origin, dialogs that
    nobody expected. ``expected`` are parts of console messages that belong to what the test does. ``port`` is that of
    something between browser and dashboard.
    """

    browser: Browser
    server: ServerProcess
    cookie: str | None = None
    size: Size = DESK
    dark: bool = False
    calm: bool = True
    scripts: bool = True
    port: int | None = None
    expected: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """What the dialogs said that `answers` were prepared for."""
    answers: list[bool] = field(default_factory=list)

    def __enter__(self) -> Visitor:
        width, height = self.size
        self.context: BrowserContext = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if self.dark else "light",
            java_script_enabled=self.scripts,
            reduced_motion="reduce" if self.calm else "no-preference",
            locale="en-GB",
            timezone_id="UTC",
        )
        self.context.set_default_timeout(PATIENCE * 1000)
        if self.cookie is not None:
            name, _, value = self.cookie.partition("=")
            self.context.add_cookies([{"name": name, "value": value, "domain": "127.0.0.1", "path": "/dashboard"}])
        self.page = self.new_page()
        return self

    def new_page(self) -> Page:
        page = self.context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.mistakes.append(f"exception on {page.url}: {error}"))
        page.on("request", self._request)
        page.on("dialog", self._dialog)
        return page

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.context.close()
        if kind is None:
            assert not self.mistakes, "\n".join(self.mistakes)

    def open(self, path: str = "/dashboard") -> Page:
        """Goes to a path of the dashboard and returns when its scripts have been carried out."""
        self.page.goto(f"http://{self._host}{path}", wait_until="load")
        return self.page

    @property
    def _host(self) -> str:
        return f"127.0.0.1:{self.port or self.server.metrics_port}"

    def path(self) -> str:
        """Where the visitor is, without the query."""
        return urlsplit(self.page.url).path

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in self.expected):
            self.mistakes.append(f"{message.type} on {self.page.url}: {message.text}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data" and parts.netloc != self._host:
            self.mistakes.append(f"a request to {request.url} from {self.page.url}")

    def _dialog(self, dialog: Dialog) -> None:
        if not self.answers:
            self.mistakes.append(f"a dialog on {self.page.url}: {dialog.message}")
            dialog.dismiss()
            return
        self.asked.append(dialog.message)
        if self.answers.pop(0):
            dialog.accept()
        else:
            dialog.dismiss()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def focused(self) -> str:
        """Name or text of what has the focus."""
        return str(
            self.page.evaluate(
                "() => { const at = document.activeElement; return at === document.body ? '' :"
                " at.getAttribute('aria-label') || at.labels?.[0]?.innerText.split('\\n')[0] || at.name ||"
                " at.innerText.trim() || at.id }"
            )
        )


Visit = Callable[..., Visitor]
"""The fixture `visit`."""
