"""``sockudo tail`` without a server: how lines look, when it comes back and when it does not."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import typer

from sockudo.cli.tail import KINDS_HELP
from sockudo.cli.tail_views import TailPrinter
from sockudo.cli.tailing import Tailer, Wanted
from sockudo.cli.target import Target
from sockudo.client.auth import Credentials
from sockudo.client.failures import ApiError, UnreachableError
from sockudo.inspector import KINDS

Said = tuple[str, dict[str, Any]] | Exception
TARGET = Target("http://127.0.0.1:6001", Credentials("a", "k", "s"))
HELLO: Said = ("hello", {"watching": {"app_id": "a"}})
REFUSED = {
    "at": 1_767_225_600_123,
    "kind": "subscribe_refused",
    "app_id": "a",
    "channel": "private-x",
    "socket_id": "1.2",
    "error": "channel_auth_missing",
    "code": 4009,
    "text": "Authentication error",
}


def entries(*values: dict[str, Any], skipped: int = 0) -> Said:
    return "entries", {"entries": list(values), "skipped": skipped}


class FakeStream:
    """Stands in for the client: each call of `inspect` goes through the next list."""

    def __init__(self, *streams: list[Said], problems: list[dict[str, Any]] | None = None) -> None:
        self.streams = list(streams)
        self.asked: list[dict[str, Any]] = []
        self.found = problems or []

    def __call__(self, url: str, credentials: Credentials) -> FakeStream:
        return self

    async def __aenter__(self) -> FakeStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def problems(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {"groups": self.found}

    async def inspect(self, **asked: Any) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        self.asked.append(asked)
        for said in self.streams.pop(0):
            if isinstance(said, Exception):
                raise said
            yield said


def tailer(client: FakeStream, *, count: int | None = None, as_json: bool = False) -> tuple[Tailer, list[float]]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    wanted = Wanted("private-x", None, None, "closed")
    made = Tailer(TARGET, wanted, TailPrinter(as_json=as_json), count=count, sleep=sleep, client=client)  # type: ignore[arg-type]
    return made, pauses


async def test_it_goes_on_until_enough_was_printed(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeStream([HELLO, entries(REFUSED, skipped=3), entries(REFUSED, REFUSED)])
    following, pauses = tailer(client, count=2, as_json=True)
    assert await following.run(None)
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [REFUSED, {"skipped": 3}, REFUSED]
    assert err == "Following a (channel private-x) on http://127.0.0.1:6001 (Ctrl-C ends)\n"
    assert pauses == []
    assert client.asked == [{"channel": "private-x", "user_id": None, "socket_id": None, "kinds": "closed"}]


async def test_it_comes_back_with_growing_pauses(capsys: pytest.CaptureFixture[str]) -> None:
    gone = UnreachableError(TARGET.url, "Connection refused")
    full = ApiError(503, "backpressure", "As many people watch the server already as may at once.")
    limited = ApiError(429, "rate_limited", "Too many requests.")
    client = FakeStream(
        [HELLO, ("end", {"error": "draining", "text": "The server is shutting down."})],
        [gone], [gone], [full], [limited], [gone],
        [HELLO],
        [HELLO, entries(REFUSED)],
    )  # fmt: skip
    following, pauses = tailer(client, count=1)
    assert await following.run(None)
    assert pauses == [1, 2, 4, 8, 10, 10, 1]
    assert "The server says: The server is shutting down.\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "refusal",
    [UnreachableError(TARGET.url, "Connection refused"), ApiError(503, "backpressure", "full")],
)
async def test_the_first_time_has_to_work(refusal: Exception) -> None:
    following, pauses = tailer(FakeStream([refusal]))
    with pytest.raises(type(refusal)):
        await following.run(None)
    assert pauses == []


async def test_a_refusal_for_good_ends_it_later_too() -> None:
    following, _ = tailer(FakeStream([HELLO], [ApiError(401, "auth_failed", "Invalid API signature")]))
    with pytest.raises(ApiError):
        await following.run(None)


async def test_the_end_of_the_app_is_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    following, _ = tailer(FakeStream([HELLO, ("end", {"error": "app_disabled", "text": "The app a is disabled"})]))
    with pytest.raises(typer.Exit) as ended:
        await following.run(None)
    assert ended.value.exit_code == 1
    assert "sockudo explain app_disabled" in capsys.readouterr().err


async def test_recent_problems_come_first_of_what_is_followed(capsys: pytest.CaptureFixture[str]) -> None:
    group = {
        "app_id": "a",
        "kind": "subscribe_refused",
        "error": "channel_auth_missing",
        "code": 4009,
        "count": 7,
        "first_at": 1_767_225_600_000,
        "last_at": 1_767_225_600_123,
        "explanation": {"meaning": "It means this.", "remedy": "Do that."},
        "last": [REFUSED],
    }
    client = FakeStream([HELLO, entries(REFUSED)], problems=[group])
    following, _ = tailer(client, count=1)
    await following.run(None, problems=True)
    assert client.asked[0] == {"kinds": "closed", "text": "private-x"}
    head, meaning, example, remedy, _, line = capsys.readouterr().out.splitlines()
    assert head.startswith("subscribe refused: 4009 channel_auth_missing  7 times, first 20")
    assert (meaning, remedy) == ("  It means this.", "  → Do that.")
    assert "private-x  socket 1.2  Authentication error  4009 · channel_auth_missing" in example
    # Said above already, so that it is not said again.
    assert line.endswith("4009 · channel_auth_missing")


def test_what_to_do_is_said_once_for_each_error(capsys: pytest.CaptureFixture[str]) -> None:
    printer = TailPrinter(as_json=False)
    for _ in range(3):
        printer.entry(REFUSED)
    printer.skipped(1)
    printer.skipped(2)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "→" in line] == [
        "    → Configure the client's channel authorization endpoint. More: sockudo explain channel_auth_missing"
    ]
    assert lines[-2:] == [
        "… 1 entry was skipped: more happens than can be shown",
        "… 2 entries were skipped: more happens than can be shown",
    ]


def test_what_a_newer_server_says_is_shown_as_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"at": 1, "kind": "teleported", "channel": "x\x1b[2J"}
    TailPrinter(as_json=False).entry(value)
    assert capsys.readouterr().out == '{"at": 1, "kind": "teleported", "channel": "x\\u001b[2J"}\n'


def test_the_help_names_every_kind() -> None:
    assert all(kind in KINDS_HELP for kind in KINDS)
