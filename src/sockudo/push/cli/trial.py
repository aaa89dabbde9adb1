"""``sockudo push test``: one notification, sent at once, and the provider's answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.moments import local_time
from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.cli.target import ServerOptions, with_server
from sockudo.push.cli.options import Json, checked_provider, print_json, with_push
from sockudo.push.cli.views import print_rows

if TYPE_CHECKING:
    from sockudo.client.push import PushApi

__all__ = ["recipient_of", "try_provider"]

_TOKEN_FIELDS: Final = {
    "fcm": ("gcm", "registrationToken"),
    "apns": ("apns", "deviceToken"),
    "hms": ("hms", "registrationToken"),
    "wns": ("wns", "channelUri"),
}
_SAID: Final = {"accepted": "took it", "rejected": "refused it", "retryable": "did not take it now"}


@with_server
def try_provider(
    *,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="fcm, apns, webpush, hms or wns.")],
    device: Annotated[str | None, typer.Option("--device", metavar="ID", help="A registered device.")] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="T",
            help="A token instead; for webpush the JSON of the browser's subscription. - reads standard input: an "
            "argument is visible to other users of the machine.",
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="The title.")] = "A test",
    body: Annotated[str, typer.Option(help="The text.")] = "Sent by sockudo push test.",
    as_json: Json = False,
    server: ServerOptions,
) -> None:
    """Send one notification past the queue, say what the provider answered and what to do. No device is removed."""
    name = checked_provider(provider)
    if (device is None) == (token is None):
        fail("Name the target: --device or --token, one of them.", ExitCode.USAGE)
    request: dict[str, Any] = {"provider": name, "payload": {"title": title, "body": body}}
    if device is not None:
        request["deviceId"] = device
    else:
        text = sys.stdin.read().strip() if token == "-" else token or ""  # noqa: S105 - the word for standard input
        request["recipient"] = recipient_of(name, text)

    async def run(push: PushApi) -> None:
        reply = await push.test(request)
        taken = reply["outcome"] == "accepted"
        if as_json:
            print_json(reply)
            raise typer.Exit(ExitCode.DONE if taken else ExitCode.REFUSED)
        _print(reply)
        if not taken:
            outcome = _SAID.get(reply["outcome"], reply["outcome"])
            remedies = [reply["remedy"]] if reply.get("remedy") else []
            if reply.get("code"):
                remedies.append(f"More: sockudo explain {reply['code']}")
            fail(f"{name} {outcome}.", ExitCode.REFUSED, *remedies)
        typer.echo(f"{name} took it. Whether it is shown is up to the device.")

    with_push(server.resolve(), run)


def recipient_of(provider: str, token: str) -> dict[str, str]:
    """The recipient as registrations have it (spec: push § 3)."""
    if not token:
        fail("--token is empty.", ExitCode.USAGE)
    if provider != "webpush":
        kind, field = _TOKEN_FIELDS[provider]
        return {"transportType": kind, field: token}
    try:
        subscription = json.loads(token)
        keys = subscription.get("keys", subscription)
        return {"transportType": "web", "endpoint": subscription["endpoint"], **_keys(keys)}
    except (ValueError, KeyError, AttributeError, TypeError):
        fail(
            "--token is not the JSON of a browser's subscription.",
            ExitCode.USAGE,
            "It is what JSON.stringify(subscription) gives in the page: an endpoint and keys with p256dh and auth.",
        )


def _keys(keys: Mapping[str, str]) -> dict[str, str]:
    return {"p256dh": keys["p256dh"], "auth": keys["auth"]}


def _print(reply: Mapping[str, Any]) -> None:
    error = reply.get("error") or {}
    rows = {"provider": f"{reply['provider']}, with {reply.get('source') or 'its credentials'}"}
    if reply.get("deviceId"):
        rows["device"] = reply["deviceId"]
    rows["answer"] = f"{reply['outcome']} after {reply['tookMs']:,} ms"
    if reply.get("providerMessageId"):
        rows["message id"] = reply["providerMessageId"]
    if error:
        rows["class"] = " ".join(filter(None, (error.get("class"), error.get("failureClass"))))
    if error.get("reason"):
        rows["answer"] = error["reason"]
    if error.get("retryAfterMs"):
        rows["again after"] = local_time(error["retryAfterMs"])
    print_rows(rows)
    if error.get("class") == "invalid_token":
        note("A publish would remove the device now; a test does not.")
