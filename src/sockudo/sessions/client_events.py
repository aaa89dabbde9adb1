"""What clients say to each other: client events, and what presence members say about themselves
(spec: websocket § 7 and 15.1)."""

from __future__ import annotations

from typing import Any

import msgspec

from sockudo import errors
from sockudo.auth.capabilities import Operation, check
from sockudo.base.windows import SocketWindow
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.hub.events import ClientEvent
from sockudo.protocol.frames import Frame
from sockudo.protocol.inbound import InboundFrame, data_value
from sockudo.protocol.names import channel_kind, is_meta, is_wildcard
from sockudo.sessions.access import check_publish
from sockudo.sessions.context import Pending, SessionContext

__all__ = ["client_event", "presence_update"]

_PREFIX = "client-"
_MAX_INFO = 1024


def client_event(session: SessionContext, frame: InboundFrame) -> None:
    """Publishes the event to the channel's other subscribers, its data unchanged; or raises the reason."""
    name = frame.channel
    live = session.live
    if not live.features.enable_client_messages:
        raise _refused("Client events are not enabled for this app")
    if frame.event == _PREFIX:
        raise errors.EVENT_NAME_INVALID("Invalid event name: a client event needs a name after 'client-'")
    limit = live.limits.max_event_name_length
    if limit and len(frame.event.encode()) > limit:
        raise errors.EVENT_NAME_INVALID(f"Invalid event name: Event name exceeds maximum length of {limit}")
    if name is None:
        raise _refused("Channel required for client event")
    limit = live.limits.max_channel_name_length
    if limit and len(name.encode()) > limit:
        raise errors.CHANNEL_NAME(f"Channel error: Channel name too long. Max length is {limit}")
    if is_wildcard(name):
        raise _refused("Client events cannot target wildcard subscription channels", errors.CLIENT_EVENT_CHANNEL)
    if is_meta(name):
        raise _refused("Client events cannot target metachannels", errors.CLIENT_EVENT_CHANNEL)
    if not channel_kind(name).client_events:
        raise _refused("Client events can only be sent to private or presence channels", errors.CLIENT_EVENT_CHANNEL)
    data = bytes(frame.data) if frame.data is not None else b"null"
    limit = live.limits.max_event_payload_kb
    if limit and len(data) > limit * 1024:
        raise _refused(f"Payload size ({len(data)} bytes) exceeds limit ({limit}KB)")
    check_publish(session, name)
    if name not in session.channels:
        raise _refused(f"Socket {session.socket_id} is not subscribed to channel {name}")
    _publish(session, name, frame.event, data)


def _publish(session: SessionContext, name: str, event: str, data: bytes) -> None:
    live, node = session.live, session.node
    user_id = session.members.get(name) if session.members is not None else None
    socket_id = session.socket_id
    pending = node.publisher.publish(
        live,
        session.app,
        Frame(event, name, msgspec.Raw(data), user_id=user_id),
        node.clock.monotonic(),
        exclude=None if session.echo else socket_id,
        compress=False,
        sender=socket_id,
    )
    if node.hub.observers.of(ClientEvent):
        node.hub.observers.emit(ClientEvent(live.id, name, event, data, socket_id, user_id))
    if session.v2 is not None and not session.echo:
        session.app.traffic.echoes_suppressed += 1
    if pending is not None:
        pending.add_done_callback(lambda done: _tell_outcome(session, done))


def _tell_outcome(session: SessionContext, done: Pending) -> None:
    """The sender hears of a message that could not be stored, and of nothing else."""
    problem = None if done.cancelled() else done.exception()
    if isinstance(problem, SockudoError) and not session.ended:
        session.refuse(problem)


def _refused(text: str, spec: ErrorSpec = errors.CLIENT_EVENT) -> SockudoError:
    return spec(f"Client event error: {text}")


def presence_update(session: SessionContext, frame: InboundFrame) -> None:
    """Replaces the member's ``user_info`` and notifies the channel's V2 subscribers; or raises and changes nothing."""
    v2 = session.need_v2(frame)
    name, info = _read_update(frame)
    if not channel_kind(name).presence:
        raise errors.PRESENCE_UPDATE_REFUSED(f"presence_update needs a presence channel, and '{name}' is none")
    channel = session.app.find(name)
    if channel is None or session.members is None or name not in session.members:
        raise errors.PRESENCE_UPDATE_REFUSED(f"presence_update needs a member of '{name}'; subscribe first")
    check(v2.capabilities, Operation.PRESENCE, name)
    text = msgspec.json.encode(info)
    if len(text) > _MAX_INFO:
        raise errors.PRESENCE_UPDATE_TOO_LARGE(f"user_info has {len(text)} bytes; at most {_MAX_INFO} are allowed")
    limit = session.node.settings.presence.update_rate_limit_per_member_per_second
    if v2.updates is None:
        v2.updates = {}
    if not v2.updates.setdefault(name, SocketWindow()).allow(session.last_seen, limit, 1):
        raise errors.PRESENCE_UPDATE_RATE(f"Too many presence updates; at most {limit} a second are allowed")
    session.node.hub.update_member(session, channel, text)


def _read_update(frame: InboundFrame) -> tuple[str, Any]:
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
