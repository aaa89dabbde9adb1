"""``sockudo tail`` as people use it: a real process that follows a real server."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from support import commands
from support.forked import ForkedProcess
from support.raw import RawConnection, request_bytes, signed_target
from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, app_record, start_server
from support.situations import CAUSES, Cause, bring_about, stage
from support.waiting import PATIENCE, Mailbox, wait_until
from support.websocket import WebSocket


def environment(server: ServerProcess, **more: str) -> dict[str, str]:
    return commands.environment(server.url, DEFAULT_APP, PYTHONUNBUFFERED="1") | more


class Tail:
    """A running ``sockudo tail``: what it prints, and what it says to its user, line by line."""

    def __init__(self, process: ForkedProcess) -> None:
        self.process = process
        self.lines: Mailbox[str] = Mailbox("standard output")
        self.notes: Mailbox[str] = Mailbox("standard error")
        pipes = ((process.stdout, self.lines), (process.stderr, self.notes))
        self._readers = [threading.Thread(target=self._read, args=each, daemon=True) for each in pipes]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(pipe: Any, box: Mailbox[str]) -> None:
        for line in pipe:
            box.put(line.rstrip("\n"))

    def line(self, pattern: str) -> str:
        return self.lines.next(lambda line: re.search(pattern, line) is not None, f"a line like {pattern!r}")

    def said(self, pattern: str) -> str:
        return self.notes.next(lambda line: re.search(pattern, line) is not None, f"a note like {pattern!r}")

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.seen]

    def close(self) -> None:
        """Ends it, and waits until all that it said was read."""
        self.process.kill()
        self._read_all()

    def _read_all(self) -> None:
        for reader in self._readers:
            reader.join(PATIENCE)

    def ends(self, code: int) -> None:
        """Waits until it has ended, and all that it said was read."""
        assert self.process.wait(PATIENCE) == code, self.notes.seen
        self._read_all()
        assert not any("Traceback" in note for note in self.notes.seen), self.notes.seen


@contextmanager
def tailing(server: ServerProcess, *arguments: str, **more: str) -> Iterator[Tail]:
    with ForkedProcess(
        ["tail", *arguments],
        env=environment(server, **more),
        cwd=server.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        tail = Tail(process)
        try:
            tail.said("Following")
            yield tail
        finally:
            tail.close()


def run(server: ServerProcess, *arguments: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    return commands.run(["tail", *arguments], env=environment(server, **more), cwd=server.folder, code=code)


def flood(server: ServerProcess, channel: str) -> None:
    """5,000 messages, faster than anybody is told of them."""
    body = json.dumps({"name": "e", "channel": channel, "data": "x" * 1000}).encode()
    target = signed_target(DEFAULT_APP, "POST", f"/apps/{DEFAULT_APP.id}/events", body)
    request = request_bytes("POST", target, {"Content-Type": "application/json"}, body)
    with RawConnection(server) as publisher:
        for _ in range(50):
            publisher.send(request * 100)
            assert all(publisher.answer().status == 200 for _ in range(100))


@pytest.fixture
def connect(server: ServerProcess) -> Iterator[Callable[[], WebSocket]]:
    with ExitStack() as opened:
        yield lambda: opened.enter_context(WebSocket(server)).greeting()


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[list[dict[str, Any]], list[str], str]]:
    """What two tails said while everything went wrong that can, as JSON and as text; and what --problems said later."""
    with stage(DEFAULT_APP, NUMERIC_APP) as on, tailing(on.server, "--json") as as_json, tailing(on.server) as as_text:
        bring_about(on)
        for tail in (as_json, as_text):
            tail.line("webhook_failed")
        flood(on.server, "harbor")
        for tail in (as_json, as_text):
            tail.line("skipped")
        later = run(on.server, "--problems", "--timeout", "0").stdout
        yield as_json.entries(), as_text.lines.seen, later


Told = tuple[list[dict[str, Any]], list[str], str]


def as_an_app_is_told(cause: Cause) -> Cause:
    """The same without the name of another app, which only the server's operators read."""
    if cause.name != "another app's secret":
        return cause
    return replace(cause, told=("none of the usual mistakes explains the signature",))


@pytest.mark.parametrize("cause", list(map(as_an_app_is_told, CAUSES)), ids=lambda cause: cause.name)
def test_each_cause_is_told_with_its_reason(told: Told, cause: Cause) -> None:
    entries, lines, later = told
    assert any(cause.is_told_by(entry) for entry in entries if "kind" in entry)
    fitting = [line for line in lines if cause.error in line and all(word in line for word in cause.told)]
    assert fitting, [line for line in lines if cause.error in line]
    assert any(f"sockudo explain {cause.error}" in line for line in lines)
    group = next(
        part for part in later.split("\n\n") if cause.error in part and all(word in part for word in cause.told)
    )
    assert "  → " in group


def test_no_other_app_is_named(told: Told) -> None:
    entries, lines, later = told
    assert f"app {NUMERIC_APP.id}" not in "\n".join([*map(str, entries), *lines, later])


def test_what_was_left_out_is_told(told: Told) -> None:
    """A flood is more than is shown."""
    entries, lines, _ = told
    assert sum(entry["skipped"] for entry in entries if "skipped" in entry) > 0
    assert any(re.search(r"… [0-9]+ entr(y was|ies were) skipped", line) for line in lines)


def test_secrets_are_not_told(told: Told) -> None:
    entries, lines, later = told
    for text in (json.dumps(entries), "\n".join(lines), later):
        for secret in (DEFAULT_APP.secret, NUMERIC_APP.secret, "the-secret-before"):
            assert secret not in text


def test_one_channel_in_words(server: ServerProcess, connect: Callable[[], WebSocket], unique: str) -> None:
    with tailing(server, "--channel", unique, "--count", "3") as tail:
        client = connect()
        client.subscribe(unique)
        server.publish(unique, "tide-rise", '{"metres": 2.4}')
        client.say("pusher:unsubscribe", {"channel": unique})
        tail.ends(0)
    joined, said, left = tail.lines.seen
    assert re.match(rf"\d\d:\d\d:\d\d\.\d\d\d  subscribed  {unique}  socket {client.socket_id}  from 127.0.0.1", joined)
    assert f'message  {unique}  tide-rise {{"metres": 2.4}}  from the API · to 1 connection · 15 bytes' in said
    assert f"unsubscribed  {unique}" in left


def test_one_user_one_socket_and_kinds(server: ServerProcess, connect: Callable[[], WebSocket], unique: str) -> None:
    client = connect()
    client.sign_in(unique)
    with (
        tailing(server, "--user", unique, "--kinds", "message,closed", "--json", "--count", "2") as of_user,
        tailing(server, "--socket", client.socket_id, "--json", "--count", "3") as of_socket,
    ):
        client.subscribe(unique)
        server.publish(f"#server-to-user-{unique}", "hello", "1")
        client.close()
        of_user.ends(0)
        of_socket.ends(0)
        assert [entry["kind"] for entry in of_user.entries()] == ["message", "closed"]
        assert [entry["kind"] for entry in of_socket.entries()] == ["subscribed", "message", "closed"]


def test_names_do_not_command_the_terminal(server: ServerProcess, unique: str) -> None:
    with tailing(server, "--channel", unique, "--count", "1") as tail:
        server.publish(unique, "\x1b[31mred", "\x1b]0;title\x07\n[bold]x[/bold]")
        tail.ends(0)
    [line] = tail.lines.seen
    assert "\x1b" not in line
    assert "\\x1b[31mred" in line
    assert "[bold]x[/bold]" in line


def test_colours_are_for_terminals(server: ServerProcess, connect: Callable[[], WebSocket], unique: str) -> None:
    master, slave = pty.openpty()
    with ForkedProcess(
        ["tail", "--channel", unique, "--count", "1", "--timeout", "20"],
        env={name: value for name, value in environment(server, TERM="xterm").items() if name != "NO_COLOR"},
        cwd=server.folder,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        assert "Following" in process.stderr.readline()
        connect().subscribe(unique)
        assert process.wait(PATIENCE) == 0
    os.close(slave)
    shown = os.read(master, 65_536).decode()
    os.close(master)
    assert "\x1b[32m\x1b[1msubscribed\x1b[0m" in shown


def test_a_tail_comes_back_after_a_restart(unique: str) -> None:
    with start_server() as first, tailing(first, "--channel", unique, "--json") as tail:
        first.publish(unique, "before", "1")
        tail.line("before")
        first.terminate()
        tail.said("The server says: The server is shutting down.")
        tail.said("Connecting again in 1 s")
        with start_server({"port": first.port}) as second:
            tail.said("Following")
            second.publish(unique, "after", "2")
            tail.line("after")
            tail.process.send_signal(signal.SIGINT)
            tail.ends(0)


def test_a_tail_ends_with_its_app(unique: str) -> None:
    with start_server({"app_manager": {"array": {"apps": [app_record(DEFAULT_APP)]}}}) as own, tailing(own) as tail:
        config = json.loads((own.folder / "config.json").read_text())
        config["app_manager"]["array"]["apps"] = [{**app_record(DEFAULT_APP), "enabled": False}]
        (own.folder / "config.json").write_text(json.dumps(config))
        own.send_signal(signal.SIGHUP)
        tail.ends(1)
        tail.said("The app app-id is disabled")
        tail.said("explain app_disabled")


def test_interrupt_is_a_clean_end(server: ServerProcess) -> None:
    with tailing(server) as tail:
        tail.process.send_signal(signal.SIGINT)
        tail.ends(0)


@pytest.mark.parametrize(
    ("arguments", "more", "code", "said"),
    [
        ((), {"SOCKUDO_APP_SECRET": "wrong"}, 1, "explain signature_mismatch"),
        (("--problems",), {"SOCKUDO_APP_KEY": "wrong"}, 1, "explain unknown_key"),
        (("--kinds", "shut"), {}, 1, "There is no kind 'shut'"),
        (("--url", "http://127.0.0.1:9"), {}, 3, "Connection refused"),
        (("--timeout", "0.3", "--count", "1", "--channel", "quiet"), {}, 4, "0 of 1 lines came within 0.3 seconds."),
        (("--timeout", "0.3"), {}, 0, "Following"),
        (("--count", "0"), {}, 2, "--count"),
    ],
)
def test_how_it_ends(
    server: ServerProcess, arguments: Sequence[str], more: dict[str, str], code: int, said: str
) -> None:
    assert said in run(server, *arguments, code=code, **more).stderr


def test_problems_as_json_and_when_there_are_none() -> None:
    with start_server() as own:
        none = run(own, "--problems", "--timeout", "0")
        assert none.stdout == "Nothing was refused and nothing failed lately.\n"
        assert run(own, "--problems", "--timeout", "0", "--json").stdout == ""
        with WebSocket(own).greeting() as client:
            client.say("pusher:subscribe", {"channel": "private-x"})
            client.event()
            client.say("pusher:subscribe", {"channel": "private-y"})
            client.event()
        [line] = run(own, "--problems", "--timeout", "0", "--json").stdout.splitlines()
        group = json.loads(line)
        assert (group["error"], group["count"]) == ("channel_auth_missing", 2)
        assert group["explanation"]["remedy"]
        assert "2 times" in run(own, "--problems", "--timeout", "0").stdout
        assert "2 times" in run(own, "--problems", "--timeout", "0", "--channel", "private-x").stdout
        assert "Nothing" in run(own, "--problems", "--timeout", "0", "--channel", "private-z").stdout
        assert "Nothing" in run(own, "--problems", "--timeout", "0", "--kinds", "closed").stdout


def test_a_tail_that_is_stopped_costs_the_server_nothing(unique: str) -> None:
    """Ctrl-Z and nobody reads: the server goes on, and tells what was left out once somebody does again."""
    with start_server() as own, tailing(own, "--channel", unique, "--json") as tail:
        tail.process.send_signal(signal.SIGSTOP)
        flood(own, unique)
        tail.process.send_signal(signal.SIGCONT)

        def all_told() -> bool:
            entries = tail.entries()
            return (
                len([entry for entry in entries if "kind" in entry]) + sum(e.get("skipped", 0) for e in entries) == 5000
            )

        wait_until(all_told, "all that was said, or its number")
        assert any("skipped" in entry for entry in tail.entries())
