"""What a client may ask for on protocol V1 (contract 10 § 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sockudo import errors
from sockudo.protocol import v1
from sockudo.protocol.inbound import InboundFrame
from sockudo.sessions.signin import sign_in
from sockudo.sessions.subscribe import subscribe, unsubscribe

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["ACTIONS"]

Action = Callable[["Session", InboundFrame], None]


def _ping(session: Session, _: InboundFrame) -> None:
    session.write(v1.PONG)


def _nothing(_: Session, __: InboundFrame) -> None:
    """A pong is activity, which was noted when it arrived; deltas have no effect on V1."""


def _needs_v2(_: Session, frame: InboundFrame) -> None:
    raise errors.NOT_ON_V1(f"Protocol error: {frame.event} requires protocol V2")


def _table() -> dict[str, Action]:
    actions: dict[str, Action] = {
        "ping": _ping,
        "pong": _nothing,
        "subscribe": subscribe,
        "unsubscribe": unsubscribe,
        "signin": sign_in,
        "enable_delta_compression": _nothing,
        "delta_sync_error": _nothing,
        "auth": _needs_v2,
        "resume": _needs_v2,
        "channel_history": _needs_v2,
    }
    prefixes = ("pusher:", "sockudo:", "pusher_internal:", "sockudo_internal:")
    table = {prefix + name: action for prefix in prefixes for name, action in actions.items()}
    table["channel_history"] = _needs_v2
    # The one action that insists on a prefix that is not internal (§ 1.1).
    table["pusher:presence_update"] = table["sockudo:presence_update"] = _needs_v2
    return table


ACTIONS: Final = _table()
"""Every event that a client may send, by its name on the wire; any other name is ignored."""
