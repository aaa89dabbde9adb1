"""The pages of the area Apps. Every form works without a script, and shows problems beside its fields."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.edits import version_of, with_values
from sockudo.apps.live import LiveApp
from sockudo.auth.signing import path_part
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError
from sockudo.dashboard.apps.api import api_routes
from sockudo.dashboard.apps.desk import (
    WHERE,
    FieldProblem,
    administer,
    app_of,
    app_page,
    failure_text,
    kept_until,
    problems_of,
    row_values,
    why_lost,
    why_read_only,
)
from sockudo.dashboard.apps.desk import remove as remove_app
from sockudo.dashboard.apps.fields import Tab
from sockudo.dashboard.apps.forms import PolicyForm
from sockudo.dashboard.apps.snippets import snippets
from sockudo.dashboard.asked import Form, read_form
from sockudo.dashboard.board import Board
from sockudo.dashboard.paging import Paging
from sockudo.dashboard.replies import page, redirect, retry_headers
from sockudo.errors import SockudoError

__all__ = ["app_url", "routes", "shared"]

Answer = Callable[[Request], Awaitable[Response]]

_NEW: Final = "/dashboard/apps/-/new"
_LONGEST_NUMBER: Final = 9
_TABS: Final = {
    "": "General",
    "limits": "Limits",
    "channels": "Channels",
}


def routes(board: Board) -> list[Route]:
    """``/dashboard/apps`` and ``/dashboard/api/v1/apps``."""
    return [*api_routes(board), *_page_routes(board)]


def _page_routes(board: Board) -> list[Route]:
    """The list, the form for a new app, an app's tabs, and what their forms ask for."""
    one = "/dashboard/apps/{app_id}"
    routes = [
        Route("/dashboard/apps", _listing(board), methods=["GET"]),
        Route(_NEW, _blank(board), methods=["GET"]),
        Route(_NEW, _adding(board), methods=["POST"]),
        Route(one, _general(board), methods=["GET"]),
        Route(f"{one}/secret", _revealing(board), methods=["POST"]),
        Route(f"{one}/rotate", _rotating(board), methods=["POST"]),
        Route(f"{one}/remove", _removing(board), methods=["POST"]),
        Route(f"{one}/enable", _switching(board, enabled=True), methods=["POST"]),
        Route(f"{one}/disable", _switching(board, enabled=False), methods=["POST"]),
    ]
    tabs: tuple[Tab, ...] = ("limits", "channels")
    for tab in tabs:
        routes.append(Route(f"{one}/{tab}", _fields(board, tab), methods=["GET"]))
        routes.append(Route(f"{one}/{tab}", _saving(board, tab), methods=["POST"]))
    return routes


def app_url(app_id: str, view: str = "") -> str:
    """The page of an app, or one of its tabs."""
    return f"/dashboard/apps/{quote(app_id, safe='')}{'/' if view else ''}{view}"


def shared(board: Board, app: App, view: str) -> dict[str, Any]:
    """What the template of every tab needs; ``view`` is the one that is shown."""
    tabs = [*_TABS.items(), *(tab for area in board.areas for tab in area.app_tabs.items())]
    return {
        "app": app,
        "url": app_url(app.id),
        "tabs": [(title, app_url(app.id, each), each == view) for each, title in tabs],
        "version": version_of(app),
        "read_only": why_read_only(board.settings),
        "lost": why_lost(board, app.id),
        "error": None,
    }


def _status(refusal: SockudoError) -> int:
    return refusal.spec.status or 500


def _asked(board: Board, request: Request) -> LiveApp:
    return app_of(board, path_part(request, "app_id"))


# ---- the list, and a new app ----


def _listing(board: Board) -> Answer:
    async def listing(request: Request) -> Response:
        found = app_page(board, Paging.of(request))
        rows = [{**row_values(board, app), "url": app_url(app.id)} for app in found.entries]
        return page(
            board,
            request,
            "apps/index.html",
            found=found,
            rows=rows,
            read_only=why_read_only(board.settings),
            lost=why_lost(board),
            new_url=_NEW,
        )

    return listing


def _new_page(
    board: Board,
    request: Request,
    sent: Form,
    problems: list[FieldProblem] | None = None,
    *,
    refusal: SockudoError | None = None,
) -> Response:
    problems_of: dict[str | None, list[str]] = {}
    for field, text in problems or ():
        problems_of.setdefault(field if field in ("id", "key", "secret") else None, []).append(text)
    return page(
        board,
        request,
        "apps/new.html",
        status=_status(refusal) if refusal is not None else 422 if problems else 200,
        headers=retry_headers(refusal) if refusal is not None else None,
        sent=sent,
        problems=problems_of,
        new_url=_NEW,
        read_only=why_read_only(board.settings),
        lost=why_lost(board),
    )


def _blank(board: Board) -> Answer:
    async def blank(request: Request) -> Response:
        return _new_page(board, request, Form([("enabled", "on")]))

    return blank


def _adding(board: Board) -> Answer:
    async def adding(request: Request) -> Response:
        sent = await read_form(request)
        record = {name: sent.get(name).strip() or None for name in ("id", "key", "secret")}
        features = {name: True for name in ("enable_client_messages", "enable_user_authentication") if name in sent}
        given = {**record, "enabled": "enabled" in sent, "policy": {"features": features}}
        try:
            app = await administer(board, lambda admin: admin.add(given, WHERE))
        except SockudoError as refusal:
            if refusal.spec in (errors.APP_EXISTS, errors.APP_KEY_TAKEN):
                return _new_page(board, request, sent, problems_of(refusal))
            problems = [FieldProblem(None, failure_text(refusal))]
            return _new_page(board, request, sent, problems, refusal=refusal)
        except ConfigError as error:
            return _new_page(board, request, sent, problems_of(error))
        return redirect(request, app_url(app.id), f"App '{app.id}' is there and can be used.")

    return adding


# ---- general: credentials, on and off, removal ----


def _general_page(
    board: Board,
    request: Request,
    app: App,
    *,
    reveal: bool = False,
    fresh: bool = False,
    acted: str = "",
    sent: Form | None = None,
    problem: str | None = None,
    status: int = 200,
    error: str | None = None,
    refusal: SockudoError | None = None,
) -> Response:
    """``acted`` is which form was sent and how it was filled in, when it was not carried out."""
    live = board.apps.by_id(app.id)
    return page(
        board,
        request,
        "apps/general.html",
        status=status,
        **{**shared(board, app, ""), "error": error},
        counts=row_values(board, live) if live is not None else None,
        reveal=reveal,
        fresh=fresh,
        snippets=snippets(board, app, request.headers.get("host", ""), reveal=reveal),
        acted=acted,
        sent=sent or Form([]),
        problem=problem,
        headers=retry_headers(refusal) if refusal is not None else None,
    )


def _general(board: Board) -> Answer:
    async def general(request: Request) -> Response:
        return _general_page(board, request, _asked(board, request).record)

    return general


def _revealing(board: Board) -> Answer:
    """With POST: a secret is neither fetched ahead by a browser nor kept in its history."""

    async def revealing(request: Request) -> Response:
        return _general_page(board, request, _asked(board, request).record, reveal=True)

    return revealing


def _confirmed(app_id: str, sent: Form) -> str | None:
    """What is wrong with the confirmation of something that cannot be undone."""
    typed = sent.get("confirm").strip()
    if typed == app_id:
        return None
    return f"Type the app's id, {app_id}, to confirm." if not typed else f"This is not the app's id, {app_id}."


def _acting(
    board: Board, name: str, act: Callable[[str, Form, Request], Awaitable[Response]], *, confirm: bool
) -> Answer:
    """A form of the general tab: confirmed where it has to be, and not on top of another operator's change."""

    async def acting(request: Request) -> Response:
        app, sent = _asked(board, request), await read_form(request)
        problem = _confirmed(app.id, sent) if confirm else None
        if problem is not None:
            return _general_page(board, request, app.record, acted=name, sent=sent, problem=problem, status=422)
        try:
            return await act(app.id, sent, request)
        except SockudoError as refusal:
            now = app_of(board, app.id).record
            changed = refusal.spec is errors.APP_CHANGED
            return _general_page(
                board,
                request,
                now,
                acted=name,
                sent=sent,
                status=_status(refusal),
                error=f"{refusal.text}. This is the app as it is now." if changed else failure_text(refusal),
                refusal=refusal,
            )

    return acting


def _rotating(board: Board) -> Answer:
    async def rotate(app_id: str, sent: Form, request: Request) -> Response:
        version, key = sent.get("version") or None, "key" in sent
        keep = sent.get("keep").strip() or "0"
        if not keep.isascii() or not keep.isdecimal() or len(keep) > _LONGEST_NUMBER:
            raise errors.INVALID_INPUT("keep must be a number of seconds")
        until = kept_until(board, int(keep), key=key)
        app = await administer(board, lambda admin: admin.rotate(app_id, key=key, until=until, version=version))
        # Shown right here, once: the operator asked for a new secret.
        return _general_page(board, request, app, reveal=True, fresh=True)

    return _acting(board, "rotate", rotate, confirm=True)


def _removing(board: Board) -> Answer:
    async def remove(app_id: str, sent: Form, request: Request) -> Response:
        version = sent.get("version") or None
        await remove_app(board, app_id, version)
        return redirect(request, "/dashboard/apps", f"App '{app_id}' is removed.")

    return _acting(board, "remove", remove, confirm=True)


def _switching(board: Board, *, enabled: bool) -> Answer:
    async def switch(app_id: str, sent: Form, request: Request) -> Response:
        version = sent.get("version") or None
        await administer(board, lambda admin: admin.switch(app_id, enabled=enabled, version=version))
        what = "is enabled" if enabled else "is disabled, and its connections are closed"
        return redirect(request, app_url(app_id), f"App '{app_id}' {what}.")

    return _acting(board, "switch", switch, confirm=False)


# ---- limits, channels ----


def _fields_page(
    board: Board,
    request: Request,
    app: App,
    tab: Tab,
    form: PolicyForm,
    *,
    problems: list[FieldProblem] | None = None,
    error: str | None = None,
    status: int = 200,
    refusal: SockudoError | None = None,
) -> Response:
    groups = form.view(board.settings, problems or ())
    beside = {field.problem for group in groups for field in group.fields if field.problem}
    rest = [problem for problem in problems or () if not any(problem.text in text for text in beside)]
    return page(
        board,
        request,
        "apps/fields.html",
        status=status,
        **{**shared(board, app, tab), "error": error},
        tab=tab,
        groups=groups,
        problems=[f"{field} {text}" if field else text for field, text in rest],
        wrong=len(beside),
        headers=retry_headers(refusal) if refusal is not None else None,
    )


def _fields(board: Board, tab: Tab) -> Answer:
    async def fields(request: Request) -> Response:
        app = _asked(board, request).record
        return _fields_page(board, request, app, tab, PolicyForm(tab, app))

    return fields


def _saving(board: Board, tab: Tab) -> Answer:
    async def saving(request: Request) -> Response:
        app, sent = _asked(board, request).record, await read_form(request)
        form = PolicyForm(tab, app, sent)
        version = sent.get("version") or None
        try:
            values = form.values()
            await administer(
                board,
                lambda admin: admin.edit(app.id, lambda now: with_values(now, values, WHERE), version=version),
            )
        except ConfigError as problem:
            return _fields_page(board, request, app, tab, form, problems=problems_of(problem), status=422)
        except SockudoError as refusal:
            if refusal.spec is not errors.APP_CHANGED:
                text, status = failure_text(refusal), _status(refusal)
                return _fields_page(board, request, app, tab, form, error=text, status=status, refusal=refusal)
            now = app_of(board, app.id).record
            text = (
                f"{refusal.text}. Below is what it holds now with your changes in it: look them through and save again."
            )
            return _fields_page(board, request, now, tab, PolicyForm(tab, now, sent), error=text, status=412)
        return redirect(request, app_url(app.id, tab), "Saved. It holds from now on, for open connections too.")

    return saving
