"""Why a client receives nothing: each reason, made to happen, stands on the page that the operators' chapter names."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser.visitors import Chromium, Visit, log_in, look_into
from support.forked import ForkedProcess
from support.server import ServerProcess
from support.situations import SHOP, SITUATIONS, Situation, Stage, stage
from support.waiting import wait_until

DOCS = Path(__file__).parents[2] / "docs"
NAMES = [situation.name for situation in SITUATIONS]
CHAPTER = (DOCS / "operations.md").read_text().partition("## My client receives nothing\n")[2].partition("\n## ")[0]
SECTIONS = {
    picture.group(1): section
    for section in CHAPTER.split("\n### ")[1:]
    for picture in re.finditer(r"!\[[^\]]+\]\(pictures/([\w-]+)\.png\)", section)
}
"""The chapter's sections, by the name of their picture."""

PASSING = re.compile(
    r"(?P<time>\b\d\d:\d\d:\d\d\.\d{3})|(?P<delivery>\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)"
    r"|(?P<socket>\b\d+\.\d{3,})|(?P<endpoint>\b[0-9a-f]{12}\b)|(?P<port>(?<=127\.0\.0\.1):\d+)"
    r"|(?P<duration>\b\d+ ms\b)|(?P<bytes>\b\d+ bytes waited)"
)
"""What is different each time, in a line of the terminal."""


def lasting(text: str) -> str:
    return PASSING.sub(lambda found: f"<{found.lastgroup}>", text)


class Terminal:
    """`sockudo tail` in front of a server; what it has printed so far."""

    def __init__(self, server: ServerProcess, output: Path) -> None:
        self._output = output
        with output.open("wb") as printed:
            options = ["--url", server.url, "--app-id", SHOP.id, "--key", SHOP.key, "--secret", SHOP.secret]
            self._process = ForkedProcess(["tail", *options], stdout=printed, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: "Following" in self.text, "the terminal to follow")
        except AssertionError:
            self.close()
            raise

    @property
    def text(self) -> str:
        return self._output.read_text()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture(scope="module")
def on_stage(chromium: Chromium) -> Iterator[Stage]:
    del chromium
    with stage() as ready:
        yield ready


@pytest.fixture(scope="module")
def server(on_stage: Stage) -> ServerProcess:
    return on_stage.server


@pytest.fixture(scope="module")
def cookie(server: ServerProcess) -> str:
    return log_in(server)


@pytest.fixture(scope="module")
def terminal(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    running = Terminal(server, tmp_path_factory.mktemp("tail") / "output")
    yield running
    running.close()


@pytest.mark.parametrize("situation", SITUATIONS, ids=NAMES)
def test_the_reason_is_on_the_page_and_in_the_terminal(
    situation: Situation, visit: Visit, on_stage: Stage, terminal: Terminal
) -> None:
    section = SECTIONS[situation.name]
    shown = re.search(r"```text\n(.*?)```", section, re.DOTALL)
    assert shown is not None
    assert [reason for reason in situation.reasons if reason not in shown[1]] == []
    assert "*Inspector*" in section if situation.live else "*Why?*" in section

    visitor = visit()
    with on_stage.situation() as on:
        look_into(situation, on, visitor)
    for line in shown[1].splitlines():
        wait_until(lambda line=line: lasting(line) in lasting(terminal.text), f"in the terminal: {line}")
    page = visitor.page
    if not situation.live:
        # One click from a problem to its explanation.
        link = page.locator("main article h2 a").first
        meaning = link.inner_text()
        link.click()
        page.wait_for_url("**/dashboard/errors/*")
        assert page.get_by_text(meaning).count() > 0


def test_the_chapter_has_a_picture_of_each() -> None:
    assert set(SECTIONS) == set(NAMES)
    for name in SECTIONS:
        head = (DOCS / "pictures" / f"{name}.png").read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", head[16:])
        assert (width, height) > (600, 300)


def test_pictures_are_few_and_small() -> None:
    pictures = sorted((DOCS / "pictures").iterdir())
    used = {
        name
        for page in (DOCS.parent / "README.md", *DOCS.glob("*.md"))
        for name in re.findall(r"pictures/([\w-]+\.png)", page.read_text())
    }
    assert {picture.name for picture in pictures} == used
    assert sum(picture.stat().st_size for picture in pictures) < 1_500_000
