"""``sockudo webhooks test``: one signed example, sent to an endpoint as the server would, and what came back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.cli.tables import printable

if TYPE_CHECKING:
    from sockudo.client.auth import Credentials
    from sockudo.webhooks import Answer, Endpoint, Sender
    from sockudo.webhooks.records import Delivery

__all__ = ["try_endpoint"]

# Longer is near enough to the usual limits that a busy day turns it into failures.
_SLOW_MS: Final = 2000


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
    endpoint = _endpoint(credentials.app_id, url, event, headers, timeout)
    delivery = _delivery(endpoint, event)
    answer = asyncio.run(_send(_sender(allow_private), credentials, endpoint, delivery))
    if as_json:
        _print_json(url, event, delivery, answer)
        raise typer.Exit(_exit_code(answer))
    _print(credentials, endpoint, event, delivery, answer)


def _endpoint(app_id: str, url: str, event: str, headers: Sequence[str], timeout: float) -> Endpoint:
    from sockudo.config.problems import nearest
    from sockudo.config.webhooks import EVENT_TYPES, WebhookError, read_webhook
    from sockudo.webhooks import Retry, app_endpoints

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


def _delivery(endpoint: Endpoint, event: str) -> Delivery:
    from sockudo.ids import unique_id
    from sockudo.webhooks import Delivery
    from sockudo.webhooks.samples import sample_body

    now_ms = int(time.time() * 1000)
    body = sample_body(event, now_ms)
    return Delivery(f"test-{unique_id()}", endpoint.app_id, endpoint.id, 0, body, 1, now_ms, now_ms)


def _sender(allow_private: bool) -> Sender:
    from sockudo.outbound import HttpSender

    return HttpSender(allow_private=allow_private)


async def _send(sender: Sender, credentials: Credentials, endpoint: Endpoint, delivery: Delivery) -> Answer:
    from sockudo.auth.signing import Signer
    from sockudo.webhooks.deliverer import request_of

    try:
        target = request_of(endpoint, credentials.key, Signer(credentials.secret), delivery)
        return await sender.send(target, delivery.body)
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


def _print_json(url: str, event: str, delivery: Delivery, answer: Answer) -> None:
    import json

    from sockudo.webhooks.advice import advice_on
    from sockudo.webhooks.operations import shown_url

    result = {
        "url": shown_url(url),
        "event": event,
        "delivery": delivery.id,
        "body": delivery.body.decode(),
        "delivered": answer.delivered,
        "status": answer.status,
        "problem": answer.problem,
        "took_ms": answer.took_ms,
        "snippet": answer.snippet,
        "advice": advice_on(answer.status, answer.problem),
    }
    typer.echo(json.dumps(result, ensure_ascii=False))


def _print(credentials: Credentials, endpoint: Endpoint, event: str, delivery: Delivery, answer: Answer) -> None:
    from sockudo.webhooks.advice import advice_on, explanation
    from sockudo.webhooks.operations import shown_url

    rows = {
        "sent": f"{event} to {shown_url(endpoint.url)}",
        "signed as": f"app {credentials.app_id}, key {credentials.key}",
        "delivery": delivery.id,
        "answer": f"{answer.status or answer.problem} after {answer.took_ms:,} ms",
    }
    if answer.snippet:
        rows["said"] = answer.snippet
    for label, text in rows.items():
        typer.echo(f"  {label + ':':<12} {printable(text)}")
    slow = answer.status is not None and answer.took_ms > _SLOW_MS
    if slow:
        note("It is slow: answer first and work afterwards, or a busy day makes it miss the limit.")
    if answer.delivered:
        typer.echo("The endpoint takes webhooks.")
        return
    row = explanation(answer.problem or "")
    advice = [advice_on(answer.status, answer.problem) or ""]
    if answer.problem == "address_refused":
        advice.append("--allow-private sends the example all the same.")
    if row is not None:
        advice.append(f"More: sockudo explain {row.slug}")
    text = row.meaning if row is not None else _refusal(answer)
    fail(text, _exit_code(answer), *advice)


def _refusal(answer: Answer) -> str:
    from sockudo.webhooks.deliverer import is_retried

    again = "would try again later" if is_retried(answer) else "would give this one up at once"
    return f"The endpoint did not take it: {answer.status}. The server {again}."
