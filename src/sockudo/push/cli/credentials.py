"""``sockudo push credentials``: what an app proves itself with to the providers. Secrets come from files alone: an
argument is visible to other users of the machine.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.groups import CommandTable
from sockudo.cli.outcome import ExitCode, fail
from sockudo.cli.target import ServerOptions, Target, with_server
from sockudo.push.cli.options import (
    EXIT_CODES,
    Json,
    JsonLines,
    checked_provider,
    example,
    print_json,
    show_pages,
    with_push,
)
from sockudo.push.cli.views import print_aligned

if TYPE_CHECKING:
    from sockudo.client.push import PushApi

__all__ = ["app", "fields_of"]

app = CommandTable(
    help="List and store the credentials that an app has at providers. Without a command they are listed.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    epilog=EXIT_CODES,
)

_BEGIN: Final = b"-----BEGIN"
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE"
_ACCOUNTS: Final = {"hms": "hmsAppId", "wns": "packageSid"}


@app.callback()
@with_server
def _root(context: typer.Context, server: ServerOptions) -> None:
    if context.invoked_subcommand is None:
        _list(server.resolve(), as_json=False)


@app.command("list", epilog=example("sockudo push credentials list"))
@with_server
def list_credentials(*, as_json: JsonLines = False, server: ServerOptions) -> None:
    """List which credentials are stored; what is in them is never shown."""
    _list(server.resolve(), as_json=as_json)


def _list(target: Target, *, as_json: bool) -> None:
    def show(items: list[dict[str, Any]]) -> None:
        rows = [[each["credential_id"], each["provider"], str(each["version"])] for each in items]
        print_aligned([["id", "provider", "version"], *rows], "No credential is stored.")

    async def run(push: PushApi) -> None:
        await show_pages(push.credentials, None, show, as_json=as_json)

    with_push(target, run)


@app.command("store", epilog=example("sockudo push credentials store apns AuthKey_ABC.p8 --key-id ABC --team-id TEAM"))
@with_server
def store(
    *,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="fcm, apns, webpush, hms or wns.")],
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="fcm: the service account's JSON. apns: a .p8 key, or a certificate with its key as .p12 or PEM. "
            "webpush: what sockudo push vapid --json prints. hms, wns: a file with the client secret. - is standard "
            "input.",
        ),
    ],
    key_id: Annotated[str | None, typer.Option("--key-id", metavar="ID", help="apns: the id of a .p8 key.")] = None,
    team_id: Annotated[str | None, typer.Option("--team-id", metavar="ID", help="apns: your team, for a .p8.")] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", metavar="FILE", help="apns: holds the passphrase of a .p12.")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="hms: the app id. wns: the package SID.")
    ] = None,
    credential_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its id; the same one takes the place of the one before.")
    ] = None,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Store a credential of the app, encrypted. One that nothing could be sent with is refused, with what is wrong."""
    name = checked_provider(provider)
    passphrase = (
        None if passphrase_file is None else _read(str(passphrase_file)).decode("utf-8", "replace").strip("\r\n")
    )
    fields = fields_of(name, _read(file), key_id=key_id, team_id=team_id, passphrase=passphrase, account=account)
    if credential_id is not None:
        fields["credentialId"] = credential_id

    async def run(push: PushApi) -> None:
        reply = await push.store_credential(name, fields)
        if as_json:
            print_json(reply)
        else:
            typer.echo(f"The credential {reply['credential_id']} of {name} is stored. It is used within seconds.")

    with_push(server.resolve(), run)


def fields_of(
    provider: str,
    data: bytes,
    *,
    key_id: str | None = None,
    team_id: str | None = None,
    passphrase: str | None = None,
    account: str | None = None,
) -> dict[str, Any]:
    """The body of the request for the content of a file; ends the command for what cannot be one.

    Whether it can be used is for the server to say, so that every way leads to the same answer.
    """
    if provider == "apns":
        given = {"keyId": key_id, "teamId": team_id, "p12Password": passphrase}
        return {**_apns(data, key_id, team_id), **{name: value for name, value in given.items() if value is not None}}
    text = _text(data)
    if provider == "fcm":
        return {"serviceAccountJson": text}
    if provider == "webpush":
        pair = _pair(text)
        return {name: pair.get(name, "") for name in ("publicKey", "privateKey")}
    if account is None:
        fail(
            f"{provider} needs --account.",
            ExitCode.USAGE,
            f"It is the {_ACCOUNTS[provider]} of the provider's console.",
        )
    return {_ACCOUNTS[provider]: account, "clientSecret": text.strip()}


def _apns(data: bytes, key_id: str | None, team_id: str | None) -> dict[str, Any]:
    if _BEGIN not in data:
        return {"p12": base64.b64encode(data).decode()}
    if _CERTIFICATE in data:
        return {"pem": _text(data)}
    if key_id is None or team_id is None:
        fail("A .p8 key needs --key-id and --team-id.", ExitCode.USAGE, "Both stand where the key was downloaded.")
    return {"privateKey": _text(data)}


def _pair(text: str) -> Mapping[str, Any]:
    try:
        pair = json.loads(text)
    except ValueError:
        pair = None
    if not isinstance(pair, dict):
        fail(
            "The file is not the JSON of a pair of keys.",
            ExitCode.USAGE,
            "sockudo push vapid --json > pair.json makes one.",
        )
    return pair


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        fail("The file is no text in UTF-8.", ExitCode.USAGE)


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}.", ExitCode.USAGE)
