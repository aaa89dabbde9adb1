"""What webhooks ask of what makes their requests."""

from __future__ import annotations

from typing import Protocol

from sockudo.webhooks.records import Answer, Target

__all__ = ["Sender"]


class Sender(Protocol):
    """Makes the requests."""

    async def send(self, target: Target, body: bytes) -> Answer:
        """Posts the body once: no redirect is followed, and no address is tried that is not allowed.

        Never raises for what an endpoint does or fails to do; the answer holds it.
        """
        ...

    async def close(self) -> None:
        """Ends the connections that it keeps."""
