"""The chat of the README: run as it stands there, by two people, over restarts of the server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from support.dev_server import ENVIRONMENT, DevServer
from support.forked import ForkedProcess
from support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CHAT = EXAMPLES / "chat.py"
README = (ROOT / "README.md").read_text()

AS_TYPED = pytest.mark.parametrize("dev_server", [True], indirect=True)
"""Server and chats are started by the commands of the README, imports included; otherwise see `support.forked`."""


class Chatter:
    """Somebody in front of a terminal with the chat."""

    def __init__(self, name: str, server: DevServer, folder: Path) -> None:
        self.name = name
        self.heard: list[str] = []
        self._errors = folder / f"{name}.log"
        with self._errors.open("w") as errors:
            given = [name, str(server.port)]
            pipes: dict[str, Any] = {"env": ENVIRONMENT, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._process: subprocess.Popen[str] | ForkedProcess
            if server.as_typed:
                command = [sys.executable, str(CHAT), *given]
                self._process = subprocess.Popen(command, stderr=errors, text=True, **pipes)
            else:
                self._process = ForkedProcess(given, program=CHAT, stderr=errors, **pipes)
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def say(self, text: str) -> None:
        assert self._process.stdin is not None
        print(text, file=self._process.stdin, flush=True)

    def hears(self, line: str) -> None:
        try:
            wait_until(lambda: line in self.heard, f"{self.name} to hear {line!r}", timeout=2 * PATIENCE)
        except AssertionError as late:
            late.add_note(f"heard so far: {self.heard}; the chat says: {self._errors.read_text()!r}")
            raise

    def leave(self) -> None:
        """Ctrl-D: the chat ends by itself and had nothing to complain about."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0
        assert self._errors.read_text() == ""

    def __enter__(self) -> Chatter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.leave()
        finally:
            self._process.kill()
            self._process.wait()
            self._listening.join()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.heard.append(line.rstrip("\n"))


Join = Callable[[str], Chatter]


@pytest.fixture
def dev_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DevServer]:
    server = DevServer(tmp_path, as_typed=getattr(request, "param", False))
    server.start()
    yield server
    server.end()


@pytest.fixture
def join(dev_server: DevServer, tmp_path: Path) -> Iterator[Join]:
    """Opens a chat under a name; all of them are left at the end."""
    with contextlib.ExitStack() as open_chats:
        yield lambda name: open_chats.enter_context(Chatter(name, dev_server, tmp_path))


@AS_TYPED
def test_who_joins_late_is_told_what_was_said(join: Join) -> None:
    ana = join("ana")
    said = [f"ana: {number}" for number in range(5)]
    for line in said:
        ana.say(line.removeprefix("ana: "))
        ana.hears(line)
    ben = join("ben")
    ben.hears(said[-1])
    assert ben.heard == said
    ben.say("hello")
    for chatter in (ana, ben):
        chatter.hears("ben: hello")
    assert ana.heard == ben.heard == [*said, "ben: hello"]


def test_what_is_said_while_the_server_is_down_is_heard_once(join: Join, dev_server: DevServer) -> None:
    ana, ben = join("ana"), join("ben")
    ana.say("before")
    for chatter in (ana, ben):
        chatter.hears("ana: before")
    dev_server.kill()
    for number in range(3):
        ana.say(str(number))
        ben.say(str(number))
    dev_server.start()
    ana.say("after")
    ben.say("after")
    for chatter in (ana, ben):
        chatter.hears("ana: after")
        chatter.hears("ben: after")
    assert ana.heard == ben.heard
    for name in ("ana", "ben"):
        of_one = [line for line in ana.heard if line.startswith(name) and line != "ana: before"]
        assert of_one == [f"{name}: {text}" for text in ("0", "1", "2", "after")]
    late = join("cleo")
    late.hears(ana.heard[-1])
    assert late.heard == ana.heard


def test_nothing_is_lost_or_doubled_while_the_server_is_killed_again_and_again(
    join: Join, dev_server: DevServer
) -> None:
    ana, ben = join("ana"), join("ben")
    lines = [f"ana: {number}" for number in range(40)]
    talking = threading.Thread(target=_talk, args=(ana, lines))
    talking.start()
    for seen in (5, 15, 25):
        ben.hears(lines[seen])
        dev_server.kill()
        dev_server.start()
    talking.join(2 * PATIENCE)
    assert not talking.is_alive()
    ben.say("end")
    for chatter in (ana, ben):
        chatter.hears("ben: end")
        assert chatter.heard == [*lines, "ben: end"]


def test_an_orderly_restart_costs_nothing(join: Join, dev_server: DevServer) -> None:
    ana, ben = join("ana"), join("ben")
    ana.say("one")
    for chatter in (ana, ben):
        # The client asks for the past with its first subscribe alone: let it be answered.
        chatter.hears("ana: one")
    dev_server.stop()
    ana.say("two")
    dev_server.start()
    ben.hears("ana: two")
    ben.say("three")
    for chatter in (ana, ben):
        chatter.hears("ben: three")
    assert ana.heard == ben.heard == ["ana: one", "ana: two", "ben: three"]
    dev_server.stop()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_stand_in_the_readme_as_they_are(path: Path) -> None:
    assert f"`examples/{path.name}`" in README
    assert f"```python\n{path.read_text()}```" in README


def test_the_chat_is_as_short_as_the_readme_says() -> None:
    assert len(CHAT.read_text().splitlines()) < 30


def _talk(chatter: Chatter, lines: list[str]) -> None:
    """Says a line when the one before has been heard, as people do."""
    for line in lines:
        chatter.say(line.removeprefix(f"{chatter.name}: "))
        chatter.hears(line)
