"""The routes by which operators look at webhooks and send dead letters again. They are this server's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.signing import path_part, query_param
from sockudo.base.components import Component
from sockudo.edge.signed import authenticated, json_reply, typed_body
from sockudo.webhooks.operations import (
    NO_DELIVERIES,
    NO_ENDPOINTS,
    Replay,
    delivery_page,
    delivery_state,
    one_delivery,
    overview,
    replay,
)
from sockudo.webhooks.service import Webhooks

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["webhook_routes"]

Answer = Callable[[Webhooks, LiveApp, Request], Awaitable[dict[str, Any]]]

_PARAMETERS: Final = ("endpoint", "state", "before", "limit")


def webhook_routes(edge: Edge, service: Component[Webhooks]) -> list[Route]:
    """The endpoints of an app, its deliveries, one with everything about it, and the replay; all signed."""
    webhooks = "/apps/{app_id}/webhooks"
    one = f"{webhooks}/deliveries/{{delivery_id}}"
    return [
        Route(webhooks, _endpoint(edge, service, _overview, NO_ENDPOINTS), methods=["GET"]),
        Route(f"{webhooks}/deliveries", _endpoint(edge, service, _page, NO_DELIVERIES), methods=["GET"]),
        Route(one, _endpoint(edge, service, _one, errors.DELIVERY_NOT_FOUND), methods=["GET"]),
        Route(f"{webhooks}/replay", _endpoint(edge, service, _replay, errors.ENDPOINT_NOT_FOUND), methods=["POST"]),
    ]


def _endpoint(
    edge: Edge, service: Component[Webhooks], answer: Answer, nothing: dict[str, Any] | errors.ErrorSpec
) -> Callable[[Request], Awaitable[Response]]:
    """``nothing`` is the answer while no app of the server has a webhook, and so there is no queue to ask."""

    async def endpoint(request: Request) -> Response:
        app = await authenticated(edge, request)
        edge.rates.check_read(app, edge.clock.monotonic())
        webhooks = service.if_open
        if webhooks is not None:
            return json_reply(await answer(webhooks, app, request))
        _check_wanted(edge, app)
        if isinstance(nothing, errors.ErrorSpec):
            raise nothing()
        return json_reply(nothing)

    return endpoint


def _check_wanted(edge: Edge, app: LiveApp) -> None:
    if edge.settings.queue.driver == "none":
        raise errors.WEBHOOKS_OFF('This server has no webhooks: queue.driver is "none"')
    if app.record.policy.webhooks:
        raise errors.SERVICE_UNAVAILABLE("The webhook queue is not open yet", retry_after=1)


async def _overview(webhooks: Webhooks, app: LiveApp, _: Request) -> dict[str, Any]:
    return await overview(webhooks, app.id)


async def _page(webhooks: Webhooks, app: LiveApp, request: Request) -> dict[str, Any]:
    query: bytes = request.scope["query_string"]
    given = {name: value for name in _PARAMETERS if (value := query_param(query, name)) is not None}
    return await delivery_page(
        webhooks,
        app.id,
        endpoint=given.get("endpoint"),
        state=delivery_state(given.get("state")),
        before=_whole(given, "before"),
        limit=_whole(given, "limit"),
    )


def _whole(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise errors.INVALID_INPUT(f"{name} must be a whole number of 0 or more")
    return int(text)


async def _one(webhooks: Webhooks, app: LiveApp, request: Request) -> dict[str, Any]:
    return await one_delivery(webhooks, app.id, path_part(request, "delivery_id"))


async def _replay(webhooks: Webhooks, app: LiveApp, request: Request) -> dict[str, Any]:
    return await replay(webhooks, app.id, await typed_body(request, Replay))
