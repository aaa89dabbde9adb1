"""The frames that the server itself sends, for every protocol version (spec: websocket § 1.3).

Event names carry V1's prefixes; the shape of a connection rewrites them. ``data`` that has to be a JSON
string is a string here, ``data`` that it wants as an object is JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = [
    "INTERRUPTED",
    "PING",
    "PONG",
    "Frame",
    "cache_miss",
    "connection_established",
    "deltas_enabled",
    "error",
    "member_added",
    "member_removed",
    "meta_event",
    "presence_succeeded",
    "presence_update",
    "signin_success",
    "subscription_count",
    "subscription_error",
    "subscription_succeeded",
    "token_event",
    "watchlist_events",
]


class Frame(msgspec.Struct, omit_defaults=True, gc=False):
    """One event for any number of connections; encoded once per wire shape, see `sockudo.protocol.shapes`.

    The fields are in the order in which JSON writes them. System events carry their V1 prefix (``pusher:`` or
    ``pusher_internal:``) and are rewritten for V2. ``data`` is a string, or `msgspec.Raw` with JSON text of any type,
    or None where the frame has none. ``extras`` is decoded JSON. Never altered once it is published.
    """

    event: str
    channel: str | None = None
    data: str | msgspec.Raw | None = None
    name: str | None = None
    user_id: str | None = None
    tags: dict[str, str] | None = None
    message_id: str | None = None
    stream_id: str | None = None
    serial: int | None = None
    extras: dict[str, Any] | None = None


_encode = msgspec.json.Encoder().encode

INTERRUPTED: Final = "pusher:resume_failed"
"""The event of a frame by which a client learns that it cannot go on from its position."""

PING: Final = Frame("pusher:ping")
PONG: Final = Frame("pusher:pong")


def _text(value: Any) -> str:
    return _encode(value).decode()


def _object(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def connection_established(socket_id: str, activity_timeout: int) -> Frame:
    """The greeting (spec: websocket § 3). ``activity_timeout`` in seconds, never 0."""
    data = _text({"socket_id": socket_id, "activity_timeout": activity_timeout})
    return Frame("pusher:connection_established", data=data)


def error(code: int, message: str, channel: str | None = None) -> Frame:
    """An error frame (spec: websocket § 9); a connection that ends gets a close frame after it."""
    return Frame("pusher:error", channel, _object({"code": code, "message": message}))


def subscription_succeeded(channel: str, attach_serial: int | None = None) -> Frame:
    """The acknowledgement of a subscribe, with the place in the stream of a channel that has a history."""
    return Frame("pusher_internal:subscription_succeeded", channel, _text(_attached(attach_serial)))


def presence_succeeded(
    channel: str, ids: bytes, infos: bytes, count: int, attach_serial: int | None = None, *, as_json: bool
) -> Frame:
    """The acknowledgement of a presence channel (spec: websocket § 6.5).

    ``ids`` and ``infos`` are the members as they stand in a JSON string, see `sockudo.hub.member_list`; ``as_json``:
    the frame is for a connection whose payloads are JSON, so that they are not read.
    """
    rest = _encode(_encode(_attached(attach_serial))[1:].decode())[1:]
    rest = rest if attach_serial is None else b"," + rest
    after = b'},\\"count\\":%d}' % count
    # Joined once: it may be a megabyte.
    data = msgspec.Raw(b"".join((b'"{\\"presence\\":{\\"ids\\":[', ids, b'],\\"hash\\":{', infos, after, rest)))
    text = data if as_json else msgspec.json.decode(data, type=str)
    return Frame("pusher_internal:subscription_succeeded", channel, text)


def _attached(serial: int | None) -> dict[str, int]:
    return {} if serial is None else {"attach_serial": serial}


def member_added(channel: str, user_id: str, user_info: bytes) -> Frame:
    """A user's first connection joined a presence channel; ``user_info`` is JSON text."""
    data = _text({"user_id": user_id, "user_info": msgspec.Raw(user_info)})
    return Frame("pusher_internal:member_added", channel, data)


def member_removed(channel: str, user_id: str) -> Frame:
    """A user's last connection left a presence channel."""
    return Frame("pusher_internal:member_removed", channel, _text({"user_id": user_id}))


def presence_update(channel: str, user_id: str, user_info: bytes) -> Frame:
    """A member changed its ``user_info`` (spec: websocket § 15.1); for V2 alone."""
    data = _text({"user_id": user_id, "user_info": msgspec.Raw(user_info)})
    return Frame("pusher_internal:presence_update", channel, data)


def meta_event(event: str, channel: str, **about: Any) -> Frame:
    """Events for the subscribers of ``[meta]{channel}`` (spec: websocket § 6.8); for V2 alone."""
    return Frame(f"pusher_internal:{event}", f"[meta]{channel}", _object({"channel": channel, **about}))


def subscription_count(channel: str, count: int) -> Frame:
    """How many connections are subscribed; sent where the app opted in (spec: websocket § 6.8)."""
    return Frame("pusher_internal:subscription_count", channel, _text({"subscription_count": count}))


def subscription_error(channel: str, message: str, status: int) -> Frame:
    """A refused subscribe, in the shape that client libraries raise themselves
    (spec: websocket § 6.3); sent where the app opted in."""
    data = _object({"type": "AuthError", "error": message, "status": status})
    return Frame("pusher:subscription_error", channel, data)


def cache_miss(channel: str) -> Frame:
    """A cache channel has nothing to show to a new subscriber (spec: websocket § 6.6)."""
    return Frame("pusher:cache_miss", channel, "{}")


def signin_success(user_data: str) -> Frame:
    """The acknowledgement of a sign-in (spec: websocket § 8.1)."""
    return Frame("pusher:signin_success", data=_object({"user_data": user_data}))


def watchlist_events(events: Mapping[str, list[str]]) -> Frame:
    """Who of a watchlist is ``online`` and ``offline``; empty groups are left out (spec: websocket § 8.2)."""
    groups = [{"name": name, "user_ids": user_ids} for name, user_ids in events.items() if user_ids]
    return Frame("pusher_internal:watchlist_events", data=_object({"events": groups}))


def deltas_enabled(enabled: bool, algorithm: str, channel: str | None = None) -> Frame:
    """Whether messages come as differences, on the connection or on one channel (spec: filters-deltas § 2.2)."""
    data: dict[str, Any] = {"enabled": enabled, "algorithm": algorithm}
    if channel is not None:
        data["channel"] = channel
    return Frame("pusher:delta_compression_enabled", channel, _object(data))


def token_event(event: str, **about: Any) -> Frame:
    """What happened to the connection's capability token (spec: websocket § 14.3); for V2 alone."""
    return Frame(f"pusher:{event}", data=_object(about))
