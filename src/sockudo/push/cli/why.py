"""``sockudo push why``: why a recipient got no notification, or a publish did not reach all, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.moments import local_time
from sockudo.cli.outcome import ExitCode, note
from sockudo.cli.tables import printable
from sockudo.cli.target import ServerOptions, with_server
from sockudo.push.cli.options import Json, print_json, with_push
from sockudo.push.cli.views import print_aligned

if TYPE_CHECKING:
    from sockudo.client.push import PushApi

__all__ = ["why"]

_WORDS: Final = {"bad": "problem", "warn": "warning", "info": "note"}
_COLOURS: Final = {"bad": typer.colors.RED, "warn": typer.colors.YELLOW}
_WIDTH: Final = max(map(len, _WORDS.values()))


@with_server
def why(
    *,
    whom: Annotated[
        str, typer.Argument(metavar="WHOM", help="The id of a client (your user), of a device, or of a publish.")
    ],
    publish_id: Annotated[
        str | None, typer.Option("--publish", metavar="ID", help="Only what became of this publish at them.")
    ] = None,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Say why a device got no notification, and what to do. The exit code is 0 when everything was delivered."""

    async def run(push: PushApi) -> None:
        found = await push.why(whom, publish_id=publish_id)
        if as_json:
            print_json(found)
        else:
            _print(found)
        raise typer.Exit(ExitCode.DONE if found["delivered"] else ExitCode.REFUSED)

    with_push(server.resolve(), run)


def _print(found: Mapping[str, Any]) -> None:
    typer.secho(printable(f"{found['who']}: {_kind(found)}"), bold=True)
    if found["devices"]:
        print_aligned([["device", "client", "provider", "state", "channels"], *map(_device, found["devices"])], "")
    typer.echo()
    for finding in found["findings"]:
        _print_finding(finding)
    if found["publishes"]:
        typer.echo()
        rows = [_publish(each) for each in found["publishes"]]
        print_aligned([["publish", "accepted", "state", "what became of it"], *rows], "")
    if found["refused"] and not found["delivered"]:
        _print_refused(found["refused"])
    if found["of"] != "publish":
        looked = found["lookedAt"]
        whole = f"Of the newest {looked:,} publishes of the app." if looked else "The app has no publish that is kept."
        note(whole if found["complete"] else _PARTIAL)


_PARTIAL: Final = "Not all of the newest publishes could be gone through in time: name one with --publish."


def _kind(found: Mapping[str, Any]) -> str:
    match found["of"]:
        case "device":
            return "a device"
        case "client":
            count = len(found["devices"])
            return f"a client with {count:,} {'device' if count == 1 else 'devices'}"
        case "publish":
            return "a publish"
        case _:
            return "no device, and no client that has one"


def _device(device: Mapping[str, Any]) -> list[str]:
    channels = ", ".join(device["channels"]) or "none"
    return [device["id"], device.get("clientId") or "-", device["recipient"]["provider"], device["pushState"], channels]


def _publish(publish: Mapping[str, Any]) -> list[str]:
    return [publish["publishId"], local_time(publish["createdAtMs"]), publish["state"], publish["why"]]


def _print_finding(finding: Mapping[str, Any]) -> None:
    word = typer.style(f"{_WORDS[finding['kind']]:<{_WIDTH}}", fg=_COLOURS.get(finding["kind"]))
    typer.echo(f"{word}  {printable(finding['text'])}")
    advice = [finding["remedy"]] if finding.get("remedy") else []
    if finding.get("code"):
        advice.append(f"More: sockudo explain {finding['code']}")
    for line in advice:
        typer.echo(f"{'':<{_WIDTH}}  → {printable(line)}")


def _print_refused(refused: Sequence[Mapping[str, Any]]) -> None:
    """What never became a publish: of everybody's, since the server cannot tell whom it was for."""
    typer.echo()
    typer.echo("Publishes of this app that the server refused lately, for any target:")
    for each in refused:
        times = "once" if each["count"] == 1 else f"{each['count']:,} times"
        typer.echo(f"  {each['code']}, {times}, last at {local_time(each['lastAtMs'])}: {printable(each['text'])}")
        typer.echo(f"    → {printable(each['remedy'])}")
