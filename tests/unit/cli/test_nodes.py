"""``sockudo nodes`` without a server: what it needs, what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sockudo.cli.operators import Operators

REPORT = {
    "version": "1.2.0",
    "at": 100_000.0,
    "started_at": 5_000.0,
    "connections": 12_345,
    "channels": 7,
    "cpu": 0.256,
    "memory": 1,
    "loop_lag_ms": None,
    "round_trip_ms": 1.25,
    "versions": [100, 102],
    "unreadable": 0,
    "draining": True,
    "role": "default",
    "address": "http://10.0.0.1:6001",
    "uses": {"apps": "sqlite", "push": "memory"},
    "owns": {"streams": 1_200, "places": 3},
}
HERE = {"id": "0123456789abcdef", "name": "a", "me": True, "beat_age": 0.0, "clock_skew": 0.0, "report": REPORT}
SILENT = {"id": "fedcba9876543210", "name": "b", "me": False, "beat_age": 7.21, "clock_skew": None, "report": None}
SKEWED = {**SILENT, "beat_age": 1.0, "clock_skew": -3.4, "report": {**REPORT, "draining": False, "loop_lag_ms": 2.0}}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server answers, by path; orders are noted as ``posted``."""
    found: dict[str, Any] = {"posted": []}

    def posted(_: Operators, path: str, body: dict[str, Any]) -> dict[str, Any]:
        found["posted"].append((path, body))
        return {"node": "a"}

    monkeypatch.setattr(Operators, "get", lambda _, path: found[path])
    monkeypatch.setattr(Operators, "post", posted)
    monkeypatch.setenv("SOCKUDO_DASHBOARD_PASSWORD", "correct horse battery")
    return found


def test_every_node_is_a_line(run: Any, answers: dict[str, Any]) -> None:
    answers["nodes"] = {"nodes": [HERE, SKEWED], "complete": True}
    result = run("nodes")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()[1:]
    assert " ".join(first.split()) == (
        "a * 01234567 draining 1.2.0 (bus 100-102) 1 d 2 h 12,345 7 26% – 0.0 s ago 1.2 ms "
        "1,200 streams, 3 places apps: sqlite, push: memory"
    )
    assert "in service, clock -3.4 s" in second
    assert "2.0 ms" in second


def test_a_node_without_an_answer_ends_it_with_1(run: Any, answers: dict[str, Any]) -> None:
    answers["nodes"] = {"nodes": [HERE, SILENT], "complete": False}
    result = run("nodes")
    assert result.exit_code == 1
    assert " ".join(result.stdout.splitlines()[2].split()) == "b fedcba98 no answer – – – – – – 7.2 s ago – – –"
    result = run("nodes", "--json")
    assert json.loads(result.stdout) == answers["nodes"]


def test_a_node_is_drained_after_a_yes(run: Any, answers: dict[str, Any]) -> None:
    result = run("nodes", "drain", "a/b", "--seconds", "60", "--yes")
    assert result.exit_code == 0
    assert answers["posted"] == [("nodes/a%2Fb/drain", {"seconds": 60})]
    assert run("nodes", "drain", "a").exit_code == 2, "there is no terminal to ask at"


def test_without_a_password_nothing_is_asked(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOCKUDO_DASHBOARD_PASSWORD", raising=False)
    result = run("nodes")
    assert result.exit_code == 2
    assert "SOCKUDO_DASHBOARD_PASSWORD" in result.stderr


def test_the_configuration_says_where_and_with_which_password(tmp_path: Path) -> None:
    config = tmp_path / "sockudo.toml"
    config.write_text("[metrics]\nhost = '0.0.0.0'\nport = 9701\n[dashboard]\npassword = 'correct horse battery'\n")
    assert Operators.found(None, None, config) == Operators("http://127.0.0.1:9701", "correct horse battery")
    assert Operators.found("db-1:80", "other password", config) == Operators("http://db-1:80", "other password")


def test_a_server_that_is_not_there(run: Any) -> None:
    result = run("nodes", "--url", "http://127.0.0.1:1", "--password", "x")
    assert result.exit_code == 3
