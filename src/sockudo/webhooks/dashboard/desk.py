"""What the area asks of the running webhooks, also while there are none yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.base.components import Component
from sockudo.config.webhooks import shown_url
from sockudo.dashboard.asked import known_app
from sockudo.dashboard.board import Board
from sockudo.dashboard.paging import Page, Paging
from sockudo.webhooks.advice import what_went_wrong
from sockudo.webhooks.endpoints import AppEndpoints, app_endpoints
from sockudo.webhooks.operations import Replay, endpoint_values, one_delivery, queue_values, replay
from sockudo.webhooks.records import Counts
from sockudo.webhooks.runtime import webhook_options
from sockudo.webhooks.service import Webhooks
from sockudo.webhooks.trial import Trial, try_out

__all__ = [
    "Found",
    "WebhookArea",
    "explained",
    "find_endpoints",
    "known_app_id",
    "of_app",
    "opened",
    "queue_of",
    "replay_deliveries",
    "send_test",
    "why_closed",
]

_AllCounts = Mapping[tuple[str, str], Counts]


class WebhookArea(NamedTuple):
    """What the pages look at and act on."""

    board: Board
    webhooks: Component[Webhooks]


def why_closed(area: WebhookArea) -> str | None:
    """Why there are no webhooks at all; None when there are, or will be within a second."""
    if area.board.settings.queue.driver == "none":
        return 'This server has no webhooks: queue.driver is "none".'
    return None


def opened(area: WebhookArea) -> Webhooks:
    """The running webhooks; raises errors.WEBHOOKS_OFF, and errors.SERVICE_UNAVAILABLE while no app has any."""
    webhooks = area.webhooks.if_open
    if webhooks is not None:
        return webhooks
    reason = why_closed(area)
    if reason is not None:
        raise errors.WEBHOOKS_OFF(reason)
    raise errors.SERVICE_UNAVAILABLE("No app has a webhook, or the queue is not open yet", retry_after=1)


async def queue_of(area: WebhookArea) -> dict[str, Any] | None:
    """How the queue is; None while it is not open."""
    webhooks = area.webhooks.if_open
    return None if webhooks is None else await queue_values(webhooks)


# ---- endpoints ----


def of_app(area: WebhookArea, app: LiveApp) -> AppEndpoints:
    """The endpoints in an app's record, whether or not the queue is open."""
    options = webhook_options(area.board.settings)
    return app_endpoints(app.id, app.record.policy.webhooks, options.retry, options.timeout_ms)


class Found(NamedTuple):
    """A page of endpoints, and the warnings about those of the record that are not used."""

    page: Page[dict[str, Any]]
    ignored: list[str]


async def find_endpoints(area: WebhookArea, paging: Paging, app_id: str | None) -> Found:
    """The endpoints of an app or of all, those that are not in a record any more last within their app.

    What is searched for stands in the address, the endpoint's id or the app's. Raises errors.SERVICE_UNAVAILABLE.
    """
    webhooks = area.webhooks.if_open
    counts: _AllCounts = {} if webhooks is None else await webhooks.queue.counts()
    wanted = paging.q.lower()
    names: list[tuple[str, str]] = []
    ignored: list[str] = []
    urls: dict[tuple[str, str], str] = {}
    for app in area.board.apps.all():
        if (app_id is not None and app.id != app_id) or not app.record.policy.webhooks:
            continue
        found = (None if webhooks is None else webhooks.endpoints(app.id)) or of_app(area, app)
        ignored += (f"App {app.id}: {text}" for text in found.ignored)
        urls.update({(app.id, name): shown_url(endpoint.url) for name, endpoint in found.by_id.items()})
    names = [*urls, *sorted(key for key in counts if key not in urls and app_id in (None, key[0]))]
    names.sort(key=lambda key: key[0])
    shown = [key for key in names if wanted in f"{key[0]} {key[1]} {urls.get(key, '')}".lower()] if wanted else names
    page = paging.cut(shown)
    values = [_values(webhooks, *key, counts, urls.get(key)) for key in page.entries]
    return Found(Page(values, page.total, paging), ignored)


def _values(webhooks: Webhooks | None, app_id: str, name: str, counts: _AllCounts, url: str | None) -> dict[str, Any]:
    if webhooks is None:
        return {"app_id": app_id, "id": name, "url": url, "state": "untried", "counts": None, "last_answer": None}
    return {"app_id": app_id, **endpoint_values(webhooks, app_id, name, counts)}


async def send_test(area: WebhookArea, app_id: str, endpoint_id: str, event: str) -> Trial:
    """Sends one signed example to an endpoint, from this server, past the queue.

    Raises errors.APP_NOT_FOUND, errors.ENDPOINT_NOT_FOUND and errors.INVALID_INPUT.
    """
    app = known_app(area.board, app_id)
    endpoint = of_app(area, app).by_id.get(endpoint_id)
    if endpoint is None:
        raise errors.ENDPOINT_NOT_FOUND(f"No webhook of the app has the id '{endpoint_id[:100]}'")
    # Loaded where webhooks are open already.
    from sockudo.webhooks.sender import HttpSender

    sender = HttpSender(allow_private=area.board.settings.webhooks.allow_private_addresses)
    try:
        return await try_out(sender, endpoint, app.key, app.signer, event, int(area.board.clock.time() * 1000))
    finally:
        await sender.close()


# ---- deliveries ----


async def known_app_id(area: WebhookArea, app_id: str) -> str:
    """The id of an app, or of one that is gone and of which deliveries are kept; raises errors.APP_NOT_FOUND."""
    webhooks = area.webhooks.if_open
    if area.board.apps.by_id(app_id) is None and webhooks is not None:
        counts = await webhooks.queue.counts()
        if any(app == app_id for app, _ in counts):
            return app_id
    return known_app(area.board, app_id).id


async def explained(area: WebhookArea, app_id: str, delivery_id: str) -> dict[str, Any]:
    """A delivery with all that is known of it, why it failed and what to do. Raises as `one_delivery` does."""
    webhooks = area.webhooks.if_open
    if webhooks is None:
        raise errors.DELIVERY_NOT_FOUND(f"No webhook delivery of the app has the id '{delivery_id[:100]}'")
    delivery = await one_delivery(webhooks, app_id, delivery_id)
    why, remedy = what_went_wrong(delivery)
    return {**delivery, "why": why, "remedy": remedy}


async def replay_deliveries(area: WebhookArea, app_id: str, wanted: Replay) -> dict[str, Any]:
    """Has deliveries made again; see `sockudo.webhooks.operations.replay`."""
    return await replay(opened(area), app_id, wanted)
