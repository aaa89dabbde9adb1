"""What each subscription gets, and how: messages as differences, and the report of a client that cannot follow them
(spec: filters-deltas § 2.2 to 2.8); appends with all of the text, or as one within an interval (spec: messages § 11).
"""

from __future__ import annotations

from typing import Any, Final

from sockudo.hub.outgoing import EVERYTHING, Wants
from sockudo.protocol import frames
from sockudo.protocol.delta import (
    INHERITED,
    Algorithm,
    choose_algorithm,
    has_one_base,
    read_algorithms,
    read_request,
    usable_algorithms,
    wants_deltas,
)
from sockudo.protocol.filters import Predicate
from sockudo.protocol.inbound import InboundFrame, data_value
from sockudo.protocol.names import META, WILDCARD, ChannelKind
from sockudo.sessions.context import SessionContext, V2State

__all__ = [
    "confirm_deltas",
    "delta_sync_error",
    "enable_deltas",
    "keep_pace",
    "note_delta_request",
    "wants_of",
]

# Milliseconds within which a client that reads too slowly gets appends to a message as one.
_PACE_BEHIND: Final = 100


def enable_deltas(session: SessionContext, frame: InboundFrame) -> None:
    """Switches every present and future subscription over that has no choice of its own, and confirms
    (spec: filters-deltas § 2.2)."""
    v2 = session.v2
    options = session.node.hub.delta_node.options
    if v2 is None or not options.enabled:
        session.send(frames.deltas_enabled(False, options.algorithm))
        return
    v2.deltas_enabled = True
    v2.delta_algorithms = read_algorithms(data_value(frame))
    hub = session.node.hub
    for name, fanout in tuple(session.channels.items()):
        hub.change(session, name, wants_of(session, name, fanout.channel.kind, fanout.predicate))
        session.lost_base(name)
    algorithm = _algorithm(session, v2, "")
    session.send(frames.deltas_enabled(algorithm is not None, algorithm or options.algorithm))


def delta_sync_error(session: SessionContext, frame: InboundFrame) -> None:
    """The client has lost its base: the next messages come whole. A channel it does not get is ignored.

    The channel is the one that the message was published on, or a pattern for all that it hears by it
    (spec: filters-deltas § 2.8).
    """
    data = data_value(frame)
    name = data.get("channel") if isinstance(data, dict) else None
    if isinstance(name, str) and session.lost_base(name):
        session.app.traffic.delta_sync_errors += 1


def note_delta_request(session: SessionContext, name: str, data: dict[str, Any]) -> None:
    """Keeps the choice of deltas of a subscribe for as long as the subscription lasts."""
    if session.v2 is None:
        return
    request = read_request(data.get("delta"))
    if request is None:
        session.v2.delta_requests.pop(name, None)
    else:
        session.v2.delta_requests[name] = request


def wants_of(session: SessionContext, name: str, kind: ChannelKind, predicate: Predicate | None) -> Wants:
    """What the subscription to a channel gets, and how."""
    v2 = session.v2
    if v2 is None or kind is META:
        return EVERYTHING if predicate is None else Wants(predicate)
    wants = _wants_of(session, v2, name, kind, predicate)
    if v2.whole:
        wants = wants._replace(whole=True)
    pace = _pace_of(session, v2, name, kind)
    return wants._replace(pace=pace) if pace else wants


def _pace_of(session: SessionContext, v2: V2State, name: str, kind: ChannelKind) -> int:
    policies = session.live.streams
    if policies is None or not (policies.change if kind is WILDCARD else policies.versions_of(name)):
        return 0
    pace = session.node.settings.versioned_messages.append_rollup_window_ms if v2.pace is None else v2.pace
    return max(pace, _PACE_BEHIND) if v2.behind else pace


def keep_pace(session: SessionContext, *, behind: bool) -> None:
    """The client has fallen behind, or has caught up: it gets appends in another interval from now on."""
    v2 = session.v2
    if v2 is None or v2.behind is behind or session.ended:
        return
    v2.behind = behind
    for name, fanout in tuple(session.channels.items()):
        pace = _pace_of(session, v2, name, fanout.channel.kind)
        if pace != fanout.wants.pace and fanout.channel.kind is not META:
            session.node.hub.change(session, name, fanout.wants._replace(pace=pace))


def _wants_of(session: SessionContext, v2: V2State, name: str, kind: ChannelKind, predicate: Predicate | None) -> Wants:
    by_pattern = kind is WILDCARD
    algorithm = _algorithm(session, v2, name, by_pattern=by_pattern) if _is_on(session, v2, name, by_pattern) else None
    if algorithm is None:
        return EVERYTHING if predicate is None else Wants(predicate)
    choices = _choices(session, v2, name) if by_pattern else frozenset()
    return Wants(predicate, algorithm, has_one_base(session.sdk.name), choices)


def confirm_deltas(session: SessionContext, name: str) -> None:
    """Confirms to the client, behind its acknowledgement, that what it asked for is on."""
    fanout = session.channels.get(name)
    if session.v2 is None or fanout is None or fanout.wants.delta is None or name not in session.v2.delta_requests:
        return
    session.send(frames.deltas_enabled(True, fanout.wants.delta, name))


def _is_on(session: SessionContext, v2: V2State, name: str, by_pattern: bool) -> bool:
    if not v2.deltas_enabled and name not in v2.delta_requests:
        return False
    options = session.node.hub.delta_node.options
    on = wants_deltas(
        options,
        name,
        # Of what comes by a pattern each channel has its own settings.
        INHERITED if by_pattern else session.app.deltas.of(name),
        v2.delta_requests.get(name),
        connection_enabled=v2.deltas_enabled,
    )
    if not on or by_pattern:
        return on
    own = session.channels.get(name)
    others = session.deltas - (own is not None and own.wants.delta is not None)
    return others < options.max_channel_states_per_socket


def _usable(session: SessionContext, v2: V2State, *, by_pattern: bool) -> frozenset[Algorithm]:
    sdk = session.sdk
    return usable_algorithms(
        v2.delta_algorithms, sdk.name, sdk.version, wire=session.shape.label, by_pattern=by_pattern
    )


def _algorithm(session: SessionContext, v2: V2State, name: str, *, by_pattern: bool = False) -> Algorithm | None:
    return choose_algorithm(
        session.node.hub.delta_node.options,
        INHERITED if by_pattern else session.app.deltas.of(name),
        v2.delta_requests.get(name),
        _usable(session, v2, by_pattern=by_pattern),
    )


def _choices(session: SessionContext, v2: V2State, pattern: str) -> frozenset[Algorithm]:
    """The formats that a channel's own settings may choose where the pattern matches it."""
    usable, request = _usable(session, v2, by_pattern=True), v2.delta_requests.get(pattern)
    asked = request is not None and request.algorithm in usable
    return frozenset() if asked or session.node.hub.delta_node.options.omit_delta_algorithm else usable
