"""What holds for every command: help with an example, exit codes, quick starts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

COMMANDS = ("serve", "publish", "listen", "tail", "channels", "doctor", "explain", "version")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Any, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: sockudo {command}" in result.stdout
    assert "Exit codes:" in result.stdout


def test_the_list_names_every_command_and_where_to_start(run: Any) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in (*COMMANDS, "history", "apps", "config", "token"):
        assert f" {command} " in result.stdout
    assert "sockudo serve --dev" in result.stdout


def test_groups_are_loaded_when_asked_for(run: Any) -> None:
    for group in ("history", "apps", "config", "token"):
        result = run(group, "--help")
        assert result.exit_code == 0
        assert f"sockudo {group}" in result.stdout


@pytest.mark.parametrize("arguments", [("pubish",), ("publish", "harbor"), ("--nonsense",)])
def test_mistakes_are_usage_errors(run: Any, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_mistyped_command_is_answered_with_the_right_one(run: Any) -> None:
    assert "publish" in run("pubish").stderr


# Clients and servers, and what they are made of.
_HEAVY = ["httpx", "websockets", "uvicorn", "starlette", "uvloop", "sqlite3", "asyncio", "structlog", "jwt"]


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        ("version --json", [*_HEAVY, "rich"]),
        ("explain 4009", [*_HEAVY, "rich"]),
        ("--help", _HEAVY),
        ("publish --help", _HEAVY),
        ("apps --help", _HEAVY),
        ("push status --help", _HEAVY),
    ],
)
def test_a_command_that_needs_no_server_loads_neither_client_nor_server(arguments: str, heavy: list[str]) -> None:
    """Start-up time is imports: what a command does not use must not be loaded for it."""
    program = (
        "import sys\n"
        "from sockudo.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print([name for name in {heavy} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments.split()], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
