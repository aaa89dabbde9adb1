"""Frames from server to client on protocol V1: the Pusher protocol in JSON (contract 10 § 1 and 10).

Every function returns a whole WebSocket frame, ready to be written to any number of connections: server frames are
not masked, so all subscribers of one wire shape share one byte string.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sockudo.protocol.framing import text_frame

__all__ = [
    "PING",
    "PONG",
    "cache_miss",
    "client_event",
    "connection_established",
    "error",
    "event",
    "event_json",
    "member_added",
    "member_removed",
    "presence_data",
    "signin_success",
    "subscription_count",
    "subscription_error",
    "subscription_succeeded",
    "watchlist_events",
]

_encode = msgspec.json.Encoder().encode


class _Event(msgspec.Struct, omit_defaults=True):
    event: str
    channel: str
    data: str


class _ClientEvent(msgspec.Struct, omit_defaults=True):
    event: str
    channel: str
    data: msgspec.Raw
    user_id: str | None = None


def event_json(name: str, channel: str, data: str) -> bytes:
    """The JSON text of an event: what a cache channel keeps, and the payload of `event`."""
    return _encode(_Event(name, channel, data))


def event(name: str, channel: str, data: str) -> bytes:
    """An event for the subscribers of ``channel``. ``data`` is always a string on the wire (§ 1.3)."""
    return text_frame(_encode(_Event(name, channel, data)))


def client_event(name: str, channel: str, data: bytes, user_id: str | None) -> bytes:
    """A client event with the sender's ``data`` unchanged, byte for byte (§ 7); ``user_id`` on presence channels."""
    return text_frame(_encode(_ClientEvent(name, channel, msgspec.Raw(data), user_id)))


def _text_data(name: str, channel: str, data: bytes) -> bytes:
    return text_frame(_encode(_Event(name, channel, data.decode())))


def connection_established(socket_id: str, activity_timeout: int) -> bytes:
    """The greeting (§ 3). ``activity_timeout`` in seconds, never 0."""
    data = _encode({"socket_id": socket_id, "activity_timeout": activity_timeout}).decode()
    return text_frame(_encode({"event": "pusher:connection_established", "data": data}))


def error(code: int, message: str) -> bytes:
    """An error frame (§ 9); a connection that ends gets a close frame after it."""
    return text_frame(_encode({"event": "pusher:error", "data": {"code": code, "message": message}}))


PING = text_frame(b'{"event":"pusher:ping"}')
PONG = text_frame(b'{"event":"pusher:pong"}')


def subscription_succeeded(channel: str, data: bytes = b"{}") -> bytes:
    """The acknowledgement of a subscribe; ``data`` is JSON text, see `presence_data`."""
    return _text_data("pusher_internal:subscription_succeeded", channel, data)


def presence_data(members: Mapping[str, bytes]) -> bytes:
    """The member list inside a presence acknowledgement, from user ids to ``user_info`` as JSON text (§ 6.5)."""
    infos = {user_id: msgspec.Raw(info) for user_id, info in members.items()}
    return _encode({"presence": {"ids": list(members), "hash": infos, "count": len(members)}})


def member_added(channel: str, user_id: str, user_info: bytes) -> bytes:
    """A user's first connection joined a presence channel; ``user_info`` is JSON text."""
    data = _encode({"user_id": user_id, "user_info": msgspec.Raw(user_info)})
    return _text_data("pusher_internal:member_added", channel, data)


def member_removed(channel: str, user_id: str) -> bytes:
    """A user's last connection left a presence channel."""
    return _text_data("pusher_internal:member_removed", channel, _encode({"user_id": user_id}))


def subscription_count(channel: str, count: int) -> bytes:
    """How many connections are subscribed; sent where the app opted in (§ 6.8)."""
    return _text_data("pusher_internal:subscription_count", channel, _encode({"subscription_count": count}))


def subscription_error(channel: str, message: str, status: int) -> bytes:
    """A refused subscribe, in the shape that client libraries raise themselves (§ 6.3); sent where the app opted in."""
    data = {"type": "AuthError", "error": message, "status": status}
    return text_frame(_encode({"event": "pusher:subscription_error", "channel": channel, "data": data}))


def cache_miss(channel: str) -> bytes:
    """A cache channel has nothing to show to a new subscriber (§ 6.6)."""
    return _text_data("pusher:cache_miss", channel, b"{}")


def signin_success(user_data: str) -> bytes:
    """The acknowledgement of a sign-in (§ 8.1)."""
    return text_frame(_encode({"event": "pusher:signin_success", "data": {"user_data": user_data}}))


def watchlist_events(events: Mapping[str, list[str]]) -> bytes:
    """Who of a watchlist is ``online`` and ``offline``; empty groups are left out (§ 8.2)."""
    groups = [{"name": name, "user_ids": user_ids} for name, user_ids in events.items() if user_ids]
    return text_frame(_encode({"event": "pusher_internal:watchlist_events", "data": {"events": groups}}))
