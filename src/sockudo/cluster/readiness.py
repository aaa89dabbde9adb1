"""Whether a node among others is fit for clients: it hears the others, and they may trust it."""

from __future__ import annotations

from collections.abc import Callable

from sockudo import errors
from sockudo.cluster.ports import Membership

__all__ = ["Readiness"]


class Readiness:
    """The check of ``/up`` that is about the other nodes.

    ``through`` names what is between the nodes. ``grace`` is how many seconds a node stays ready that hears nothing.
    """

    def __init__(self, membership: Membership, through: str, grace: Callable[[], float]) -> None:
        self._membership = membership
        self._through = through
        self._grace = grace
        self._apart = ""

    def hold_apart(self, reason: str) -> None:
        """Says why this node and another server of its store are not joined; empty once they are."""
        self._apart = reason

    @property
    def reason(self) -> str | None:
        """Why the node is not ready, for operators; None while it is."""
        if self._membership.unheard() > self._grace():
            # Without the time that it lasts: each change of a reason is a line in the log.
            return (
                f"pings of this node do not come back through {self._through}: it delivers to its own clients only, "
                "and joins the others again by itself"
            )
        return self._apart or None

    async def check(self) -> bool:
        """True while the node is ready; raises ``errors.SERVICE_UNAVAILABLE`` with the reason."""
        reason = self.reason
        if reason is not None:
            raise errors.SERVICE_UNAVAILABLE(reason)
        return True
