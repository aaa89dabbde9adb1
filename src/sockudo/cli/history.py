"""``sockudo history``: what channels keep, read page by page, and what an operator may do to it by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli import history_views as views
from sockudo.cli.calls import ask, refuse_without_terminal, with_api
from sockudo.cli.groups import command_group, examples_with
from sockudo.cli.moments import read_moment
from sockudo.cli.options import Everything, Json, JsonLines, Yes
from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.cli.tables import print_json
from sockudo.cli.target import ServerOptions, with_server

if TYPE_CHECKING:
    from sockudo.client.http import ApiClient

__all__ = ["app"]

_EXIT_CODES: Final = (
    "Exit codes: 0 done · 1 refused by the server, or the question was answered with no · 2 wrong usage · "
    "3 the server could not be reached"
)

app = command_group(
    "Read what channels keep, purge it, or begin it anew. `history.enabled` makes a server keep messages.",
    _EXIT_CODES,
)
_example = examples_with(_EXIT_CODES)
_UNDONE: Final = "Nothing was changed."


Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel.")]
Presence = Annotated[bool, typer.Option("--presence", help="Who came and went on a presence channel, not messages.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; the server logs it.")]
RequestedBy = Annotated[
    str | None, typer.Option("--requested-by", metavar="WHO", help="Who asks for it; the server logs it.")
]


@app.command(epilog=_example("sockudo history show harbor --oldest --start-time 2026-01-05T09:30 --all"))
@with_server
def show(
    *,
    channel: Channel,
    presence: Presence = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Show so many. Without it, one page of the server's size.")
    ] = None,
    everything: Everything = False,
    oldest: Annotated[bool, typer.Option("--oldest/--newest", help="Which end to begin at.")] = False,
    start_serial: Annotated[int | None, typer.Option(min=0, metavar="SERIAL", help="Only from this serial.")] = None,
    end_serial: Annotated[int | None, typer.Option(min=0, metavar="SERIAL", help="Only up to this serial.")] = None,
    start_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only from this time: ISO 8601, or milliseconds since 1970.")
    ] = None,
    end_time: Annotated[str | None, typer.Option(metavar="TIME", help="Only up to this time.")] = None,
    as_json: JsonLines = False,
    server: ServerOptions,
) -> None:
    """Show what a channel keeps, the newest first."""
    if limit is not None and everything:
        fail("--limit and --all exclude each other.", ExitCode.USAGE)
    _check_presence(channel, presence)
    bounds = {"start_serial": start_serial, "end_serial": end_serial}
    bounds["start_time_ms"] = None if start_time is None else read_moment(start_time, "--start-time")
    bounds["end_time_ms"] = None if end_time is None else read_moment(end_time, "--end-time")
    query: dict[str, Any] = {
        "presence": presence,
        "oldest_first": oldest,
        "bounds": {name: value for name, value in bounds.items() if value is not None},
    }

    async def run(api: ApiClient) -> None:
        page: dict[str, Any] = {}
        async for page in _pages(api, channel, query, limit, everything=everything):
            if as_json:
                views.print_lines(page)
            elif page["items"]:
                views.print_page(page, presence=presence)
        if not as_json and not page["items"]:
            typer.echo("Nothing that fits is kept." if query["bounds"] else f"{channel} keeps nothing.")
        for sentence in views.what_is_left(page, oldest=oldest):
            note(sentence)

    with_api(server, run)


async def _pages(
    api: ApiClient, channel: str, query: dict[str, Any], limit: int | None, *, everything: bool
) -> AsyncIterator[dict[str, Any]]:
    """Page after page until there were ``limit`` items, or with ``everything`` until the end, else one."""
    cursor, left = None, limit
    while True:
        page = await api.history(channel, limit=left, cursor=cursor, **query)
        yield page
        cursor = page["next_cursor"]
        if left is not None:
            left -= len(page["items"])
        if cursor is None or not (everything if left is None else left > 0):
            return


@app.command(epilog=_example("sockudo history state harbor"))
@with_server
def state(
    *,
    channel: Channel,
    presence: Presence = False,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Show a channel's stream: how much is kept, and whether it can be relied on."""
    _check_presence(channel, presence)

    async def run(api: ApiClient) -> None:
        reply = await api.history_state(channel, presence=presence)
        if as_json:
            print_json(reply)
        else:
            views.print_state(reply)

    with_api(server, run)


@app.command(epilog=_example("sockudo history purge harbor --before-time 2026-01-05 --reason 'retention request 7'"))
@with_server
def purge(
    *,
    channel: Channel,
    before_serial: Annotated[
        int | None, typer.Option(min=0, metavar="SERIAL", help="Drop what is below this serial.")
    ] = None,
    before_time: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Drop what is older than this: ISO 8601, or milliseconds since 1970."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Drop all of it.")] = False,
    reason: Reason,
    requested_by: RequestedBy = None,
    yes: Yes = False,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Drop messages that a channel keeps. Serials go on as before."""
    if (before_serial is not None) + (before_time is not None) + everything != 1:
        fail("Name what to drop: --before-serial, --before-time or --all, one of them.", ExitCode.USAGE)
    _check_reason(reason)
    bounds: dict[str, Any] = {"before_serial": before_serial}
    bounds["before_time_ms"] = None if before_time is None else read_moment(before_time, "--before-time")
    what = "everything"
    if before_serial is not None:
        what = f"what is below serial {before_serial}"
    elif before_time is not None:
        what = f"what is older than {before_time}"

    async def run(api: ApiClient) -> None:
        if not yes:
            kept = views.kept_sentence(await api.history_state(channel))
            ask(f"{kept} Drop {what} for good?", _UNDONE)
        reply = await api.purge_history(channel, reason=reason, requested_by=requested_by, **bounds)
        if as_json:
            print_json(reply)
        else:
            views.print_purged(reply)

    refuse_without_terminal(yes)
    with_api(server, run)


@app.command(epilog=_example("sockudo history reset harbor --reason 'bad import'"))
@with_server
def reset(
    *,
    channel: Channel,
    presence: Presence = False,
    reason: Reason,
    requested_by: RequestedBy = None,
    yes: Yes = False,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Drop all that a channel keeps and begin a new stream. The cure for a degraded one."""
    _check_presence(channel, presence)
    _check_reason(reason)

    async def run(api: ApiClient) -> None:
        if not yes:
            kept = views.kept_sentence(await api.history_state(channel, presence=presence))
            ask(f"{kept} Drop it for good and begin a new stream? Who is away now cannot catch up then.", _UNDONE)
        reply = await api.reset_history(channel, reason=reason, requested_by=requested_by, presence=presence)
        if as_json:
            print_json(reply)
        else:
            views.print_reset(reply)

    refuse_without_terminal(yes)
    with_api(server, run)


@app.command(epilog=_example("sockudo history snapshot presence-crew --at 2026-01-05T09:30"))
@with_server
def snapshot(
    *,
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="The presence channel.")],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="At this time: ISO 8601, or milliseconds since 1970."),
    ] = None,
    at_serial: Annotated[
        int | None, typer.Option(min=0, metavar="SERIAL", help="After the event with this serial.")
    ] = None,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Show who was on a presence channel at some time, by what is kept of comings and goings."""
    _check_presence(channel, True)
    at_time_ms = None if at is None else read_moment(at, "--at")

    async def run(api: ApiClient) -> None:
        reply = await api.presence_snapshot(channel, at_time_ms=at_time_ms, at_serial=at_serial)
        if as_json:
            print_json(reply)
        else:
            views.print_snapshot(reply)
        if reply["continuity"]["truncated_by_retention"]:
            note("The oldest events are gone: who came before and stayed may be missing.")

    with_api(server, run)


def _check_presence(channel: str, presence: bool) -> None:
    if presence and not channel.startswith("presence-"):
        fail(f"{channel} is not a presence channel: it has no members.", ExitCode.USAGE)


def _check_reason(reason: str) -> None:
    if not reason.strip():
        fail("--reason is empty.", ExitCode.USAGE, "Example: --reason 'bad import'")
