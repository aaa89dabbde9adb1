"""``/dashboard/api/v1/push``: publishes, devices, dead letters, credentials, test sends and reasons for programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.dashboard.asked import known_app
from sockudo.dashboard.replies import json
from sockudo.push.access import Access
from sockudo.push.credentials import credential_from
from sockudo.push.dashboard import desk
from sockudo.push.dashboard.desk import PushArea
from sockudo.push.outcomes import cancel, replay
from sockudo.push.trial import trial_from, try_out

__all__ = ["api_routes"]

_PUSH: Final = "/dashboard/api/v1/push"
_ADMIN: Final = Access(admin=True)

Answer = Callable[[PushArea, Request, str], Awaitable[Any]]


def api_routes(area: PushArea) -> list[Route]:
    """What the pages show and do; without an app in the path, the providers are those of the first app."""

    def route(path: str, answer: Answer, method: str = "GET") -> Route:
        async def endpoint(request: Request) -> Response:
            return json(await answer(area, request, known_app(area.board, path_part(request, "app_id")).id))

        return Route(f"{_PUSH}/{{app_id}}{path}", endpoint, methods=[method])

    async def overview(request: Request) -> Response:
        app_id = await desk.chosen_app(area, request)
        providers = [] if app_id is None else await desk.readiness(area, app_id)
        return json({"app_id": app_id, "off": desk.why_off(area), "providers": providers})

    return [
        Route(_PUSH, overview, methods=["GET"]),
        route("/publishes", _publishes),
        route("/publishes/{publish_id}", _publish),
        route("/publishes/{publish_id}/deliveries", _deliveries),
        route("/publishes/{publish_id}/cancel", _cancel, "POST"),
        route("/devices", _devices),
        route("/devices/{device_id}", _remove, "DELETE"),
        route("/dead-letters", _dead_letters),
        route("/dead-letters/{dead_letter_id}/replay", _replay, "POST"),
        route("/credentials", _credentials),
        route("/credentials/{provider}", _store, "POST"),
        route("/test", _test, "POST"),
        route("/why", _why),
    ]


async def _publishes(area: PushArea, request: Request, app_id: str) -> Any:
    return (await desk.publishes(area, request, app_id)).body()


async def _publish(area: PushArea, request: Request, app_id: str) -> Any:
    return await desk.publish_shown(area, app_id, path_part(request, "publish_id"))


async def _deliveries(area: PushArea, request: Request, app_id: str) -> Any:
    return (await desk.deliveries(area, request, app_id, path_part(request, "publish_id"))).body()


async def _cancel(area: PushArea, request: Request, app_id: str) -> Any:
    return {"cancelled": await cancel(desk.opened(area), app_id, path_part(request, "publish_id"))}


async def _devices(area: PushArea, request: Request, app_id: str) -> Any:
    return (await desk.devices(area, request, app_id)).body()


async def _remove(area: PushArea, request: Request, app_id: str) -> Any:
    await (await desk.directory(area)).devices.delete(_ADMIN, app_id, path_part(request, "device_id"))
    return {"removed": True}


async def _dead_letters(area: PushArea, request: Request, app_id: str) -> Any:
    return (await desk.dead_letters(area, request, app_id)).body()


async def _replay(area: PushArea, request: Request, app_id: str) -> Any:
    return {"messageId": await replay(desk.opened(area), app_id, path_part(request, "dead_letter_id"))}


async def _credentials(area: PushArea, _: Request, app_id: str) -> Any:
    return {"off": desk.why_off(area), "providers": await desk.readiness(area, app_id)}


async def _store(area: PushArea, request: Request, app_id: str) -> Any:
    wanted = credential_from(await request.body(), desk.asked_provider(path_part(request, "provider")))
    return await (await desk.directory(area)).credentials.put(app_id, wanted)


async def _test(area: PushArea, request: Request, app_id: str) -> Any:
    return (await try_out(desk.opened(area), app_id, trial_from(await request.body()))).as_dict()


async def _why(area: PushArea, request: Request, app_id: str) -> Any:
    who = request.query_params.get("q", "").strip()
    if not who:
        raise errors.INVALID_INPUT("q must be the id of a device, of a client or of a publish")
    found = await desk.why(area, request, app_id, who, request.query_params.get("publish_id") or None)
    return {**found.as_dict(), "refused": desk.refused(area, app_id)}
