"""The page and its files, without a login: nothing on it is a secret, and it can do what its visitor could do.

It publishes as a backend does, with the app's secret, which is on the page only where everybody knows it: that of the
development app, on loopback. The secret of any other app is typed in, and stays in the browser.
"""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sockudo.config.app_choice import DEV_APP
from sockudo.config.apps import App
from sockudo.dashboard import assets
from sockudo.dashboard.access import with_page_headers
from sockudo.dashboard.apps.snippets import EVERYWHERE, chat, snippets
from sockudo.dashboard.board import Board
from sockudo.dashboard.replies import json, page
from sockudo.dashboard.routing import Pages
from sockudo.errors import SockudoError

__all__ = ["dashboard_address", "is_start_page", "known_secret", "shown_app", "start_page"]

_PATH = b"/"
_FILES = assets.PREFIX.encode()


def is_start_page(raw_path: bytes) -> bool:
    """Whether a path is the page's or that of a file which it needs."""
    return raw_path == _PATH or raw_path.startswith(_FILES)


def start_page(board: Board) -> ASGIApp:
    """Answers the paths of `is_start_page`, with the headers of the dashboard's pages and none for other origins."""

    async def start(request: Request) -> Response:
        # Compiling the template takes a while, in which the loop has messages to deliver.
        return await asyncio.to_thread(_page, board, request)

    pages = Pages([Route("/", start, methods=["GET"]), *assets.routes()], _refused)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_page_headers(message["headers"])
            await send(message)

        # As it was sent: see `sockudo.auth.signing.path_part`.
        scope["path"] = scope["raw_path"].decode("latin-1")
        await pages(scope, receive, send_with_headers)

    return answer


def shown_app(board: Board) -> App | None:
    """The app of the page: the development app where it is there, else the first that is enabled."""
    enabled = [app.record for app in board.apps.all() if app.enabled]
    return next((app for app in enabled if known_secret(app) is not None), next(iter(enabled), None))


def known_secret(app: App | None) -> str | None:
    """The secret where it may be on the page: that of the development app, unless it has got a new one."""
    known = app is not None and (app.id, app.key, app.secret) == (DEV_APP.id, DEV_APP.key, DEV_APP.secret)
    return DEV_APP.secret if known else None


def dashboard_address(board: Board, reached: str) -> str | None:
    """Where the dashboard is for a browser that has reached this server under that name; None where there is none."""
    settings = board.settings
    if not settings.dashboard.enabled:
        return None
    where = next((where for what, where in board.listeners if what == "Metrics and dashboard"), None)
    if where is None:
        return "/dashboard" if settings.dashboard.public else None
    host = settings.metrics.host if settings.metrics.host not in EVERYWHERE else _name_of(reached)
    return f"http://{f'[{host}]' if ':' in host else host}:{urlsplit(where).port}/dashboard"


def _page(board: Board, request: Request) -> Response:
    app, reached = shown_app(board), request.headers.get("host", "")
    secret = known_secret(app)
    code = [] if app is None else snippets(board, app, reached, reveal=secret is not None)
    if app is not None and secret is not None:
        code.insert(0, chat(board, app, reached))
    return page(
        board,
        request,
        "start/index.html",
        app=app,
        secret=secret,
        code=code,
        dashboard=dashboard_address(board, reached),
        url=f"{request.url.scheme}://{reached}",
        # Scripts of a checkout name the command that works without an installation.
        command=os.environ.get("SOCKUDO_COMMAND") or "sockudo",
    )


def _name_of(reached: str) -> str:
    try:
        return urlsplit(f"//{reached}").hostname or "127.0.0.1"
    except ValueError:
        return "127.0.0.1"


def _refused(_: Request, error: SockudoError, headers: dict[str, str]) -> Response:
    return json(error.body(), error.spec.status or 500, headers)
