"""A member changes what it says about itself without leaving (spec: websocket § 15.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sockudo import errors
from sockudo.auth.capabilities import Operation, check
from sockudo.base.names import channel_kind
from sockudo.limits.windows import SocketWindow
from sockudo.protocol.inbound import InboundFrame, data_value

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["presence_update"]

_MAX_INFO = 1024


def presence_update(session: Session, frame: InboundFrame) -> None:
    """Replaces the member's ``user_info`` and tells the channel's V2 subscribers; or raises and changes nothing."""
    v2 = session.v2
    if v2 is None:
        raise errors.NOT_ON_V1(f"Protocol error: {frame.event} requires protocol V2")
    name, info = _read(frame)
    if not channel_kind(name).presence:
        raise errors.PRESENCE_UPDATE_REFUSED(f"presence_update needs a presence channel, and '{name}' is none")
    joined = session.channels.get(name)
    if joined is None or session.members is None or name not in session.members:
        raise errors.PRESENCE_UPDATE_REFUSED(f"presence_update needs a member of '{name}'; subscribe first")
    check(v2.capabilities, Operation.PRESENCE, name)
    text = msgspec.json.encode(info)
    if len(text) > _MAX_INFO:
        raise errors.PRESENCE_UPDATE_TOO_LARGE(f"user_info has {len(text)} bytes; at most {_MAX_INFO} are allowed")
    limit = session.gateway.settings.presence.update_rate_limit_per_member_per_second
    if v2.updates is None:
        v2.updates = {}
    if not v2.updates.setdefault(name, SocketWindow()).allow(session.last_seen, limit, 1):
        raise errors.PRESENCE_UPDATE_RATE(f"Too many presence updates; at most {limit} a second are allowed")
    session.gateway.hub.update_member(session, joined.channel, text)


def _read(frame: InboundFrame) -> tuple[str, Any]:
    """The channel and the new ``user_info``, in the three shapes that clients send."""
    value = data_value(frame)
    if isinstance(value, dict):
        channel = value.get("channel")
        if isinstance(channel, str):
            return channel, value.get("data", value.get("user_info"))
        if frame.channel is not None:
            return frame.channel, value.get("user_info", value)
    elif frame.channel is not None:
        return frame.channel, value
    raise errors.MISSING_FIELD("Invalid message format: presence_update channel is required")
