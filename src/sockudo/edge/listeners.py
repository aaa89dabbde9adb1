"""What the server listens on: TCP, TLS, a Unix socket, the redirect to TLS, metrics (spec: platform § 7.1, 7.2)."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from sockudo.config import Settings
from sockudo.edge.app_connection import AppConnection

__all__ = [
    "ListenError",
    "Listener",
    "TcpListener",
    "UnixListener",
    "asgi_config",
    "bind_unix",
    "listening_sockets",
    "load_certificate",
    "redirect_app",
    "serve_app",
    "shared_copy",
    "tls_context",
]

_BACKLOG = 4096

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class ListenError(Exception):
    """A listener could not be opened; the text names the address or file and the reason.

    ``taken`` is the port that another process has, None for every other reason.
    """

    def __init__(self, text: str, *, taken: int | None = None) -> None:
        super().__init__(text)
        self.taken = taken


class Listener(Protocol):
    """Something that listens until it is closed; connections that it accepted stay."""

    def close(self) -> None: ...


class TcpListener:
    """Listens on one port of every address that a host stands for. ``port`` is the real one, also when 0 was asked."""

    def __init__(self, servers: Sequence[asyncio.Server], port: int) -> None:
        self._servers = servers
        self.port = port

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        protocol: ProtocolFactory,
        tls: ssl.SSLContext | None = None,
        given: Sequence[socket.socket] | None = None,
    ) -> TcpListener:
        """On the sockets ``given``, of `listening_sockets`, or on sockets of its own, which are closed with it.

        Raises `ListenError` for a host without an address, and when one of its addresses cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        sockets: list[socket.socket] = list(given or ())
        try:
            if sockets:
                port = sockets[0].getsockname()[1]
            wanted = () if sockets else await loop.getaddrinfo(_host(host), None, **_WANTED)
            for family, address in _ordered(wanted):
                bound = _bind(family, address, port, only=host not in ("", "::"))
                if bound is not None:
                    sockets.append(bound)
                    port = bound.getsockname()[1]
            if not sockets:
                raise OSError(errno.EADDRNOTAVAIL, "")
            servers = [await loop.create_server(protocol, sock=each, ssl=tls, backlog=_BACKLOG) for each in sockets]
        except OSError as problem:
            for each in sockets:
                each.close()
            raise _refused(host, port, problem) from problem
        return cls(servers, port)

    def close(self) -> None:
        """Stops accepting."""
        for server in self._servers:
            server.close()


def listening_sockets(host: str, port: int, copies: int) -> list[list[socket.socket]]:
    """As often as asked, a socket on every address of the host; they share the port.

    The system spreads connections evenly over the copies. What waits at one stays there as long as any process has it
    open. Raises as `TcpListener.open` does, also for a port that another server shares in the same way.
    """
    every: list[list[socket.socket]] = [[] for _ in range(copies)]
    try:
        for family, address in _ordered(socket.getaddrinfo(_host(host), None, **_WANTED)):
            only = host not in ("", "::")
            first = _bind(family, address, port, only=only)
            if first is None:
                continue
            port = first.getsockname()[1]
            if copies == 1:
                every[0].append(first)
                continue
            # Nothing else has the port: a socket that shares it would not have found that out.
            first.close()
            for sockets in every:
                bound = _bind(family, address, port, only=only, shared=True)
                if bound is not None:
                    sockets.append(bound)
        if not every[0]:
            raise OSError(errno.EADDRNOTAVAIL, "")
    except OSError as problem:
        for sockets in every:
            for each in sockets:
                each.close()
        raise _refused(host, port, problem) from problem
    return every


def shared_copy(of: socket.socket) -> socket.socket:
    """One more socket at the address of one of `listening_sockets`. Raises OSError."""
    both = of.family == socket.AF_INET6 and not of.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    made = socket.create_server(
        of.getsockname(), family=of.family, backlog=_BACKLOG, dualstack_ipv6=both, reuse_port=True
    )
    made.setblocking(False)
    return made


def _refused(host: str, port: int, problem: OSError) -> ListenError:
    taken = port if problem.errno == errno.EADDRINUSE else None
    return ListenError(f"cannot listen on {_shown(host, port)}: {_reason(problem)}", taken=taken)


_WANTED: Final[Any] = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}


def _host(host: str) -> str:
    if host == "":
        return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
    return host


def _ordered(found: Iterable[Any]) -> list[tuple[socket.AddressFamily, str]]:
    """What a host stands for, IPv4 first (spec: platform § 7.1)."""
    unique = dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)
    return sorted(unique, key=lambda entry: entry[0] != socket.AF_INET)


def _bind(
    family: socket.AddressFamily, address: str, port: int, *, only: bool, shared: bool = False
) -> socket.socket | None:
    """A bound socket; None for an address that a name stands for and this machine does not have.

    Unless ``only``, one for all IPv6 addresses takes IPv4 too, where the system can. ``shared`` ones can have the same
    port.
    """
    both = family == socket.AF_INET6 and not only and socket.has_dualstack_ipv6()
    try:
        made = socket.create_server(
            (address, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both, reuse_port=shared
        )
    except OSError as problem:
        if problem.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise
    made.setblocking(False)
    return made


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"


def _reason(problem: OSError) -> str:
    """The system's own words: what libraries put around them repeats the address."""
    if isinstance(problem, socket.gaierror) or not problem.errno:
        return problem.strerror or str(problem)
    return os.strerror(problem.errno)


class UnixListener:
    """Listens on a Unix socket and removes its file when closed, unless the file is not ``owned``."""

    def __init__(self, server: asyncio.Server, path: Path, *, owned: bool) -> None:
        self._server = server
        self._owned = owned
        self.path = path

    @classmethod
    async def open(
        cls, path: Path, mode: int, protocol: ProtocolFactory, given: Sequence[socket.socket] | None = None
    ) -> UnixListener:
        """On the one socket ``given``, of which others have the file, or on one of its own as `bind_unix` makes it."""
        loop = asyncio.get_running_loop()
        made = given[0] if given else bind_unix(path, mode)
        return cls(await loop.create_unix_server(protocol, sock=made, backlog=_BACKLOG), path, owned=not given)

    def close(self) -> None:
        """Stops accepting and removes the file."""
        self._server.close()
        if self._owned:
            self.path.unlink(missing_ok=True)


def bind_unix(path: Path, mode: int) -> socket.socket:
    """A listening socket: removes a stale file, makes the folder, applies the mode. Raises `ListenError`."""
    try:
        return _bind_unix(path, mode)
    except OSError as problem:
        raise ListenError(f"cannot listen on {path}: {_reason(problem)}") from problem


def _bind_unix(path: Path, mode: int) -> socket.socket:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if path.is_socket():
        _remove_stale(path)
    made = socket.socket(socket.AF_UNIX)
    # The file has its mode from the first moment on: changed afterwards, it would be open to others until then.
    before = os.umask(0o777 & ~mode)
    try:
        made.bind(str(path))
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    made.setblocking(False)
    return made


def _remove_stale(path: Path) -> None:
    """Removes a socket file without a listener; one that is in use is left alone."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ListenError(f"cannot listen on {path}: another process does")


# ---- TLS ----


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """A context with the certificate and key of ``ssl``; None when TLS is off. Raises as `load_certificate` does."""
    if not settings.ssl.enabled:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, settings)
    return context


def load_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    """Reads the files again, for the handshakes to come; a pair that is no good leaves the context as it was.

    Raises `ListenError` naming the files.
    """
    cert, key = settings.ssl.cert_path, settings.ssl.key_path
    try:
        for each in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            # An encrypted key must fail, not ask at the terminal.
            each.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "reason", None) or getattr(problem, "strerror", None) or str(problem)
        raise ListenError(f"cannot use the certificate {cert} with the key {key}: {reason}") from problem


# ---- plain applications ----


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


def redirect_app(https_port: Callable[[], int]) -> ASGIApp:
    """Answers every request with 308 to the same path over https (spec: platform § 7.1)."""

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")
        bare = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        target = f"https://{bare}:{https_port()}{scope['raw_path'].decode('latin-1')}{query}"
        headers = [(b"location", target.encode("latin-1")), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 308, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return app


class _AppListener:
    """A listener whose connections end with it."""

    def __init__(self, tcp: TcpListener, state: ServerState) -> None:
        self._tcp = tcp
        self._state = state
        self.port = tcp.port

    def close(self) -> None:
        self._tcp.close()
        for connection in list(self._state.connections):
            connection.shutdown()


async def serve_app(host: str, port: int, app: ASGIApp, sockets: Sequence[socket.socket] | None = None) -> _AppListener:
    """A plain HTTP listener for an application that needs none of the main listener's rules.

    With ``sockets``, of `listening_sockets`, on these.
    """
    config = asgi_config(app)
    state = ServerState()

    def protocol() -> AppConnection:
        return AppConnection(config, state)

    return _AppListener(await TcpListener.open(host, port, protocol, given=sockets), state)
