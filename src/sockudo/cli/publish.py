"""``sockudo publish``: one event to one or several channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sockudo.cli.options import Json
from sockudo.cli.outcome import ExitCode, fail, failures, note
from sockudo.cli.tables import print_json
from sockudo.cli.target import ServerOptions, Target, with_server

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["publish", "read_data"]


Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel to publish to.")]
Event = Annotated[str, typer.Argument(metavar="EVENT", help="The event's name.")]
Data = Annotated[str | None, typer.Argument(metavar="DATA", help="JSON or text; - reads it from standard input.")]
More = Annotated[
    list[str] | None, typer.Option("--channel", metavar="CHANNEL", help="Another channel; may be repeated.")
]
SocketId = Annotated[
    str | None, typer.Option("--socket-id", metavar="ID", help="The connection that must not receive the event.")
]
Info = Annotated[str | None, typer.Option(metavar="LIST", help="Counts to answer: user_count,subscription_count.")]
IdempotencyKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="Publishing again under the same key does nothing.")
]
MessageId = Annotated[
    str | None,
    typer.Option("--message-id", metavar="ID", help="Your own id: the same one again is answered, not published."),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=VALUE", help="What filters of subscribers look at; may be repeated."),
]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header", metavar="NAME=VALUE", help="A header; a number, true or false is sent as such. May be repeated."
    ),
]
Ephemeral = Annotated[bool, typer.Option("--ephemeral", help="Deliver it, but keep it nowhere.")]
Echo = Annotated[bool | None, typer.Option("--echo/--no-echo", help="Whether the sender of an AI event gets it, too.")]
AsText = Annotated[bool, typer.Option("--text", help="DATA is text, even if it begins like JSON.")]


@with_server
def publish(
    *,
    channel: Channel,
    event: Event,
    data: Data = None,
    more: More = None,
    socket_id: SocketId = None,
    info: Info = None,
    idempotency_key: IdempotencyKey = None,
    message_id: MessageId = None,
    tag: Tags = None,
    header: Headers = None,
    ephemeral: Ephemeral = False,
    echo: Echo = None,
    as_text: AsText = False,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Publish an event."""
    import asyncio

    text = read_data(data, as_text=as_text)
    channels = [channel, *(more or [])]
    for name in channels:
        if name.startswith("private-encrypted-"):
            note(f"Note: {name} is end-to-end encrypted; its subscribers cannot read data that no SDK has encrypted.")
    options: dict[str, Any] = {
        "socket_id": socket_id,
        "info": [word.strip() for word in info.split(",")] if info else (),
        "idempotency_key": idempotency_key,
        "message_id": message_id,
        "tags": _pairs(tag, "--tag"),
        "extras": _extras(_pairs(header, "--header"), ephemeral=ephemeral, echo=echo),
    }
    with failures():
        target = server.resolve()
        reply = asyncio.run(_publish(target, channels, event, text, options))
    if as_json:
        print_json(reply)
        return
    typer.echo(f"Published {event} to {', '.join(channels)}.")
    for name, answers in reply.get("channels", {}).items():
        # Ids and serials are for those who gave an id.
        shown = {label: value for label, value in answers.items() if message_id is not None or label.endswith("_count")}
        typer.echo(f"  {name}: {', '.join(f'{label} {value}' for label, value in shown.items())}")


async def _publish(
    target: Target, channels: Sequence[str], event: str, data: str | None, options: dict[str, Any]
) -> dict[str, Any]:
    async with target.api() as api:
        return await api.publish(channels, event, data, **options)


def _pairs(options: Sequence[str] | None, option: str) -> dict[str, str]:
    """Names and values; a value may have equals signs in it, a name has none."""
    pairs: dict[str, str] = {}
    for text in options or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            fail(f"{option}: '{text}' is not of the form NAME=VALUE.", ExitCode.USAGE)
        if name in pairs:
            fail(f"{option}: {name} is given twice.", ExitCode.USAGE)
        pairs[name] = value
    return pairs


def _extras(headers: dict[str, str], *, ephemeral: bool, echo: bool | None) -> dict[str, Any]:
    """The envelope of protocol V2 (spec: http-api § 5.5); empty when nothing was asked for."""
    extras: dict[str, Any] = {}
    if headers:
        extras["headers"] = {name: _header(value) for name, value in headers.items()}
    if ephemeral:
        extras["ephemeral"] = True
    if echo is not None:
        extras["echo"] = echo
    return extras


def _header(text: str) -> str | int | float | bool:
    """A number or a truth value that is written as JSON writes it, a string in JSON's quotes, else the text itself."""
    import json

    def refuse(word: str) -> Any:
        raise ValueError(word)

    try:
        value = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str | int | float) else text


def read_data(data: str | None, *, as_text: bool) -> str | None:
    """The data to send. Text that begins like a JSON document must be one: a typing error would arrive as a string."""
    import json
    import sys

    if data == "-":
        try:
            data = sys.stdin.buffer.read().decode().rstrip("\n")
        except UnicodeDecodeError as error:
            fail(f"Standard input is not UTF-8: {error.reason} at byte {error.start}.", ExitCode.USAGE)
    if data is None or as_text or not data.lstrip().startswith(("{", "[")):
        return data
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, ValueError) else "nested too deeply"
        fail(f"DATA is not JSON: {reason}.", ExitCode.USAGE, "Correct it, or send it as it is with --text.")
    return data
