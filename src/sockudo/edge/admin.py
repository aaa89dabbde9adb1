"""The listener for operators: metrics, apart from the public port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["admin_app"]

_TEXT_FORMAT = b"text/plain; version=0.0.4; charset=utf-8"


def admin_app(render_metrics: Callable[[], Awaitable[bytes]]) -> ASGIApp:
    """Serves ``/metrics`` in the text format of Prometheus; any other path is an empty 404 (contract 20 § 13)."""

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        status, body, headers = 404, b"", []
        if scope["path"].rstrip("/") == "/metrics":
            if scope["method"] in ("GET", "HEAD"):
                status, body, headers = 200, await render_metrics(), [(b"content-type", _TEXT_FORMAT)]
            else:
                status, headers = 405, [(b"allow", b"GET,HEAD")]
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app
