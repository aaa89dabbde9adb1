"""What a client may ask for (spec: websocket § 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sockudo import errors
from sockudo.protocol import frames
from sockudo.protocol.inbound import InboundFrame
from sockudo.sessions.channel_history import channel_history
from sockudo.sessions.client_events import presence_update
from sockudo.sessions.context import SessionContext
from sockudo.sessions.deltas import delta_sync_error, enable_deltas
from sockudo.sessions.identity import refresh_token, sign_in
from sockudo.sessions.resume import resume
from sockudo.sessions.subscribe import subscribe, unsubscribe

__all__ = ["ACTIONS"]

Action = Callable[["SessionContext", InboundFrame], None]


def _ping(session: SessionContext, _: InboundFrame) -> None:
    session.send(frames.PONG)


def _nothing(_: SessionContext, __: InboundFrame) -> None:
    """A pong is activity, which was noted when it arrived."""


def _ai_event(session: SessionContext, frame: InboundFrame) -> None:
    """Events of clients that only AI transport takes (spec: websocket § 15.3); V1 does not know them."""
    if session.v2 is not None:
        raise errors.FEATURE_DISABLED(
            f"Client event error: '{frame.event}' needs AI transport, which is not part of this version of the server. "
            "Publish through your backend instead."
        )


def _table() -> dict[str, Action]:
    actions: dict[str, Action] = {
        "ping": _ping,
        "pong": _nothing,
        "subscribe": subscribe,
        "unsubscribe": unsubscribe,
        "signin": sign_in,
        "enable_delta_compression": enable_deltas,
        "delta_sync_error": delta_sync_error,
        "auth": refresh_token,
        "resume": resume,
        "channel_history": channel_history,
    }
    prefixes = ("pusher:", "sockudo:", "pusher_internal:", "sockudo_internal:")
    table = {prefix + name: action for prefix in prefixes for name, action in actions.items()}
    table["channel_history"] = channel_history
    table["ai-input"] = table["ai-cancel"] = _ai_event
    # The one action that insists on a prefix that is not internal (spec: websocket § 1.1).
    table["pusher:presence_update"] = table["sockudo:presence_update"] = presence_update
    return table


ACTIONS: Final = _table()
"""Every event that a client may send, by its name on the wire; any other name is ignored."""
