"""``sockudo push dead-letters`` and ``replay``: what the pipeline gave up, and sending it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.cli.target import ServerOptions, with_server
from sockudo.push.cli import views
from sockudo.push.cli.options import (
    Everything,
    Json,
    JsonLines,
    Limit,
    Yes,
    ask,
    checked_provider,
    pages,
    print_json,
    refuse_without_terminal,
    show_pages,
    with_push,
)
from sockudo.push.cli.publishing import moment_of

if TYPE_CHECKING:
    from sockudo.client.push import PushApi

__all__ = ["dead_letters", "replay"]

Provider = Annotated[str | None, typer.Option("--provider", metavar="NAME", help="Only of this provider.")]


@with_server
def dead_letters(
    *,
    provider: Provider = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only from this time.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only up to this time.")] = None,
    limit: Limit = 50,
    everything: Everything = False,
    as_json: JsonLines = False,
    server: ServerOptions,
) -> None:
    """List what was given up, the oldest first, and why."""
    asked: dict[str, Any] = {
        "provider": None if provider is None else checked_provider(provider),
        "since_ms": moment_of(since, "--since"),
        "until_ms": moment_of(until, "--until"),
    }

    async def run(push: PushApi) -> None:
        async def ask_for(**page: Any) -> dict[str, Any]:
            return await push.dead_letters(**asked, **page)

        def show(items: list[dict[str, Any]]) -> None:
            views.print_dead_letters(items, "There are no dead letters.")
            if any(item["replayable"] for item in items):
                note("`sockudo push replay ID` sends one again, `sockudo push replay --all` all that can be.")

        await show_pages(ask_for, None if everything else limit, show, as_json=as_json)

    with_push(server.resolve(), run)


@with_server
def replay(
    *,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="These dead letters.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that can be sent again.")] = False,
    provider: Provider = None,
    yes: Yes = False,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Send dead letters again, as they were; they stay in the list."""
    if bool(ids) == everything:
        fail("Name what to send again: ids or --all, one of them.", ExitCode.USAGE)
    if provider is not None and not everything:
        fail("--provider goes with --all.", ExitCode.USAGE)
    only = None if provider is None else checked_provider(provider)
    refuse_without_terminal(yes)

    async def run(push: PushApi) -> None:
        wanted = list(ids or []) or await _replayable(push, only)
        if not wanted:
            typer.echo("There are no dead letters that can be sent again.")
            return
        count = len(wanted)
        if not yes:
            ask(f"Send {count:,} {'dead letter' if count == 1 else 'dead letters'} again?", "Nothing was sent.")
        for each in wanted:
            reply = await push.replay(each)
            if as_json:
                print_json(reply)
        if not as_json:
            typer.echo(f"{count:,} {'dead letter' if count == 1 else 'dead letters'} sent again.")

    with_push(server.resolve(), run)


async def _replayable(push: PushApi, provider: str | None) -> list[str]:
    async def ask_for(**page: Any) -> dict[str, Any]:
        return await push.dead_letters(provider=provider, **page)

    found = []
    async for items, _ in pages(ask_for, None):
        found += [item["deadLetterId"] for item in items if item["replayable"]]
    return found
