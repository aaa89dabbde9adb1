"""The command line on protocol V2: real processes against a server that was started with ``sockudo serve --dev``."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import commands
from support.forked import ForkedProcess
from support.server import ServerProcess, start_server
from support.waiting import wait_until

LONG = "a part that stays as it is, so that most of an event is like the one before; " * 60


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(args=("--dev",)) as running:
        yield running


def _run(server: ServerProcess, *arguments: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    env = commands.environment(server.url)
    return commands.run(arguments, env=env, cwd=server.folder, stdin=stdin, code=code)


class Listening:
    """A running ``sockudo listen --protocol 2 --json``; what it says to people is kept in a file."""

    def __init__(self, process: ForkedProcess, said: Path) -> None:
        self.process = process
        self._said = said

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Waits until it has told its user so."""
        wait_until(lambda: len(re.findall(pattern, self.said)) >= times, f"{pattern!r} in {self.said!r}")

    def event(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait()}: {self.said}"
        found: dict[str, Any] = json.loads(line)
        return found

    def data(self, count: int) -> list[Any]:
        return [self.event()["data"] for _ in range(count)]


@contextmanager
def _listening(server: ServerProcess, said: Path, *arguments: str, stdin: str = "") -> Iterator[Listening]:
    with (
        said.open("w") as errors,
        ForkedProcess(
            ["listen", "--protocol", "2", "--json", *arguments],
            env=commands.environment(server.url, PYTHONUNBUFFERED="1"),
            cwd=server.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process,
    ):
        listening = Listening(process, said)
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        listening.wait_for("Listening to")
        yield listening
        assert "Traceback" not in listening.said


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said"


def _publish(server: ServerProcess, channel: str, numbers: range, **fields: Any) -> None:
    for number in numbers:
        server.publish(channel, "odd" if number % 2 else "even", str(number), **fields)


# ---- history ----


def test_history_is_read_purged_and_begun_anew(server: ServerProcess, unique: str) -> None:
    _publish(server, unique, range(1, 8), tags={"venue": "ldn"})
    shown = _run(server, "history", "show", unique)
    assert [int(found) for found in re.findall(r"^(\d+) ", shown.stdout, re.MULTILINE)] == [7, 6, 5, 4, 3, 2, 1]
    assert "venue=ldn" in shown.stdout
    newest = _run(server, "history", "show", unique, "--limit", "2", "--json")
    items = [json.loads(line) for line in newest.stdout.splitlines()]
    assert [(item["serial"], item["message"]["data"]) for item in items] == [(7, "7"), (6, "6")]
    assert "go on with --end-serial 5" in newest.stderr
    times = ("--start-time", str(items[0]["published_at_ms"]), "--end-time", "2999-01-01")
    assert '"serial": 7' in _run(server, "history", "show", unique, *times, "--json").stdout
    middle = _run(server, "history", "show", unique, "--oldest", "--start-serial", "2", "--end-serial", "3", "--json")
    assert [json.loads(line)["serial"] for line in middle.stdout.splitlines()] == [2, 3]

    assert "(serials 1 to 7)" in _run(server, "history", "state", unique).stdout
    before = json.loads(_run(server, "history", "state", unique, "--json").stdout)["stream"]
    assert "no terminal to ask at" in _run(server, "history", "purge", unique, "--all", "--reason", "x", code=2).stderr
    purged = _run(server, "history", "purge", unique, "--before-serial", "3", "--reason", "test", "--yes")
    assert purged.stdout.startswith("Dropped 2 messages of ")
    left = _run(server, "history", "show", unique, "--oldest", "--json")
    assert [json.loads(line)["serial"] for line in left.stdout.splitlines()] == [3, 4, 5, 6, 7]
    assert "the oldest that is kept is serial 3." in left.stderr

    reply = _run(server, "history", "reset", unique, "--reason", "test", "--requested-by", "ana", "--yes", "--json")
    reset = json.loads(reply.stdout)
    assert reset["purged_messages"] == 5
    assert reset["requested_by"] == "ana"
    assert reset["previous_stream_id"] == before["stream_id"] != reset["new_stream_id"]
    assert _run(server, "history", "show", unique).stdout == f"{unique} keeps nothing.\n"


def test_all_is_more_than_a_page(server: ServerProcess, unique: str) -> None:
    _publish(server, unique, range(1, 131))
    everything = _run(server, "history", "show", unique, "--all", "--oldest", "--json")
    assert [json.loads(line)["serial"] for line in everything.stdout.splitlines()] == list(range(1, 131))
    assert everything.stderr == ""
    assert len(_run(server, "history", "show", unique, "--limit", "120", "--json").stdout.splitlines()) == 120


def test_who_came_and_went(server: ServerProcess, unique: str, said: Path) -> None:
    channel = f"presence-{unique}"
    path = f"/apps/{server.app.id}/channels/{channel}/presence/history"
    with _listening(server, said, channel, "--user-id", "crew-8"):
        wait_until(lambda: server.signed("GET", path).json()["items"], "the first event")
        (item,) = map(json.loads, _run(server, "history", "show", channel, "--presence", "--json").stdout.splitlines())
        assert (item["event"], item["user_id"], item["cause"]) == ("member_added", "crew-8", "join")
        assert re.search(r"crew-8 +added +1 ", _run(server, "history", "snapshot", channel).stdout)
        assert "kept:        1 event of " in _run(server, "history", "state", channel, "--presence").stdout
        done = _run(server, "history", "reset", channel, "--presence", "--reason", "x", "--yes")
        assert done.stdout.startswith("Dropped 1 event of ")
    assert _run(server, "history", "snapshot", channel).stdout == f"No member was on {channel}.\n"


# ---- listening ----


@pytest.mark.parametrize("wire", ["json", "msgpack", "protobuf"])
def test_past_and_present_in_every_format(server: ServerProcess, unique: str, said: Path, wire: str) -> None:
    _publish(server, unique, range(1, 6))
    with _listening(server, said, unique, "--format", wire, "--rewind", "3") as listening:
        assert listening.data(3) == [3, 4, 5]
        arguments = ("--tag", "venue=ldn", "--header", "n=7", "--message-id", f"m-{unique}")
        _run(server, "publish", unique, "tide-rise", '{"metres": 2.4, "at": "Łódź"}', *arguments)
        event = listening.event()
        assert {name: event[name] for name in ("event", "channel", "data", "tags", "message_id", "serial")} == {
            "event": "tide-rise",
            "channel": unique,
            "data": {"metres": 2.4, "at": "Łódź"},
            "tags": {"venue": "ldn"},
            "message_id": f"m-{unique}",
            "serial": 6,
        }
        assert event["extras"]["headers"] == {"n": 7}
        listening.wait_for(r"Rewound 3 events of ")


def test_the_last_minutes(server: ServerProcess, unique: str, said: Path) -> None:
    _publish(server, unique, range(1, 4))
    with _listening(server, said, unique, "--rewind", "5m", "--count", "3") as listening:
        assert listening.data(3) == [1, 2, 3]


def test_since_a_serial(server: ServerProcess, unique: str, said: Path) -> None:
    _publish(server, unique, range(1, 6))
    with _listening(server, said, unique, "--since", "3") as listening:
        event = listening.event()
        assert [event["data"], *listening.data(1)] == [4, 5]
        listening.wait_for(f"{unique}: recovered 2 events from ")
    stream = event["stream_id"]
    with _listening(server, said, unique, "--since", f"4@{stream}", "--count", "1") as listening:
        assert listening.data(1) == [5]
    for since, reason in (("99", "position_ahead_of_durable_stream"), ("4@another", "stream_reset")):
        assert reason in _run(server, "listen", unique, "--protocol", "2", "--since", since, code=1).stderr


def test_only_what_fits(server: ServerProcess, unique: str, said: Path) -> None:
    for size in range(1, 7):
        server.publish(unique, "odd" if size % 2 else "even", str(size), tags={"size": str(size), "venue": "ldn"})
    arguments = ("--rewind", "10", "--event", "odd", "--filter", "size>=3", "--filter", '{"expression":"tags.venue"}')
    with _listening(server, said, unique, *arguments) as listening:
        server.publish(unique, "odd", "untagged")
        server.publish(unique, "odd", "7", tags={"size": "7", "venue": "ldn"})
        assert listening.data(3) == [3, 5, 7]


@pytest.mark.parametrize("wire", ["json", "msgpack", "protobuf"])
@pytest.mark.parametrize("delta", ["fossil", "vcdiff"])
def test_differences(server: ServerProcess, unique: str, said: Path, delta: str, wire: str) -> None:
    with _listening(server, said, unique, "--delta", delta, "--format", wire) as listening:
        before = _sent(server)
        for number in range(12):
            server.publish(unique, "tick", json.dumps({"number": number, "rest": LONG}))
        events = [listening.event() for _ in range(12)]
        assert [event["data"] for event in events] == [{"number": number, "rest": LONG} for number in range(12)]
        assert [event["serial"] for event in events] == list(range(1, 13))
        # Two whole ones, then what has changed.
        assert 2 * len(LONG) < _sent(server) - before < 4 * len(LONG)


def _sent(server: ServerProcess) -> float:
    """Bytes of WebSocket traffic so far."""
    found = re.search(
        r"^sockudo_socket_transmitted_bytes.*\{[^}]*app_id=\"app-id\"[^}]*\} (\S+)$", server.metrics(), re.MULTILINE
    )
    assert found is not None
    return float(found[1])


def test_a_token_from_the_command_line_is_one_for_listening(server: ServerProcess, unique: str, said: Path) -> None:
    create = ("token", "create", "--client-id", "crew-8", "--capability", f"{unique}-*=subscribe,history")
    token = _run(server, *create).stdout
    with _listening(server, said, f"{unique}-a", "--token", "-", "--rewind", "1", stdin=token):
        pass
    again = ("--protocol", "2", "--token", token.strip())
    refused = _run(server, "listen", unique, *again, code=1)
    assert "not allowed to subscribe" in refused.stderr
    assert token.strip() not in refused.stderr
    broken = _run(server, "listen", f"{unique}-a", "--protocol", "2", "--token", f"{token.strip()}x", code=1)
    assert "Authentication error" in broken.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("listen", "a", "--filter", "x=1"), "--filter is not known to protocol 1."),
        (("publish", "a", "b", "--tag", "x"), "not of the form NAME=VALUE"),
        (("history", "show", "a", "--start-time", "soon"), "is not a time"),
    ],
)
def test_wrong_usage(server: ServerProcess, arguments: tuple[str, ...], said: str) -> None:
    assert said in _run(server, *arguments, code=2).stderr


def test_a_filter_that_the_server_does_not_take(server: ServerProcess, unique: str) -> None:
    refused = _run(server, "listen", unique, "--protocol", "2", "--filter", '{"op": "xor"}', code=1)
    assert "Invalid message format" in refused.stderr


def test_what_is_ephemeral_is_heard_and_not_kept(server: ServerProcess, unique: str, said: Path) -> None:
    with _listening(server, said, unique, "--count", "1") as listening:
        _run(server, "publish", unique, "typing", "x", "--ephemeral")
        assert "serial" not in listening.event()
    assert _run(server, "history", "show", unique).stdout == f"{unique} keeps nothing.\n"


# ---- restarts ----


def test_a_restart_costs_nothing(unique: str, tmp_path: Path) -> None:
    """What was published while the listeners were away comes from the database, once and in order."""
    data = {"SOCKUDO_DATA_DIR": str(tmp_path / "data")}
    dev, private = ("--dev",), f"private-{unique}"
    arguments = (unique, private, "--event", "even")
    with (
        start_server(args=dev, env=data) as first,
        _listening(first, tmp_path / "text", *arguments) as text,
        _listening(first, tmp_path / "packed", *arguments, "--format", "msgpack") as packed,
    ):
        both = (text, packed)
        _publish(first, unique, range(1, 5))
        _publish(first, private, range(1, 3))
        assert [listening.data(3) for listening in both] == [[2, 4, 2]] * 2
        first.terminate()
        # Somewhere else, so that nobody is there and nothing of it is in the memory of the next one.
        with start_server(args=dev, env=data) as elsewhere:
            _publish(elsewhere, unique, range(5, 9))
        with start_server({"port": first.port}, args=dev, env=data) as second:
            _publish(second, unique, range(9, 11))
            for listening in both:
                listening.wait_for(f"(?m)^{unique}: recovered 3 events from the history.")
                listening.wait_for(f"(?m)^{private}: recovered 0 events from ")
            _publish(second, unique, range(11, 13))
            _publish(second, private, range(3, 5))
            assert [listening.data(5) for listening in both] == [[6, 8, 10, 12, 4]] * 2


def test_a_restart_that_has_lost_the_past_is_told(unique: str, said: Path) -> None:
    memory = {"history": {"backend": "memory"}}
    with start_server(memory, args=("--dev",)) as first, _listening(first, said, unique) as listening:
        _publish(first, unique, range(1, 3))
        assert listening.data(2) == [1, 2]
        first.terminate()
        with start_server({**memory, "port": first.port}, args=("--dev",)) as second:
            listening.wait_for(f"{unique}: not recovered: stream_reset, ")
            assert "Events after serial 2 may be missing." in listening.said
            listening.wait_for("Listening to", times=2)
            _publish(second, unique, range(7, 8))
            assert listening.data(1) == [7]
