"""Events that clients send to each other (contract 10 § 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.names import channel_kind, is_meta, is_wildcard
from sockudo.protocol import v1
from sockudo.protocol.inbound import InboundFrame

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["client_event"]

_PREFIX = "client-"


def client_event(session: Session, frame: InboundFrame) -> None:
    """Says the event to the channel's other subscribers, its data unchanged; or raises the reason."""
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
        raise _refused("Client events cannot target wildcard subscription channels")
    if is_meta(name):
        raise _refused("Client events cannot target metachannels")
    if not channel_kind(name).client_events:
        raise _refused("Client events can only be sent to private or presence channels")
    data = bytes(frame.data) if frame.data is not None else b"null"
    limit = live.limits.max_event_payload_kb
    if limit and len(data) > limit * 1024:
        raise _refused(f"Payload size ({len(data)} bytes) exceeds limit ({limit}KB)")
    channel = session.channels.get(name)
    if channel is None:
        raise _refused(f"Socket {session.socket_id} is not subscribed to channel {name}")
    user_id = session.members.get(name) if session.members is not None else None
    channel.append(v1.client_event(frame.event, name, data, user_id), exclude=session)


def _refused(text: str) -> SockudoError:
    return errors.CLIENT_EVENT(f"Client event error: {text}")
