"""Recovery after a disconnect: the client says where it was, and is told what it missed or why that cannot be
(spec: websocket § 12; history § 3.3 and 4).

On the wire: replayed messages or one ``resume_failed`` for each channel, one ``resume_success`` whatever became of
them, then what was said meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from math import inf
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from sockudo import errors
from sockudo.base.names import channel_kind, check_channel_name, is_meta, is_wildcard, user_of
from sockudo.errors import SockudoError
from sockudo.history import Failed
from sockudo.hub import Gate
from sockudo.hub.streams.records import Position
from sockudo.protocol.filters import MESSAGE_UNITS
from sockudo.protocol.frame import Frame
from sockudo.protocol.inbound import InboundFrame, object_data
from sockudo.sessions.access import check_read, owns_past
from sockudo.sessions.context import SessionContext
from sockudo.sessions.diagnostics import note_failed_resume
from sockudo.sessions.parked import PARKED_SECONDS, Parked, Wanted

__all__ = ["awaits_attach", "end_parked", "recover_on_attach", "replay_on_attach", "resume"]

_MAX_POSITIONS = 1000
_MAX_SERIAL = 2**64 - 1

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


def _read(frame: InboundFrame) -> dict[str, Wanted]:
    data = object_data(frame, "Invalid message format: Invalid resume data")
    try:
        sent = msgspec.convert(data, _Resume)
        if sent.channel_positions is not None:
            return {
                name: Wanted(_serial(position.serial), position.stream_id, position.last_message_id)
                for name, position in sent.channel_positions.items()
            }
        if sent.channel_serials is not None:
            return {name: Wanted(_serial(serial), legacy=True) for name, serial in sent.channel_serials.items()}
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
    end_parked(session)
    hub, limits = session.node.hub, session.gate_limits()
    # Held back from this very moment: a live message before the replay would move the client past what it missed.
    subscribed = {name: found for name in wanted if (found := _subscription(session, name)) is not None}
    gates = {found: hub.hold(session, found, limits) for found in dict.fromkeys(subscribed.values())}
    session.wait_for(_resume(session, wanted, subscribed, gates))


async def _resume(
    session: SessionContext, wanted: dict[str, Wanted], subscribed: dict[str, str], gates: dict[str, Gate | None]
) -> None:
    """``subscribed`` are the subscriptions by which the channels are heard, ``gates`` what they are held behind."""
    answer = session.parked = Parked(session.node.clock.monotonic() + PARKED_SECONDS)
    terminals: dict[str, int] = {}
    for name, position in wanted.items():
        subscription = subscribed.get(name)
        if subscription is None and (refusal := _may_not_read(session, name)) is not None:
            if refusal == "later":
                answer.positions[name] = position
            else:
                _fail(session, name, _unauthorized(), answer, position)
            continue
        outcome = await _recover(session, name, position)
        terminal = _tell(session, name, position, outcome, answer, subscription)
        if terminal is not None and subscription is not None:
            terminals[name] = terminal.serial
        elif terminal is not None:
            answer.behind[name] = Wanted(terminal.serial, terminal.stream_id)
        if subscription is not None and session.filters:
            # Filters were asked about the past of this channel: others get their turn before the next one's.
            await asyncio.sleep(0)
    if not answer.positions:
        _tell_all(session, answer)
    for gate in gates.values():
        if gate is not None:
            session.node.hub.open(gate, terminals)


def _subscription(session: SessionContext, name: str) -> str | None:
    """The subscription by which the connection hears the channel: its own, or a pattern that fits."""
    if not owns_past(session, name):
        return None
    if name in session.channels:
        return name
    patterns = session.app.patterns
    if patterns:
        for pattern in patterns.matching(name):
            if pattern.name in session.channels:
                return pattern.name
    return None


def _may_not_read(session: SessionContext, name: str) -> str | None:
    """None when the channel may be read without a subscription, ``later`` when a signature is needed for it."""
    live = session.live
    if is_meta(name) or is_wildcard(name):
        return "never"
    try:
        check_channel_name(name, max_length=live.limits.max_channel_name_length, namespaces=live.namespaces)
        check_read(session, name)
    except SockudoError:
        return "never"
    if user_of(name) is not None:
        return None if owns_past(session, name) else "never"
    return "later" if channel_kind(name).protected else None


def _unauthorized() -> Failed:
    return Failed("continuity_unverifiable", "channel_not_authorized", None, None, None, None)


# ---- one channel ----


async def _recover(session: SessionContext, name: str, wanted: Wanted) -> _Outcome:
    """Tries the replay buffer, then the durable store (spec: history § 3.3)."""
    outcome = _recover_hot(session, name, wanted)
    live, history = session.live, session.node.publisher.history.if_open
    if outcome is not None or live.recovery is None or history is None:
        return outcome or _unauthorized()
    replayed = await history.replay(
        live.id,
        name,
        stream_id=wanted.stream_id,
        serial=wanted.serial,
        last_message_id=wanted.last_message_id,
        max_size=live.recovery.max_size,
    )
    if isinstance(replayed, Failed):
        return replayed
    return _Recovered("cold", tuple(replayed.frames), replayed.head)


def _recover_hot(session: SessionContext, name: str, wanted: Wanted) -> _Outcome | None:
    """What the replay buffer alone can say; None when the store has to be asked."""
    live = session.live
    if live.recovery is None or live.streams is None:
        return _unauthorized()
    found = session.app.replay.lookup(name, wanted.stream_id, wanted.serial, session.node.clock.monotonic())
    if found.outcome == "recovered" and found.head is not None:
        if len(found.frames) > live.recovery.max_size:
            return Failed("position_expired", "recovery_window_exceeded", wanted.stream_id, *_bounds(found.head))
        return _Recovered("hot", found.frames, found.head)
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
    session: SessionContext, name: str, wanted: Wanted, outcome: _Outcome, answer: Parked, subscribed: str | None
) -> Position | None:
    """Sends what was missed, or why it cannot be; the place up to which the client has been told, None if it has not.

    A message that the subscription's filter hides is passed over and still counts as told.
    """
    if isinstance(outcome, Failed):
        _fail(session, name, outcome, answer, wanted)
        return None
    predicate = session.channels[subscribed].predicate if subscribed in session.channels else None
    accepts = session.accepting(predicate, MESSAGE_UNITS)
    frames = [
        frame
        for frame in outcome.frames
        if accepts(frame) and (wanted.last_message_id is None or frame.message_id != wanted.last_message_id)
    ]
    session.send_all(frames)
    last_message_id = outcome.frames[-1].message_id if outcome.frames else wanted.last_message_id
    stream_id, serial = outcome.head
    answer.recovered.append(
        {
            "channel": name,
            "source": outcome.source,
            "replayed": len(frames),
            "position": {"stream_id": stream_id, "serial": serial, "last_message_id": last_message_id},
        }
    )
    session.app.traffic.recovered[outcome.source] += 1
    return outcome.head


def _fail(session: SessionContext, name: str, failed: Failed, answer: Parked, wanted: Wanted | None = None) -> None:
    entry = {"channel": name, **failed._asdict()}
    answer.failed.append(entry)
    session.app.traffic.recovery_failures[failed.code] += 1
    note_failed_resume(session, name, failed, wanted.serial if wanted is not None else None)
    session.send(Frame("pusher:resume_failed", name, _encode(entry).decode()))


def _tell_all(session: SessionContext, answer: Parked) -> None:
    """The one frame that ends a resume."""
    if not answer.told:
        answer.told = True
        data = _encode({"recovered": answer.recovered, "failed": answer.failed}).decode()
        session.send(Frame("pusher:resume_success", data=data))


# ---- channels that are subscribed to later ----


def awaits_attach(session: SessionContext, name: str) -> bool:
    """Whether an earlier resume left a place from which the subscribe to this channel has to go on."""
    answer = session.parked
    return answer is not None and (name in answer.positions or name in answer.behind)


def replay_on_attach(session: SessionContext, name: str) -> None:
    """Goes on from that place, right behind the acknowledgement, on a channel that is not durable."""
    answer, wanted, counts = _take(session, name)
    if answer is not None and wanted is not None:
        outcome = _recover_hot(session, name, wanted) or _unauthorized()
        _go_on(session, name, wanted, outcome, answer, counts=counts)


async def recover_on_attach(session: SessionContext, name: str, gate: Gate) -> Position | None:
    """Goes on from that place behind the gate of a durable channel; where the client is then, None if unknown."""
    answer, wanted, counts = _take(session, name)
    if answer is None or wanted is None:
        return None
    outcome = await _recover(session, name, wanted)
    if session.channels.get(name) is not gate:
        return None
    return _go_on(session, name, wanted, outcome, answer, counts=counts)


def _take(session: SessionContext, name: str) -> tuple[Parked | None, Wanted | None, bool]:
    """The answer in the making, the place, and whether the aggregate waits for it."""
    answer = session.parked
    if answer is None:
        return None, None, False
    wanted = answer.positions.pop(name, None)
    behind = answer.behind.pop(name, None)
    return answer, wanted or behind, wanted is not None


def _go_on(
    session: SessionContext, name: str, wanted: Wanted, outcome: _Outcome, answer: Parked, *, counts: bool
) -> Position | None:
    if counts:
        terminal = _tell(session, name, wanted, outcome, answer, name)
        _settle(session, answer)
        return terminal
    # The aggregate has said where the client is; this only closes the gap since.
    aside = Parked(answer.until)
    return _tell(session, name, wanted, outcome, aside, name)


def _settle(session: SessionContext, answer: Parked) -> None:
    if not answer.positions:
        _tell_all(session, answer)


def end_parked(session: SessionContext, now: float | None = None) -> None:
    """Gives up the positions whose channels were not subscribed to in time; without ``now``, all of them.

    Places of public channels last until the next resume: an acknowledgement moves the client past what it has missed.
    """
    answer = session.parked
    if answer is None:
        return
    if now is not None and (now < answer.until or session.inbox is not None):
        # A place that is being looked up right now has come in time.
        return
    for name in _names(answer):
        _fail(session, name, _unauthorized(), answer)
    _tell_all(session, answer)
    answer.until = inf
    if now is None or not answer.behind:
        session.parked = None


def _names(answer: Parked) -> Iterable[str]:
    names = list(answer.positions)
    answer.positions.clear()
    return names
