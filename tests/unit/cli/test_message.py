"""``sockudo message`` against replies of spec: messages § 7."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sockudo.client.failures import ApiError

SERIAL = "00000001785000000123:a:00000000000000000042"
DONE = {"version_serial": "v-2", "delivery_serial": 7, "status": "applied"}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def item(action: str = "create", data: Any = "Hello", **version: Any) -> dict[str, Any]:
    found = {
        "channel": "chat",
        "name": "answer",
        "data": data,
        "action": action,
        "message_serial": SERIAL,
        "history_serial": 3,
        "delivery_serial": 7,
        "version": {"serial": "v-1", "timestamp_ms": 1767225600123, **version},
    }
    return {name: value for name, value in found.items() if value is not None}


def page(*items: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    more = {} if cursor is None else {"next_cursor": cursor}
    return {"items": list(items), "has_more": cursor is not None, **more}


class Pages:
    """Answers one page after the other."""

    def __init__(self, *pages: Any) -> None:
        self.pages = list(pages)
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, channel: str, serial: str, **query: Any) -> Any:
        assert (channel, serial) == ("chat", SERIAL)
        self.asked.append(query)
        return self.pages.pop(0)


@pytest.mark.parametrize("command", ["show", "versions", "update", "delete", "append"])
def test_help_has_an_example(run: Any, command: str) -> None:
    result = run("message", command, "--help")
    assert result.exit_code == 0
    assert f"Example: sockudo message {command}" in result.stdout
    assert "Exit codes:" in result.stdout


def test_a_message_is_shown_as_it_reads_now(run: Any, api: Any) -> None:
    api.replies["message"] = {"item": item("update", "Hello\nyou", client_id="u-9", description="typo")}
    result = run("message", "show", "chat", SERIAL)
    assert result.exit_code == 0
    assert api.calls == [("message", ("chat", SERIAL), {})]
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:3] == ["answer on chat", f"message: {SERIAL}", "version: v-1 (update)"]
    assert lines[3].startswith("changed: 20")
    assert lines[4:] == [
        "by: u-9",
        "why: typo",
        "serials: 3 in the history, 7 in the order of delivery",
        "data: Hello\\nyou",
    ]


def test_data_of_another_type_and_none(run: Any, api: Any) -> None:
    api.replies["message"] = {"item": item(data={"a": [1]})}
    assert 'data:     {"a": [1]}' in run("message", "show", "chat", SERIAL).stdout
    api.replies["message"] = {"item": item("delete", None)}
    assert "data:" not in run("message", "show", "chat", SERIAL).stdout
    assert json.loads(run("message", "show", "chat", SERIAL, "--json").stdout) == api.replies["message"]


def test_versions_are_a_table(run: Any, api: Any) -> None:
    versions = page(item("append", "x" * 300), item(client_id="u-1", description="first"), cursor="v-1")
    api.replies["message_versions"] = versions
    result = run("message", "versions", "chat", SERIAL)
    assert api.calls == [("message_versions", ("chat", SERIAL), {"limit": None, "cursor": None, "oldest_first": False})]
    head, newest, oldest = result.stdout.splitlines()
    assert head.split() == ["time", "action", "data", "by", "why"]
    assert newest.split()[2:] == ["append", "x" * 200 + "…", "-"]
    assert oldest.split()[2:] == ["create", "Hello", "u-1", "first"]
    assert result.stderr == "There are more versions: see all of them with --all.\n"


def test_all_versions_follow_the_cursors(run: Any, api: Any) -> None:
    api.message_versions = pages = Pages(page(item("append"), cursor="v-1"), page(item()))
    result = run("message", "versions", "chat", SERIAL, "--all", "--oldest", "--json")
    assert [json.loads(line)["action"] for line in result.stdout.splitlines()] == ["append", "create"]
    assert [(query["cursor"], query["oldest_first"]) for query in pages.asked] == [(None, True), ("v-1", True)]
    assert result.stderr == ""


def test_a_limit_may_be_larger_than_the_page_of_the_server(run: Any, api: Any) -> None:
    api.message_versions = pages = Pages(page(item(), item(), cursor="v-1"), page(item(), cursor="v-0"))
    result = run("message", "versions", "chat", SERIAL, "--limit", "3", "--json")
    assert len(result.stdout.splitlines()) == 3
    assert [query["limit"] for query in pages.asked] == [3, 1]
    assert run("message", "versions", "chat", SERIAL, "--limit", "3", "--all").exit_code == 2


def test_an_update_sends_what_is_named(run: Any, api: Any) -> None:
    api.replies["change_message"] = DONE
    result = run(
        "message", "update", "chat", SERIAL, "Bye", "--name", "end", "--clear", "extras", "--description", "typo",
        "--metadata", '{"ticket":7}', "--client-id", "u-1", "--op-id", "o-1",
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, "Done: it is version v-2 now, serial 7.\n")
    changes = {
        "name": "end", "data": "Bye", "clear_fields": ["extras"], "description": "typo", "metadata": {"ticket": 7},
        "client_id": "u-1", "op_id": "o-1",
    }  # fmt: skip
    assert api.calls == [("change_message", ("chat", SERIAL, "update", changes), {})]


def test_an_append_is_text_whatever_it_looks_like(run: Any, api: Any) -> None:
    api.replies["change_message"] = {**DONE, "status": "duplicate"}
    result = run("message", "append", "chat", SERIAL, '{"not json', "--op-id", "o-1")
    assert result.stdout == "Nothing was changed: version v-2 was made by the same op_id.\n"
    assert api.calls[0][1] == ("chat", SERIAL, "append", {"data": '{"not json', "op_id": "o-1"})


def test_a_delete_needs_nothing_else(run: Any, api: Any) -> None:
    api.replies["change_message"] = DONE
    assert run("message", "delete", "chat", SERIAL).exit_code == 0
    assert json.loads(run("message", "delete", "chat", SERIAL, "--clear", "data", "--json").stdout) == DONE
    assert [call[1][3] for call in api.calls] == [{}, {"clear_fields": ["data"]}]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("update",), "Name what to change"),
        (("update", "{broken"), "DATA is not JSON"),
        (("update", "x", "--clear", "tags"), "'tags' is none of name, data, extras"),
        (("delete", "--metadata", "{"), "--metadata is not JSON"),
        (("append", ""), "There is nothing to append"),
    ],
)
def test_wrong_usage_asks_no_server(run: Any, api: Any, arguments: tuple[str, ...], problem: str) -> None:
    result = run("message", arguments[0], "chat", SERIAL, *arguments[1:])
    assert result.exit_code == 2
    assert problem in result.stderr
    assert api.calls == []


def test_a_refusal_is_that_of_the_server(run: Any, api: Any) -> None:
    api.replies["message"] = ApiError(404, "message_not_found", "Channel 'chat' has no message 'x'")
    result = run("message", "show", "chat", "x")
    assert result.exit_code == 1
    assert "Channel 'chat' has no message 'x'" in result.stderr
