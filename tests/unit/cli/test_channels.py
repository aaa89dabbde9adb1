from __future__ import annotations

import json
from typing import Any

import pytest

from sockudo.client.failures import ApiError


def test_the_list_is_a_table_with_counts(run: Any, api: Any) -> None:
    api.replies["channels"] = {"pier-2": {"subscription_count": 1}, "harbor": {"subscription_count": 12}}
    result = run("channels")
    assert result.exit_code == 0
    assert api.calls == [("channels", (), {"prefix": "", "info": ["subscription_count"]})]
    assert result.stdout.splitlines() == ["channel  subscription_count", "harbor   12", "pier-2   1"]


def test_user_counts_are_asked_for_where_the_server_has_them(run: Any, api: Any) -> None:
    api.replies["channels"] = {"presence-crew": {"subscription_count": 3, "user_count": 2}}
    result = run("channels", "--prefix", "presence-")
    assert api.calls == [("channels", (), {"prefix": "presence-", "info": ["subscription_count", "user_count"]})]
    assert "user_count" in result.stdout


def test_info_replaces_the_default(run: Any, api: Any) -> None:
    api.replies["channels"] = {}
    result = run("channels", "--info", "user_count, ")
    assert api.calls[0][2]["info"] == ["user_count"]
    assert "No channel is occupied." in result.stdout


def test_names_are_not_markup(run: Any, api: Any) -> None:
    api.replies["channel"] = {"occupied": True, "cache": {"data": "[red]x[/red]", "ttl": 5}}
    result = run("channels", "cache-rates", "--info", "cache")
    assert "[red]x[/red]" in result.stdout
    assert api.calls == [("channel", ("cache-rates",), {"info": ["cache"]})]


def test_one_channel(run: Any, api: Any) -> None:
    api.replies["channel"] = {"occupied": True, "subscription_count": 7, "user_count": 3}
    result = run("channels", "presence-crew")
    assert api.calls == [("channel", ("presence-crew",), {"info": ["subscription_count", "user_count"]})]
    assert "true" in result.stdout
    assert "7" in result.stdout


def test_members(run: Any, api: Any) -> None:
    api.replies["users"] = ["crew-8", "crew-9"]
    assert "crew-9" in run("channels", "presence-crew", "--users").stdout
    api.replies["users"] = []
    assert run("channels", "presence-crew", "--users").stdout == "No user is on presence-crew.\n"


@pytest.mark.parametrize(
    ("arguments", "reply"),
    [
        ((), {"channels": {"harbor": {}}}),
        (("harbor",), {"occupied": False}),
        (("presence-crew", "--users"), {"users": [{"id": "crew-8"}]}),
    ],
)
def test_json_has_the_form_of_the_api(run: Any, api: Any, arguments: tuple[str, ...], reply: dict[str, Any]) -> None:
    api.replies |= {"channels": {"harbor": {}}, "channel": {"occupied": False}, "users": ["crew-8"]}
    assert json.loads(run("channels", *arguments, "--json").stdout) == reply


@pytest.mark.parametrize("arguments", [("--users",), ("harbor", "--prefix", "x")])
def test_contradictions_are_usage_errors(run: Any, api: Any, arguments: tuple[str, ...]) -> None:
    result = run("channels", *arguments)
    assert result.exit_code == 2
    assert api.calls == []


def test_a_refusal_exits_with_one(run: Any, api: Any) -> None:
    api.replies["users"] = ApiError(400, "invalid_input", "Only presence channels support this endpoint")
    result = run("channels", "harbor", "--users")
    assert result.exit_code == 1
    assert "Only presence channels support this endpoint" in result.stderr
