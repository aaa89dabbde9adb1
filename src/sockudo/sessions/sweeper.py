"""The one clock-driven round over all sessions: pings, silent peers, missed deadlines (contract 10 § 4).

There is no timer per connection; each session carries the moment of its last sign of life and is looked at once a
second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sockudo import errors
from sockudo.protocol import v1

if TYPE_CHECKING:
    from sockudo.sessions.gateway import Gateway
    from sockudo.sessions.session import Session

__all__ = ["check", "sweep"]

PONG_WAIT = 30.0
_INTERVAL = 1.0
# So many sessions are looked at in one turn of the loop: well under a millisecond.
_SLICE = 2000


def check(session: Session, now: float) -> None:
    """Pings a quiet peer, ends one that stayed silent after a ping or was not authorized in time."""
    settings = session.gateway.settings
    if session.pinged_at > session.last_seen:
        if now - session.pinged_at >= PONG_WAIT:
            session.end(errors.PONG_TIMEOUT())
            return
    elif now - session.last_seen >= settings.activity_timeout:
        session.pinged_at = now
        session.write(v1.PING)
    deadline = settings.user_authentication_timeout
    if (
        session.live.features.enable_user_authentication
        and not session.authorized
        and deadline
        and now - session.opened_at >= deadline
    ):
        session.end(errors.AUTH_DEADLINE())


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
