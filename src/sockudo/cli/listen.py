"""``sockudo listen``: print the events of some channels as they come."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from sockudo.cli.filters import FILTER_HELP
from sockudo.cli.listen_options import Delta, Format, Wishes, read_options
from sockudo.cli.options import JsonLines, check_origin
from sockudo.cli.outcome import ExitCode, fail, failures, in_seconds
from sockudo.cli.target import ServerOptions, with_server

__all__ = ["listen"]

_PANEL: Final = "Protocol 2"


Channels = Annotated[list[str], typer.Argument(metavar="CHANNEL", help="The channels to subscribe to.")]
UserId = Annotated[str | None, typer.Option("--user-id", metavar="ID", help="Who to be on presence channels.")]
UserInfo = Annotated[
    str | None, typer.Option("--user-info", metavar="JSON", help="What the other members see of that user.")
]
Count = Annotated[int | None, typer.Option(min=1, metavar="N", help="End after N events.")]
Timeout = Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="End after this time.")]
Everything = Annotated[
    bool, typer.Option("--all", help="Print acknowledgements, counts and pings too, not only events and members.")
]
Origin = Annotated[
    str | None,
    typer.Option(metavar="ORIGIN", help="Connect as a page of this origin; no Origin header is sent without it."),
]
Protocol = Annotated[int, typer.Option(min=1, max=2, help="1 is what stock Pusher clients speak; 2 is Sockudo's own.")]
Rewind = Annotated[
    str | None,
    typer.Option(metavar="N|TIME", rich_help_panel=_PANEL, help="Begin with the last N events, or with 90s, 5m, 2h."),
]
SinceText = Annotated[
    str | None,
    typer.Option(
        metavar="SERIAL[@STREAM]", rich_help_panel=_PANEL, help="Begin behind this event, the last one you have."
    ),
]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", metavar="NAME", rich_help_panel=_PANEL, help="Only these events; may be repeated."),
]
Filters = Annotated[
    list[str] | None, typer.Option("--filter", metavar="FILTER", rich_help_panel=_PANEL, help=FILTER_HELP)
]
FormatName = Annotated[
    Format | None, typer.Option("--format", rich_help_panel=_PANEL, help="How frames are written on the way.")
]
DeltaName = Annotated[
    Delta | None,
    typer.Option("--delta", rich_help_panel=_PANEL, help="Let events come as differences, in this format."),
]
TokenText = Annotated[
    str | None,
    typer.Option(
        metavar="JWT", rich_help_panel=_PANEL, help="Connect with this capability token; - reads standard input."
    ),
]


@with_server
def listen(
    *,
    channels: Channels,
    user_id: UserId = None,
    user_info: UserInfo = None,
    count: Count = None,
    timeout: Timeout = None,
    everything: Everything = False,
    origin: Origin = None,
    as_json: JsonLines = False,
    protocol: Protocol = 1,
    rewind: Rewind = None,
    since: SinceText = None,
    event: Events = None,
    filter_: Filters = None,
    format_: FormatName = None,
    delta: DeltaName = None,
    token: TokenText = None,
    server: ServerOptions,
) -> None:
    """Subscribe to channels and print what arrives, until Ctrl-C.

    With --protocol 2 a lost connection costs nothing, as long as the server keeps what was missed: the listener goes on
    where it was, and says how many events it has recovered, or why it could not.
    """
    import asyncio

    from sockudo.cli.listening import Listener
    from sockudo.cli.printer import Printer

    wishes = Wishes(format_, token, filter_ or (), event or (), rewind, since, delta)
    v2 = read_options(protocol, wishes, channels)
    info = _user_info(user_info)
    _check_user(channels, user_id)
    check_origin(origin)
    with failures():
        target = server.resolve(_parts_needed(channels, has_token=token is not None))
        listener = Listener(
            target,
            channels,
            Printer(as_json=as_json, everything=everything),
            user_id=user_id,
            user_info=info,
            count=count,
            v2=v2,
            origin=origin,
        )
        try:
            in_time = asyncio.run(listener.run(timeout))
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.DONE) from None
    if not in_time and count is not None:
        fail(f"{listener.printed} of {count} events came within {in_seconds(timeout or 0)}.", ExitCode.TOO_FEW)


def _parts_needed(channels: list[str], *, has_token: bool) -> tuple[str, ...]:
    """What is signed needs the app's secret, and nothing here needs its id."""
    from sockudo.cli.listening import is_signed_for

    return ("--key", "--secret") if not has_token and any(map(is_signed_for, channels)) else ("--key",)


def _check_user(channels: list[str], user_id: str | None) -> None:
    for name in channels:
        if name.startswith("presence-") and user_id is None:
            fail(f"{name} is a presence channel: give a user id.", ExitCode.USAGE, "Add --user-id ID.")


def _user_info(text: str | None) -> Any:
    import json

    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        fail(f"--user-info is not JSON: {error}.", ExitCode.USAGE, 'Example: --user-info \'{"name": "Ana"}\'')
