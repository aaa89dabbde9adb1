"""``sockudo token``: capability tokens, made for trying things out and looked at when one is refused."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.groups import command_group, examples_with
from sockudo.cli.outcome import ExitCode, fail, in_seconds, note
from sockudo.cli.tables import print_json
from sockudo.cli.target import ServerOptions, with_server

if TYPE_CHECKING:
    from sockudo.auth.tokens import Token
    from sockudo.client.auth import Credentials

__all__ = ["app"]

_EXIT_CODES: Final = "Exit codes: 0 done, accepted · 1 the server would refuse the token · 2 wrong usage"
_LONGEST: Final = 86_400

app = command_group(
    "Make and check capability tokens, with which clients of protocol V2 connect. "
    "An app's own backend makes them with any JWT library.",
    _EXIT_CODES,
)
_example = examples_with(_EXIT_CODES)


@app.command(
    epilog=_example(
        "sockudo token create --client-id crew-8 --capability 'harbor-*=subscribe,history'[/bold]\n\n"
        "Try it: [bold]sockudo listen harbor-1 --protocol 2 --token TOKEN"
    )
)
@with_server
def create(
    *,
    client_id: Annotated[str, typer.Option("--client-id", metavar="ID", help="The user that the connection will be.")],
    capability: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN=OPERATION,…",
            help=(
                "What it may do on which channels: subscribe, publish, history, presence and more; * stands for any "
                "characters. May be repeated."
            ),
        ),
    ] = None,
    capability_json: Annotated[
        str | None, typer.Option("--capability-json", metavar="JSON", help="The same as one object of arrays.")
    ] = None,
    ttl: Annotated[int, typer.Option(metavar="SECONDS", min=1, max=_LONGEST, help="How long it is valid.")] = 3600,
    as_json: Annotated[bool, typer.Option("--json", help="Print the token and its claims as JSON.")] = False,
    server: ServerOptions,
) -> None:
    """Make a token and print it."""
    from sockudo.auth.tokens import make_token

    granted = _granted(capability, capability_json)
    credentials = server.credentials()
    now = time.time()
    try:
        text = make_token(credentials.key, credentials.secret, client_id, granted, ttl, now)
    except UnicodeEncodeError:
        fail("An argument is not UTF-8.", ExitCode.USAGE)
    read = _read(credentials, text, now)
    if isinstance(read, str):
        fail(f"A server would refuse this token: {read}.", ExitCode.USAGE)
    if as_json:
        claims = {"client_id": client_id, "capability": granted, "jti": read.jti, "iat": read.issued_at}
        print_json({"token": text, **claims, "exp": read.expires_at})
        return
    typer.echo(text)
    note(f"For {client_id}, as app {credentials.app_id}, until {_date(read.expires_at)}; its jti is {read.jti}.")


@app.command(epilog=_example("sockudo token show eyJhbGciOiJIUzI1NiIs…"))
@with_server
def show(
    *,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token; - reads it from standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: accepted, reason, header, claims.")] = False,
    server: ServerOptions,
) -> None:
    """Show what a token says, and whether a server would accept it now. Only the server knows the revoked ones."""
    text = token
    if token == "-":  # noqa: S105 - the word for standard input
        text = sys.stdin.buffer.readline().decode("latin-1").strip()
    credentials = server.credentials()
    now = time.time()
    header, claims = _unverified(text)
    read = _read(credentials, text, now)
    reason = read if isinstance(read, str) else None
    if as_json:
        print_json({"accepted": reason is None, "reason": reason, "header": header, "claims": claims})
        raise typer.Exit(ExitCode.DONE if reason is None else ExitCode.REFUSED)
    _print_rows({**header, **claims}, now)
    if reason is not None:
        fail(f"A server would refuse this token as app {credentials.app_id}: {reason}.", ExitCode.REFUSED)
    typer.echo(f"A server would accept this token as app {credentials.app_id}, unless it was revoked.")


def _granted(capability: Sequence[str] | None, text: str | None) -> Mapping[str, Any]:
    """The claim that the options describe; whether a server would take it is for the reader of tokens to judge."""
    if (capability is None) == (text is None):
        fail(
            "Give either --capability or --capability-json.",
            ExitCode.USAGE,
            "Example: --capability 'harbor-*=subscribe,history'",
        )
    if text is not None:
        try:
            granted = json.loads(text)
        except (ValueError, RecursionError):
            granted = None
        if not isinstance(granted, dict):
            fail(
                "--capability-json is not a JSON object.",
                ExitCode.USAGE,
                """Example: --capability-json '{"harbor-*": ["subscribe"]}'""",
            )
        return granted
    found: dict[str, list[str]] = {}
    for option in capability or ():
        # Channels may have an equals sign in their names, operations have none.
        pattern, equals, operations = option.rpartition("=")
        if not equals:
            fail(f"'{option}' is not of the form PATTERN=OPERATION,…", ExitCode.USAGE)
        found.setdefault(pattern, []).extend(word.strip() for word in operations.split(",") if word.strip())
    return found


def _read(credentials: Credentials, text: str, now: float) -> Token | str:
    """The token as a server reads it, or why it would not."""
    from sockudo.apps.resolve import Defaults
    from sockudo.apps.resolve import resolve as live
    from sockudo.auth.tokens import read_token
    from sockudo.config.apps import App
    from sockudo.errors import SockudoError

    record = App(credentials.app_id, credentials.key, credentials.secret, enabled=True)
    try:
        return read_token(live(record, Defaults()), text, now)
    except SockudoError as error:
        return error.text.removeprefix("Authentication error: ")


def _unverified(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims; empty when there are none to be seen."""
    from sockudo.auth.tokens import unverified_token
    from sockudo.errors import SockudoError

    try:
        return unverified_token(text)
    except SockudoError:
        return {}, {}


def _print_rows(values: Mapping[str, Any], now: float) -> None:
    width = max(map(len, values), default=0)
    for name, value in values.items():
        shown = _moment(value, now) if name in ("iat", "nbf", "exp") else _cell(value)
        typer.echo(f"{_cell(name).ljust(width)}  {shown}")


def _cell(value: Any) -> str:
    # A token may come from anywhere: nothing in it reaches the terminal but what can be seen.
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _moment(value: Any, now: float) -> str:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10**11:
        return _cell(value)
    seconds = round(value - now)
    count = in_seconds(abs(seconds))
    distance = f"in {count}" if seconds >= 0 else f"{count} ago"
    return f"{value} ({_date(value)}, {distance})"


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ").replace("+00:00", " UTC")
