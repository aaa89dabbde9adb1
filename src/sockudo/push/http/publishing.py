"""Routes that publish notifications and answer with their results (spec: push § 2.4, 2.5, 7.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part, query_param
from sockudo.edge.lane import LaneEntry
from sockudo.edge.publishing import check_json
from sockudo.edge.replies import Reply, error_reply
from sockudo.edge.signed import signed_app
from sockudo.errors import SockudoError
from sockudo.push.access import read_access
from sockudo.push.bodies import PublishRequest, batch_from, publish_from
from sockudo.push.diagnosis.advice import refused_lately
from sockudo.push.diagnosis.reasons import THOROUGH_SECONDS, explained, waits_for
from sockudo.push.http.common import Asked, body_of, page_of, page_reply, parameter, push_route, reply
from sockudo.push.outcomes import (
    cancel,
    dead_letter_view,
    delivery_report,
    delivery_view,
    note_report,
    publish_status,
    replay,
    state_named,
    status_view,
    waiting,
)
from sockudo.push.paging import as_page, dead_letter_position, event_position, status_position
from sockudo.push.recipients import Provider, provider_named
from sockudo.push.records import PublishStatus
from sockudo.push.service import Accepted, Push
from sockudo.push.services import PushServices
from sockudo.push.trial import trial_from, try_out
from sockudo.push.validation import check_app_id, one_of

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["FORCED_ASYNC", "QUOTA_OVERRIDE", "publish_view", "push_lane", "push_publish_routes", "push_reply"]


QUOTA_OVERRIDE: Final = "x-sockudo-push-quota-override"
FORCED_ASYNC: Final = ("x-sockudo-forced-async", "publish-api-is-async")
_LATEST_MS: Final = 2**53 - 1

Answer = Callable[[Push, Asked], Awaitable[Response]]


def push_publish_routes(edge: Edge, services: PushServices) -> list[Route]:
    """All of them are for push-admin alone."""

    def route(method: str, path: str, answer: Answer, *, body: bool = False) -> Route:
        async def answered(asked: Asked) -> Response:
            return await answer(services.serving() or services.storage.service.reading, asked)

        return push_route(edge, services, method, path, answered, admin=not body)

    async def why(push: Push, asked: Asked) -> Response:
        body = await _why(push, asked)
        return reply(body | {"refused": refused_lately(edge.gateway.inspector.problems, asked.app_id)})

    async def test(asked: Asked) -> Response:
        """A route of this server alone: `provider`, and `deviceId` or `recipient`; 200 for every answer of it."""
        wanted = trial_from(await body_of(asked))
        push = services.serving()
        if push is None:
            raise errors.PUSH_DISABLED("no provider can be tried: push providers are disabled")
        return reply((await try_out(push, asked.app_id, wanted)).as_dict())

    return [
        push_route(edge, services, "POST", "/test", test),
        route("POST", "/publish", _publish, body=True),
        route("POST", "/batch/publish", _batch, body=True),
        route("GET", "/publish/{publish_id}/status", _status),
        route("GET", "/publish/{publish_id}/deliveries", _deliveries),
        route("GET", "/publishes", _publishes),
        route("GET", "/why", why),
        route("POST", "/scheduled", _schedule, body=True),
        route("GET", "/scheduled", _scheduled),
        route("DELETE", "/scheduled/{publish_id}", _cancel),
        route("GET", "/deadLetters", _dead_letters),
        route("POST", "/deadLetters/{dead_letter_id}/replay", _replay),
        route("POST", "/deliveryStatus", _delivery_status, body=True),
    ]


# ---- publishing ----


async def _publish(push: Push, asked: Asked) -> Response:
    given = publish_from(await body_of(asked))
    asked.access.require_admin()
    return _answered(asked, given, await _admitted(push, asked, given))


async def _schedule(push: Push, asked: Asked) -> Response:
    given = publish_from(await body_of(asked))
    asked.access.require_admin()
    return _answered(asked, given, await _admitted(push, asked, given, scheduled=True))


def _answered(asked: Asked, given: PublishRequest, accepted: Accepted) -> Response:
    answer = reply(publish_view(accepted), 202)
    if given.sync or parameter(asked, "mode") == "sync":
        answer.headers[FORCED_ASYNC[0]] = FORCED_ASYNC[1]
    return answer


async def _batch(push: Push, asked: Asked) -> Response:
    """The first refusal ends the batch; what was accepted before stays (spec: push § 2.4)."""
    items = batch_from(await body_of(asked))
    asked.access.require_admin()
    return reply({"items": [publish_view(await _admitted(push, asked, given)) for given in items]}, 202)


async def _admitted(push: Push, asked: Asked, given: PublishRequest, *, scheduled: bool = False) -> Accepted:
    return await push.publish(
        asked.app_id,
        given,
        admin=asked.access.admin,
        over_quota=QUOTA_OVERRIDE in asked.request.headers,
        scheduled=scheduled,
    )


def publish_view(accepted: Accepted) -> dict[str, Any]:
    """The answer to a publish."""
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


async def _status(push: Push, asked: Asked) -> Response:
    status = await _of_path(push, asked)
    lacking = await waits_for(push, status)
    return reply(status_view(status) | ({"waitsFor": lacking} if lacking else {}))


async def _of_path(push: Push, asked: Asked) -> PublishStatus:
    return await publish_status(push.store, asked.app_id, path_part(asked.request, "publish_id"))


async def _deliveries(push: Push, asked: Asked) -> Response:
    publish_id = (await _of_path(push, asked)).publish_id
    device_id = parameter(asked, "deviceId", "device_id")
    page = page_of(asked, f"deliveries:{publish_id}:{device_id or ''}")
    rows = await push.store.events(asked.app_id, publish_id, page.after, page.ask, device_id=device_id)
    return page_reply(as_page(page, rows, event_position, delivery_view, push.now_ms()))


async def _publishes(push: Push, asked: Asked) -> Response:
    wanted = parameter(asked, "state")
    states = None if wanted is None else [state_named(wanted)]
    page = page_of(asked, f"publishes:{states[0] if states else ''}")
    rows = await push.store.statuses(asked.app_id, states=states, after=page.after, limit=page.ask)
    return page_reply(as_page(page, rows, status_position, status_view, push.now_ms()))


async def _why(push: Push, asked: Asked) -> dict[str, Any]:
    """Why a recipient got no notification; a route of this server alone, as is its page of the dashboard."""
    who, publish_id = parameter(asked, "who"), parameter(asked, "publishId", "publish_id")
    if who is None:
        raise errors.INVALID_INPUT("who must be the id of a device, of a client or of a publish")
    thorough = one_of(parameter(asked, "thorough") or "false", ("true", "false"), "thorough") == "true"
    limit = {"seconds": THOROUGH_SECONDS} if thorough else {}
    return (await explained(push, asked.app_id, who, publish_id, **limit)).as_dict()


async def _scheduled(push: Push, asked: Asked) -> Response:
    page, now_ms = page_of(asked, "scheduled"), push.now_ms()
    rows = await waiting(push.store, asked.app_id, page.after, page.ask, now_ms)
    return page_reply(as_page(page, rows, status_position, status_view, now_ms))


async def _dead_letters(push: Push, asked: Asked) -> Response:
    provider = _provider(parameter(asked, "provider"))
    since, until = _time(asked, "sinceMs", "since_ms"), _time(asked, "untilMs", "until_ms")
    if since is not None and until is not None and since > until:
        raise errors.INVALID_INPUT(f"sinceMs ({since}) must not be after untilMs ({until})")
    page = page_of(asked, f"deadLetters:{provider or ''}:{since}:{until}")
    rows = await push.store.dead_letters(
        asked.app_id, provider=provider, since_ms=since, until_ms=until, after=page.after, limit=page.ask
    )
    return page_reply(as_page(page, rows, dead_letter_position, dead_letter_view, push.now_ms()))


def _provider(text: str | None) -> Provider | None:
    if text is None:
        return None
    found = provider_named(text)
    if found is None or found == "realtime":
        raise errors.INVALID_INPUT("provider must be one of fcm, apns, webpush, hms, wns")
    return found


def _time(asked: Asked, name: str, alias: str) -> int | None:
    text = parameter(asked, name, alias)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and int(text) <= _LATEST_MS):
        raise errors.INVALID_INPUT(f"{name} must be a Unix time in whole milliseconds")
    return int(text)


# ---- changing ----


async def _cancel(push: Push, asked: Asked) -> Response:
    """The same reply whether there was one: a deletion is idempotent (spec: push § 7.7)."""
    await cancel(push, asked.app_id, path_part(asked.request, "publish_id"))
    return Response(status_code=204)


async def _replay(push: Push, asked: Asked) -> Response:
    dead_letter_id = path_part(asked.request, "dead_letter_id")
    message_id = await replay(push, asked.app_id, dead_letter_id)
    return reply({"deadLetterId": dead_letter_id, "replayed": True, "messageId": message_id}, 202)


async def _delivery_status(push: Push, asked: Asked) -> Response:
    event = delivery_report(await body_of(asked), asked.app_id)
    asked.access.require_admin()
    await note_report(push, event)
    body = {"publishId": event.result.publish_id, "eventId": event.event_id, "occurredAtMs": event.occurred_at_ms}
    return reply({**body, "result": event.result}, 202)


# ---- the express lane: the same without the framework ----


def push_lane(edge: Edge, services: PushServices) -> dict[str, LaneEntry]:
    """Publishes take the lane while push takes any."""

    def is_open() -> bool:
        return services.serving() is not None

    return {"push/publish": LaneEntry(is_open, partial(push_reply, edge, services))}


def push_reply(
    edge: Edge,
    services: PushServices,
    app_id: str,
    raw_path: bytes,
    query: bytes | None,
    headers: Mapping[bytes, bytes],
    body: bytes,
) -> Reply | asyncio.Task[Reply]:
    """Checks who asks and reads what for; the task, which is the server's, ends with the answer once it is durable."""
    try:
        app = signed_app(edge, "POST", app_id, raw_path, query, body)
        check_app_id(app.id)
        check_json(headers.get(b"content-type"))
        given = publish_from(body)
        text = {name: value.decode("latin-1") for name, value in headers.items() if name in _ASKED}
        access = read_access(text.get(_CAPABILITY), text.get(_TOKEN), text.get(_AUTHORIZATION))
        access.require_admin()
        push = services.serving()
        if push is None:
            raise errors.PUSH_DISABLED("push admission unavailable: push providers are disabled")
        # Few ask for it, and to decode a query takes as long as to check its signature.
        asked = query is not None and (b"mode" in query or b"%" in query)
        waits = given.sync or (asked and query_param(query or b"", "mode") == "sync")
    except SockudoError as error:
        return error_reply(error)
    over_quota = QUOTA_OVERRIDE.encode() in headers
    task = asyncio.get_running_loop().create_task(_accepted(push, app.id, given, over_quota, waits))
    # Where the tasks of requests are that take the other way.
    tasks: set[asyncio.Task[Any]] = edge.state.tasks
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


_CAPABILITY = b"x-sockudo-push-capability"
_TOKEN = b"x-sockudo-device-identity-token"
_AUTHORIZATION = b"authorization"
_ASKED = frozenset((_CAPABILITY, _TOKEN, _AUTHORIZATION))


async def _accepted(push: Push, app_id: str, given: PublishRequest, over_quota: bool, waits: bool) -> Reply:
    accepted = await push.publish(app_id, given, over_quota=over_quota)
    body = msgspec.json.encode(publish_view(accepted))
    return Reply(202, body, ((FORCED_ASYNC[0].encode(), FORCED_ASYNC[1].encode()),) if waits else ())
