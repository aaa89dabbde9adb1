"""Headless Chromium driven by Playwright: visitors with a session and a size, who notice mistakes.

Playwright keeps an event loop in the thread that started it, so a folder that uses it has no asynchronous tests.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Error,
    Page,
    Playwright,
    Request,
    WebError,
)

from sockudo.dashboard.assets import asset_url
from support.operators import Operator
from support.parts import cannot_run
from support.server import ServerProcess
from support.situations import Situation, Stage
from support.waiting import PATIENCE, wait_until

__all__ = [
    "DESK",
    "PHONE",
    "SIZES",
    "WHOLE",
    "Chromium",
    "Visit",
    "Visitor",
    "dashboard_url",
    "log_in",
    "look_into",
    "running_chromium",
]

PART = "pages in headless Chromium"
WHOLE = ("chromium", "chromium-browser", "google-chrome")
WINDOWLESS = ("chromium-headless-shell", *WHOLE)
"""Without what windows need it takes two thirds of the time, and has no notifications."""

Size = tuple[int, int]
PHONE: Final[Size] = (360, 740)
DESK: Final[Size] = (1280, 800)
SIZES: Final = {"phone": PHONE, "desk": DESK}

_SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")


_NOWHERE = asset_url("icon.svg")
"""Where a page is that nobody looks at. What the browser misses there, such as an icon, is nobody's mistake."""


def dashboard_url(server: ServerProcess, path: str = "/dashboard") -> str:
    return f"http://127.0.0.1:{server.metrics_port}{path}"


def log_in(server: ServerProcess) -> str:
    """The session cookie of a new login, as ``name=value``."""
    return Operator(server).cookie


class Seat:
    """A browser profile with one page. What its pages tell goes to the `visitor` who has it just now."""

    def __init__(self, browser: Browser, *, scripts: bool) -> None:
        self.context = browser.new_context(java_script_enabled=scripts, locale="en-GB", timezone_id="UTC")
        self.context.set_default_timeout(PATIENCE * 1000)
        self.page = self.context.new_page()
        self.visitor: Visitor | None = None
        self._devtools = self.context.new_cdp_session(self.page)
        self.context.on("console", self._console)
        self.context.on("weberror", self._error)
        self.context.on("request", self._request)
        self.context.on("dialog", self._dialog)

    def _console(self, message: ConsoleMessage) -> None:
        if self.visitor is not None and not _url(message.page).endswith(_NOWHERE):
            self.visitor.told(message)

    def _error(self, error: WebError) -> None:
        if self.visitor is not None:
            self.visitor.threw(error)

    def _request(self, request: Request) -> None:
        if self.visitor is not None:
            self.visitor.requested(request)

    def _dialog(self, dialog: Dialog) -> None:
        if self.visitor is not None:
            self.visitor.asks(dialog)
        else:
            dialog.dismiss()

    def prepare(self, size: Size, *, dark: bool, calm: bool) -> None:
        """For whoever takes it next."""
        width, height = size
        colours: Literal["dark", "light"] = "dark" if dark else "light"
        motion: Literal["reduce", "no-preference"] = "reduce" if calm else "no-preference"
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme=colours, reduced_motion=motion)

    def clear(self, origin: str) -> None:
        """Leaves nothing of a visitor's: no page, cookie, or anything else that was stored for the origin."""
        for page in self.context.pages:
            if page is not self.page:
                page.close()
        self.page.mouse.move(0, 0)
        # A page of no site would be shown by another process, and so would the next of this one.
        self.page.goto(origin + _NOWHERE)
        self.page.evaluate("() => sessionStorage.clear()")
        self._devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        self._devtools.send("Page.resetNavigationHistory")
        self.context.clear_cookies()


class Chromium:
    """The running browser. A profile of its own for every visitor would be a process for every visitor; they are used
    again, cleared.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self._free: dict[bool, list[Seat]] = {True: [], False: []}

    def take(self, *, scripts: bool) -> Seat:
        """A profile that nobody has."""
        free = self._free[scripts]
        return free.pop() if free else Seat(self.browser, scripts=scripts)

    def give_back(self, seat: Seat, *, scripts: bool) -> None:
        """For the next one, once it is cleared."""
        self._free[scripts].append(seat)


def _url(page: Page | None) -> str:
    return page.url if page else "no page"


@contextlib.contextmanager
def running_chromium(playwright: Playwright, names: Sequence[str] = WINDOWLESS) -> Iterator[Chromium]:
    """The first browser of these that is there; a machine that has none skips the test that asked."""
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        cannot_run(PART, "chromium is not installed (apt-get install chromium)")
    try:
        browser = playwright.chromium.launch(executable_path=executable, args=_SWITCHES)
    except Error as error:
        cannot_run(PART, f"chromium did not start: {str(error).splitlines()[0]}")
    try:
        yield Chromium(browser)
    finally:
        browser.close()


@dataclass
class Visitor:
    """One person at the dashboard, with a browser profile that nobody else has meanwhile; for ``with``.

    Whatever a page does wrong on the way is noted, and fails the test at the end: errors and warnings of the console
    (the ones of the content security policy are among them), exceptions, requests to another origin, dialogs that
    nobody expected. ``expected`` are parts of console messages that belong to what the test does. ``port`` is that of
    something between browser and dashboard.
    """

    chromium: Chromium
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
        self._seat = self.chromium.take(scripts=self.scripts)
        self._seat.prepare(self.size, dark=self.dark, calm=self.calm)
        self.context: BrowserContext = self._seat.context
        self.page: Page = self._seat.page
        if self.cookie is not None:
            name, _, value = self.cookie.partition("=")
            self.context.add_cookies([{"name": name, "value": value, "domain": "127.0.0.1", "path": "/dashboard"}])
        self._seat.visitor = self
        return self

    def new_page(self) -> Page:
        return self.context.new_page()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.context.close()
            return
        self._seat.clear(f"http://{self._host}")
        self._seat.visitor = None
        self.chromium.give_back(self._seat, scripts=self.scripts)
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

    def told(self, message: ConsoleMessage) -> None:
        """The console says something."""
        if message.type in ("error", "warning") and not any(part in message.text for part in self.expected):
            self.mistakes.append(f"{message.type} on {_url(message.page)}: {message.text}")

    def threw(self, error: WebError) -> None:
        """A script did not catch something."""
        self.mistakes.append(f"exception on {_url(error.page)}: {error.error}")

    def requested(self, request: Request) -> None:
        """A page asks for something."""
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "about") and parts.netloc != self._host:
            self.mistakes.append(f"a request to {request.url} from {self.page.url}")

    def asks(self, dialog: Dialog) -> None:
        """A dialog has opened."""
        if not self.answers:
            self.mistakes.append(f"a dialog on {_url(dialog.page)}: {dialog.message}")
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


def look_into(situation: Situation, on: Stage, visitor: Visitor) -> None:
    """Lets it happen, and returns when the visitor sees every reason on the page for it."""
    if situation.live:
        page = visitor.open(situation.page)
        page.get_by_text("Live", exact=True).wait_for()
        situation.produce(on)
    else:
        situation.produce(on)
        # What comes from elsewhere, such as the answer of a webhook's endpoint, may take a moment.
        wait_until(lambda: all(reason in _text(visitor, situation) for reason in situation.reasons), situation.name)
        page = visitor.page
    for reason in situation.reasons:
        page.get_by_text(reason).first.wait_for()


def _text(visitor: Visitor, situation: Situation) -> str:
    return visitor.open(situation.page).inner_text("main")
