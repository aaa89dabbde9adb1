"""The port behind which the state of authentication is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sockudo.auth.tokens import Token

__all__ = ["Kind", "Revocation", "RevocationStore"]

Kind = Literal["jti", "client_id"]
"""What a revocation names its tokens by."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """The tokens of one app that have this ``jti`` or client id are refused before ``until`` (Unix seconds)."""

    app_id: str
    kind: Kind
    value: str
    until: float

    def covers(self, token: Token) -> bool:
        """Whether a token of the app is meant."""
        return self.value == (token.jti if self.kind == "jti" else token.client_id)


class RevocationStore(Protocol):
    """Keeps revocations beyond the life of the process.

    Both methods raise errors.SERVICE_UNAVAILABLE when the store does not answer, and nothing else.
    """

    async def in_force(self, now: float) -> Sequence[Revocation]:
        """Every revocation that has not ended at ``now`` (Unix seconds), in no order."""
        ...

    async def record(self, revocations: Sequence[Revocation], now: float) -> None:
        """Keeps all of them, or none when it raises; they are there to stay once it has returned.

        Of two revocations of the same the one that lasts longer counts. Those that have ended at ``now`` may go.
        """
        ...
