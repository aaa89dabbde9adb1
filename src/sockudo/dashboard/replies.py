"""Answers: pages, parts of pages, JSON, and what went wrong as each of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sockudo.base.version import __version__
from sockudo.dashboard.asked import channel_url, connection_url, inspector_url
from sockudo.dashboard.assets import asset_url
from sockudo.dashboard.texts import duration, moment, pretty, prose
from sockudo.errors import SockudoError

if TYPE_CHECKING:
    from sockudo.dashboard.board import Board
    from sockudo.dashboard.sessions import Session

__all__ = [
    "NAVIGATION",
    "error_reply",
    "is_api",
    "json",
    "page",
    "prepare_templates",
    "redirect",
    "retry_headers",
    "wants_part",
]

API = "/dashboard/api/"

NAVIGATION = (
    ("Overview", "/dashboard"),
    ("Apps", "/dashboard/apps"),
    ("Channels", "/dashboard/channels"),
    ("Connections", "/dashboard/connections"),
    ("Inspector", "/dashboard/inspector"),
    ("Why?", "/dashboard/why"),
)
"""Name and path of each area of the core, in the order of the menu; nodes, where there can be several, and those of
wings come behind."""


@cache
def _environment(of_wings: tuple[Path, ...]) -> jinja2.Environment:
    """Everything that is put into a template is text: nothing but a macro's own markup goes out unescaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([Path(__file__).parent / "templates", *of_wings]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(
        asset=asset_url,
        version=__version__,
        channel_url=channel_url,
        connection_url=connection_url,
        inspector_url=inspector_url,
        duration=duration,
        pretty=pretty,
    )
    environment.filters.update(number=_number, size=_size, iso=_iso, moment=moment, prose=prose)
    # At hand in every block, also when that is rendered alone.
    environment.globals["ui"] = environment.get_template("ui.html").module
    return environment


async def prepare_templates(board: Board) -> None:
    """Compiles every template, each in a thread: on the loop, messages would wait behind the first visit to a page."""
    environment = _environment(board.templates)
    for name in environment.list_templates(("html",)):
        await asyncio.to_thread(environment.get_template, name)


def _number(value: float) -> str:
    """1234567 → 1,234,567."""
    return f"{value:,}"


def _size(value: float) -> str:
    """Bytes for people: 1536 → 1.5 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def _iso(at: float) -> str:
    """Milliseconds since the epoch, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")


def page(
    board: Board,
    request: Request,
    template: str,
    /,
    *,
    block: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> Response:
    """The page of a template that extends ``base.html``.

    When htmx asks for a part and ``block`` names one, that block alone. Templates find beside ``context``: ``request``,
    ``path`` (of this page), ``session`` (None before the login), ``csrf_token``, ``navigation``, ``node`` (the name of
    this one, where there can be several), ``asset(name)``,
    ``ui`` (the macros of ``ui.html``), ``app_count`` and ``notices``, the addresses of `sockudo.dashboard.asked`,
    ``duration`` and ``pretty`` of `sockudo.dashboard.texts`; filters beside Jinja's: ``number``, ``size``
    (bytes), ``iso`` and ``moment`` (of milliseconds since the epoch), ``prose`` (the server's own words).
    """
    session: Session | None = getattr(request.state, "session", None)
    part = block if wants_part(request) else None
    notices: list[str] = []
    if session is not None and part is None:
        notices, session.notices = session.notices, []
    values = {
        "request": request,
        "path": request.scope["path"],
        "session": session,
        "csrf_token": "" if session is None else session.csrf,
        "notices": notices,
        "app_count": len(board.apps.all()),
        "navigation": _navigation(board),
        "node": board.nodes.here if board.nodes.several else None,
        **context,
    }
    found = _environment(board.templates).get_template(template)
    body = found.render(values) if part is None else "".join(found.blocks[part](found.new_context(values)))
    return Response(body, status, headers={"vary": "HX-Request", **(headers or {})}, media_type="text/html")


def _navigation(board: Board) -> tuple[tuple[str, str], ...]:
    nodes = (("Nodes", "/dashboard/nodes"),) if board.nodes.several else ()
    return (*NAVIGATION, *nodes, *((area.title, area.path) for area in board.areas))


def wants_part(request: Request) -> bool:
    """Whether htmx asks for a part of a page to put into the one it shows."""
    headers = request.headers
    whole = ("hx-boosted", "hx-history-restore-request")
    return headers.get("hx-request") == "true" and not any(headers.get(name) == "true" for name in whole)


def is_api(path: str) -> bool:
    """Whether a path belongs to the API, whose errors are JSON."""
    return path.startswith(API)


def json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value as JSON, as msgspec encodes it."""
    return Response(msgspec.json.encode(value), status, headers=headers, media_type="application/json")


def redirect(request: Request, url: str, notice: str | None = None) -> Response:
    """Goes on to another page of the dashboard after a form was accepted; ``notice`` is shown there once.

    Programs get no notices: they share one session, and look at no pages.
    """
    session: Session | None = getattr(request.state, "session", None)
    if notice is not None and session is not None and not session.of_programs:
        session.notices.append(notice)
    if request.headers.get("hx-request") == "true":
        return Response(status_code=204, headers={"hx-redirect": url})
    return Response(status_code=303, headers={"location": url})


def retry_headers(error: SockudoError) -> dict[str, str]:
    """What a refusal says of the next try, as headers of its answer."""
    return {} if error.retry_after is None else {"retry-after": str(error.retry_after)}


def error_reply(board: Board, request: Request, error: SockudoError, headers: dict[str, str] | None = None) -> Response:
    """The envelope for programs and for the script that shows it beside a part of a page; a page for people."""
    extra = {**(headers or {}), **retry_headers(error)}
    status = error.spec.status or 500
    if is_api(request.scope["path"]) or request.headers.get("hx-request") == "true":
        return json(error.body(), status, extra)
    return page(board, request, "error.html", status=status, headers=extra, error=error)
