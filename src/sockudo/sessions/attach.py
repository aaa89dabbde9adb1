"""From an allowed subscribe to a subscription: the join, the acknowledgement and what comes behind it, in that order
(spec: websocket § 6.3; history § 5).

Without a past to look up all of it is done at once. Otherwise the newcomer joins behind a gate, so that nothing falls
between what is read from the store and what is published meanwhile.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from sockudo import errors
from sockudo.apps.policies import StreamPolicy
from sockudo.base.message_records import log_of
from sockudo.base.stream_records import Position
from sockudo.errors import SockudoError
from sockudo.history.message_frames import message_of
from sockudo.hub import Gate, GateLimits
from sockudo.hub.events import CacheMissed
from sockudo.protocol import frames
from sockudo.protocol.filters import Predicate
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import META, WILDCARD, ChannelKind
from sockudo.sessions.access import check_owner, owns_past
from sockudo.sessions.context import SessionContext
from sockudo.sessions.deltas import confirm_deltas, wants_of
from sockudo.sessions.resume import awaits_attach, recover_on_attach, replay_on_attach

__all__ = ["Candidate", "Request", "attach", "check_rewind", "refuse_attach", "stream_policy", "tell_refusal"]

_encode = msgspec.json.Encoder().encode


class Candidate(NamedTuple):
    """A member of a presence channel before it is let in; ``user_info`` is JSON text."""

    user_id: str
    user_info: bytes


@dataclass(frozen=True, slots=True)
class Rewind:
    """How much of the past to send: the newest ``count`` messages, or those of the last ``seconds``."""

    count: int | None = None
    seconds: int | None = None


class Request(NamedTuple):
    """A subscribe that may be carried out."""

    name: str
    kind: ChannelKind
    candidate: Candidate | None
    predicate: Predicate | None
    rewind: Rewind | None


class _Places(NamedTuple):
    """Where a channel is, None while that is not known: what is delivered, and its history.

    The two are the same unless messages can change.
    """

    head: Position | None
    attached: Position | None


class Rewound(NamedTuple):
    """What `rewind_complete` holds: how many messages were of the past, how many came since, and what is missing."""

    historical: int = 0
    live: int = 0
    complete: bool = True
    by_retention: bool = False
    by_limit: bool = False


def stream_policy(session: SessionContext, name: str, kind: ChannelKind | None = None) -> StreamPolicy | None:
    """How the channel is numbered, as far as the connection learns of it."""
    policies = session.live.streams
    if policies is None or not session.recoverable or kind is META or kind is WILDCARD:
        return None
    if not owns_past(session, name):
        return None
    return policies.of(name)


def check_rewind(session: SessionContext, name: str, kind: ChannelKind) -> None:
    """Raises unless the channel's past may be asked for with a subscribe (spec: history § 5.2)."""
    if session.v2 is None:
        raise errors.REWIND_NEEDS_V2()
    check_owner(session, name)
    policy = stream_policy(session, name, kind)
    if policy is None or policy.history is None or not policy.history.rewind:
        raise errors.REWIND_DISABLED(f"Channel error: Channel rewind is disabled by policy for channel '{name}'")


def tell_refusal(session: SessionContext, name: str, error: SockudoError) -> None:
    """The optional frame that names the channel of a refused subscribe; the error frame is the caller's to send."""
    if session.live.features.enable_subscription_error and not error.spec.closes:
        session.send(frames.subscription_error(name, error.client_text, 401 if error.spec.ws == 4009 else 400))


def attach(session: SessionContext, request: Request) -> Coroutine[Any, Any, None] | None:
    """Carries out the request: now, or in the work that is returned, which later frames have to wait for."""
    policy = stream_policy(session, request.name, request.kind)
    if policy is not None and policy.history is not None:
        followed = session.node.publisher.follows(session.app, request.name)
        buffer = session.app.replay.get(request.name) if followed else None
        # Where messages can change the buffer does not know the place in the history.
        unknown = buffer is None or (policy.versions is not None and session.v2 is not None)
        if unknown or buffer is None or request.rewind is not None or awaits_attach(session, request.name):
            return _attach_behind_gate(session, request, policy)
        head: Position | None = buffer.head
    elif policy is not None and policy.recovery is not None:
        publisher = session.node.publisher
        head = publisher.position(session.app, request.name)
        if head is None or (publisher.is_shared and awaits_attach(session, request.name)):
            # Another node numbers the channel: it is asked.
            return _attach_behind_gate(session, request, policy)
    else:
        head = None
    _join(session, request, None)
    _acknowledge(session, request, policy, _Places(head, head))
    if head is not None and awaits_attach(session, request.name):
        replay_on_attach(session, request.name)
    _finish(session, request)
    return None


def refuse_attach(session: SessionContext, name: str, error: SockudoError) -> None:
    """Answers a subscribe that was refused after it had to wait."""
    if session.v2 is not None and name not in session.channels:
        session.v2.delta_requests.pop(name, None)
    tell_refusal(session, name, error)
    session.refuse(error, about=name)


async def _attach_behind_gate(session: SessionContext, request: Request, policy: StreamPolicy) -> None:
    node, name = session.node, request.name
    joined_before = name in session.channels
    gate = _join(session, request, session.gate_limits())
    if gate is None:
        return
    try:
        places = await _places_of(session, name, policy)
    except SockudoError:
        if joined_before:
            node.hub.open(gate)
        else:
            node.hub.unsubscribe(session, name)
        raise
    if session.channels.get(name) is not gate:
        return
    _acknowledge(session, request, policy, places)
    await _send_past(session, request, gate, places)
    _finish(session, request)


async def _places_of(session: SessionContext, name: str, policy: StreamPolicy) -> _Places:
    """Where the channel is, by its store or by the node that numbers it."""
    publisher, app_id = session.node.publisher, session.live.id
    if policy.history is None:
        head = await publisher.attach(app_id, name)
        return _Places(head, head)
    history = publisher.history.service
    versions = None if session.live.streams is None else session.live.streams.versions_of(name)
    if versions is None:
        head = (await history.attach(app_id, name, policy.history.retention)).head
        session.app.replay.align(name, head, session.node.clock.monotonic())
        return _Places(head, head)
    if session.v2 is not None and session.v2.whole:
        # What is being stored was asked for before this connection wanted all of the text.
        await publisher.settled(app_id, name)
    head = (await history.attach(app_id, log_of(name), versions.retention)).head
    session.app.replay.align(name, head, session.node.clock.monotonic())
    # In this order: what is created in between is in the past, and is left out of what the gate holds.
    return _Places(head, await history.messages.history_head(app_id, name))


async def _send_past(session: SessionContext, request: Request, gate: Gate, places: _Places) -> None:
    """What came before the head, if it was asked for, then what the gate has held back since."""
    hub, name, head = session.node.hub, request.name, places.head
    if awaits_attach(session, name):
        terminal = await recover_on_attach(session, name, gate)
        if terminal is not None or request.rewind is None:
            place = terminal or head
            live = hub.open(gate, {} if place is None else {name: place})
            if request.rewind is not None:
                # What it wanted to see again came with the resume; a client that waits for the end of the past gets it.
                _tell_rewound(session, name, Rewound(live=live))
            return
    if request.rewind is None or head is None or places.attached is None:
        hub.open(gate, {} if head is None else {name: head})
        return
    await _rewind(session, request, request.rewind, gate, head, places.attached)


async def _rewind(
    session: SessionContext, request: Request, rewind: Rewind, gate: Gate, head: Position, attached: Position
) -> None:
    """The past that a subscribe asked for (spec: history § 5.3); a store that fails now costs the past alone."""
    accepts = session.accepting(request.predicate)
    rewound = Rewound(complete=False)
    try:
        past = await session.node.publisher.history.service.rewind(
            session.live.id, request.name, count=rewind.count, seconds=rewind.seconds, head=attached, predicate=accepts
        )
    except SockudoError as error:
        session.refuse(error, about=request.name)
    else:
        session.send_all(past.frames)
        _leave_out(gate, past.frames)
        retention, limit = past.truncated_by_retention, past.truncated_by_limit
        rewound = Rewound(len(past.frames), 0, not retention and not limit, retention, limit)
    live = session.node.hub.open(gate, {request.name: head})
    _tell_rewound(session, request.name, rewound._replace(live=live))


def _leave_out(gate: Gate, sent: Iterable[Frame]) -> None:
    """Lets the gate forget versions of messages that were sent in a later form."""
    places = {message: frame.serial or 0 for frame in sent if (message := message_of(frame)) is not None}
    if places:
        gate.held = [frame for frame in gate.held if (frame.serial or 0) > places.get(message_of(frame) or "", -1)]


def _tell_rewound(session: SessionContext, name: str, rewound: Rewound) -> None:
    data = {
        "historical_count": rewound.historical,
        "live_count": rewound.live,
        "complete": rewound.complete,
        "truncated_by_retention": rewound.by_retention,
        "truncated_by_limit": rewound.by_limit,
    }
    session.send(Frame("pusher:rewind_complete", name, msgspec.Raw(_encode(data))))


def _join(session: SessionContext, request: Request, limits: GateLimits | None) -> Gate | None:
    hub, candidate, name = session.node.hub, request.candidate, request.name
    wants = wants_of(session, name, request.kind, request.predicate)
    joined_before = name in session.channels
    if candidate is not None:
        fanout = hub.join(session, name, candidate.user_id, candidate.user_info, wants, limits)
    else:
        fanout = hub.subscribe(session, name, wants, limits)
    if isinstance(fanout, Gate):
        return fanout
    if joined_before and wants.delta is not None:
        # A client that subscribes again may have dropped its bases: SDKs do, after a resume that failed.
        session.lost_base(name)
    return None


def _acknowledge(session: SessionContext, request: Request, policy: StreamPolicy | None, places: _Places) -> None:
    name, head, attached = request.name, *places
    serial: int | None = None
    if policy is not None and policy.history is not None and attached is not None and session.v2 is not None:
        session.v2.attached[name] = attached
        serial = attached.serial
    if request.candidate is None:
        frame = frames.subscription_succeeded(name, serial)
    else:
        total, ids, infos = session.app.members(name)
        frame = frames.presence_succeeded(name, ids, infos, total, serial, as_json=session.shape.format.json)
    if policy is not None and policy.recovery is not None and head is not None:
        frame.stream_id, frame.serial = head
    session.send(frame)
    session.authorized |= request.kind.protected


def _finish(session: SessionContext, request: Request) -> None:
    name = request.name
    confirm_deltas(session, name)
    if request.kind.cache:
        cached = session.app.cache.get(name, session.last_seen)
        session.send(frames.cache_miss(name) if cached is None else cached.shown)
        if cached is None:
            session.node.hub.observers.emit(CacheMissed(session.live.id, name))
    session.node.log.debug("subscribed", app_id=session.live.id, socket_id=session.socket_id, channel=name)
