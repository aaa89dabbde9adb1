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

    Every method raises errors.SERVICE_UNAVAILABLE when the store does not answer, and nothing else. Processes may share
    it.
    """

    async def start(self) -> None:
        """Opens the store. After a failure it may be called again."""

    async def stop(self) -> None:
        """Gives everything back. Calling it twice does no harm."""

    async def changes(self, seen: int | None, now: float) -> tuple[int, Sequence[Revocation]]:
        """The revision, a number that each `record` of any process makes another, and what has been recorded since it
        was ``seen``: every revocation where that is None. Those that have ended at ``now`` (Unix seconds) are left out;
        the order means nothing, and one may come again.

        Takes a look at one number as long as nothing is recorded.
        """
        ...

    async def record(self, revocations: Sequence[Revocation], now: float) -> None:
        """Keeps all of them, or none when it raises; they are there to stay once it has returned.

        Of two revocations of the same the one that lasts longer counts. Those that have ended at ``now`` may go.
        """
        ...
