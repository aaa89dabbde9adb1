"""``sockudo message``: one message that can change, as it reads now, with its versions, and changing it by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.calls import with_api
from sockudo.cli.groups import command_group, examples_with
from sockudo.cli.moments import local_time
from sockudo.cli.options import Everything, Json, JsonLines
from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.cli.publish import read_data
from sockudo.cli.tables import print_json, print_table, printable
from sockudo.cli.target import ServerOptions, with_server

if TYPE_CHECKING:
    from sockudo.client.http import ApiClient

__all__ = ["app"]

_EXIT_CODES: Final = "Exit codes: 0 done · 1 refused by the server · 2 wrong usage · 3 the server could not be reached"

app = command_group(
    "Read a message that can change, and change it. `versioned_messages.enabled` makes messages of channels with a "
    "history change; `sockudo history show CHANNEL --json` has their serials.",
    _EXIT_CODES,
)
_example = examples_with(_EXIT_CODES)
_LONGEST_DATA: Final = 200
_CLEARED: Final = ("name", "data", "extras")

Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel.")]
Serial = Annotated[str, typer.Argument(metavar="SERIAL", help="The message's serial.")]
Data = Annotated[
    str | None, typer.Argument(metavar="DATA", help="The new data, JSON or text; - reads it from standard input.")
]
AsText = Annotated[bool, typer.Option("--text", help="DATA is text, even if it begins like JSON.")]
Clear = Annotated[
    list[str] | None, typer.Option("--clear", metavar="FIELD", help="Remove name, data or extras; may be repeated.")
]
Description = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it is kept with the version.")]
Metadata = Annotated[str | None, typer.Option(metavar="JSON", help="More about the version; it is kept with it.")]
ClientId = Annotated[str | None, typer.Option("--client-id", metavar="ID", help="In whose name it is changed.")]
OpId = Annotated[
    str | None, typer.Option("--op-id", metavar="ID", help="The same change again under the same id does nothing.")
]


@app.command(epilog=_example("sockudo message show chat 00000001785000000123:a:00000000000000000042"))
@with_server
def show(*, channel: Channel, serial: Serial, as_json: Json = False, server: ServerOptions) -> None:
    """Show a message as it reads now."""

    async def run(api: ApiClient) -> None:
        reply = await api.message(channel, serial)
        if as_json:
            print_json(reply)
        else:
            _print_item(reply["item"])

    with_api(server, run)


@app.command(epilog=_example("sockudo message versions chat 00000001785000000123:a:00000000000000000042 --oldest"))
@with_server
def versions(
    *,
    channel: Channel,
    serial: Serial,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Show so many. Without it, one page of the server's size.")
    ] = None,
    everything: Everything = False,
    oldest: Annotated[bool, typer.Option("--oldest/--newest", help="Which end to begin at.")] = False,
    as_json: JsonLines = False,
    server: ServerOptions,
) -> None:
    """Show the versions of a message, the newest first; an append has its piece alone."""
    if limit is not None and everything:
        fail("--limit and --all exclude each other.", ExitCode.USAGE)

    async def run(api: ApiClient) -> None:
        items: list[dict[str, Any]] = []
        cursor, more = None, True
        while more:
            left = None if limit is None else limit - len(items)
            page = await api.message_versions(channel, serial, limit=left, cursor=cursor, oldest_first=oldest)
            items += page["items"]
            cursor = page.get("next_cursor")
            more = page["has_more"] and (everything if limit is None else len(items) < limit)
        if as_json:
            for item in items:
                print_json(item)
        else:
            print_table(["time", "action", "data", "by", "why"], [_version_row(item) for item in items], "")
        if cursor is not None:
            note("There are more versions: see all of them with --all.")

    with_api(server, run)


@app.command(epilog=_example("sockudo message update chat 00000001785000000123:a:00000000000000000042 'Good bye'"))
@with_server
def update(
    *,
    channel: Channel,
    serial: Serial,
    data: Data = None,
    name: Annotated[str | None, typer.Option(metavar="EVENT", help="The new name of the event.")] = None,
    clear: Clear = None,
    description: Description = None,
    metadata: Metadata = None,
    client_id: ClientId = None,
    op_id: OpId = None,
    as_text: AsText = False,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Replace or remove parts of a message; what is not named stays as it is."""
    changes = _changes(name=name, data=read_data(data, as_text=as_text), clear_fields=_cleared(clear))
    changes |= _about(description, metadata, client_id, op_id)
    if not changes:
        fail("Name what to change: DATA, --name, --clear or --description.", ExitCode.USAGE)
    _change(server, channel, serial, "update", changes, as_json)


@app.command(epilog=_example("sockudo message delete chat 00000001785000000123:a:00000000000000000042 --clear data"))
@with_server
def delete(
    *,
    channel: Channel,
    serial: Serial,
    clear: Clear = None,
    description: Description = None,
    metadata: Metadata = None,
    client_id: ClientId = None,
    op_id: OpId = None,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Mark a message as deleted. Its data stay readable unless --clear data removes them."""
    changes = _changes(clear_fields=_cleared(clear)) | _about(description, metadata, client_id, op_id)
    _change(server, channel, serial, "delete", changes, as_json)


@app.command(epilog=_example("sockudo message append chat 00000001785000000123:a:00000000000000000042 ' and so on'"))
@with_server
def append(
    *,
    channel: Channel,
    serial: Serial,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is added; - reads it from standard input.")],
    description: Description = None,
    metadata: Metadata = None,
    client_id: ClientId = None,
    op_id: OpId = None,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Add text to the end of a message."""
    piece = read_data(text, as_text=True)
    if not piece:
        fail("There is nothing to append.", ExitCode.USAGE)
    changes = _changes(data=piece) | _about(description, metadata, client_id, op_id)
    _change(server, channel, serial, "append", changes, as_json)


def _changes(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _cleared(fields: list[str] | None) -> list[str] | None:
    for field in fields or ():
        if field not in _CLEARED:
            fail(f"--clear: '{field}' is none of {', '.join(_CLEARED)}.", ExitCode.USAGE)
    return fields or None


def _about(description: str | None, metadata: str | None, client_id: str | None, op_id: str | None) -> dict[str, Any]:
    read = None
    if metadata is not None:
        try:
            read = json.loads(metadata)
        except (ValueError, RecursionError):
            fail("--metadata is not JSON.", ExitCode.USAGE, """Example: --metadata '{"ticket":7}'""")
    return _changes(description=description, metadata=read, client_id=client_id, op_id=op_id)


def _change(
    server: ServerOptions, channel: str, serial: str, action: str, changes: Mapping[str, Any], as_json: bool
) -> None:
    async def run(api: ApiClient) -> None:
        reply = await api.change_message(channel, serial, action, changes)
        if as_json:
            print_json(reply)
        elif reply["status"] == "duplicate":
            typer.echo(f"Nothing was changed: version {reply['version_serial']} was made by the same op_id.")
        else:
            typer.echo(f"Done: it is version {reply['version_serial']} now, serial {reply['delivery_serial']}.")

    with_api(server, run)


def _text(item: Mapping[str, Any]) -> str:
    data = item.get("data")
    if data is None:
        return "-"
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return text if len(text) <= _LONGEST_DATA else f"{text[:_LONGEST_DATA]}…"


def _version_row(item: Mapping[str, Any]) -> list[str]:
    version = item["version"]
    when = local_time(version["timestamp_ms"])
    return [when, item["action"], _text(item), version.get("client_id") or "-", version.get("description") or ""]


def _print_item(item: Mapping[str, Any]) -> None:
    version = item["version"]
    data = item.get("data")
    rows = {
        "message": item["message_serial"],
        "version": f"{version['serial']} ({item['action']})",
        "changed" if item["action"] != "create" else "created": local_time(version["timestamp_ms"]),
        "by": version.get("client_id"),
        "why": version.get("description"),
        "serials": f"{item['history_serial']} in the history, {item['delivery_serial']} in the order of delivery",
        "data": data if data is None or isinstance(data, str) else json.dumps(data, ensure_ascii=False),
    }
    typer.secho(f"{printable(item.get('name') or '-')} on {printable(item['channel'])}", bold=True)
    for label, text in rows.items():
        if text is not None:
            typer.echo(f"  {label + ':':<9} {printable(text)}")
