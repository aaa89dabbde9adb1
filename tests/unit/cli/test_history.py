"""``sockudo history`` against replies of spec: http-api § 11 and 12."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sockudo.cli import history
from sockudo.client.failures import ApiError

HEALTHY = {
    "stream_id": "6f0c",
    "durable_state": "healthy",
    "recovery_allowed": True,
    "reset_required": False,
    "reason": None,
    "node_id": None,
    "last_transition_at_ms": None,
    "authoritative_source": "durable_store",
    "observed_source": "durable_store",
}


def retained(count: int, oldest: int | None, newest: int | None, what: str = "messages") -> dict[str, Any]:
    return {
        "stream_id": "6f0c",
        f"retained_{what}": count,
        "retained_bytes": count * 1000,
        "oldest_available_serial": oldest,
        "newest_available_serial": newest,
        "oldest_available_published_at_ms": None if oldest is None else 1767225600000,
        "newest_available_published_at_ms": None if newest is None else 1767225600123,
    }


def stream(count: int = 41, oldest: int | None = 1, newest: int | None = 41, **state: Any) -> dict[str, Any]:
    return {
        "stream_id": "6f0c",
        "next_serial": 42,
        "retained": retained(count, oldest, newest),
        "state": {**HEALTHY, **state},
    }


def item(serial: int, **message: Any) -> dict[str, Any]:
    said = {"event": "tide", "channel": "harbor", "data": '{"metres":2.4}', **message}
    return {
        "stream_id": "6f0c",
        "serial": serial,
        "published_at_ms": 1767225600123,
        "message_id": f"m-{serial}",
        "event_name": said["event"],
        "operation_kind": "append",
        "payload_size_bytes": 100,
        "message": said,
    }


def page(items: list[Any], *, cursor: str | None = None, truncated: bool = False, what: str = "messages") -> Any:
    serials = [each["serial"] for each in items] or [None]
    return {
        "items": items,
        "direction": "newest_first",
        "limit": 100,
        "has_more": cursor is not None,
        "next_cursor": cursor,
        "bounds": {"start_serial": None, "end_serial": None, "start_time_ms": None, "end_time_ms": None},
        "continuity": {**retained(len(items), serials[-1], serials[0], what), "truncated_by_retention": truncated},
        "stream_state": HEALTHY,
    }


class Pages:
    """Answers one page after the other."""

    def __init__(self, *pages: Any) -> None:
        self.pages = list(pages)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def __call__(self, channel: str, **query: Any) -> Any:
        self.asked.append((channel, query))
        return self.pages.pop(0)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "refuse_without_terminal", lambda _: None)


@pytest.mark.parametrize("command", ["show", "state", "purge", "reset", "snapshot"])
def test_help_has_an_example(run: Any, command: str) -> None:
    result = run("history", command, "--help")
    assert result.exit_code == 0
    assert f"Example: sockudo history {command}" in result.stdout
    assert "Exit codes:" in result.stdout


# ---- show ----


def test_one_page_is_shown_as_a_table(run: Any, api: Any) -> None:
    tagged = item(41, tags={"venue": "ldn", "n": "1"})
    changed = item(40, event="sockudo:message.update", name="tide", data="[red]" + "x" * 300)
    api.replies["history"] = page([tagged, changed], cursor="c1")
    result = run("history", "show", "harbor")
    assert result.exit_code == 0
    query = {"presence": False, "oldest_first": False, "bounds": {}, "limit": None, "cursor": None}
    assert api.calls == [("history", ("harbor",), query)]
    text = " ".join(result.stdout.split())
    for word in ("41", "tide", '{"metres":2.4}', "venue=ldn", "[red]xxx", "…"):
        assert word in text
    assert result.stderr == "There is more: go on with --end-serial 39, or see all of it with --all.\n"


def test_bounds_take_serials_and_times(run: Any, api: Any) -> None:
    api.replies["history"] = page([])
    result = run(
        "history", "show", "harbor", "--oldest", "--start-serial", "3", "--end-serial", "9",
        "--start-time", "2026-01-01T00:00:00Z", "--end-time", "1767225600123",
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, "Nothing that fits is kept.\n")
    query = api.calls[0][2]
    assert query["oldest_first"] is True
    assert query["bounds"] == {
        "start_serial": 3,
        "end_serial": 9,
        "start_time_ms": 1767225600000,
        "end_time_ms": 1767225600123,
    }


def test_all_follows_the_cursors_as_json_lines(run: Any, api: Any) -> None:
    pages = Pages(page([item(3), item(2)], cursor="c1"), page([item(1)]))
    api.history = pages
    result = run("history", "show", "harbor", "--all", "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["serial"] for line in result.stdout.splitlines()] == [3, 2, 1]
    assert [query["cursor"] for _, query in pages.asked] == [None, "c1"]
    assert result.stderr == ""


def test_a_limit_may_be_larger_than_the_page_of_the_server(run: Any, api: Any) -> None:
    pages = Pages(page([item(1), item(2)], cursor="c1"), page([item(3)], cursor="c2"))
    api.history = pages
    result = run("history", "show", "harbor", "--limit", "3", "--oldest", "--json")
    assert len(result.stdout.splitlines()) == 3
    assert [(query["limit"], query["cursor"]) for _, query in pages.asked] == [(3, None), (1, "c1")]
    assert "go on with --start-serial 4" in result.stderr


def test_nothing_is_kept(run: Any, api: Any) -> None:
    api.replies["history"] = page([])
    assert run("history", "show", "harbor").stdout == "harbor keeps nothing.\n"
    assert run("history", "show", "harbor", "--json").stdout == ""


def test_what_is_gone_for_good_is_told(run: Any, api: Any) -> None:
    api.replies["history"] = page([item(9), item(8)], truncated=True)
    assert "the oldest that is kept is serial 8." in run("history", "show", "harbor").stderr
    api.replies["history"] = page([], truncated=True)
    assert "All that there was is gone." in run("history", "show", "harbor").stderr


def test_who_came_and_went(run: Any, api: Any) -> None:
    edges: list[dict[str, Any]] = [
        {"event": "member_removed", "cause": "orphan_cleanup", "connection_id": None, "dead_node_id": "n-2"},
        {"event": "member_added", "cause": "join", "connection_id": "311.902", "dead_node_id": None},
    ]
    shown = [{**item(7 - at), "user_id": "crew-8", **edge} for at, edge in enumerate(edges)]
    reply = page(shown, what="events")
    reply["continuity"]["degraded"] = True
    api.replies["history"] = reply
    result = run("history", "show", "presence-crew", "--presence")
    assert api.calls[0][2]["presence"] is True
    text = " ".join(result.stdout.split())
    for word in ("removed", "orphan_cleanup", "on node n-2", "added", "311.902", "crew-8"):
        assert word in text
    assert "something may be missing" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "harbor", "--limit", "2", "--all"), "--limit and --all exclude each other."),
        (("show", "harbor", "--limit", "0"), "--limit"),
        (("show", "harbor", "--start-time", "soon"), "--start-time: 'soon' is not a time."),
        (("show", "harbor", "--presence"), "harbor is not a presence channel"),
        (("state", "harbor", "--presence"), "harbor is not a presence channel"),
        (("reset", "harbor", "--presence", "--reason", "x", "--yes"), "harbor is not a presence channel"),
        (("snapshot", "harbor"), "harbor is not a presence channel"),
        (("purge", "harbor", "--reason", "x", "--yes"), "Name what to drop"),
        (("purge", "harbor", "--all", "--before-serial", "3", "--reason", "x", "--yes"), "one of them"),
        (("purge", "harbor", "--all", "--yes"), "--reason"),
        (("purge", "harbor", "--all", "--reason", " ", "--yes"), "--reason is empty."),
        (("reset", "harbor", "--yes"), "--reason"),
        (("reset", "harbor", "--reason", "", "--yes"), "--reason is empty."),
        (("purge", "harbor", "--all", "--reason", "x"), "There is no terminal to ask at."),
        (("reset", "harbor", "--reason", "x"), "There is no terminal to ask at."),
    ],
)
def test_usage(run: Any, api: Any, arguments: tuple[str, ...], said: str) -> None:
    result = run("history", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert api.calls == []


def test_a_refusal_is_explained(run: Any, api: Any) -> None:
    api.replies["history"] = ApiError(403, "feature_disabled", "Durable history is disabled", docs="e#history_disabled")
    result = run("history", "show", "harbor")
    assert result.exit_code == 1
    assert "sockudo explain history_disabled" in result.stderr


# ---- state ----


def test_a_healthy_stream_in_words(run: Any, api: Any) -> None:
    api.replies["history_state"] = {"channel": "harbor", "stream": stream()}
    result = run("history", "state", "harbor")
    assert result.exit_code == 0
    assert "41 messages of 41,000 bytes (serials 1 to 41)" in result.stdout
    assert "healthy: complete" in result.stdout
    assert "next serial: 42" in result.stdout
    assert "history reset" not in result.stdout


def test_an_ill_stream_in_words(run: Any, api: Any) -> None:
    why = {"reason": "durable_history_write_failed", "node_id": "n-1", "last_transition_at_ms": 1767225600000}
    api.replies["history_state"] = {"channel": "harbor", "stream": stream(durable_state="degraded", **why)}
    result = run("history", "state", "harbor")
    for word in ("degraded:", "durable_history_write_failed", "node n-1", "sockudo history reset harbor"):
        assert word in result.stdout


def test_state_as_json(run: Any, api: Any) -> None:
    api.replies["history_state"] = {"channel": "presence-crew", "stream": stream()}
    result = run("history", "state", "presence-crew", "--presence", "--json")
    assert json.loads(result.stdout) == api.replies["history_state"]
    assert api.calls == [("history_state", ("presence-crew",), {"presence": True})]


# ---- purge and reset ----

PURGED = {"ok": True, "channel": "harbor", "purged_messages": 1, "purged_bytes": 1000, "stream": stream(40, 2)}
RESET = {"ok": True, "channel": "harbor", "purged_messages": 0, "purged_bytes": 0, "new_stream_id": "a81d"}


@pytest.mark.parametrize(
    ("arguments", "bounds"),
    [
        (("--all",), {"before_serial": None, "before_time_ms": None}),
        (("--before-serial", "30"), {"before_serial": 30, "before_time_ms": None}),
        (("--before-time", "2026-01-01T00:00:00Z"), {"before_serial": None, "before_time_ms": 1767225600000}),
    ],
)
def test_purge(run: Any, api: Any, arguments: tuple[str, ...], bounds: dict[str, Any]) -> None:
    api.replies["purge_history"] = PURGED
    result = run("history", "purge", "harbor", *arguments, "--reason", "retention", "--requested-by", "ana", "--yes")
    assert result.exit_code == 0
    said = {"reason": "retention", "requested_by": "ana"}
    assert api.calls == [("purge_history", ("harbor",), {**said, **bounds})]
    assert result.stdout == (
        "Dropped 1 message of 1,000 bytes. harbor keeps 40 messages of 40,000 bytes (serials 2 to 41).\n"
    )


def test_reset(run: Any, api: Any) -> None:
    api.replies["reset_history"] = RESET
    result = run("history", "reset", "harbor", "--reason", "bad import", "-y")
    asked = {"reason": "bad import", "requested_by": None, "presence": False}
    assert api.calls == [("reset_history", ("harbor",), asked)]
    assert result.stdout == "Dropped nothing. harbor begins anew as stream a81d.\n"
    assert json.loads(run("history", "reset", "harbor", "--reason", "x", "-y", "--json").stdout) == RESET


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("arguments", "method"),
    [(("purge", "harbor", "--before-serial", "3"), "purge_history"), (("reset", "harbor"), "reset_history")],
)
def test_a_person_is_asked_first(run: Any, api: Any, arguments: tuple[str, ...], method: str) -> None:
    api.replies |= {
        "history_state": {"channel": "harbor", "stream": stream()},
        "purge_history": PURGED,
        "reset_history": RESET,
    }
    refused = run("history", *arguments, "--reason", "x", stdin="n\n")
    assert refused.exit_code == 1
    assert "harbor keeps 41 messages of 41,000 bytes (serials 1 to 41)." in refused.stderr
    assert "Nothing was changed." in refused.stderr
    assert [name for name, *_ in api.calls] == ["history_state"]
    assert run("history", *arguments, "--reason", "x", stdin="y\n").exit_code == 0
    assert [name for name, *_ in api.calls] == ["history_state", "history_state", method]


# ---- snapshot ----


def test_who_was_there(run: Any, api: Any) -> None:
    reply: dict[str, Any] = {
        "channel": "presence-crew",
        "members": [
            {
                "user_id": "crew-8",
                "last_event": "member_added",
                "last_event_serial": 7,
                "last_event_at_ms": 1767225600200,
            }
        ],
        "continuity": {"truncated_by_retention": True},
    }
    api.replies["presence_snapshot"] = reply
    result = run("history", "snapshot", "presence-crew", "--at", "1767225600200", "--at-serial", "9")
    asked = {"at_time_ms": 1767225600200, "at_serial": 9}
    assert api.calls == [("presence_snapshot", ("presence-crew",), asked)]
    assert " ".join(result.stdout.replace("│", " ").split()).find("crew-8 added 7") > 0
    assert "may be missing" in result.stderr
    api.replies["presence_snapshot"] = {**reply, "members": [], "continuity": {"truncated_by_retention": False}}
    empty = run("history", "snapshot", "presence-crew")
    assert (empty.stdout, empty.stderr) == ("No member was on presence-crew.\n", "")
