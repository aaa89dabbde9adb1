"""How a node's connections end: goodbyes spread over time, then no later than the grace period
(spec: platform § 7.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import structlog

from sockudo import errors
from sockudo.edge.context import Edge
from sockudo.hub import Hub
from sockudo.sessions import Session

__all__ = ["drain_sessions", "end_requests", "end_sessions", "until_members_returned"]

_log = structlog.get_logger("sockudo.server")

# Some thousand closes are sent at once; more are spread, so that the clients of a large node do not all come back in
# the same moment.
_PER_SECOND = 1000
_AT_ONCE = 50
_APART = 0.05
_LOOK_EVERY = 0.02
# Seconds within which all nodes know that a member has come back to one of them.
_KNOWN_WITHIN = 1.0


async def end_sessions(edge: Edge, grace: float, window: float | None = None) -> float:
    """Closes every session with 4200 and waits until all are closed; what is not after ``grace`` seconds is cut.

    With a ``window`` the goodbyes take so many seconds, and the grace period begins behind it. From the first moment
    on upgrades are answered 503 and ``/up`` says DRAINING; other HTTP requests are served. Returns the moment at which
    the grace period ends, on the clock of the loop.
    """
    edge.gateway.draining = True
    # Real time, also where the server runs on another clock: sockets close in no other.
    deadline = asyncio.get_running_loop().time() + grace + (window or 0)
    sessions = [session for session in edge.gateway.sessions() if not session.ended]
    _log.info("draining", connections=len(sessions), grace_period=grace)
    # Half of the grace period at most is for saying it, the rest for hearing the answers.
    await _say_goodbye(sessions, min(grace / 2, len(sessions) / _PER_SECOND) if window is None else window)
    await _until_empty(edge.closing, deadline)
    if edge.closing:
        _log.warning("connections were cut that did not close in time", connections=len(edge.closing))
    for connection in list(edge.closing):
        connection.transport.abort()
    return deadline


async def drain_sessions(edge: Edge, seconds: float) -> None:
    """Closes every session with 4200, spread over so many seconds; the server goes on running, for HTTP requests alone.

    From the first moment on upgrades are answered 503 and ``/up`` says DRAINING, so that a balancer sends clients
    elsewhere.
    """
    edge.gateway.draining = True
    sessions = [session for session in edge.gateway.sessions() if not session.ended]
    _log.warning("an operator drains this node", connections=len(sessions), seconds=seconds)
    await _say_goodbye(sessions, seconds)
    _log.info("this node is drained")


async def until_members_returned(hub: Hub, latest: float) -> None:
    """Waits until members whose connections this node has ended are on other nodes: as long as they are kept, but not
    beyond ``latest``, on the clock of the loop.

    Who has not come back by then is gone. With nothing kept (`Hub.kept_over_drain`) it waits for nothing.
    """
    if not hub.kept_over_drain:
        return
    now = asyncio.get_running_loop().time
    deadline = min(latest, now() + hub.kept_over_drain)
    if hub.holds.any_missing():
        while hub.holds.any_missing() and now() < deadline:  # noqa: ASYNC110 - an event would cost every member
            await asyncio.sleep(_LOOK_EVERY * 5)
        await asyncio.sleep(max(0.0, min(_KNOWN_WITHIN, deadline - now())))
    hub.end_holds()


async def end_requests(edge: Edge, deadline: float) -> None:
    """Finishes the HTTP requests under way and closes their connections; for after the listeners are closed."""
    for protocol in list(edge.state.connections):
        protocol.shutdown()
    await _until_empty(edge.state.connections, deadline)
    for protocol in list(edge.state.connections):
        protocol.transport.abort()


async def _say_goodbye(sessions: Sequence[Session], spread: float) -> None:
    """To all of them within ``spread`` seconds, in groups."""
    now = asyncio.get_running_loop().time
    at_once = max(1, min(_AT_ONCE, int(len(sessions) * _APART / spread))) if spread else _AT_ONCE
    started = now()
    for place, session in enumerate(sessions):
        if place and place % at_once == 0:
            await asyncio.sleep(max(0.0, started + spread * place / len(sessions) - now()))
        if not session.ended:
            session.end(errors.SERVER_SHUTDOWN())


async def _until_empty(connections: Collection[object], deadline: float) -> None:
    now = asyncio.get_running_loop().time
    while connections and now() < deadline:  # noqa: ASYNC110 - an event would cost every connection, for this one time
        await asyncio.sleep(_LOOK_EVERY)
