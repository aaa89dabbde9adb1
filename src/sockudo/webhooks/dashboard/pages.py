"""The pages of the area Webhooks."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.config.webhooks import EVENT_TYPES, shown_url
from sockudo.dashboard.asked import Form, known_app, read_form
from sockudo.dashboard.paging import Paging
from sockudo.dashboard.replies import page, redirect
from sockudo.dashboard.texts import pretty
from sockudo.webhooks.dashboard.api import TEST_EVENT, deliveries_asked
from sockudo.webhooks.dashboard.desk import (
    WebhookArea,
    explained,
    find_endpoints,
    known_app_id,
    of_app,
    queue_of,
    replay_deliveries,
    send_test,
    why_closed,
)
from sockudo.webhooks.operations import Replay

__all__ = ["deliveries_url", "page_routes", "test_url"]

_AREA: Final = "/dashboard/webhooks"

_STATES: Final = {
    "ok": ("delivers", "good"),
    "failing": ("fails", "bad"),
    "held_back": ("held back: it fails", "bad"),
    "untried": ("not tried yet", ""),
}
_OUTCOMES: Final = {"waiting": "info", "delivered": "good", "dead": "bad"}


def deliveries_url(app_id: str, delivery_id: str = "", **query: str) -> str:
    """The deliveries of an app, or one of them."""
    path = f"{_AREA}/{quote(app_id, safe='')}/deliveries"
    path += f"/{quote(delivery_id, safe='')}" if delivery_id else ""
    return f"{path}?{urlencode(query)}" if query else path


def replay_url(app_id: str) -> str:
    """Where the forms go that send deliveries again."""
    return f"{_AREA}/{quote(app_id, safe='')}/replay"


def test_url(app_id: str, endpoint: str) -> str:
    """The page that tries an endpoint out."""
    return f"{_AREA}/{quote(app_id, safe='')}/endpoints/{quote(endpoint, safe='')}/test"


_TOOLS: Final[dict[str, Any]] = {
    "deliveries_url": deliveries_url,
    "replay_url": replay_url,
    "test_url": test_url,
    "states": _STATES,
    "outcomes": _OUTCOMES,
}


def page_routes(area: WebhookArea) -> list[Route]:
    """Endpoints, deliveries, one delivery, and the forms for replay and for test events."""

    async def endpoints(request: Request) -> Response:
        chosen = request.query_params.get("app_id") or None
        found = await find_endpoints(area, Paging.of(request), chosen)
        return page(
            area.board,
            request,
            "webhooks/index.html",
            block="results",
            found=found.page,
            ignored=found.ignored,
            queue=await queue_of(area),
            off=why_closed(area),
            apps=[app.id for app in area.board.apps.all()],
            chosen=chosen,
            **_TOOLS,
        )

    async def deliveries(request: Request) -> Response:
        app_id = await known_app_id(area, path_part(request, "app_id"))
        return await _deliveries(area, request, app_id)

    async def one(request: Request) -> Response:
        app_id = await known_app_id(area, path_part(request, "app_id"))
        delivery = await explained(area, app_id, path_part(request, "delivery_id"))
        body = pretty(delivery["body"])
        return page(
            area.board, request, "webhooks/delivery.html", app_id=app_id, delivery=delivery, body=body, **_TOOLS
        )

    async def again(request: Request) -> Response:
        return await _replay(area, request, await known_app_id(area, path_part(request, "app_id")))

    async def trial(request: Request) -> Response:
        return _trial_page(area, request, TEST_EVENT)

    async def send(request: Request) -> Response:
        event = (await read_form(request)).get("event")
        result = await send_test(area, path_part(request, "app_id"), path_part(request, "endpoint"), event)
        return _trial_page(area, request, event, {**result.as_dict(), "slow": result.slow})

    one_app = f"{_AREA}/{{app_id}}"
    return [
        Route(_AREA, endpoints, methods=["GET"]),
        Route(f"{one_app}/deliveries", deliveries, methods=["GET"]),
        Route(f"{one_app}/deliveries/{{delivery_id}}", one, methods=["GET"]),
        Route(f"{one_app}/replay", again, methods=["POST"]),
        Route(f"{one_app}/endpoints/{{endpoint}}/test", trial, methods=["GET"]),
        Route(f"{one_app}/endpoints/{{endpoint}}/test", send, methods=["POST"]),
    ]


async def _deliveries(area: WebhookArea, request: Request, app_id: str) -> Response:
    found = await deliveries_asked(area, app_id, request)
    query = {name: value for name, value in request.query_params.items() if value and name in ("endpoint", "state")}
    app = area.board.apps.by_id(app_id)
    known = {} if app is None else {name: shown_url(each.url) for name, each in of_app(area, app).by_id.items()}
    chosen = query.get("endpoint", "")
    if chosen and chosen not in known:
        known[chosen] = f"{chosen} (removed)"
    older = found["next_before"]
    return page(
        area.board,
        request,
        "webhooks/deliveries.html",
        block="results",
        app_id=app_id,
        found=found,
        endpoints=known,
        query=query,
        newest_url=deliveries_url(app_id, **query) if request.query_params.get("before") else None,
        older_url=None if older is None else deliveries_url(app_id, **query, before=str(older)),
        off=why_closed(area),
        **_TOOLS,
    )


async def _replay(area: WebhookArea, request: Request, app_id: str) -> Response:
    sent = await read_form(request)
    reply = await replay_deliveries(area, app_id, _wanted(sent))
    count = reply["replayed"]
    notice = f"{count:,} {'delivery is' if count == 1 else 'deliveries are'} sent again, after what waits now."
    if reply["waiting"]:
        notice += f" Under way anyway: {', '.join(reply['waiting'])}."
    one = sent.get("id")
    return redirect(request, deliveries_url(app_id, one) if one else deliveries_url(app_id, state="waiting"), notice)


def _wanted(sent: Form) -> Replay:
    if sent.get("id"):
        return Replay(ids=[sent.get("id")])
    if sent.get("endpoint"):
        return Replay(endpoint=sent.get("endpoint"))
    return Replay(all=sent.get("all") == "yes")


def _trial_page(area: WebhookArea, request: Request, event: str, result: dict[str, Any] | None = None) -> Response:
    app = known_app(area.board, path_part(request, "app_id"))
    endpoint = of_app(area, app).by_id.get(path_part(request, "endpoint"))
    if endpoint is None:
        raise errors.ENDPOINT_NOT_FOUND("No webhook of the app has this id: it was removed or changed")
    return page(
        area.board,
        request,
        "webhooks/test.html",
        app_id=app.id,
        endpoint=endpoint,
        url=shown_url(endpoint.url),
        events=[(name, name) for name in sorted(EVENT_TYPES)],
        event=event,
        result=result,
        body=pretty(result["body"]) if result else "",
        **_TOOLS,
    )
