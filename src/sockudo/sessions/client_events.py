"""Events that clients send to each other (spec: websocket § 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sockudo import errors
from sockudo.base.names import channel_kind, is_meta, is_wildcard
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.hub.events import ClientEvent
from sockudo.protocol.frame import Frame
from sockudo.protocol.inbound import InboundFrame
from sockudo.publishing.publisher import Pending
from sockudo.sessions.access import check_publish

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["client_event"]

_PREFIX = "client-"


def client_event(session: Session, frame: InboundFrame) -> None:
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


def _publish(session: Session, name: str, event: str, data: bytes) -> None:
    live, gateway = session.live, session.gateway
    user_id = session.members.get(name) if session.members is not None else None
    socket_id = session.socket_id
    pending = gateway.publisher.publish(
        live,
        session.app,
        Frame(event, name, msgspec.Raw(data), user_id=user_id),
        gateway.clock.monotonic(),
        exclude=None if session.echo else socket_id,
        compress=False,
        sender=socket_id,
    )
    if gateway.hub.observers.of(ClientEvent):
        gateway.hub.observers.emit(ClientEvent(live.id, name, event, data, socket_id, user_id))
    if session.v2 is not None and not session.echo:
        session.app.traffic.echoes_suppressed += 1
    if pending is not None:
        pending.add_done_callback(lambda done: _tell_outcome(session, done))


def _tell_outcome(session: Session, done: Pending) -> None:
    """The sender hears of a message that could not be stored, and of nothing else."""
    problem = None if done.cancelled() else done.exception()
    if isinstance(problem, SockudoError) and not session.ended:
        session.refuse(problem)


def _refused(text: str, spec: ErrorSpec = errors.CLIENT_EVENT) -> SockudoError:
    return spec(f"Client event error: {text}")
