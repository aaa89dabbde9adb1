"""What the operator is shown of a refused frame: which kind of wish it was, and for which channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from sockudo.errors import SockudoError
from sockudo.hub.events import FrameRefused
from sockudo.protocol.inbound import InboundFrame, data_value

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["note_refusal"]

Kind = Literal["subscribe", "signin", "frame"]

_KINDS: Final[dict[str, Kind]] = {"subscribe": "subscribe", "signin": "signin"}
_LONGEST: Final = 300


def note_refusal(session: Session, error: SockudoError, channel: str | None, about: InboundFrame | str | None) -> None:
    """Emits the refusal to observers; see `Session.refuse` for ``channel`` and ``about``."""
    kind: Kind = "frame"
    event = None
    if isinstance(about, str):
        kind, channel = "subscribe", about
    elif about is not None:
        event = about.event[:_LONGEST]
        kind = _KINDS.get(about.event.partition(":")[2], "frame")
        channel = channel or about.channel or _channel_of(about)
    shown = channel[:_LONGEST] if channel is not None else None
    session.gateway.hub.observers.emit(FrameRefused(session, kind, error, shown, event))


def _channel_of(frame: InboundFrame) -> str | None:
    try:
        data = data_value(frame)
    except SockudoError:
        return None
    channel = data.get("channel") if isinstance(data, dict) else None
    return channel if isinstance(channel, str) else None
