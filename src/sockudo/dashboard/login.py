"""Login and logout, for people and for programs."""

from __future__ import annotations

import asyncio
from functools import partial
from urllib.parse import unquote

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo.dashboard.access import (
    COOKIE,
    KNOWN,
    LOGIN,
    LOGOUT,
    address_of,
    browser_of,
    check_password,
    check_same_origin,
    is_secure,
)
from sockudo.dashboard.asked import read_form
from sockudo.dashboard.board import Board
from sockudo.dashboard.replies import json, page, prepare_templates, redirect
from sockudo.errors import SockudoError

__all__ = ["routes", "safe_next"]

_log = structlog.get_logger("sockudo.dashboard")

_HOME = "/dashboard"
_KNOWN_FOR = 180 * 24 * 3600


def routes(board: Board) -> list[Route]:
    """``/dashboard/login`` and ``/dashboard/logout``; ``/dashboard/api/v1/session`` says who asks."""

    async def form(request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next"))
        if request.state.session is not None:
            return redirect(request, wanted)
        board.prepare_pages(partial(prepare_templates, board))
        unsent = "unsent" in request.query_params
        return page(board, request, "login.html", wanted=wanted, unsent=unsent, error=None)

    async def login(request: Request) -> Response:
        wanted = _HOME
        try:
            check_same_origin(board, request)
            sent = await read_form(request)
            wanted = safe_next(sent.get("next"))
            version = await check_password(board, request, sent.get("password"))
        except SockudoError as error:
            return _refused(board, request, wanted, error)
        # A visitor who leaves meanwhile does not end it for others.
        await asyncio.shield(board.prepare_pages(partial(prepare_templates, board)))
        if request.state.session is not None:
            board.sessions.close(request.state.session)
        lifetime = board.settings.dashboard.session_lifetime
        token, _ = board.sessions.open(version, lifetime)
        _log.info("login", address=address_of(board, request))
        answer = redirect(request, wanted)
        if browser_of(board, request) is None:
            known = _cookie(board, request, board.attempts.introduce(), _KNOWN_FOR, KNOWN)
            answer.headers.append("set-cookie", known)
        answer.headers.append("set-cookie", _cookie(board, request, token, lifetime))
        return answer

    async def logout(request: Request) -> Response:
        board.sessions.close(request.state.session)
        answer = redirect(request, LOGIN)
        answer.headers.append("set-cookie", _cookie(board, request, "", 0))
        return answer

    async def session(request: Request) -> Response:
        ends = request.state.session.ends
        left = None if ends == float("inf") else int(ends - board.clock.monotonic())
        return json({"csrf_token": request.state.session.csrf or None, "expires_in": left})

    return [
        Route(LOGIN, form, methods=["GET"]),
        Route(LOGIN, login, methods=["POST"]),
        Route(LOGOUT, logout, methods=["POST"]),
        Route("/dashboard/api/v1/session", session, methods=["GET"]),
    ]


def _refused(board: Board, request: Request, wanted: str, error: SockudoError) -> Response:
    """The form once more, with what was wrong."""
    retry = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    status = error.spec.status or 500
    return page(board, request, "login.html", status=status, headers=retry, wanted=wanted, unsent=False, error=error)


def safe_next(wanted: str | None) -> str:
    """Where to go after the login: a path of the dashboard, and nowhere else."""
    if not wanted or not wanted.isascii() or not wanted.isprintable() or "\\" in wanted:
        return _HOME
    # No scheme and no host can stand before it, in any reading of a browser.
    path = wanted.partition("?")[0].partition("#")[0]
    if path != _HOME and not path.startswith(f"{_HOME}/"):
        return _HOME
    climbs = any(unquote(part) in (".", "..") for part in path.split("/"))
    return _HOME if climbs or path.startswith((LOGIN, "/dashboard/api/")) else wanted


def _cookie(board: Board, request: Request, token: str, lifetime: int, name: str = COOKIE) -> str:
    secure = "; Secure" if is_secure(board, request) else ""
    return f"{name}={token}; Path=/dashboard; Max-Age={lifetime}; HttpOnly; SameSite=Strict{secure}"
