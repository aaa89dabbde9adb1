"""The tab Webhooks of an app: its endpoints, and a form for each (spec: platform § 8.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.webhooks import shown_webhook, shown_webhooks, with_webhook, without_webhook
from sockudo.auth.signing import path_part
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError
from sockudo.config.schema import value_at
from sockudo.config.webhooks import EVENT_TYPES, unused_webhooks
from sockudo.dashboard.apps.desk import WHERE, administer, app_of, failure_text, problems_of
from sockudo.dashboard.apps.pages import app_url, shared
from sockudo.dashboard.asked import Form, read_form
from sockudo.dashboard.replies import page, redirect, retry_headers
from sockudo.errors import SockudoError
from sockudo.webhooks.dashboard.desk import WebhookArea, why_closed
from sockudo.webhooks.dashboard.pages import deliveries_url, test_url
from sockudo.webhooks.endpoints import Retry, app_endpoints

__all__ = ["EVENTS", "NUMBERS", "entry_of", "fields_of_entry", "webhook_page_routes"]


EVENTS: Final = (
    ("channel_occupied", "A channel has its first subscriber"),
    ("channel_vacated", "A channel has lost its last one"),
    ("member_added", "A user has come to a presence channel"),
    ("member_removed", "A user has left one"),
    ("member_updated", "A user's information has changed there"),
    ("client_event", "A client has sent an event"),
    ("cache_miss", "A cache channel had no last event for a subscriber"),
    ("subscription_count", "A channel has more or fewer subscribers"),
    ("user_online", "A signed-in user has come"),
    ("user_offline", "A signed-in user has gone"),
    ("push.publish_failed", "A push publish has reached no device (push.webhooks_enabled)"),
    ("push.device_invalidated", "A device was deleted because its token is dead (push.webhooks_enabled)"),
)
"""What can be ticked, in the order of the form."""

NUMBERS: Final = (
    ("request_timeout_ms", "Time limit of a request", "ms"),
    ("retry.max_attempts", "Attempts at most", ""),
    ("retry.max_elapsed_time_ms", "Given up after", "ms"),
    ("retry.initial_backoff_ms", "First pause between attempts", "ms"),
    ("retry.max_backoff_ms", "Longest pause", "ms"),
)

_FILTERS: Final = ("channel_prefix", "channel_suffix", "channel_pattern", "channel_namespace")
_HIDDEN: Final = "…"


def fields_of_entry(entry: Mapping[str, Any]) -> Form:
    """The form filled in: hidden parts of the address and values of headers as `…`."""
    shown = shown_webhook(entry)
    condition, retry = shown.get("filter") or {}, shown.get("retry") or {}
    types = [str(name) for name in shown.get("event_types") or ()]
    fields = [
        ("url", str(shown.get("url") or "")),
        *(("event", name) for name in types if name in EVENT_TYPES),
        ("other_events", ", ".join(name for name in types if name not in EVENT_TYPES)),
        *((f"filter.{name}", str(condition.get(name) or "")) for name in _FILTERS),
        ("filter.channel_namespaces", ", ".join(condition.get("channel_namespaces") or ())),
        ("headers", "\n".join(f"{name}: {_HIDDEN}" for name in shown.get("headers") or {})),
        ("request_timeout_ms", _text(shown.get("request_timeout_ms"))),
        ("retry.enabled", {True: "on", False: "off"}.get(retry.get("enabled"), "")),  # type: ignore[arg-type]
        *((name, _text(retry.get(name.partition(".")[2]))) for name, _, _ in NUMBERS if name.startswith("retry.")),
    ]
    return Form(fields)


def entry_of(sent: Form) -> dict[str, Any]:
    """The entry that was filled in; a header whose value is left hidden is null, which keeps it.

    Numbers that are none stay texts, for the reader of webhooks to refuse.
    """
    condition: dict[str, Any] = {name: sent.get(f"filter.{name}").strip() for name in _FILTERS}
    condition["channel_namespaces"] = _listed(sent.get("filter.channel_namespaces"))
    retry = {name.partition(".")[2]: _number(sent.get(name)) for name, _, _ in NUMBERS if name.startswith("retry.")}
    retry["enabled"] = {"on": True, "off": False}.get(sent.get("retry.enabled"))
    parts = {
        "filter": {name: value for name, value in condition.items() if value},
        "headers": _headers(sent.get("headers")),
        "retry": {name: value for name, value in retry.items() if value is not None},
        "request_timeout_ms": _number(sent.get("request_timeout_ms")),
    }
    return {
        "url": sent.get("url").strip() or None,
        "event_types": [*sent.all("event"), *_listed(sent.get("other_events"))],
        **{name: value for name, value in parts.items() if value not in (None, {})},
    }


def _headers(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if line.strip():
            found[name] = None if value == _HIDDEN else value
    return found


def _listed(text: str) -> list[str]:
    return [part for part in (piece.strip() for piece in text.split(",")) if part]


def _number(text: str) -> int | str | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else text or None


def _text(value: object) -> str:
    return "" if value is None else str(value)


# ---- pages ----


Answer = Callable[[Request], Awaitable[Response]]

_NEW = "new"


def webhook_page_routes(area: WebhookArea) -> list[Route]:
    """The list, the form for a new one or one at an index, and its removal."""
    several = "/dashboard/apps/{app_id}/webhooks"
    return [
        Route(several, _listing(area), methods=["GET"]),
        Route(f"{several}/{{index}}", _form(area), methods=["GET"]),
        Route(f"{several}/{{index}}", _saving(area), methods=["POST"]),
        Route(f"{several}/{{index}}/remove", _removing(area), methods=["POST"]),
    ]


def _record(area: WebhookArea, request: Request) -> App:
    return app_of(area.board, path_part(request, "app_id")).record


def _index(request: Request, app: App) -> int | None:
    """The index in the path, None for a new one; raises errors.ENDPOINT_NOT_FOUND."""
    text = path_part(request, "index")
    if text == _NEW:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) < len(app.policy.webhooks):
        return int(text)
    raise errors.ENDPOINT_NOT_FOUND("The app has no such webhook: it was removed, or it has moved up in the list")


def _rows(app: App) -> list[dict[str, Any]]:
    """Every webhook with the id that its deliveries know it by; one that is not called has none."""
    made = iter(app_endpoints(app.id, app.policy.webhooks, Retry(), 1).endpoints)
    return [
        {
            **each,
            "id": next(made).id if each.get("url") else None,
            "edit": f"{app_url(app.id, 'webhooks')}/{each['index']}",
        }
        for each in shown_webhooks(app)
    ]


def _list_page(
    area: WebhookArea,
    request: Request,
    app: App,
    *,
    error: str | None = None,
    status: int = 200,
    refusal: SockudoError | None = None,
) -> Response:
    return page(
        area.board,
        request,
        "webhooks/of-app.html",
        status=status,
        headers=retry_headers(refusal) if refusal is not None else None,
        **{**shared(area.board, app, "webhooks"), "error": error},
        rows=_rows(app),
        warnings=list(unused_webhooks(app.policy.webhooks)),
        off=why_closed(area),
        new_url=f"{app_url(app.id, 'webhooks')}/{_NEW}",
        deliveries_url=deliveries_url,
        test_url=test_url,
    )


def _listing(area: WebhookArea) -> Answer:
    async def listing(request: Request) -> Response:
        return _list_page(area, request, _record(area, request))

    return listing


def _form_page(
    area: WebhookArea,
    request: Request,
    app: App,
    index: int | None,
    sent: Form,
    *,
    problems: list[str] | None = None,
    error: str | None = None,
    status: int = 200,
    refusal: SockudoError | None = None,
) -> Response:
    return page(
        area.board,
        request,
        "webhooks/form.html",
        status=status,
        headers=retry_headers(refusal) if refusal is not None else None,
        **{**shared(area.board, app, "webhooks"), "error": error},
        index=index,
        was="" if index is None else shown_webhooks(app)[index].get("url") or "",
        action=f"{app_url(app.id, 'webhooks')}/{_NEW if index is None else index}",
        sent=sent,
        problems=problems or [],
        events=EVENTS,
        numbers=[(*number, _default(area, *number)) for number in NUMBERS],
        defaults=area.board.settings.webhooks,
    )


def _default(area: WebhookArea, name: str, _: str, unit: str) -> str:
    """What holds for a number that is left empty, in words."""
    value = value_at(area.board.settings, f"webhooks.{name}")
    return "no limit" if value is None else f"{value:,} {unit}".rstrip()


def _form(area: WebhookArea) -> Answer:
    async def form(request: Request) -> Response:
        app = _record(area, request)
        index = _index(request, app)
        blank = Form([("event", "channel_occupied"), ("event", "channel_vacated")])
        return _form_page(
            area, request, app, index, blank if index is None else fields_of_entry(app.policy.webhooks[index])
        )

    return form


def _saving(area: WebhookArea) -> Answer:
    async def saving(request: Request) -> Response:
        app, sent = _record(area, request), await read_form(request)
        version = sent.get("version") or None
        entry = entry_of(sent)
        index: int | None = None
        try:
            index = _index(request, app)
            await administer(
                area.board,
                lambda admin: admin.edit(
                    app.id, lambda now: with_webhook(now, entry, WHERE, index=index), version=version
                ),
            )
        except ConfigError as problem:
            texts = [each.text for each in problems_of(problem)]
            return _form_page(area, request, app, index, _without_secrets(sent), problems=texts, status=422)
        except SockudoError as refusal:
            return _not_saved(area, request, app, index, _without_secrets(sent), refusal)
        what = "is added" if index is None else "is saved"
        return redirect(request, app_url(app.id, "webhooks"), f"The webhook {what}; it gets what happens from now on.")

    return saving


def _without_secrets(sent: Form) -> Form:
    """The form as it was sent, but for values of headers, which have to be given once more."""
    lines = [line.partition(":") for line in sent.get("headers").splitlines() if line.strip()]
    kept = "\n".join(f"{name.strip()}: {value.strip() if value.strip() == '…' else ''}" for name, _, value in lines)
    return Form([*((name, value) for name, value in sent.fields if name != "headers"), ("headers", kept)])


def _removing(area: WebhookArea) -> Answer:
    async def removing(request: Request) -> Response:
        app, sent = _record(area, request), await read_form(request)
        version = sent.get("version") or None
        try:
            index = _index(request, app)
            if index is None:
                raise errors.NOT_FOUND("A webhook that is not there cannot be removed")
            await administer(
                area.board,
                lambda admin: admin.edit(app.id, lambda now: without_webhook(now, index, WHERE), version=version),
            )
        except SockudoError as refusal:
            return _not_removed(area, request, app, refusal)
        return redirect(request, app_url(app.id, "webhooks"), "The webhook is removed.")

    return removing


def _not_saved(
    area: WebhookArea, request: Request, app: App, index: int | None, kept: Form, refusal: SockudoError
) -> Response:
    """The form as it was filled in. After another operator's change an index means another webhook, or none: the form
    is for the one that has the address from before, else for a new one.
    """
    text = failure_text(refusal)
    if refusal.spec in (errors.APP_CHANGED, errors.ENDPOINT_NOT_FOUND):
        app = app_of(area.board, app.id).record
        was = kept.get("was")
        index = next((each["index"] for each in shown_webhooks(app) if was and each.get("url") == was), None)
        what = "as a new webhook" if index is None else f"for webhook {index + 1}, {was}, as it is now"
        text = f"{refusal.text}. What you filled in is still here: {what}."
    status = refusal.spec.status or 500
    return _form_page(area, request, app, index, kept, error=text, status=status, refusal=refusal)


def _not_removed(area: WebhookArea, request: Request, app: App, refusal: SockudoError) -> Response:
    """The list: as it is now where another operator was faster, since an index may mean another webhook then."""
    if refusal.spec in (errors.APP_CHANGED, errors.ENDPOINT_NOT_FOUND):
        text = f"{refusal.text}. These are its webhooks as they are now."
        return _list_page(area, request, app_of(area.board, app.id).record, error=text, status=412)
    text = f"{refusal.text.rstrip('.')}. {refusal.spec.remedy}"
    return _list_page(area, request, app, error=text, status=refusal.spec.status or 500, refusal=refusal)
