"""The pages of the area Push."""

from __future__ import annotations

from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo.auth.signing import path_part
from sockudo.dashboard.asked import known_app
from sockudo.dashboard.replies import page
from sockudo.errors import SockudoError
from sockudo.push.dashboard import desk
from sockudo.push.dashboard.desk import PushArea
from sockudo.push.diagnosis.advice import STATE_WORDS
from sockudo.push.diagnosis.findings import Explanation
from sockudo.push.directory import device_view
from sockudo.push.outcomes import delivery_view
from sockudo.push.recipients import ROUTE_NAMES
from sockudo.push.trial import TRIED

__all__ = ["AREA", "TOOLS", "credentials_page", "list_url", "page_routes", "publish_url", "shown_page", "trial_page"]


AREA: Final = "/dashboard/push"

_TABS: Final = (
    ("Publishes", ""),
    ("Devices", "devices"),
    ("Dead letters", "dead-letters"),
    ("Credentials", "credentials"),
    ("Test send", "test"),
    ("Why no notification?", "why"),
)
_STATE_KINDS: Final = {
    "queued": "info",
    "planning": "info",
    "throttled": "warn",
    "dispatching": "info",
    "cancelled": "",
    "expired": "warn",
    "failed": "bad",
    "succeeded": "good",
    "partiallySucceeded": "warn",
    "quota_exceeded": "bad",
    "dead_lettered": "bad",
}
_OUTCOME_KINDS: Final = {"accepted": "good", "rejected": "bad", "retryable": "warn", "expired": "warn", "cancelled": ""}
_DEVICE_KINDS: Final = {"ACTIVE": "good", "FAILING": "warn", "FAILED": "bad"}


def list_url(view: str = "", **query: str) -> str:
    """A page of the area: of publishes, or the view of that name."""
    path = f"{AREA}/{view}" if view else AREA
    return f"{path}?{urlencode(query)}" if query else path


def publish_url(app_id: str, publish_id: str, act: str = "", **query: str) -> str:
    """The page of one publish, or where a form about it goes."""
    path = f"{AREA}/{quote(app_id, safe='')}/publishes/{quote(publish_id, safe='')}{'/' if act else ''}{act}"
    return f"{path}?{urlencode(query)}" if query else path


TOOLS: Final[dict[str, Any]] = {
    "list_url": list_url,
    "publish_url": publish_url,
    "views": _TABS,
    "state_kinds": _STATE_KINDS,
    "outcome_kinds": _OUTCOME_KINDS,
    "device_kinds": _DEVICE_KINDS,
}
"""What every template of the area is given."""


# ---- pages ----


PROVIDERS = [(ROUTE_NAMES[name], ROUTE_NAMES[name]) for name in TRIED]


def page_routes(area: PushArea) -> list[Route]:
    """Lists, one publish, and the pages with forms."""

    async def devices(request: Request) -> Response:
        app_id = await desk.chosen_app(area, request)
        found = desk.NOTHING if app_id is None else await desk.devices(area, request, app_id)
        wanted = request.query_params.get("q", "").strip()
        more = _next(found, "devices", app_id, q=wanted)
        return shown_page(area, request, "devices", app_id, found=found, q=wanted, more=more)

    async def dead_letters(request: Request) -> Response:
        app_id = await desk.chosen_app(area, request)
        found = desk.NOTHING if app_id is None else await desk.dead_letters(area, request, app_id)
        provider = request.query_params.get("provider", "")
        more = _next(found, "dead-letters", app_id, provider=provider)
        return shown_page(area, request, "dead-letters", app_id, found=found, provider=provider, more=more)

    async def credentials(request: Request) -> Response:
        return await credentials_page(area, request, await desk.chosen_app(area, request))

    async def trial(request: Request) -> Response:
        return trial_page(area, request, await desk.chosen_app(area, request))

    return [
        Route(AREA, partial(_publishes, area), methods=["GET"]),
        Route(f"{AREA}/devices", devices, methods=["GET"]),
        Route(f"{AREA}/dead-letters", dead_letters, methods=["GET"]),
        Route(f"{AREA}/credentials", credentials, methods=["GET"]),
        Route(f"{AREA}/test", trial, methods=["GET"]),
        Route(f"{AREA}/why", partial(_why, area), methods=["GET"]),
        Route(f"{AREA}/{{app_id}}/publishes/{{publish_id}}", partial(_publish, area), methods=["GET"]),
    ]


def shown_page(
    area: PushArea, request: Request, view: str, app_id: str | None, *, status: int = 200, **context: Any
) -> Response:
    """A page of the area, with its tabs; ``view`` names the template and, as in the address, the tab."""
    return page(
        area.board,
        request,
        f"push/{view or 'publishes'}.html",
        block="results",
        status=status,
        view=view,
        app_id=app_id,
        apps=[app.id for app in area.board.apps.all()],
        off=desk.why_off(area),
        providers=PROVIDERS,
        **context,
        **TOOLS,
    )


def _next(found: desk.Slice, view: str, app_id: str | None, **query: str) -> str | None:
    """The link to what comes behind this part of a list."""
    if found.after is None:
        return None
    kept = {name: value for name, value in query.items() if value}
    return list_url(view, app_id=app_id or "", **kept, after=found.after)


async def _publishes(area: PushArea, request: Request) -> Response:
    app_id = await desk.chosen_app(area, request)
    found = desk.NOTHING if app_id is None else await desk.publishes(area, request, app_id)
    state = request.query_params.get("state", "")
    first = not request.query_params.get("after")
    moving = first and any(row["state"] in ("queued", "planning", "throttled", "dispatching") for row in found.rows)
    kept = {"state": state} if state else {}
    return shown_page(
        area,
        request,
        "",
        app_id,
        found=found,
        state=state,
        states=[("", "Any"), *STATE_WORDS.items()],
        words=STATE_WORDS,
        here=list_url(app_id=app_id or "", **kept),
        moving=moving,
        first=first,
        more=_next(found, "", app_id, state=state),
    )


async def _publish(area: PushArea, request: Request) -> Response:
    app_id = known_app(area.board, path_part(request, "app_id")).id
    publish_id = path_part(request, "publish_id")
    shown = await desk.publish_shown(area, app_id, publish_id)
    sent = await desk.deliveries(area, request, app_id, publish_id)
    device_id = request.query_params.get("device_id", "")
    kept = {"device_id": device_id} if device_id else {}
    return page(
        area.board,
        request,
        "push/publish.html",
        block="live",
        app_id=app_id,
        publish=shown,
        sent=sent,
        words=STATE_WORDS,
        device_id=device_id,
        more=None if sent.after is None else publish_url(app_id, publish_id, **kept, after=sent.after),
        **TOOLS,
    )


async def credentials_page(
    area: PushArea, request: Request, app_id: str | None, error: SockudoError | None = None, provider: str = ""
) -> Response:
    """Readiness and the forms; ``error`` stands above the form of ``provider``, which begins anew."""
    shown = [] if app_id is None else await desk.readiness(area, app_id)
    settings = area.board.settings
    # A development server makes one for itself.
    key = settings.dev or settings.push.credential_encryption_key is not None
    status = 200 if error is None else error.spec.status or 400
    return shown_page(
        area, request, "credentials", app_id, status=status, readiness=shown, encrypts=key, error=error, failed=provider
    )


def trial_page(
    area: PushArea,
    request: Request,
    app_id: str | None,
    *,
    given: dict[str, str] | None = None,
    result: dict[str, Any] | None = None,
    error: SockudoError | None = None,
) -> Response:
    """The form of a test send, with what came of the last one."""
    query = request.query_params
    asked = {"provider": query.get("provider", ""), "device_id": query.get("device_id", "")}
    status = 200 if error is None else error.spec.status or 400
    return shown_page(area, request, "test", app_id, status=status, given=given or asked, result=result, error=error)


async def _why(area: PushArea, request: Request) -> Response:
    app_id = await desk.chosen_app(area, request)
    who = request.query_params.get("q", "").strip()
    publish_id = request.query_params.get("publish_id", "").strip()
    found: Explanation | None = None
    if app_id is not None and who and area.push.serving() is not None:
        found = await desk.why(area, request, app_id, who, publish_id or None)
    return shown_page(
        area,
        request,
        "why",
        app_id,
        q=who,
        publish_id=publish_id,
        found=found,
        devices=[] if found is None else [device_view(each) for each in found.devices],
        outcomes=[] if found is None else [list(map(delivery_view, reach.events)) for reach in found.reaches],
        refused=[] if app_id is None else desk.refused(area, app_id),
        words=STATE_WORDS,
    )
