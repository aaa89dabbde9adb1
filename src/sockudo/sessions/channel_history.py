"""A page of a channel's past, over the socket (spec: websocket § 13.3; history § 6)."""

from __future__ import annotations

from typing import Any

import msgspec

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.protocol.frames import Frame
from sockudo.protocol.inbound import InboundFrame, object_data
from sockudo.sessions.access import check_history
from sockudo.sessions.attach import stream_policy
from sockudo.sessions.context import SessionContext, V2State

__all__ = ["channel_history"]

_AT_ONCE = 2

_encode = msgspec.json.Encoder().encode


def channel_history(session: SessionContext, frame: InboundFrame) -> None:
    """Asks the store for a page and answers when it is there; later frames do not wait for it."""
    v2 = session.need_v2(frame)
    if v2.history_requests >= _AT_ONCE:
        raise errors.HISTORY_TOO_MANY()
    data = object_data(frame, "Invalid message format: Missing data in channel_history message")
    params = data.get("params")
    query: dict[str, Any] = {**data, **params} if isinstance(params, dict) else data
    name = query.get("channel")
    if not isinstance(name, str):
        raise errors.MISSING_FIELD("Invalid message format: Missing channel in channel_history message")
    try:
        _check(session, name)
    except SockudoError as error:
        session.refuse(error, name)
        return
    v2.history_requests += 1
    session.node.own(_answer(session, v2, name, query))


def _check(session: SessionContext, name: str) -> None:
    if name not in session.channels:
        raise errors.HISTORY_NOT_SUBSCRIBED(f"Client event error: Not subscribed to channel '{name}'")
    check_history(session, name)
    policy = stream_policy(session, name)
    if policy is None or policy.history is None:
        raise errors.HISTORY_DISABLED(f"Channel error: Durable history is disabled by policy for channel '{name}'")


async def _answer(session: SessionContext, v2: V2State, name: str, query: dict[str, Any]) -> None:
    try:
        page = await session.node.publisher.history.service.socket_page(
            session.live.id, name, query, v2.attached.get(name)
        )
    except SockudoError as error:
        if not session.ended:
            session.refuse(error, name)
    else:
        if not session.ended:
            session.send(Frame("pusher:channel_history", name, msgspec.Raw(_encode(page))))
    finally:
        v2.history_requests -= 1
