"""Joining and leaving channels (spec: websocket § 6.3 to 6.6): what is asked for, and whether it is allowed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from sockudo import errors
from sockudo.auth.channels import check_channel_auth
from sockudo.errors import SockudoError
from sockudo.protocol.filters import FilterOptions, Predicate, compile_filter
from sockudo.protocol.inbound import InboundFrame, data_value, object_data
from sockudo.protocol.names import (
    META,
    META_PREFIX,
    WILDCARD,
    ChannelKind,
    channel_kind,
    check_channel_name,
    check_pattern,
    is_meta,
    is_wildcard,
)
from sockudo.sessions.access import check_room, check_subscribe
from sockudo.sessions.attach import Candidate, Request, Rewind, attach, check_rewind, refuse_attach, tell_refusal
from sockudo.sessions.context import SessionContext
from sockudo.sessions.deltas import note_delta_request
from sockudo.sessions.diagnostics import log_refused_channel

__all__ = ["leave_channel", "subscribe", "unsubscribe"]

_MAX_USER_ID = 128


class _ChannelData(msgspec.Struct):
    user_id: Any = None
    user_info: msgspec.Raw = msgspec.Raw(b"{}")


_decode_channel_data = msgspec.json.Decoder(_ChannelData).decode


def subscribe(session: SessionContext, frame: InboundFrame) -> None:
    """Joins the channel, acknowledges, and sends what a newcomer gets; or raises and changes nothing."""
    data = object_data(frame, "Invalid message format: Invalid subscription data")
    name = data.get("channel")
    if not isinstance(name, str):
        raise errors.MISSING_FIELD("Invalid message format: Missing channel in subscription data")
    try:
        request = _request(session, name, data)
        note_delta_request(session, name, data)
        waiting = session.node.publisher.prepare(session.live.id, name, request.kind)
        work = attach(session, request) if waiting is None else _attach_prepared(session, request, waiting)
    except SockudoError as error:
        tell_refusal(session, name, error)
        raise
    if work is not None:
        session.wait_for(work, lambda error: refuse_attach(session, name, error))


async def _attach_prepared(session: SessionContext, request: Request, waiting: Callable[[], Awaitable[None]]) -> None:
    """Attaches once what other nodes say of the channel arrives here, if the client may still have it."""
    await waiting()
    if not session.live.enabled:
        raise errors.APP_DISABLED("Application disabled")
    if request.candidate is not None:
        _check_full(session, request.name, request.candidate)
    work = attach(session, request)
    if work is not None:
        await work


def _request(session: SessionContext, name: str, data: dict[str, Any]) -> Request:
    """What is asked for, once every check has let it pass that does not take time."""
    v2 = session.v2 is not None
    rewind = _read_rewind(data)
    predicate = _read_predicate(session, data) if v2 else None
    kind = _check_name(session, name)
    check_room(session, name, kind, filtered=predicate is not None)
    if rewind is not None:
        check_rewind(session, name, kind)
    if v2:
        _check_modes(data)
    # Events about a channel need what the channel itself needs.
    subject = name.removeprefix(META_PREFIX) if kind is META else name
    needs = channel_kind(subject) if kind is META else kind
    if needs.protected and not isinstance(data.get("auth"), str):
        raise errors.CHANNEL_AUTH_MISSING()
    check_subscribe(session, name, presence=needs.presence, rewind=rewind is not None)
    if needs.protected:
        _check_auth(session, subject, needs, data)
    candidate = _candidate(session, name, data) if kind.presence else None
    return Request(name, kind, candidate, predicate, rewind)


def _check_name(session: SessionContext, name: str) -> ChannelKind:
    live = session.live
    if not live.enabled:
        raise errors.APP_DISABLED("Application disabled")
    v2 = session.v2 is not None
    if is_meta(name):
        if not v2:
            raise errors.META_NEEDS_V2()
        _check_plain_name(session, name.removeprefix(META_PREFIX))
        return META
    if is_wildcard(name):
        if not v2:
            raise errors.WILDCARD_NEEDS_V2()
        check_pattern(name, max_length=live.limits.max_channel_name_length)
        return WILDCARD
    _check_plain_name(session, name)
    return channel_kind(name)


def _check_plain_name(session: SessionContext, name: str) -> None:
    live = session.live
    try:
        check_channel_name(
            name,
            max_length=live.limits.max_channel_name_length,
            namespaces=live.namespaces,
            for_v1=session.v2 is None,
        )
    except SockudoError as error:
        raise errors.CHANNEL_NAME(f"Channel error: {error.text}") from None


def _check_auth(session: SessionContext, name: str, kind: ChannelKind, data: dict[str, Any]) -> None:
    auth: str = data["auth"]
    channel_data = data.get("channel_data") if kind.presence else None
    if kind.presence and not isinstance(channel_data, str):
        if session.user is None or channel_data is not None:
            raise errors.PRESENCE_DATA("Invalid message format: Missing channel_data for presence channel")
        channel_data = None
    if check_channel_auth(session.live, session.socket_id, name, auth, channel_data):
        return
    sent = data.get("channel_data")
    mistake = log_refused_channel(session, name, auth, sent if isinstance(sent, str) else None)
    if mistake is None:
        raise errors.CHANNEL_AUTH_INVALID()
    raise errors.CHANNEL_AUTH_INVALID(likely_cause=mistake.cause, shared_cause=mistake.shared)


def _candidate(session: SessionContext, name: str, data: dict[str, Any]) -> Candidate:
    """Who wants to join a presence channel, within the app's limits (spec: websocket § 6.5)."""
    candidate = _read_candidate(session, data.get("channel_data"))
    limits = session.live.limits
    size_kb = len(candidate.user_info) // 1024
    if limits.max_presence_member_kb and size_kb > limits.max_presence_member_kb:
        raise errors.PRESENCE_MEMBER(
            f"Channel error: Presence member data size ({size_kb}KB) exceeds limit ({limits.max_presence_member_kb}KB)"
        )
    if session.members is not None and session.members.get(name, candidate.user_id) != candidate.user_id:
        raise errors.PRESENCE_OTHER_USER()
    _check_full(session, name, candidate)
    return candidate


def _check_full(session: SessionContext, name: str, candidate: Candidate) -> None:
    most, channel = session.live.limits.max_presence_members, session.app.find(name)
    presence = channel.presence if channel is not None else None
    full = presence is not None and 0 < most <= presence.user_count
    if presence is not None and full and not presence.is_present(candidate.user_id):
        raise errors.PRESENCE_FULL()


def _read_candidate(session: SessionContext, channel_data: object) -> Candidate:
    if channel_data is None and session.user is not None:
        return Candidate(session.user.user_id, session.user.user_info)
    try:
        decoded = _decode_channel_data(channel_data if isinstance(channel_data, str) else "")
        # Raw is taken over as it came: decoding it once proves that it is sound all the way down.
        msgspec.json.decode(decoded.user_info)
        user_info = bytes(msgspec.json.format(decoded.user_info, indent=-1))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise errors.PRESENCE_DATA(
            "Invalid message format: Invalid channel_data JSON for presence", likely_cause=_no_member(channel_data)
        ) from None
    user_id = decoded.user_id
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        user_id = str(user_id)
    if not isinstance(user_id, str):
        raise errors.PRESENCE_MEMBER("Channel error: Missing user_id in channel_data")
    if not 1 <= len(user_id.encode()) <= _MAX_USER_ID:
        raise errors.PRESENCE_MEMBER(f"Channel error: user_id must have 1 to {_MAX_USER_ID} bytes")
    return Candidate(user_id, user_info)


def _no_member(channel_data: object) -> str | None:
    """What stands in the place of a member, where it is JSON."""
    if isinstance(channel_data, str) and channel_data.strip() in ("true", "false", "null"):
        return f"channel_data is {channel_data.strip()}, and no object with a user_id"
    return None


# ---- what else a subscribe may ask for: a past, a filter, modes (spec: websocket § 6.3, 11.2 and 13.1) ----


def _read_rewind(data: dict[str, Any]) -> Rewind | None:
    """The ``rewind`` of a subscribe; null is the same as absent. Raises errors.MISSING_FIELD for another shape."""
    value = data.get("rewind")
    if value is None:
        return None
    if isinstance(value, dict):
        if value.get("count") is not None:
            return Rewind(count=_positive(value["count"]))
        for name in ("seconds", "duration_seconds"):
            if value.get(name) is not None:
                return Rewind(seconds=_positive(value[name]))
    return Rewind(count=_positive(value))


def _positive(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise errors.MISSING_FIELD("Invalid message format: Invalid rewind option in subscription data")
    return value


def _read_predicate(session: SessionContext, data: dict[str, Any]) -> Predicate | None:
    """The filter of a subscribe; None for every message.

    Raises errors.FILTER_INVALID.
    """
    settings = session.node.settings
    names, tags = settings.event_name_filtering, settings.tag_filtering
    return compile_filter(
        data,
        FilterOptions(
            events_enabled=names.enabled,
            max_events=names.max_events_per_filter,
            max_event_name=names.max_event_name_length,
            tags_enabled=tags.enabled,
        ),
    )


def _check_modes(data: dict[str, Any]) -> None:
    """The one mode there is needs annotations, which no channel of this server has.

    Raises errors.MISSING_FIELD for what is not an array of strings, errors.ANNOTATIONS_DISABLED for the mode.
    """
    modes = data.get("modes")
    if modes is None:
        return
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise errors.MISSING_FIELD("Invalid message format: Invalid modes in subscription data")
    if any(mode.replace("-", "_").upper() == "ANNOTATION_SUBSCRIBE" for mode in modes):
        raise errors.ANNOTATIONS_DISABLED("Channel error: Annotations are not enabled for this channel")


# ---- leaving ----


def unsubscribe(session: SessionContext, frame: InboundFrame) -> None:
    """Leaves the channel; not joined, or not even a legal name, is ignored (spec: websocket § 6.4)."""
    if frame.data is None:
        raise errors.MISSING_FIELD("Invalid message format: Missing data in unsubscribe message")
    data = data_value(frame)
    name = data.get("channel") if isinstance(data, dict) else data
    if not isinstance(name, str):
        raise errors.MISSING_FIELD("Invalid message format: Missing channel in unsubscribe message")
    leave_channel(session, name)


def leave_channel(session: SessionContext, name: str) -> None:
    """Ends a subscription and forgets what was kept for it; one that there is not is ignored."""
    if session.v2 is not None:
        session.v2.attached.pop(name, None)
        session.v2.delta_requests.pop(name, None)
        if session.v2.updates is not None:
            session.v2.updates.pop(name, None)
    session.node.hub.unsubscribe(session, name)
    session.node.log.debug("unsubscribed", app_id=session.live.id, socket_id=session.socket_id, channel=name)
