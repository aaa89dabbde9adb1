"""``/dashboard/api/v1/apps``: apps for programs (spec: platform § 8.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.edits import merged, version_of
from sockudo.apps.webhooks import written_back
from sockudo.auth.signing import path_part
from sockudo.config.app_reader import app_warnings
from sockudo.config.apps import App
from sockudo.config.problems import ConfigError
from sockudo.dashboard.apps.desk import (
    WHERE,
    administer,
    app_of,
    app_page,
    app_values,
    body_of,
    kept_until,
    problems_of,
    record_values,
    remove,
    row_values,
    why_lost,
)
from sockudo.dashboard.asked import read_json
from sockudo.dashboard.board import Board
from sockudo.dashboard.paging import Paging
from sockudo.dashboard.replies import json

__all__ = ["api_routes", "checked", "seen_version"]

Answer = Callable[[Request], Awaitable[Response]]

_APPS = "/dashboard/api/v1/apps"


def api_routes(board: Board) -> list[Route]:
    """List, read, create, update, remove, rotate and switch apps."""
    return [
        Route(_APPS, _listing(board), methods=["GET"]),
        Route(_APPS, checked(_adding(board)), methods=["POST"]),
        Route(f"{_APPS}/{{app_id}}", _reading(board), methods=["GET"]),
        Route(f"{_APPS}/{{app_id}}", checked(_updating(board)), methods=["PATCH"]),
        Route(f"{_APPS}/{{app_id}}", _removing(board), methods=["DELETE"]),
        Route(f"{_APPS}/{{app_id}}/rotate", _rotating(board), methods=["POST"]),
        Route(f"{_APPS}/{{app_id}}/enable", _switching(board, enabled=True), methods=["POST"]),
        Route(f"{_APPS}/{{app_id}}/disable", _switching(board, enabled=False), methods=["POST"]),
    ]


def checked(answer: Answer) -> Answer:
    """With the values that are not allowed listed field by field."""

    async def checked(request: Request) -> Response:
        try:
            return await answer(request)
        except ConfigError as error:
            return json(body_of(problems_of(error)), 400)

    return checked


def _app_id(request: Request) -> str:
    return path_part(request, "app_id")


def seen_version(request: Request) -> str | None:
    """The version that the client has seen, from If-Match; None when it does not care."""
    given = request.headers.get("if-match", "").strip()
    return given.removeprefix("W/").strip('"') if given not in ("", "*") else None


def _reply(board: Board, record: App, *, reveal: bool, status: int = 200) -> Response:
    """A record after a change, with what may surprise about it."""
    values = record_values(record, reveal=reveal)
    warnings = [
        warning.removeprefix(f"{WHERE} (app {record.id!r}): ") for warning in app_warnings(values, record, WHERE)
    ]
    lost = why_lost(board, record.id)
    values["warnings"] = warnings if lost is None else [*warnings, lost]
    return json(values, status, {"etag": f'"{values["version"]}"'})


# ---- apps ----


def _listing(board: Board) -> Answer:
    async def listing(request: Request) -> Response:
        found = app_page(board, Paging.of(request))
        return json(found.body([row_values(board, app) for app in found.entries]))

    return listing


def _reading(board: Board) -> Answer:
    async def reading(request: Request) -> Response:
        app = app_of(board, _app_id(request))
        reveal = request.query_params.get("reveal_secret") == "true"
        return json(app_values(board, app, reveal=reveal), headers={"etag": f'"{version_of(app.record)}"'})

    return reading


def _adding(board: Board) -> Answer:
    async def adding(request: Request) -> Response:
        given = await read_json(request, dict[str, Any])
        record = await administer(board, lambda admin: admin.add(_whole(given, None), WHERE))
        return _reply(board, record, reveal=True, status=201)

    return adding


def _whole(record: dict[str, Any], app: App | None) -> dict[str, Any]:
    """The record with what is hidden in its webhooks put back."""
    policy = record.get("policy")
    if isinstance(policy, dict) and "webhooks" in policy:
        return {**record, "policy": {**policy, "webhooks": written_back(app, policy["webhooks"], WHERE)}}
    if "webhooks" in record:
        return {**record, "webhooks": written_back(app, record["webhooks"], WHERE)}
    return record


def _updating(board: Board) -> Answer:
    async def updating(request: Request) -> Response:
        app_id, version = _app_id(request), seen_version(request)
        change = await read_json(request, dict[str, Any])
        replace = change.pop("replace_policy", False)
        if not isinstance(replace, bool):
            raise errors.INVALID_INPUT("replace_policy must be true or false")

        def edit(app: App) -> App:
            return merged(app, _whole(change, app), WHERE, replace_policy=replace)

        record = await administer(board, lambda admin: admin.edit(app_id, edit, version=version))
        return _reply(board, record, reveal=False)

    return updating


def _removing(board: Board) -> Answer:
    async def removing(request: Request) -> Response:
        app_id, version = _app_id(request), seen_version(request)
        record = await remove(board, app_id, version)
        return json({"id": record.id, "removed": True})

    return removing


def _rotating(board: Board) -> Answer:
    async def rotating(request: Request) -> Response:
        app_id, version = _app_id(request), seen_version(request)
        wanted = await read_json(request, dict[str, Any]) if await request.body() else {}
        key = wanted.get("key", False)
        if not isinstance(key, bool):
            raise errors.INVALID_INPUT("key must be true or false: whether the app gets a new key as well")
        keep = wanted.get("keep_seconds", 0)
        if not isinstance(keep, int) or isinstance(keep, bool):
            raise errors.INVALID_INPUT("keep_seconds must be a whole number: how long the old secret is accepted")
        until = kept_until(board, keep, key=key)
        record = await administer(board, lambda admin: admin.rotate(app_id, key=key, until=until, version=version))
        return _reply(board, record, reveal=True)

    return rotating


def _switching(board: Board, *, enabled: bool) -> Answer:
    async def switching(request: Request) -> Response:
        app_id, version = _app_id(request), seen_version(request)
        record = await administer(board, lambda admin: admin.switch(app_id, enabled=enabled, version=version))
        return _reply(board, record, reveal=False)

    return switching
