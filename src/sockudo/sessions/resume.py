"""Recovery after a disconnect: the client sends its place, and gets what it missed or why that cannot be
(spec: websocket § 12; history § 3.3 and 4).

On the wire: replayed messages or one ``resume_failed`` for each channel, one ``resume_success`` for every result of
them, then what was published meanwhile.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from sockudo import errors
from sockudo.base.stream_records import Position
from sockudo.errors import SockudoError
from sockudo.history import Failed
from sockudo.history.message_frames import APPEND, for_v1
from sockudo.hub import Gate
from sockudo.hub.streams.replay import Lookup
from sockudo.protocol.filters import MESSAGE_UNITS
from sockudo.protocol.frames import INTERRUPTED, Frame
from sockudo.protocol.inbound import InboundFrame, object_data
from sockudo.protocol.names import channel_kind, check_channel_name, is_meta, is_wildcard, user_of
from sockudo.sessions.access import check_read, owns_past
from sockudo.sessions.context import SessionContext
from sockudo.sessions.diagnostics import note_failed_resume
from sockudo.sessions.resume_state import Event, PendingResume, RequestedPosition, State

__all__ = ["awaits_attach", "expire_resume", "recover_on_attach", "replay_on_attach", "resume"]

_MAX_POSITIONS = 1000
_MAX_SERIAL = 2**64 - 1
# How long a channel that needs a signature may be subscribed to late.
_SUBSCRIBE_SECONDS = 10.0

_encode = msgspec.json.Encoder().encode


class _Recovered(NamedTuple):
    source: str
    frames: tuple[Frame, ...]
    head: Position


_Outcome: TypeAlias = _Recovered | Failed


# ---- what the client sends ----


class _Position(msgspec.Struct):
    serial: int | str
    stream_id: str | None = None
    last_message_id: str | None = None


class _Resume(msgspec.Struct):
    channel_positions: Annotated[dict[str, _Position], msgspec.Meta(max_length=_MAX_POSITIONS)] | None = None
    channel_serials: Annotated[dict[str, int | str], msgspec.Meta(max_length=_MAX_POSITIONS)] | None = None


def _read(frame: InboundFrame) -> dict[str, RequestedPosition]:
    data = object_data(frame, "Invalid message format: Invalid resume data")
    try:
        sent = msgspec.convert(data, _Resume)
        if sent.channel_positions is not None:
            return {
                name: RequestedPosition(_serial(position.serial), position.stream_id, position.last_message_id)
                for name, position in sent.channel_positions.items()
            }
        if sent.channel_serials is not None:
            return {
                name: RequestedPosition(_serial(serial), legacy=True) for name, serial in sent.channel_serials.items()
            }
    except (msgspec.ValidationError, ValueError) as problem:
        text = str(problem).replace("`", "'").replace("$.", "").replace("$", "data")
        raise errors.MISSING_FIELD(f"Invalid message format: Invalid resume data: {text}") from None
    raise errors.MISSING_FIELD("Invalid message format: Missing channel_positions in resume data")


def _serial(value: int | str) -> int:
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 20):
            raise ValueError("a serial must be an unsigned integer")
        value = int(value)
    if not 0 <= value <= _MAX_SERIAL:
        raise ValueError("a serial must be an unsigned integer below 2^64")
    return value


# ---- the whole of it ----


def resume(session: SessionContext, frame: InboundFrame) -> None:
    """Starts a recovery; the client's later frames wait for it. Raises and does nothing for a malformed one."""
    if not session.recoverable:
        raise errors.NOT_ON_V1(f"Protocol error: {frame.event} requires protocol V2")
    if session.live.recovery is None:
        raise errors.RECOVERY_DISABLED()
    wanted = _read(frame)
    if not wanted:
        raise errors.RECOVERY_EMPTY()
    if session.resuming is not None:
        _give_up(session, session.resuming, Event.REPLACED)
    hub, limits = session.node.hub, session.gate_limits()
    # Held back from this very moment: a live message before the replay would move the client past what it missed.
    subscribed = {name: found for name in wanted if (found := _subscription(session, name)) is not None}
    gates = {found: hub.hold(session, found, limits) for found in dict.fromkeys(subscribed.values())}
    session.resuming = PendingResume(wanted, session.node.clock.monotonic() + _SUBSCRIBE_SECONDS)
    session.wait_for(_resume(session, session.resuming, subscribed, gates))


async def _resume(
    session: SessionContext, resuming: PendingResume, subscribed: dict[str, str], gates: dict[str, Gate | None]
) -> None:
    """``subscribed`` are the subscriptions that match the channels, ``gates`` what they are held behind."""
    terminals: dict[str, Position] = {}
    for name in tuple(resuming.places):
        subscription = subscribed.get(name)
        event = Event.LISTENING if subscription is not None else _readable(session, name)
        position = resuming.places[name].position
        if event is Event.DENIED:
            _fail(session, resuming, name, event, _unauthorized(), position.serial)
            continue
        if resuming.advance(name, event) is State.AWAITED:
            continue
        terminal = _tell(session, resuming, name, await _recover(session, name, position), subscription)
        if terminal is not None and subscription is not None:
            terminals[name] = terminal
        if subscription is not None and session.filters:
            # Filters were asked about the past of this channel: others get their turn before the next one's.
            await asyncio.sleep(0)
    _answer(session, resuming)
    for gate in gates.values():
        if gate is not None:
            session.node.hub.open(gate, terminals)


def _subscription(session: SessionContext, name: str) -> str | None:
    """The subscription by which the connection hears the channel: its own, or a pattern that fits."""
    return session.app.subscription_of(session, name) if owns_past(session, name) else None


def _readable(session: SessionContext, name: str) -> Event:
    """Whether a channel may be read without a subscription."""
    live = session.live
    if is_meta(name) or is_wildcard(name):
        return Event.DENIED
    try:
        check_channel_name(name, max_length=live.limits.max_channel_name_length, namespaces=live.namespaces)
        check_read(session, name)
    except SockudoError:
        return Event.DENIED
    if user_of(name) is not None:
        return Event.OPEN if owns_past(session, name) else Event.DENIED
    return Event.PROTECTED if channel_kind(name).protected else Event.OPEN


def _unauthorized() -> Failed:
    return Failed("continuity_unverifiable", "channel_not_authorized", None, None, None, None)


# ---- one channel ----


async def _recover(session: SessionContext, name: str, wanted: RequestedPosition) -> _Outcome:
    """Tries the replay buffer, of this node or of the one that numbers the channel, then the store
    (spec: history § 3.3)."""
    live, publisher = session.live, session.node.publisher
    history = publisher.history.if_open
    if publisher.is_shared and live.streams is not None and live.streams.of(name).history is None:
        try:
            found = await publisher.lookup(live.id, name, wanted.stream_id, wanted.serial)
        except SockudoError:
            return Failed("continuity_unverifiable", "stream_owner_unavailable", wanted.stream_id)
        return _recover_hot(session, name, wanted, found) or _unauthorized()
    outcome = _recover_hot(session, name, wanted)
    if outcome is not None or live.recovery is None or history is None:
        return outcome or _unauthorized()
    replayed = await history.replay(
        live.id,
        name if live.streams is None else live.streams.stream_of(name),
        stream_id=wanted.stream_id,
        serial=wanted.serial,
        last_message_id=wanted.last_message_id,
        max_size=live.recovery.max_size,
        whole=_wants_whole(session),
    )
    if isinstance(replayed, Failed):
        return replayed
    frames = replayed.frames if session.v2 is not None else for_v1(replayed.frames)
    return _Recovered("cold", tuple(frames), replayed.head)


def _wants_whole(session: SessionContext) -> bool:
    return session.v2 is not None and session.v2.whole


def _recover_hot(
    session: SessionContext, name: str, wanted: RequestedPosition, found: Lookup | None = None
) -> _Outcome | None:
    """What the replay buffer alone can say, or what was ``found`` in that of another node; None when the store has to
    be asked."""
    live = session.live
    if live.recovery is None or live.streams is None:
        return _unauthorized()
    if found is None:
        found = session.app.replay.lookup(name, wanted.stream_id, wanted.serial, session.node.clock.monotonic())
    if found.outcome == "recovered" and found.head is not None:
        if len(found.frames) > live.recovery.max_size:
            return Failed("position_expired", "recovery_window_exceeded", wanted.stream_id, *_bounds(found.head))
        if _wants_whole(session) and any(frame.event == APPEND for frame in found.frames):
            # The buffer has their fragments.
            return None
        frames = found.frames if session.v2 is not None else tuple(for_v1(found.frames))
        return _Recovered("hot", frames, found.head)
    if live.streams.of(name).history is None or not session.node.publisher.history.is_open:
        if found.outcome == "reset":
            return Failed("stream_reset", "stream_id_mismatch", wanted.stream_id, *_bounds(found.head))
        reason = "hot_replay_expired_and_durable_history_disabled"
        return Failed("position_expired", reason, wanted.stream_id, *_bounds(found.head))
    if wanted.legacy:
        reason = "legacy_serial_only_position_cannot_use_cold_recovery"
        return Failed("continuity_unverifiable", reason, None, *_bounds(found.head))
    return None


def _bounds(head: Position | None) -> tuple[str | None, int | None, int | None]:
    return (head.stream_id, None, head.serial or None) if head is not None else (None, None, None)


def _tell(
    session: SessionContext, resuming: PendingResume, name: str, outcome: _Outcome, subscription: str | None
) -> Position | None:
    """Sends what was missed, or why it cannot be; the place up to which the client has got the channel, or None.

    A message that the subscription's filter hides is passed over and still counts as sent.
    """
    wanted = resuming.places[name].position
    if isinstance(outcome, Failed):
        _fail(session, resuming, name, Event.FAILED, outcome, wanted.serial)
        return None
    predicate = session.channels[subscription].predicate if subscription in session.channels else None
    accepts = session.accepting(predicate, MESSAGE_UNITS)
    frames = [
        frame
        for frame in outcome.frames
        if accepts(frame) and (wanted.last_message_id is None or frame.message_id != wanted.last_message_id)
    ]
    session.send_all(frames)
    last_message_id = outcome.frames[-1].message_id if outcome.frames else wanted.last_message_id
    stream_id, serial = outcome.head
    entry = {
        "channel": name,
        "source": outcome.source,
        "replayed": len(frames),
        "position": {"stream_id": stream_id, "serial": serial, "last_message_id": last_message_id},
    }
    resuming.advance(name, Event.RECOVERED, entry, head=outcome.head)
    session.app.traffic.recovered[outcome.source] += 1
    return outcome.head


def _fail(
    session: SessionContext, resuming: PendingResume, name: str, event: Event, failed: Failed, serial: int | None = None
) -> None:
    entry = {"channel": name, **failed._asdict()}
    resuming.advance(name, event, entry)
    session.app.traffic.recovery_failures[failed.code] += 1
    note_failed_resume(session, name, failed, serial)
    session.send(Frame(INTERRUPTED, name, _encode(entry).decode()))


def _answer(session: SessionContext, resuming: PendingResume) -> None:
    """Sends the one frame that ends a resume, once it is complete; gives the resume up when no place of it is left."""
    if resuming.settled and not resuming.answered:
        resuming.answered = True
        data = _encode({"recovered": resuming.recovered, "failed": resuming.failed}).decode()
        session.send(Frame("pusher:resume_success", data=data))
    if not resuming.places and session.resuming is resuming:
        session.resuming = None


# ---- channels that are subscribed to later ----


def awaits_attach(session: SessionContext, name: str) -> bool:
    """Whether an earlier resume left a place from which the subscribe to this channel has to go on."""
    return session.resuming is not None and session.resuming.waits(name)


def replay_on_attach(session: SessionContext, name: str) -> None:
    """Goes on from that place, right behind the acknowledgement, on a channel that is not durable."""
    resuming = session.resuming
    if resuming is None:
        return
    resuming.advance(name, Event.SUBSCRIBED)
    position = resuming.places[name].position
    _tell(session, resuming, name, _recover_hot(session, name, position) or _unauthorized(), name)
    _answer(session, resuming)


async def recover_on_attach(session: SessionContext, name: str, gate: Gate) -> Position | None:
    """Goes on from that place behind the gate of a durable channel; where the client is then, None if unknown."""
    resuming = session.resuming
    if resuming is None:
        return None
    resuming.advance(name, Event.SUBSCRIBED)
    outcome = await _recover(session, name, resuming.places[name].position)
    if session.channels.get(name) is not gate:
        resuming.advance(name, Event.LEFT)
        _answer(session, resuming)
        return None
    terminal = _tell(session, resuming, name, outcome, name)
    _answer(session, resuming)
    return terminal


def expire_resume(session: SessionContext, now: float) -> None:
    """Gives up the channels that were not subscribed to in time. ``now`` is monotonic."""
    resuming = session.resuming
    # While a frame is being worked on, the subscribe that it is or that waits behind it may have come in time.
    if resuming is not None and now >= resuming.deadline and session.inbox is None:
        resuming.deadline = inf
        _give_up(session, resuming, Event.TIMED_OUT)


def _give_up(session: SessionContext, resuming: PendingResume, event: Event) -> None:
    for name, place in tuple(resuming.places.items()):
        if place.due:
            _fail(session, resuming, name, event, _unauthorized())
        else:
            resuming.advance(name, event)
    _answer(session, resuming)
