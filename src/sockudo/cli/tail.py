"""``sockudo tail``: print what happens in an app, as it happens, with the reasons of what is refused."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from sockudo.cli.options import JsonLines
from sockudo.cli.outcome import ExitCode, fail, failures, in_seconds
from sockudo.cli.target import ServerOptions, with_server

__all__ = ["KINDS_HELP", "tail"]

_PANEL: Final = "What to show"

KINDS_HELP: Final = (
    "Only these, with commas: connected, connect_refused, closed, signed_in, signin_refused, subscribed, "
    "subscribe_refused, unsubscribed, message, doubtful, frame_refused, request_refused, push_refused, "
    "webhook_delivered, webhook_failed, webhook_dead."
)


@with_server
def tail(
    *,
    channel: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=_PANEL, help="Only what concerns this channel.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="ID", rich_help_panel=_PANEL, help="Only what concerns this user.")
    ] = None,
    socket: Annotated[
        str | None, typer.Option(metavar="ID", rich_help_panel=_PANEL, help="Only what concerns this connection.")
    ] = None,
    kinds: Annotated[str | None, typer.Option(metavar="LIST", rich_help_panel=_PANEL, help=KINDS_HELP)] = None,
    problems: Annotated[
        bool, typer.Option("--problems", help="Print what went wrong lately first, grouped, with what to do.")
    ] = False,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="End after N lines.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="End after this time.")] = None,
    as_json: JsonLines = False,
    server: ServerOptions,
) -> None:
    """Show what happens in an app until Ctrl-C: connects, subscribes, messages, webhooks, closes, and every refusal.

    A refusal comes with its likely cause and, the first time, with what to do. Joined nodes show what happens on all of
    them, each with its name; servers that are not joined are named one by one with --url.
    """
    import asyncio

    from sockudo.cli.tail_views import TailPrinter
    from sockudo.cli.tailing import Tailer, Wanted

    with failures():
        target = server.resolve()
        tailer = Tailer(target, Wanted(channel, user, socket, kinds), TailPrinter(as_json=as_json), count=count)
        try:
            in_time = asyncio.run(tailer.run(timeout, problems=problems))
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.DONE) from None
    if not in_time and count is not None:
        fail(f"{tailer.printed} of {count} lines came within {in_seconds(timeout or 0)}.", ExitCode.TOO_FEW)
