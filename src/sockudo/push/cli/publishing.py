"""``sockudo push publish``, ``status`` and ``cancel``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.moments import local_time, read_moment, read_seconds
from sockudo.cli.outcome import ExitCode, fail, in_seconds, note
from sockudo.cli.target import ServerOptions, with_server
from sockudo.push.cli import views
from sockudo.push.cli.options import Everything, Json, JsonLines, Limit, print_json, show_pages, with_push
from sockudo.push.cli.waiting import exit_code, followed
from sockudo.push.diagnosis.advice import STATE_WORDS

if TYPE_CHECKING:
    from sockudo.client.push import PushApi

__all__ = ["cancel", "data_of", "moment_of", "overrides_of", "publish", "status", "targets_of"]


_DATA_EXAMPLE: Final = """Example: --data '{"order": {"no": 8841}}'"""


def targets_of(
    channels: Sequence[str] | None, clients: Sequence[str] | None, devices: Sequence[str] | None
) -> list[dict[str, str]]:
    """The recipients that the options name; ends the command when there are none."""
    found = [
        *({"type": "channel", "channel": name} for name in channels or ()),
        *({"type": "client", "clientId": name} for name in clients or ()),
        *({"type": "device", "deviceId": name} for name in devices or ()),
    ]
    if not found:
        fail("Name the target: --channel, --client or --device.", ExitCode.USAGE)
    return found


def data_of(text: str | None) -> dict[str, Any] | None:
    """A JSON object from the command line, or from a file with ``@FILE``."""
    if text is None:
        return None
    value = _parsed(_read(text[1:], "--data") if text.startswith("@") else text, "--data", _DATA_EXAMPLE)
    if not isinstance(value, dict):
        fail("--data must be a JSON object.", ExitCode.USAGE, _DATA_EXAMPLE)
    return value


def overrides_of(path: Path | None) -> list[dict[str, Any]] | None:
    """The overrides in a file: one, a list of them, or an object with a payload for each provider."""
    if path is None:
        return None
    value = _parsed(_read(str(path), "--override"), "--override")
    if isinstance(value, Mapping) and "provider" not in value:
        value = [{"provider": name, "payload": payload} for name, payload in value.items()]
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if not (isinstance(entry, dict) and isinstance(entry.get("payload"), dict)):
            fail(
                f"{path} holds no overrides.",
                ExitCode.USAGE,
                'Write {"apns": {"aps": {…}}}, or a list of {"provider": "apns", "payload": {…}}.',
            )
    return entries


def moment_of(text: str | None, option: str, now: float | None = None) -> int | None:
    """Epoch milliseconds from a moment, or from a span of time from now such as ``90s`` or ``2h``."""
    if text is None:
        return None
    seconds = read_seconds(text.strip())
    if seconds is None:
        return read_moment(text, option)
    return int(((time.time() if now is None else now) + seconds) * 1000)


def _read(path: str, option: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        fail(f"{option}: {path} cannot be read: {reason}.", ExitCode.USAGE)


def _parsed(text: str, option: str, *remedies: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, ValueError) else "nested too deeply"
        fail(f"{option} is not JSON: {reason}.", ExitCode.USAGE, *remedies)


# ---- commands ----


_WHOM: Final = "Whom to notify"
_WHAT: Final = "What to say"
_WHEN: Final = "When"


@with_server
def publish(
    *,
    channel: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", rich_help_panel=_WHOM, help="Devices on this channel; repeatable."),
    ] = None,
    client: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", rich_help_panel=_WHOM, help="All devices of this client; repeatable."),
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(metavar="ID", rich_help_panel=_WHOM, help="This device; repeatable.")
    ] = None,
    title: Annotated[str | None, typer.Option(rich_help_panel=_WHAT, help="The title.")] = None,
    body: Annotated[str | None, typer.Option(rich_help_panel=_WHAT, help="The text.")] = None,
    icon: Annotated[str | None, typer.Option(metavar="URL", rich_help_panel=_WHAT, help="An https address.")] = None,
    sound: Annotated[str | None, typer.Option(rich_help_panel=_WHAT, help="The sound's name.")] = None,
    collapse_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", rich_help_panel=_WHAT, help="A later one with this key takes its place."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", rich_help_panel=_WHAT, help="Data of the app and for {{ data.… }} in texts; @FILE reads it."
        ),
    ] = None,
    template: Annotated[
        str | None, typer.Option(metavar="ID", rich_help_panel=_WHAT, help="Texts come from this template.")
    ] = None,
    override: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_WHAT, help="JSON with payloads of your own, by provider."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", rich_help_panel=_WHEN, help="Not before: ISO 8601, or milliseconds since 1970."),
    ] = None,
    in_: Annotated[
        str | None, typer.Option("--in", metavar="SPAN", rich_help_panel=_WHEN, help="Not before: 90s, 5m, 2h, 1d.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME|SPAN", rich_help_panel=_WHEN, help="Not after this is it sent.")
    ] = None,
    publish_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Your own id: with the same one it is sent once only.")
    ] = None,
    ignore_quota: Annotated[bool, typer.Option("--ignore-quota", help="Skip the quotas; the server notes it.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; the exit code says how it went.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="With --wait: for so long at most.")
    ] = None,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Send a notification to devices, to a client's devices, or to everybody on a channel."""
    if at is not None and in_ is not None:
        fail("--at and --in exclude each other.", ExitCode.USAGE)
    if timeout is not None and not wait:
        fail("--timeout goes with --wait.", ExitCode.USAGE)
    given = {
        "title": title,
        "body": body,
        "icon": icon,
        "sound": sound,
        "collapseKey": collapse_key,
        "templateId": template,
        "templateData": data_of(data),
    }
    whole: dict[str, Any] = {
        "publishId": publish_id,
        "recipients": targets_of(channel, client, device),
        "payload": {name: value for name, value in given.items() if value is not None},
        "providerOverrides": overrides_of(override),
        "notBeforeMs": moment_of(at, "--at") if in_ is None else moment_of(in_, "--in"),
        "expiresAtMs": moment_of(expires, "--expires"),
    }
    if not whole["payload"] and not whole["providerOverrides"]:
        fail("The notification is empty: give --title, --body, --template, --data or --override.", ExitCode.USAGE)
    request = {name: value for name, value in whole.items() if value is not None}

    async def run(push: PushApi) -> None:
        reply = await push.publish(request, ignore_quota=ignore_quota)
        if wait or reply["status"] == "quota_exceeded":
            await _follow(push, reply, timeout, as_json=as_json)
        elif as_json:
            print_json(reply)
        else:
            _print_accepted(reply, request.get("notBeforeMs"))

    with_push(server.resolve(), run)


def _print_accepted(reply: dict[str, Any], not_before: int | None) -> None:
    count, name = reply["expectedRecipients"], reply["publishId"]
    if reply["status"] == "accepted":
        late = not_before is not None and not_before <= time.time() * 1000
        when = "" if not_before is None or late else f", not before {local_time(not_before)}"
        typer.echo(f"Accepted for {count:,} {'recipient' if count == 1 else 'recipients'}{when}: {name}")
        if late and not_before is not None:
            note(f"{local_time(not_before)} is past: it is sent at once.")
        if not count:
            note("No device is there to get it now: look at `sockudo push devices`.")
    else:
        typer.echo(f"Published before under this id, and {reply['status']}: {name}")
    note(f"`sockudo push status {name}` says what becomes of it.")


async def _follow(push: PushApi, reply: dict[str, Any], seconds: float | None, *, as_json: bool) -> None:
    name = reply["publishId"]
    if not as_json:
        note(f"{reply['status']}: {name}")
    status, ended = await followed(push, name, seconds)
    if as_json:
        print_json(status)
    else:
        _print_whole(status)
    if not ended:
        fail(
            f"Not done within {in_seconds(seconds or 0)}.", ExitCode.TOO_FEW, f"It goes on: sockudo push status {name}"
        )
    raise typer.Exit(exit_code(status))


def _print_whole(status: dict[str, Any]) -> None:
    views.print_status(status)
    for sentence in views.remarks(status):
        note(sentence)


@with_server
def status(
    *,
    publish_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The publish. Without it, the newest ones are listed.")
    ] = None,
    deliveries: Annotated[
        bool, typer.Option("--deliveries", help="Also what became of each recipient, by device id.")
    ] = False,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="List only those in this state.")] = None,
    limit: Limit = 50,
    everything: Everything = False,
    as_json: JsonLines = False,
    server: ServerOptions,
) -> None:
    """Say what became of a publish, why it failed and what to do; or list the newest ones."""
    if state is not None and state not in STATE_WORDS:
        fail(f"No state is called '{state}'.", ExitCode.USAGE, f"States: {', '.join(STATE_WORDS)}.")
    if publish_id is None and deliveries:
        fail("--deliveries needs the id of a publish.", ExitCode.USAGE)
    most = None if everything else limit

    async def run(push: PushApi) -> None:
        if publish_id is None:
            await _list(push, state, most, as_json=as_json)
            return
        found = await push.status(publish_id)
        if as_json:
            print_json(found)
        else:
            _print_whole(found)
        if deliveries:
            await _deliveries(push, publish_id, most, as_json=as_json)
        elif found["counters"]["planned"] and not as_json:
            note(f"`sockudo push status {publish_id} --deliveries` has the outcome of each device.")

    with_push(server.resolve(), run)


async def _list(push: PushApi, state: str | None, limit: int | None, *, as_json: bool) -> None:
    empty = "There are no publishes" + (f" in the state {state}." if state else " yet.")

    async def ask_for(**page: Any) -> dict[str, Any]:
        return await push.publishes(state=state, **page)

    await show_pages(ask_for, limit, lambda items: views.print_publishes(items, empty), as_json=as_json)


async def _deliveries(push: PushApi, publish_id: str, limit: int | None, *, as_json: bool) -> None:
    async def ask_for(**page: Any) -> dict[str, Any]:
        return await push.deliveries(publish_id, **page)

    def show(items: list[dict[str, Any]]) -> None:
        typer.echo()
        views.print_deliveries(items, "Nothing has been sent so far.")

    await show_pages(ask_for, limit, show, as_json=as_json)


@with_server
def cancel(
    *,
    publish_id: Annotated[str, typer.Argument(metavar="ID", help="A publish that waits for its time.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print its status as JSON.")] = False,
    server: ServerOptions,
) -> None:
    """Cancel a publish that was to be sent later. What has been sent cannot be taken back."""

    async def run(push: PushApi) -> None:
        # The route answers 204 for every id, so the status is read for the result.
        await push.cancel(publish_id)
        found = await push.status(publish_id)
        if as_json:
            print_json(found)
        if found["state"] == "cancelled":
            if not as_json:
                typer.echo(f"{publish_id} is cancelled; nothing is sent any more.")
            return
        fail(
            f"{publish_id} could not be cancelled: it is {STATE_WORDS.get(found['state'], found['state'])}.",
            ExitCode.REFUSED,
            "Only a publish whose --at or --in is still to come can be cancelled.",
        )

    with_push(server.resolve(), run)
