"""What the server listens on: TCP, TLS, a Unix socket, the redirect to TLS, the metrics port."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sockudo.config import Settings

__all__ = ["ListenError", "asgi_config", "bind_tcp", "bind_unix", "redirect_app", "serve_app", "tls_context"]

_BACKLOG = 4096


class ListenError(Exception):
    """A listener could not be opened; the text names the address or file and the reason."""


def asgi_config(app: ASGIApp) -> Config:
    """uvicorn's settings for our protocol classes: no logging of its own, no lifespan, keep-alive long enough."""
    config = Config(
        app,
        http="httptools",
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=90,
    )
    config.load()
    return config


async def bind_tcp(
    host: str,
    port: int,
    protocol: Callable[[], asyncio.BaseProtocol],
    tls: ssl.SSLContext | None = None,
) -> asyncio.Server:
    """Listens on every address of ``host``; raises `ListenError` naming the address."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(protocol, host or None, port, ssl=tls, backlog=_BACKLOG, reuse_address=True)
    except (OSError, socket.gaierror) as problem:
        reason = problem.strerror or str(problem)
        raise ListenError(f"cannot listen on {host}:{port}: {reason}") from problem


async def bind_unix(settings: Settings, protocol: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
    """Listens on the configured Unix socket; a stale file is removed, the mode applied (contract 70 § 7.2)."""
    path = Path(settings.unix_socket.path)
    loop = asyncio.get_running_loop()
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path.is_socket():
            _remove_stale(path)
        server = await loop.create_unix_server(protocol, str(path), backlog=_BACKLOG)
        os.chmod(path, int(settings.unix_socket.permission_mode, 8))
    except OSError as problem:
        raise ListenError(f"cannot listen on {path}: {problem.strerror or problem}") from problem
    return server


def _remove_stale(path: Path) -> None:
    """Removes a socket file that nobody answers on; one that is in use is left alone."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ListenError(f"cannot listen on {path}: another process does")


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The certificate and key of ``ssl``; None when TLS is off. Raises `ListenError` for an unreadable file."""
    if not settings.ssl.enabled:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.ssl.cert_path, settings.ssl.key_path)
    except (OSError, ssl.SSLError) as problem:
        files = f"{settings.ssl.cert_path} and {settings.ssl.key_path}"
        raise ListenError(f"cannot use the certificate and key in {files}: {problem.strerror or problem}") from problem
    return context


def redirect_app(https_port: Callable[[], int]) -> ASGIApp:
    """Answers every request with 308 to the same path over https (contract 70 § 7.1)."""

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")
        bare = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        target = f"https://{bare}:{https_port()}{scope['raw_path'].decode('latin-1')}{query}"
        headers = [(b"location", target.encode("latin-1")), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 308, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return app


async def serve_app(host: str, port: int, app: ASGIApp) -> asyncio.Server:
    """A plain HTTP listener for an application that needs none of the main listener's rules."""
    config = asgi_config(app)
    state = ServerState()
    return await bind_tcp(host, port, lambda: HttpToolsProtocol(config, state, {}))
