"""``sockudo webhooks``: what endpoints were sent and answered, dead letters and their replay, and trying one out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.calls import ask, refuse_without_terminal, with_api
from sockudo.cli.groups import command_group, examples_with
from sockudo.cli.options import Everything, Json, JsonLines, Limit, Yes
from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.cli.tables import print_json
from sockudo.cli.target import ServerOptions, with_server
from sockudo.webhooks.cli import views
from sockudo.webhooks.cli.trial import try_endpoint

if TYPE_CHECKING:
    from sockudo.client.http import ApiClient

__all__ = ["app"]

_EXIT_CODES: Final = (
    "Exit codes: 0 done · 1 refused by the server or the endpoint, or the question was answered with no · "
    "2 wrong usage · 3 the server or the endpoint could not be reached"
)
# Ids that one request may hold.
_IDS_AT_ONCE: Final = 100

app = command_group(
    "See what the app's webhooks were sent and what they answered, and send dead letters again.", _EXIT_CODES
)
_example = examples_with(_EXIT_CODES)


Endpoint = Annotated[
    str | None, typer.Option("--endpoint", metavar="ID", help="Only of this endpoint; `sockudo webhooks list` has ids.")
]


@app.command("list", epilog=_example("sockudo webhooks list"))
@with_server
def list_endpoints(*, as_json: Json = False, server: ServerOptions) -> None:
    """List the app's endpoints: what waits, what is dead, and what each answered last."""

    async def run(api: ApiClient) -> None:
        reply = await api.webhooks()
        if as_json:
            print_json(reply)
            return
        views.print_endpoints(reply)
        for sentence in views.remarks(reply):
            note(sentence)

    with_api(server, run)


@app.command(epilog=_example("sockudo webhooks deliveries --state waiting"))
@with_server
def deliveries(
    *,
    endpoint: Endpoint = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only those that are waiting, delivered or dead.")
    ] = None,
    limit: Limit = 50,
    everything: Everything = False,
    as_json: JsonLines = False,
    server: ServerOptions,
) -> None:
    """List deliveries, the newest first: what was sent when, and what became of it."""
    if state not in (None, "waiting", "delivered", "dead"):
        fail(f"--state is waiting, delivered or dead, not '{state}'.", ExitCode.USAGE)
    _show_deliveries(server, endpoint, state, None if everything else limit, as_json=as_json)


@app.command(epilog=_example("sockudo webhooks dead --endpoint 5f0c7ab2e91d"))
@with_server
def dead(
    *,
    endpoint: Endpoint = None,
    limit: Limit = 50,
    everything: Everything = False,
    as_json: JsonLines = False,
    server: ServerOptions,
) -> None:
    """List dead letters, the newest first: what was given up, and why."""
    _show_deliveries(server, endpoint, "dead", None if everything else limit, as_json=as_json)


def _show_deliveries(
    server: ServerOptions, endpoint: str | None, state: str | None, limit: int | None, *, as_json: bool
) -> None:
    what = {"dead": "dead letters", None: "deliveries"}.get(state, f"{state} deliveries")

    async def run(api: ApiClient) -> None:
        left, before, first = limit, None, True
        while True:
            page = await api.webhook_deliveries(endpoint=endpoint, state=state, before=before, limit=left)
            before = page["next_before"]
            found = page["deliveries"]
            if as_json:
                for each in found:
                    print_json(each)
            elif found or first:
                views.print_deliveries(found, f"There are no {what}.")
            left, first = None if left is None else left - len(found), False
            if before is None or left == 0:
                break
        if before is not None and not as_json:
            note("There is more: see all of it with --all.")
        if not as_json and found:
            note("`sockudo webhooks show ID` has the body of one, and what was answered.")

    with_api(server, run)


@app.command(epilog=_example("sockudo webhooks show 0f8e2c4ab7d94f0e"))
@with_server
def show(
    *,
    delivery_id: Annotated[str, typer.Argument(metavar="ID", help="The delivery: X-Sockudo-Delivery of its requests.")],
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Show one delivery: its body, every attempt with its answer, why it failed and what to do."""

    async def run(api: ApiClient) -> None:
        delivery = await api.webhook_delivery(delivery_id)
        if as_json:
            print_json(delivery)
            return
        views.print_delivery(delivery)
        for sentence in _what_to_do(delivery):
            note(sentence)

    with_api(server, run)


def _what_to_do(delivery: dict[str, Any]) -> list[str]:
    from sockudo.webhooks.advice import what_went_wrong

    sentences, remedy = what_went_wrong(delivery)
    if remedy is not None:
        sentences.append(f"  → {remedy}")
    if delivery["state"] == "dead":
        sentences.append(f"  → Then: sockudo webhooks replay {delivery['id']}")
    return sentences


@app.command(epilog=_example("sockudo webhooks replay --endpoint 5f0c7ab2e91d"))
@with_server
def replay(
    *,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="These deliveries, dead or delivered.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="ID", help="All dead letters of this endpoint.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters of the app.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Send deliveries again, with the same ids and bodies, after everything that waits now."""
    if bool(ids) + (endpoint is not None) + everything != 1:
        fail("Name what to send again: ids, --endpoint or --all, one of them.", ExitCode.USAGE)

    async def run(api: ApiClient) -> None:
        if not yes:
            ask(await _question(api, ids, endpoint), "Nothing was sent.")
        if ids:
            slices = [ids[first : first + _IDS_AT_ONCE] for first in range(0, len(ids), _IDS_AT_ONCE)]
            replies = [await api.replay_webhooks(ids=each) for each in slices]
        else:
            replies = [await api.replay_webhooks(endpoint=endpoint)]
        if as_json:
            for reply in replies:
                print_json(reply)
        else:
            typer.echo(views.replayed_sentence(replies))

    refuse_without_terminal(yes)
    with_api(server, run)


async def _question(api: ApiClient, ids: list[str] | None, endpoint: str | None) -> str:
    if ids:
        return f"Send {len(ids)} {'delivery' if len(ids) == 1 else 'deliveries'} again?"
    count, sentence = views.dead_sentence(await api.webhooks(), endpoint)
    if not count:
        typer.echo(sentence)
        raise typer.Exit(ExitCode.DONE)
    return f"{sentence} Send {'it' if count == 1 else 'them'} again?"


@app.command("test", epilog=_example("sockudo webhooks test https://example.com/pusher --event member_added"))
@with_server
def send_test(
    *,
    endpoint_url: Annotated[str, typer.Argument(metavar="URL", help="The endpoint.")],
    event: Annotated[str, typer.Option(metavar="NAME", help="The event of the example.")] = "channel_occupied",
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", "-H", metavar="NAME:VALUE", help="A header as in the webhook's `headers`; repeatable."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=300, metavar="SECONDS", help="Limit of the request.")] = 10.0,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private",
            help="Also call a private address; on where the configuration found here allows it, or the app is that "
            "of --dev.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    server: ServerOptions,
) -> None:
    """Send one signed example to an endpoint, from here and not from the server, and say what came back."""
    credentials = server.credentials()
    try_endpoint(
        credentials,
        endpoint_url,
        event=event,
        headers=header or (),
        timeout=timeout,
        allow_private=allow_private or _allowed_here(credentials.app_id, credentials.key, server.config),
        as_json=as_json,
    )


def _allowed_here(app_id: str, key: str, config: Any) -> bool:
    """Whether a server with the configuration of this place would call private addresses."""
    import os
    from pathlib import Path

    from sockudo.config import ConfigError, load
    from sockudo.config.app_choice import DEV_ALIAS, DEV_APP

    if app_id in (DEV_APP.id, DEV_ALIAS) and key == DEV_APP.key:
        return True
    try:
        settings = load(path=config, environ=os.environ, cwd=Path.cwd(), dev=False, overrides={}).settings
    except ConfigError:
        return False
    return settings.webhooks.allow_private_addresses
