"""``sockudo channels``: which channels are occupied, or what is known of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sockudo.cli.options import Json
from sockudo.cli.outcome import ExitCode, fail, failures
from sockudo.cli.tables import print_json, print_table
from sockudo.cli.target import ServerOptions, Target, with_server

__all__ = ["channels"]


@with_server
def channels(
    *,
    channel: Annotated[str | None, typer.Argument(metavar="CHANNEL", help="Only this channel.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only channels whose name begins like this.")] = None,
    info: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Attributes: subscription_count, user_count (presence only), cache."),
    ] = None,
    users: Annotated[bool, typer.Option("--users", help="The members of the presence channel CHANNEL.")] = False,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """List the occupied channels, or show one of them."""
    import asyncio

    if users and channel is None:
        fail("--users needs a CHANNEL.", ExitCode.USAGE, "Example: sockudo channels presence-crew --users")
    if prefix is not None and channel is not None:
        fail("--prefix and CHANNEL exclude each other.", ExitCode.USAGE)
    wanted = _wanted(info, channel or prefix or "")
    with failures():
        target = server.resolve()
        reply = asyncio.run(_ask(target, channel, prefix or "", wanted, users=users))
    if as_json:
        print_json(reply)
    elif users:
        print_table(["user"], [[user["id"]] for user in reply["users"]], f"No user is on {channel}.")
    elif channel is not None:
        print_table(["attribute", "value"], [[name, _cell(value)] for name, value in reply.items()], "")
    else:
        _print_channels(reply["channels"])


def _wanted(info: str | None, name: str) -> list[str]:
    """The attributes to ask for; without a wish, every count that the server would not refuse for these names."""
    if info is not None:
        return [word.strip() for word in info.split(",") if word.strip()]
    return ["subscription_count", "user_count"] if name.startswith("presence-") else ["subscription_count"]


async def _ask(target: Target, channel: str | None, prefix: str, info: list[str], *, users: bool) -> dict[str, Any]:
    async with target.api() as api:
        if channel is None:
            return {"channels": await api.channels(prefix=prefix, info=info)}
        if users:
            return {"users": [{"id": user} for user in await api.users(channel)]}
        return await api.channel(channel, info=info)


def _print_channels(found: Mapping[str, Mapping[str, Any]]) -> None:
    columns = sorted({label for attributes in found.values() for label in attributes})
    rows = [[name, *(_cell(found[name].get(label, "")) for label in columns)] for name in sorted(found)]
    print_table(["channel", *columns], rows, "No channel is occupied.")


def _cell(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
