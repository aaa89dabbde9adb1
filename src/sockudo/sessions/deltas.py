"""Who gets messages as differences, and what a client says when it cannot follow them
(spec: filters-deltas § 2.2 to 2.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockudo.hub.wants import EVERYTHING, Wants
from sockudo.names import META, WILDCARD, ChannelKind
from sockudo.protocol import frames
from sockudo.protocol.delta import (
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

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["confirm_deltas", "delta_sync_error", "enable_deltas", "note_delta_request", "wants_of"]


def enable_deltas(session: Session, frame: InboundFrame) -> None:
    """Switches every present and future subscription over that has said nothing else, and confirms
    (spec: filters-deltas § 2.2)."""
    v2 = session.v2
    options = session.gateway.hub.delta_node.options
    if v2 is None or not options.enabled:
        session.send(frames.deltas_enabled(False, options.algorithm))
        return
    v2.deltas_enabled = True
    v2.delta_algorithms = read_algorithms(data_value(frame))
    hub = session.gateway.hub
    for name, fanout in tuple(session.channels.items()):
        hub.change(session, name, wants_of(session, name, fanout.channel.kind, fanout.predicate))
        fanout.channel.rejoin(session)
    algorithm = _algorithm(session, "")
    session.send(frames.deltas_enabled(algorithm is not None, algorithm or options.algorithm))


def delta_sync_error(session: Session, frame: InboundFrame) -> None:
    """The client has lost its base: the next messages come whole. A channel it does not get is ignored
    (spec: filters-deltas § 2.8)."""
    data = data_value(frame)
    name = data.get("channel") if isinstance(data, dict) else None
    fanout = session.channels.get(name) if isinstance(name, str) else None
    if fanout is not None and fanout.wants.delta is not None:
        session.app.traffic.delta_sync_errors += 1
        fanout.channel.rejoin(session)


def note_delta_request(session: Session, name: str, data: dict[str, Any]) -> None:
    """Keeps what a subscribe says about deltas for as long as the subscription lasts."""
    if session.v2 is None:
        return
    request = read_request(data.get("delta"))
    if request is None:
        session.v2.delta_requests.pop(name, None)
    else:
        session.v2.delta_requests[name] = request


def wants_of(session: Session, name: str, kind: ChannelKind, predicate: Predicate | None) -> Wants:
    """What the subscription to a channel gets, and how."""
    v2 = session.v2
    if v2 is None or kind is META or kind is WILDCARD:
        return EVERYTHING if predicate is None else Wants(predicate)
    algorithm = _algorithm(session, name) if _is_on(session, name) else None
    if algorithm is None:
        return EVERYTHING if predicate is None else Wants(predicate)
    return Wants(predicate, algorithm, has_one_base(session.sdk.name))


def confirm_deltas(session: Session, name: str) -> None:
    """Tells the client behind its acknowledgement that what it asked for is on."""
    fanout = session.channels.get(name)
    if session.v2 is None or fanout is None or fanout.wants.delta is None or name not in session.v2.delta_requests:
        return
    session.send(frames.deltas_enabled(True, fanout.wants.delta, name))


def _is_on(session: Session, name: str) -> bool:
    v2 = session.v2
    if v2 is None or (not v2.deltas_enabled and name not in v2.delta_requests):
        return False
    settings = session.gateway.settings.delta_compression
    on = wants_deltas(
        session.gateway.hub.delta_node.options,
        name,
        session.app.deltas.of(name),
        v2.delta_requests.get(name),
        connection_enabled=v2.deltas_enabled,
    )
    if not on:
        return False
    own = session.channels.get(name)
    others = session.deltas - (own is not None and own.wants.delta is not None)
    return others < settings.max_channel_states_per_socket


def _algorithm(session: Session, name: str) -> Algorithm | None:
    v2 = session.v2
    if v2 is None:
        return None
    return choose_algorithm(
        session.gateway.hub.delta_node.options,
        session.app.deltas.of(name),
        v2.delta_requests.get(name),
        usable_algorithms(v2.delta_algorithms, session.sdk.name, session.sdk.version, wire=session.shape.label),
    )
