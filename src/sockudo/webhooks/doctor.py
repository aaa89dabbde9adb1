"""The webhooks of the app: how the queue is, and whether endpoints take what is signed and refuse what is not."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sockudo import errors
from sockudo.client.auth import Credentials
from sockudo.client.failures import ApiError
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.examination import Check
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning

if TYPE_CHECKING:
    from sockudo.webhooks.endpoints import Endpoint
    from sockudo.webhooks.records import Answer, Sender

__all__ = ["CHECKS", "Tried", "check_endpoints", "check_queue", "judge_endpoint", "judge_overview", "judge_trial"]

_BACKLOG: Final = 1000
_HIDDEN: Final = "…"
_LONGEST: Final = 10.0
_MOST: Final = 50


# ---- the queue ----


async def check_queue(deployment: Deployment) -> Sequence[Finding]:
    """The reply of the signed route about deliveries of the app."""
    if deployment.credentials is None:
        return [not_checked("no credentials")]
    try:
        return judge_overview(await deployment.api().webhooks())
    except ApiError as error:
        slug = error.docs.rpartition("#")[2]
        if slug == errors.WEBHOOKS_OFF.slug:
            return [not_checked("this server has no webhooks: queue.driver is none")]
        if error.status == errors.RATE_LIMITED.status:
            return [not_checked(f"the limit of this address is used up: {error.text}")]
        if error.status == errors.NOT_FOUND.status:
            return [not_checked("this server knows no routes of webhooks")]
        return [problem(f"the webhook queue does not answer: {error.text}", _QUEUE, row=slug)]


_QUEUE: Final = (
    "Look at the queue's place (queue.driver: Redis, a database, or webhooks.sqlite3 in data_dir) and at the log."
)


def judge_overview(overview: Mapping[str, Any]) -> list[Finding]:
    """Findings on the queue and on each endpoint that does not do well."""
    queue, endpoints = overview["queue"], overview["endpoints"]
    found: list[Finding] = []
    if not queue["healthy"]:
        found.append(problem("the webhook queue fails: events wait in the server's memory", _QUEUE, **queue))
    if queue["events_lost"]:
        found.append(
            problem(
                f"{queue['events_lost']:,} events were lost, because the queue could not take them for too long",
                _QUEUE,
                **queue,
            )
        )
    found += [
        warning(f"a webhook is not used: {reason}", "Correct the app's record, under policy.webhooks.")
        for reason in overview["ignored"]
    ]
    found += [finding for endpoint in endpoints if (finding := judge_endpoint(endpoint)) is not None]
    if any(finding.state != "ok" for finding in found):
        return found
    if not endpoints:
        return [ok("the app has no webhooks")]
    totals = {name: sum(each["counts"][name] for each in endpoints) for name in ("waiting", "delivered", "dead")}
    return [ok(", ".join(f"{count:,} {name}" for name, count in totals.items()), **totals)]


def judge_endpoint(endpoint: Mapping[str, Any]) -> Finding | None:
    """What the server's own deliveries to the endpoint came to; None when there is nothing to say."""
    counts, url = endpoint["counts"], endpoint["url"]
    if url is None:
        return None
    facts: dict[str, Any] = {"endpoint": endpoint["id"], **counts}
    if endpoint["state"] in ("failing", "held_back"):
        last = endpoint["last_answer"] or {}
        answer = last.get("status") or last.get("problem") or "nothing"
        held = ", and is left alone for a while" if endpoint["state"] == "held_back" else ""
        return problem(
            f"{url} fails ({answer}){held}: {counts['waiting']:,} wait, {counts['dead']:,} are dead",
            last.get("advice") or "See `sockudo webhooks deliveries`.",
            **facts,
        )
    if counts["dead"]:
        return warning(
            f"{url}: {counts['dead']:,} deliveries were given up",
            f"See why with `sockudo webhooks dead --endpoint {endpoint['id']}`, then replay them.",
            **facts,
        )
    if counts["waiting"] > _BACKLOG:
        return warning(
            f"{url}: {counts['waiting']:,} deliveries wait",
            "The endpoint takes them more slowly than they come: answer first and work afterwards.",
            **facts,
        )
    return None


# ---- endpoints ----


@dataclass(frozen=True, slots=True)
class Tried:
    """What an endpoint answered to an event with the app's signature, and to one with another's."""

    url: str
    signed: Answer
    forged: Answer | None


async def check_endpoints(deployment: Deployment) -> Sequence[Finding]:
    """Sends each endpoint an example that is signed, and where that is taken another one that is signed wrongly."""
    if deployment.credentials is None:
        return [not_checked("no credentials: the example could not be signed")]
    endpoints, found = await _endpoints(deployment, deployment.credentials.app_id)
    if not endpoints and not found:
        return [not_checked("the app has no webhooks")]
    from sockudo.webhooks.sender import HttpSender

    settings = deployment.settings
    allowed = deployment.options.allow_private or (settings is not None and settings.webhooks.allow_private_addresses)
    sender = HttpSender(allow_private=allowed)
    try:
        trials = await asyncio.gather(
            *(_try(sender, deployment.credentials, endpoint) for endpoint in endpoints[:_MOST])
        )
    finally:
        await sender.close()
    return [*found, *(judge_trial(trial) for trial in trials)]


async def _endpoints(deployment: Deployment, app_id: str) -> tuple[list[Endpoint], list[Finding]]:
    """From the app's record if it is known here; else from the server, which hides what may be secret."""
    from sockudo.webhooks.endpoints import Retry, app_endpoints

    longest = round(_LONGEST * 1000)
    if deployment.app is not None:
        return list(app_endpoints(app_id, deployment.app.policy.webhooks, Retry(), longest).endpoints), []
    try:
        overview = await deployment.api().webhooks()
    except ApiError:
        return [], [not_checked("the server does not say which endpoints there are: give --config on its machine")]
    known = [each for each in overview["endpoints"] if each["url"] is not None]
    hidden = [each for each in known if _HIDDEN in each["url"] or each["headers"]]
    entries = [{"url": each["url"], "event_types": each["events"]} for each in known if each not in hidden]
    return list(app_endpoints(app_id, entries, Retry(), longest).endpoints), [
        not_checked(f"{each['url']} has secret parts, which the server does not show: give --config on its machine")
        for each in hidden
    ]


async def _try(sender: Sender, credentials: Credentials, endpoint: Endpoint) -> Tried:
    from sockudo.apps.signer import Signer
    from sockudo.config.webhooks import shown_url
    from sockudo.webhooks.trial import try_out

    async def answer(secret: str) -> Answer:
        event, now_ms = min(endpoint.events, default="channel_occupied"), int(time.time() * 1000)
        return (await try_out(sender, endpoint, credentials.key, Signer(secret), event, now_ms)).answer

    signed = await answer(credentials.secret)
    return Tried(shown_url(endpoint.url), signed, await answer(secrets.token_hex(16)) if signed.delivered else None)


def judge_trial(trial: Tried) -> Finding:
    """An endpoint has to take what is signed, quickly, and to refuse what is not."""
    from sockudo.webhooks.advice import advice_on, explanation
    from sockudo.webhooks.trial import SLOW_MS

    signed, forged = trial.signed, trial.forged
    facts: dict[str, Any] = {
        "url": trial.url,
        "status": signed.status,
        "problem": signed.problem,
        "took_ms": signed.took_ms,
    }
    if signed.problem == "address_refused":
        return not_checked(
            f"{trial.url} is at a private address, which is not called from here",
            "--allow-private calls it; the server itself does with webhooks.allow_private_addresses alone.",
        )
    advice = advice_on(signed.status, signed.problem, signed.snippet) or ""
    if signed.status is None:
        row = explanation(signed.problem or "")
        return problem(f"{trial.url} is not reached from here: {signed.problem}", advice, row=row, **facts)
    if not signed.delivered:
        return problem(f"{trial.url} answers {signed.status} to a signed event", advice, **facts)
    if forged is not None and forged.delivered:
        return warning(
            f"{trial.url} takes an event with a wrong signature: everyone can send it forged events",
            "Verify X-Pusher-Signature over the raw body with the app's secret (docs/webhooks.md), and answer 401.",
            **facts,
        )
    if signed.took_ms > SLOW_MS:
        return warning(
            f"{trial.url} takes it, but needs {signed.took_ms:,} ms", "Answer first and work afterwards.", **facts
        )
    return ok(f"{trial.url} answers {signed.status} after {signed.took_ms:,} ms and refuses a wrong signature", **facts)


CHECKS: Final = (
    Check("queue", "deliveries that wait, fail or are dead", check_queue, ("server", "credentials")),
    Check("webhooks", "endpoints take a signed test event", check_endpoints, ("credentials",)),
)
