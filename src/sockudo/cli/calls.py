"""What a command does with the HTTP API open, and what it asks before it does what cannot be undone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import typer

from sockudo.cli.outcome import ExitCode, fail, failures, note

if TYPE_CHECKING:
    from sockudo.cli.target import ServerOptions, Target
    from sockudo.client.http import ApiClient

__all__ = ["ask", "refuse_without_terminal", "with_api"]


def with_api(server: ServerOptions, run: Callable[[ApiClient], Coroutine[Any, Any, None]]) -> None:
    """Finds the server and does it with the API open; what is refused ends the command with a message."""
    import asyncio

    with failures():
        asyncio.run(_opened(server.resolve(), run))


async def _opened(target: Target, run: Callable[[ApiClient], Coroutine[Any, Any, None]]) -> None:
    async with target.api() as api:
        await run(api)


def refuse_without_terminal(yes: bool) -> None:
    """Ends the command when it would have to ask and there is no terminal."""
    if not yes and not sys.stdin.isatty():
        fail("There is no terminal to ask at.", ExitCode.USAGE, "Add --yes to do it without asking.")


def ask(question: str, otherwise: str) -> None:
    """Ends the command, with what was not done, unless the answer is yes."""
    if not typer.confirm(question, err=True):
        note(otherwise)
        raise typer.Exit(ExitCode.REFUSED)
