"""What authentication asks of whatever keeps its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sockudo.auth.revocations import Revocation

__all__ = ["RevocationStore"]


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
