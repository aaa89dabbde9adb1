"""Routes that publish notifications and tell what became of them (contract 50 § 2.4, 2.5, 7.7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.signing import query_param
from sockudo.edge.paths import path_part
from sockudo.edge.publishing import check_json
from sockudo.edge.signed import authenticated
from sockudo.push.access import Access, read_access
from sockudo.push.bodies import PublishRequest, batch_from, publish_from
from sockudo.push.cursors import Page, PageRequest, as_page, page_request
from sockudo.push.outcomes import (
    cancel,
    dead_letter_view,
    deliveries_to,
    delivery_report,
    delivery_view,
    note_report,
    publish_status,
    replay,
    state_named,
    status_view,
    waiting,
)
from sockudo.push.positions import dead_letter_position, event_position, status_position
from sockudo.push.recipients import Provider, provider_named
from sockudo.push.records import PublishStatus
from sockudo.push.service import Accepted, Push

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["publish_routes"]

_OVERRIDE: Final = "x-sockudo-push-quota-override"
_FORCED: Final = {"X-Sockudo-Forced-Async": "publish-api-is-async"}
_LATEST_MS: Final = 2**53 - 1
_ID: Final = "{publish_id}"


class _Asked(NamedTuple):
    """A call of an app's backend, whose signature is right."""

    push: Push
    app: LiveApp
    request: Request
    access: Access

    @property
    def app_id(self) -> str:
        return self.app.id

    def parameter(self, name: str) -> str | None:
        return query_param(self.request.scope["query_string"], name)

    def page(self, kind: str) -> PageRequest:
        """Which page of a list is asked for; ``kind`` names the list, with what it is filtered by."""
        return page_request(self.app_id, kind, self.parameter("limit"), self.parameter("cursor"))


Answer = Callable[[_Asked], Awaitable[Response]]


def publish_routes(edge: Edge) -> list[Route]:
    """All of them signed, and for push-admin alone."""

    def route(path: str, method: str, answer: Answer, *, reads: bool = False) -> Route:
        return Route(f"/apps/{{app_id}}/push{path}", _endpoint(edge, answer, reads=reads), methods=[method])

    return [
        route("/publish", "POST", _publish),
        route("/batch/publish", "POST", _batch),
        route(f"/publish/{_ID}/status", "GET", _status, reads=True),
        route(f"/publish/{_ID}/deliveries", "GET", _deliveries, reads=True),
        route("/publishes", "GET", _publishes, reads=True),
        route("/scheduled", "POST", _schedule),
        route("/scheduled", "GET", _scheduled, reads=True),
        route(f"/scheduled/{_ID}", "DELETE", _cancel),
        route("/deadLetters", "GET", _dead_letters, reads=True),
        route("/deadLetters/{dead_letter_id}/replay", "POST", _replay),
        route("/deliveryStatus", "POST", _delivery_status),
    ]


def _endpoint(edge: Edge, answer: Answer, *, reads: bool) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        app = await authenticated(edge, request)
        if reads:
            edge.rates.check_read(app, edge.clock.monotonic())
        headers = request.headers
        access = read_access(
            headers.get("x-sockudo-push-capability"),
            headers.get("x-sockudo-device-identity-token"),
            headers.get("authorization"),
        )
        if edge.push is None:
            access.require_admin()
            raise errors.PUSH_DISABLED("push admission unavailable: push providers are disabled")
        return await answer(_Asked(edge.push, app, request, access))

    return endpoint


async def _json_body(asked: _Asked) -> bytes:
    check_json(asked.request.headers.get("content-type", "").encode("latin-1"))
    return await asked.request.body()


def _reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers=headers, media_type="application/json")


# ---- publishing ----


async def _publish(asked: _Asked) -> Response:
    given = publish_from(await _json_body(asked))
    asked.access.require_admin()
    return _answered(asked, given, await _admitted(asked, given))


async def _schedule(asked: _Asked) -> Response:
    given = publish_from(await _json_body(asked))
    asked.access.require_admin()
    return _answered(asked, given, await _admitted(asked, given, scheduled=True))


def _answered(asked: _Asked, given: PublishRequest, accepted: Accepted) -> Response:
    waits = given.sync or asked.parameter("mode") == "sync"
    return _reply(_view(accepted), 202, _FORCED if waits else None)


async def _batch(asked: _Asked) -> Response:
    """The first refusal ends the batch; what was accepted before stays (§ 2.4)."""
    items = batch_from(await _json_body(asked))
    asked.access.require_admin()
    return _reply({"items": [_view(await _admitted(asked, given)) for given in items]}, 202)


async def _admitted(asked: _Asked, given: PublishRequest, *, scheduled: bool = False) -> Accepted:
    return await asked.push.publish(
        asked.app_id,
        given,
        admin=asked.access.admin,
        over_quota=_OVERRIDE in asked.request.headers,
        scheduled=scheduled,
    )


def _view(accepted: Accepted) -> dict[str, Any]:
    status = accepted.status
    shown: dict[str, Any] = {
        "publishId": status.publish_id,
        "publish_id": status.publish_id,
        "status": accepted.word,
        "expectedRecipients": accepted.expected,
        "fanoutRegime": accepted.regime,
        "renderedPayloads": [
            {"provider": made.provider, "payload": msgspec.Raw(made.body), "usedOverride": made.used_override}
            for made in accepted.renderings
        ],
    }
    if status.missing:
        shown["missing"] = status.missing
    return shown


# ---- asking ----


async def _status(asked: _Asked) -> Response:
    asked.access.require_admin()
    return _reply(status_view(await _of_path(asked)))


async def _of_path(asked: _Asked) -> PublishStatus:
    return await publish_status(asked.push.store, asked.app_id, path_part(asked.request, "publish_id"))


async def _deliveries(asked: _Asked) -> Response:
    asked.access.require_admin()
    publish_id = (await _of_path(asked)).publish_id
    device_id = asked.parameter("deviceId") or asked.parameter("device_id")
    page = asked.page(f"deliveries:{publish_id}:{device_id or ''}")
    store = asked.push.store
    if device_id is None:
        rows = await store.events(asked.app_id, publish_id, page.after, page.ask)
    else:
        rows = await deliveries_to(store, asked.app_id, publish_id, device_id, page.after, page.ask)
    return _listed(as_page(page, rows, event_position, delivery_view, asked.push.now_ms()))


async def _publishes(asked: _Asked) -> Response:
    asked.access.require_admin()
    wanted = asked.parameter("state")
    states = None if wanted is None else [state_named(wanted)]
    page = asked.page(f"publishes:{states[0] if states else ''}")
    rows = await asked.push.store.statuses(asked.app_id, states=states, after=page.after, limit=page.ask)
    return _listed(as_page(page, rows, status_position, status_view, asked.push.now_ms()))


async def _scheduled(asked: _Asked) -> Response:
    asked.access.require_admin()
    page, now_ms = asked.page("scheduled"), asked.push.now_ms()
    rows = await waiting(asked.push.store, asked.app_id, page.after, page.ask, now_ms)
    return _listed(as_page(page, rows, status_position, status_view, now_ms))


async def _dead_letters(asked: _Asked) -> Response:
    asked.access.require_admin()
    provider = _provider(asked.parameter("provider"))
    since, until = _time(asked, "sinceMs", "since_ms"), _time(asked, "untilMs", "until_ms")
    if since is not None and until is not None and since > until:
        raise errors.INVALID_INPUT(f"sinceMs ({since}) must not be after untilMs ({until})")
    page = asked.page(f"deadLetters:{provider or ''}:{since}:{until}")
    rows = await asked.push.store.dead_letters(
        asked.app_id, provider=provider, since_ms=since, until_ms=until, after=page.after, limit=page.ask
    )
    return _listed(as_page(page, rows, dead_letter_position, dead_letter_view, asked.push.now_ms()))


def _listed(page: Page) -> Response:
    return _reply({"items": page.items, "next_cursor": page.next_cursor, "has_more": page.has_more})


def _provider(text: str | None) -> Provider | None:
    if text is None:
        return None
    found = provider_named(text)
    if found is None or found == "realtime":
        raise errors.INVALID_INPUT("provider must be one of fcm, apns, webpush, hms, wns")
    return found


def _time(asked: _Asked, *names: str) -> int | None:
    text = next((value for name in names if (value := asked.parameter(name)) is not None), None)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and int(text) <= _LATEST_MS):
        raise errors.INVALID_INPUT(f"{names[0]} must be a Unix time in whole milliseconds")
    return int(text)


# ---- changing ----


async def _cancel(asked: _Asked) -> Response:
    """The same answer whether there was one: whoever deletes wants it gone (§ 7.7)."""
    asked.access.require_admin()
    await cancel(asked.push, asked.app_id, path_part(asked.request, "publish_id"))
    return Response(status_code=204)


async def _replay(asked: _Asked) -> Response:
    asked.access.require_admin()
    dead_letter_id = path_part(asked.request, "dead_letter_id")
    message_id = await replay(asked.push, asked.app_id, dead_letter_id)
    return _reply({"deadLetterId": dead_letter_id, "replayed": True, "messageId": message_id}, 202)


async def _delivery_status(asked: _Asked) -> Response:
    event = delivery_report(await _json_body(asked), asked.app_id)
    asked.access.require_admin()
    await note_report(asked.push, event)
    told = {"publishId": event.result.publish_id, "eventId": event.event_id, "occurredAtMs": event.occurred_at_ms}
    return _reply({**told, "result": event.result}, 202)
