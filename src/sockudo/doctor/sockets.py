"""A WebSocket as clients open it: the upgrade, large messages, silence."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from sockudo import errors
from sockudo.client.events import Event
from sockudo.client.failures import ApiError, ClientError, ClosedError, UnreachableError
from sockudo.client.socket import Socket
from sockudo.doctor import origins
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem
from sockudo.doctor.process import FULL, RAISE

__all__ = [
    "check_frames",
    "check_idle",
    "check_origin",
    "check_websocket",
    "connection_of",
    "judge_refusal",
    "until",
]

# Below what a server takes by default: 64 KB of a client, 100 KB of a backend.
_FROM_CLIENT: Final = 32 * 1024
_FROM_SERVER: Final = 60 * 1024
_SLOW_PROXY: Final = 150
_SOME_KEY: Final = "sockudo-doctor"
_LET_UPGRADE: Final = (
    "Let the proxy speak HTTP/1.1 to the server and pass Upgrade, Connection and Sec-WebSocket-* on "
    "(docs/operations.md, behind a proxy)."
)


# ---- the upgrade ----


async def connection_of(deployment: Deployment) -> Socket | None:
    """The connection of the examination, opened when it is first asked for; None, with a ``refusal``, if it is not.

    Without credentials it is asked for as an app that does not exist.
    """
    if deployment.socket is not None or deployment.refusal is not None:
        return deployment.socket
    credentials = deployment.credentials
    try:
        connection = await Socket.connect(
            deployment.url,
            _SOME_KEY if credentials is None else credentials.key,
            open_timeout=deployment.options.timeout,
            keepalive=None,
            origin=origins.origin_of(deployment),
            tls=deployment.tls(),
        )
    except ClientError as error:
        deployment.refusal = error
        return None
    deployment.socket = deployment.own(connection)
    return connection


async def check_websocket(deployment: Deployment) -> Sequence[Finding]:
    """Opens the connection that the checks behind this one use."""
    began = time.monotonic()
    if await connection_of(deployment) is not None:
        took = round((time.monotonic() - began) * 1000, 1)
        return [ok(f"the upgrade comes through, greeted after {took} ms", ms=took)]
    error = deployment.refusal
    if isinstance(error, ClosedError):
        if deployment.credentials is None and error.code == errors.UNKNOWN_APP.ws:
            return [ok("the upgrade comes through, and the server refuses an unknown app")]
        return [judge_refusal(error)]
    if isinstance(error, ApiError):
        return [_no_upgrade(error)]
    reason = error.reason if isinstance(error, UnreachableError) else str(error)
    return [_cut_off(deployment, reason)]


def _cut_off(deployment: Deployment, reason: str) -> Finding:
    """Nothing answers the upgrade. A process without descriptors cuts every new connection, of any kind."""
    process = deployment.process()
    limit, used = (None, None) if process is None else (process.descriptors, process.open)
    if limit is not None and used is not None and used >= limit * FULL:
        return problem(f"no upgrade: {reason}; the process has {used:,} of {limit:,} descriptors in use", RAISE)
    return problem(f"no upgrade: {reason}", _LET_UPGRADE)


def _no_upgrade(error: ApiError) -> Finding:
    slug = error.docs.rpartition("#")[2]
    if slug == errors.UPGRADE_INVALID.slug:
        return problem("the upgrade arrives without its headers: a proxy strips them", _LET_UPGRADE, row=slug)
    if slug == errors.NOT_FOUND.slug:
        return problem(
            f"the upgrade arrives at another path than /app/KEY: {error.text}",
            "Let the proxy strip its prefix: nginx with a '/' at the end of proxy_pass, Caddy with handle_path.",
            row=slug,
        )
    if slug:
        return problem(f"the server refuses the upgrade: {error.text} (HTTP {error.status})", row=slug)
    return problem(
        f"a proxy answers the upgrade with {error.status}, and the server never sees it",
        f"{_LET_UPGRADE} The path /app/ has to reach the server.",
    )


def judge_refusal(error: ClosedError) -> Finding:
    """A close code in place of a greeting: the upgrade came through, but the connection is not wanted."""
    if error.code == errors.ORIGIN_NOT_ALLOWED.ws:
        return ok("the upgrade comes through; the origin is refused, see there", code=error.code)
    rows = [row for row in errors.CATALOGUE.values() if row.ws == error.code]
    exact = [row for row in rows if row.meaning == error.reason] or rows
    return problem(
        f"the upgrade comes through, but the server closes with {error.code} {error.reason}".rstrip(),
        row=exact[0] if exact else None,
        code=error.code,
    )


# ---- the page's origin ----


async def check_origin(deployment: Deployment) -> Sequence[Finding]:
    """Whether pages may connect."""
    return origins.judge(deployment, connected=await connection_of(deployment) is not None)


# ---- large messages ----


async def check_frames(deployment: Deployment) -> Sequence[Finding]:
    """A large message to the server, and one from it, as proxies have buffers and limits of their own."""
    connection = await connection_of(deployment)
    if connection is None:
        return [not_checked(f"no connection is opened: {deployment.refusal_text}")]
    if deployment.credentials is None:
        return [not_checked("no credentials to publish with")]
    settings = deployment.settings
    size = _FROM_CLIENT if settings is None else min(_FROM_CLIENT, settings.inbound_limit - 256)
    found: list[Finding] = []
    try:
        found.append(await _to_server(connection, size, deployment.options.timeout))
        found.append(await _to_client(deployment, connection))
    except ClosedError as error:
        found.append(
            problem(
                f"the connection ended over a large message: {error.code} {error.reason}".rstrip(),
                "With 1009 the limit is the server's, websocket_max_payload_kb; otherwise look at the proxy.",
                row=errors.MESSAGE_TOO_BIG if error.code == errors.MESSAGE_TOO_BIG.ws else None,
            )
        )
    except TimeoutError:
        found.append(problem("a large message does not arrive in time", "Look at the limits and the log of the proxy."))
    return found


async def _to_server(connection: Socket, size: int, seconds: float) -> Finding:
    await connection.send({"event": "pusher:ping", "data": {"filler": "x" * size}})
    await until(connection, lambda event: event.system == "pong", seconds)
    return ok(f"{size // 1024} KB pass to the server", bytes=size)


async def _to_client(deployment: Deployment, connection: Socket) -> Finding:
    channel = f"sockudo-doctor-{secrets.token_hex(6)}"
    timeout = deployment.options.timeout
    await connection.subscribe(channel)
    await until(connection, lambda event: event.channel == channel, timeout)
    try:
        await deployment.api().publish(channel, "large", "x" * _FROM_SERVER, extras={"ephemeral": True})
    except ApiError as error:
        if error.status != 413:
            raise
        return _refused_body(error)
    found = await until(connection, lambda event: event.event == "large", timeout)
    await connection.unsubscribe(channel)
    if len(found.data) != _FROM_SERVER:
        return problem("a large event arrives changed", "Look at the proxy.")
    return ok(f"{_FROM_SERVER // 1024} KB pass to the client", bytes=_FROM_SERVER)


def _refused_body(error: ApiError) -> Finding:
    if error.code == "unknown":
        return problem(
            f"a proxy takes no body of {_FROM_SERVER // 1024} KB",
            "Raise its limit (nginx: client_max_body_size) to that of the server, http_api.request_limit_in_mb.",
        )
    return not_checked(f"the app takes no event of {_FROM_SERVER // 1024} KB: {error.text}")


# ---- silence ----


async def check_idle(deployment: Deployment) -> Sequence[Finding]:
    """Both sides are silent for a while, but for answers to pings; then the connection still has to work."""
    seconds = deployment.options.idle
    if seconds <= 0:
        return [not_checked("--idle is 0")]
    connection = await connection_of(deployment)
    if connection is None:
        return [not_checked(f"no connection is opened: {deployment.refusal_text}")]
    began = time.monotonic()
    try:
        await _silence(connection, seconds)
        await connection.ping()
        await until(connection, lambda event: event.system == "pong", deployment.options.timeout)
    except ClosedError as error:
        lasted = round(time.monotonic() - began, 1)
        return [
            problem(
                f"a silent connection is cut after {lasted} s ({error.code} {error.reason})".replace(" )", ")"),
                "Raise the read timeout of the proxy above 150 s: that is how long a client may be silent.",
                seconds=lasted,
            )
        ]
    except TimeoutError:
        return [problem(f"after {seconds:g} s of silence nothing comes through any more", "Look at the proxy.")]
    if seconds < _SLOW_PROXY:
        return [ok(f"{seconds:g} s of silence do no harm; --idle {_SLOW_PROXY + 5} tries what clients need", s=seconds)]
    return [ok(f"{seconds:g} s of silence do no harm", s=seconds)]


async def _silence(connection: Socket, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                await connection.receive()
    except TimeoutError:
        return


async def until(connection: Socket, wanted: Callable[[Event], bool], seconds: float) -> Event:
    """The first event that is ``wanted``; raises `TimeoutError`, `ClosedError`, or `ClientError` for a refusal."""
    async with asyncio.timeout(seconds):
        while True:
            event = await connection.receive()
            if wanted(event):
                return event
            if event.system in ("error", "subscription_error"):
                raise ClientError(f"The server refuses it: {event.data}")
