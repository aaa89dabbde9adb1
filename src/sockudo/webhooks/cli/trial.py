"""``sockudo webhooks test``: one signed example, sent to an endpoint as the server would, and what came back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.cli.tables import printable

if TYPE_CHECKING:
    from sockudo.client.auth import Credentials
    from sockudo.webhooks.endpoints import Endpoint
    from sockudo.webhooks.records import Answer, Sender
    from sockudo.webhooks.trial import Trial

__all__ = ["try_endpoint"]


def try_endpoint(
    credentials: Credentials,
    url: str,
    *,
    event: str,
    headers: Sequence[str],
    timeout: float,
    allow_private: bool,
    as_json: bool,
) -> None:
    """Sends the example and ends the command: with 0 when the endpoint took it, else with what it did and what helps.

    ``timeout`` in seconds; ``headers`` as ``Name: value``.
    """
    import asyncio

    endpoint = _endpoint(credentials.app_id, url, event, headers, timeout)
    trial = asyncio.run(_send(_sender(allow_private), credentials, endpoint, event))
    if as_json:
        import json

        typer.echo(json.dumps(trial.as_dict(), ensure_ascii=False))
        raise typer.Exit(_exit_code(trial.answer))
    _print(credentials, trial)


def _endpoint(app_id: str, url: str, event: str, headers: Sequence[str], timeout: float) -> Endpoint:
    from sockudo.config.problems import nearest
    from sockudo.config.webhooks import EVENT_TYPES, WebhookError, read_webhook
    from sockudo.webhooks.endpoints import Retry, app_endpoints

    if event not in EVENT_TYPES:
        guess = nearest(event, EVENT_TYPES)
        hints = [f"Did you mean {guess}?"] if guess else [f"Events: {', '.join(sorted(EVENT_TYPES))}."]
        fail(f"No event is called '{event}'.", ExitCode.USAGE, *hints)
    entry: dict[str, Any] = {"url": url, "event_types": [event], "headers": {}}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            fail(f"--header '{name}' has no colon.", ExitCode.USAGE, "Example: --header 'X-Api-Key: …'")
        entry["headers"][name.strip()] = value.strip()
    try:
        read_webhook(entry)
    except WebhookError as problem:
        fail(f"The webhook {problem}.", ExitCode.USAGE)
    (endpoint,) = app_endpoints(app_id, [entry], Retry(), max(1, round(timeout * 1000))).endpoints
    return endpoint


def _sender(allow_private: bool) -> Sender:
    from sockudo.webhooks.sender import HttpSender

    return HttpSender(allow_private=allow_private)


async def _send(sender: Sender, credentials: Credentials, endpoint: Endpoint, event: str) -> Trial:
    from sockudo.apps.signer import Signer
    from sockudo.webhooks.trial import try_out

    try:
        signer = Signer(credentials.secret)
        return await try_out(sender, endpoint, credentials.key, signer, event, int(time.time() * 1000))
    finally:
        await sender.close()


# ---- what came of it ----


def _exit_code(answer: Answer) -> ExitCode:
    if answer.delivered:
        return ExitCode.DONE
    if answer.problem == "url_invalid":
        return ExitCode.USAGE
    unreached = answer.status is None and answer.problem != "address_refused"
    return ExitCode.UNREACHABLE if unreached else ExitCode.REFUSED


def _print(credentials: Credentials, trial: Trial) -> None:
    from sockudo.config.webhooks import shown_url
    from sockudo.webhooks.advice import advice_on, explanation

    endpoint, event, delivery, answer = trial
    rows = {
        "sent": f"{event} to {shown_url(endpoint.url)}",
        "signed as": f"app {credentials.app_id}, key {credentials.key}",
        "delivery": delivery.id,
        "answer": f"{answer.status or answer.problem} after {answer.took_ms:,} ms",
    }
    if answer.snippet:
        rows["body"] = answer.snippet
    for label, text in rows.items():
        typer.echo(f"  {label + ':':<12} {printable(text)}")
    if trial.slow:
        note("It is slow: answer first and work afterwards, or a busy day makes it miss the limit.")
    if answer.delivered:
        typer.echo("The endpoint takes webhooks.")
        return
    row = explanation(answer.problem or "")
    advice = [advice_on(answer.status, answer.problem, answer.snippet) or ""]
    if answer.problem == "address_refused":
        advice.append("--allow-private sends the example all the same.")
    if row is not None:
        advice.append(f"More: sockudo explain {row.slug}")
    text = row.meaning if row is not None else _refusal(answer)
    fail(text, _exit_code(answer), *advice)


def _refusal(answer: Answer) -> str:
    from sockudo.webhooks.requests import is_retried

    again = "would try again later" if is_retried(answer) else "would give this one up at once"
    return f"The endpoint did not take it: {answer.status}. The server {again}."
