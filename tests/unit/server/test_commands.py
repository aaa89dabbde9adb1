"""What holds for every command: help with an example, exit codes, quick starts."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest

COMMANDS = ("serve", "publish", "listen", "tail", "channels", "doctor", "explain", "version", "backup", "restore")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Any, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: sockudo {command}" in result.stdout
    assert "Exit codes:" in result.stdout


def test_the_list_names_every_command_and_where_to_start(run: Any) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in (*COMMANDS, "history", "apps", "config", "token", "nodes"):
        assert f" {command} " in result.stdout
    assert "sockudo serve --dev" in result.stdout


def test_the_list_has_headings(run: Any) -> None:
    text = run("--help").stdout
    headings = ("Run a server", "Publish and listen", "Webhooks and notifications", "Find what is wrong")
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)
    assert places[0] < text.index(" serve ") < places[1] < text.index(" listen ") < places[2] < text.index(" push ")
    assert " Commands " not in text


@pytest.mark.parametrize("columns", [60, 80, 132])
@pytest.mark.parametrize("command", ["doctor", "listen", "tail"])
def test_help_is_wrapped_at_the_width_of_the_terminal(
    run: Any, monkeypatch: pytest.MonkeyPatch, command: str, columns: int
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", columns)
    lines = [line.rstrip() for line in run(command, "--help").stdout.splitlines()]
    text = lines[: next(number for number, line in enumerate(lines) if line.startswith("╭"))]
    for line, following in itertools.pairwise(text):
        if line.strip() and following.strip() and "Usage:" not in line:
            # The next word would not have fitted.
            assert len(line) + 1 + len(following.split()[0]) >= columns - 2, (line, following)


def test_groups_are_loaded_when_asked_for(run: Any) -> None:
    for group in ("history", "apps", "config", "token", "nodes"):
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


_LIGHT = {
    "version --json": [*_HEAVY, "rich", "ssl"],
    "explain 4009": [*_HEAVY, "rich"],
    "--help": _HEAVY,
    "publish --help": _HEAVY,
    "apps --help": _HEAVY,
    "push status --help": _HEAVY,
}
"""Commands, and what they do not load."""

# Runs each as the entry point does, in a copy of a process that has loaded what comes before any command.
_PROGRAM = """
import os, sys
from sockudo.__main__ import main

for arguments in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        sys.argv[1:] = arguments.split()
        try:
            main()
        finally:
            print(*sys.modules, file=sys.stderr)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"sockudo {arguments} failed")
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """The modules of each command once it has ended."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *_LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = [set(line.split()) for line in done.stderr.splitlines()]
    assert all("sockudo.server.commands" in names for names in modules)
    return dict(zip(_LIGHT, modules, strict=True))


@pytest.mark.parametrize("arguments", _LIGHT)
def test_a_command_that_needs_no_server_loads_neither_client_nor_server(
    arguments: str, loaded: dict[str, set[str]]
) -> None:
    """Start-up time is imports: what a command does not use must not be loaded for it."""
    assert loaded[arguments].isdisjoint(_LIGHT[arguments])
