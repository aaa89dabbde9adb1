"""``sockudo push devices``: who is registered, and what they are subscribed to. Tokens are never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sockudo.cli.groups import CommandTable
from sockudo.cli.outcome import ExitCode, fail
from sockudo.cli.target import ServerOptions, Target, with_server
from sockudo.push.cli import views
from sockudo.push.cli.options import (
    EXIT_CODES,
    Everything,
    Json,
    JsonLines,
    Limit,
    Yes,
    ask,
    example,
    pages,
    print_json,
    refuse_without_terminal,
    show_pages,
    with_push,
)

if TYPE_CHECKING:
    from sockudo.client.push import PushApi

__all__ = ["app"]

app = CommandTable(
    help="List, look at and remove devices. Without a command they are listed.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    epilog=EXIT_CODES,
)

_Client = Annotated[str | None, typer.Option("--client", metavar="ID", help="Only the devices of this client.")]


@app.callback()
@with_server
def _root(context: typer.Context, server: ServerOptions) -> None:
    if context.invoked_subcommand is None:
        _list(server.resolve(), None, 50, as_json=False)


@app.command("list", epilog=example("sockudo push devices list --client u-91"))
@with_server
def list_devices(
    *,
    client: _Client = None,
    limit: Limit = 50,
    everything: Everything = False,
    as_json: JsonLines = False,
    server: ServerOptions,
) -> None:
    """List registered devices with their state, by id."""
    _list(server.resolve(), client, None if everything else limit, as_json=as_json)


def _list(target: Target, client: str | None, limit: int | None, *, as_json: bool) -> None:
    empty = "No device is registered." if client is None else f"The client {client} has no device."

    async def run(push: PushApi) -> None:
        async def ask_for(**page: Any) -> dict[str, Any]:
            return await push.devices(client_id=client, **page)

        await show_pages(ask_for, limit, lambda items: views.print_devices(items, empty), as_json=as_json)

    with_push(target, run)


@app.command(epilog=example("sockudo push devices show tablet-7"))
@with_server
def show(
    *,
    device_id: Annotated[str, typer.Argument(metavar="ID", help="The device.")],
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Show one device: its state, and the channels that it is subscribed to."""

    async def run(push: PushApi) -> None:
        device = await push.device(device_id)
        channels = []

        async def ask_for(**page: Any) -> dict[str, Any]:
            return await push.subscriptions(device_id=device_id, **page)

        async for items, _ in pages(ask_for, None):
            channels += [item["channel"] for item in items]
        if as_json:
            print_json({**device, "channels": channels})
        else:
            views.print_device(device, channels)

    with_push(server.resolve(), run)


@app.command(epilog=example("sockudo push devices remove tablet-7"))
@with_server
def remove(
    *,
    device_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The device.")] = None,
    client: Annotated[str | None, typer.Option("--client", metavar="ID", help="All devices of this client.")] = None,
    yes: Yes = False,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Remove a device and its subscriptions: it gets nothing any more until it is registered again."""
    if (device_id is None) == (client is None):
        fail("Name what to remove: a device's id or --client, one of them.", ExitCode.USAGE)
    refuse_without_terminal(yes)
    what = f"device {device_id}" if client is None else f"all devices of client {client}"
    target = server.resolve()
    if not yes:
        ask(f"Remove {what}?", "Nothing was removed.")

    async def run(push: PushApi) -> None:
        if client is not None:
            reply = await push.remove_devices_of(client)
            count = reply["deleted"]
        else:
            assert device_id is not None  # noqa: S101 - one of the two is given
            # It answers 404 for a mistyped id, which the removal itself does not.
            await push.device(device_id)
            await push.remove_device(device_id)
            count, reply = 1, {"deleted": 1}
        if as_json:
            print_json(reply)
        else:
            typer.echo(f"{count:,} {'device' if count == 1 else 'devices'} removed.")

    with_push(target, run)
