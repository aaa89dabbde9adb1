"""What a session on protocol V2 has besides: its rights and its token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockudo.auth.capabilities import NO_CAPABILITIES, Capabilities

if TYPE_CHECKING:
    from sockudo.auth.tokens import Token
    from sockudo.limits.windows import SocketWindow
    from sockudo.protocol.delta import Algorithm, DeltaRequest

__all__ = ["V2State"]


class V2State:
    """The V2 side of one session."""

    __slots__ = (
        "capabilities",
        "delta_algorithms",
        "delta_requests",
        "deltas_enabled",
        "expiry_told_at",
        "history_requests",
        "last_ping",
        "token",
        "updates",
    )

    def __init__(self) -> None:
        # Whether all subscriptions get differences, in which formats, and what single ones have asked for.
        self.deltas_enabled = False
        self.delta_algorithms: frozenset[Algorithm] = frozenset()
        self.delta_requests: dict[str, DeltaRequest] = {}
        self.capabilities: Capabilities = NO_CAPABILITIES
        self.token: Token | None = None
        # When the client was told that its token has expired; None while it has not.
        self.expiry_told_at: float | None = None
        # Questions about a channel's history that are not answered yet.
        self.history_requests = 0
        # By presence channel; most members never change what they say about themselves.
        self.updates: dict[str, SocketWindow] | None = None
        # Payload of the native ping that has not been answered.
        self.last_ping: bytes | None = None
