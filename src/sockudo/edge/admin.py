"""The listener for operators: metrics, apart from the public port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from sockudo.edge.front import send_reply
from sockudo.edge.reach import Reach
from sockudo.edge.replies import error_reply
from sockudo.errors import SockudoError

__all__ = ["admin_app", "is_dashboard"]

_TEXT_FORMAT = b"text/plain; version=0.0.4; charset=utf-8"


def admin_app(
    render_metrics: Callable[[], Awaitable[bytes]] | None,
    dashboard: ASGIApp | None = None,
    reach: Callable[[], Reach] | None = None,
) -> ASGIApp:
    """Serves ``/metrics`` in the text format of Prometheus; any other path is an empty 404 (spec: http-api § 13).

    ``dashboard`` gets everything below ``/dashboard``. Either is None when it is switched off. Without ``reach`` every
    host is answered for.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if reach is not None:
                reach().check_host(dict(scope["headers"]))
        except SockudoError as error:
            await send_reply(send, error_reply(error))
            return
        if dashboard is not None and is_dashboard(scope["raw_path"]):
            await dashboard(scope, receive, send)
            return
        status, body, headers = 404, b"", []
        if render_metrics is not None and scope["path"].rstrip("/") == "/metrics":
            if scope["method"] in ("GET", "HEAD"):
                status, body, headers = 200, await render_metrics(), [(b"content-type", _TEXT_FORMAT)]
            else:
                status, headers = 405, [(b"allow", b"GET,HEAD")]
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


def is_dashboard(raw_path: bytes) -> bool:
    """Whether a path belongs to the dashboard."""
    return raw_path == b"/dashboard" or raw_path.startswith(b"/dashboard/")
