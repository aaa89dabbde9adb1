"""The one clock-driven round over all sessions: pings, silent peers, missed deadlines (spec: websocket § 4).

There is no timer per connection; each session carries the moment of its last sign of life and is looked at once a
second.
"""

from __future__ import annotations

import asyncio
import secrets

from sockudo import errors
from sockudo.protocol import frames
from sockudo.sessions.context import SessionContext, V2State
from sockudo.sessions.deltas import keep_pace
from sockudo.sessions.gateway import Gateway
from sockudo.sessions.identity import check_token
from sockudo.sessions.resume import expire_resume

__all__ = ["check", "sweep"]

PONG_WAIT = 30.0
_SHORTEST_PING = 5
_INTERVAL = 1.0
# So many sessions are looked at in one turn of the loop: well under a millisecond.
_SLICE = 2000


def check(session: SessionContext, now: float) -> None:
    """Pings a quiet peer, ends one that stayed silent after a ping or was not authorized in time."""
    if session.v2 is None:
        _check_liveness(session, now, session.node.settings.activity_timeout)
    else:
        _check_v2(session, session.v2, now)
        if session.v2.behind and not session.v2.paused:
            keep_pace(session, behind=False)
    if session.resuming is not None:
        expire_resume(session, now)
    deadline = session.node.settings.user_authentication_timeout
    if (
        session.live.features.enable_user_authentication
        and not session.authorized
        and deadline
        and now - session.opened_at >= deadline
    ):
        session.end(errors.AUTH_DEADLINE())


def _check_liveness(session: SessionContext, now: float, every: float) -> None:
    """Pings by a frame after ``every`` seconds of silence; any sign of life answers."""
    if session.pinged_at > session.last_seen:
        if now - session.pinged_at >= PONG_WAIT:
            session.end(errors.PONG_TIMEOUT())
            return
    elif now - session.last_seen >= every:
        session.pinged_at = now
        session.send(frames.PING)


def _check_v2(session: SessionContext, v2: V2State, now: float) -> None:
    """V2 is pinged by the transport itself, and only the answer to that ping counts (spec: websocket § 4).

    A transport without a ping of its own is pinged by a frame.
    """
    settings = session.node.settings
    options = settings.websocket
    silent = now - session.last_seen
    if v2.last_ping is not None and now - session.pinged_at >= PONG_WAIT:
        session.end(errors.PONG_TIMEOUT())
        return
    if options.idle_timeout and silent >= options.idle_timeout:
        session.end(errors.IDLE_TIMEOUT())
        return
    every = max(options.ping_interval, settings.activity_timeout / 2, _SHORTEST_PING)
    ping = session.shape.framing.ping
    if ping is None:
        _check_liveness(session, now, every)
    elif options.auto_ping and options.ping_interval and v2.last_ping is None and silent >= every:
        session.pinged_at = now
        v2.last_ping = secrets.token_bytes(8)
        session.write(ping(v2.last_ping))
    check_token(session, now)


async def sweep(gateway: Gateway) -> None:
    """Looks after every session once a second, a slice per turn of the loop, until it is cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL)
        now = gateway.clock.monotonic()
        gateway.hub.tick(now)
        for place, session in enumerate(list(gateway.sessions())):
            if place and place % _SLICE == 0:
                await asyncio.sleep(0)
            if not session.ended:
                check(session, now)
