"""Publishes that carry a key are done once, and repeated from memory (spec: http-api § 9.1).

A key is claimed before the publish and given back if that fails, so a retry after a refusal is a new try. A
finished one answers with the stored reply for the app's time to live, provided that the content is the same.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Awaitable
from typing import Literal

from sockudo import errors
from sockudo.cluster.ports import Claim, Claimed, Counters

__all__ = ["Claim", "IdempotencyKeys", "Space", "fingerprint", "running"]

Space = Literal["event", "batch", "message"]
"""Keys of single events and of the items of a batch are one space, keys of whole batch requests another, and those of
one message on one channel (spec: http-api § 9.2) the third."""

_RUNNING_TEXT: dict[Space, str] = {
    "event": "Idempotent publish is still in progress",
    "batch": "Idempotent batch publish is still in progress",
    "message": "Idempotent publish is still in progress",
}


def fingerprint(*parts: bytes) -> bytes:
    """What distinguishes contents: the SHA-256 of ``parts`` and of where each one ends."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


class IdempotencyKeys:
    """The keys of all apps. ``max_key_length`` (bytes) may be replaced at any time."""

    def __init__(self, counters: Counters, max_key_length: int) -> None:
        self.max_key_length = max_key_length
        self._counters = counters

    @property
    def immediate(self) -> bool:
        """Whether every claim is answered at once."""
        return self._counters.immediate

    def check_key(self, key: str) -> None:
        """Raises errors.INVALID_INPUT for a key that is empty or too long."""
        if not key:
            raise errors.INVALID_INPUT("Idempotency key must not be empty")
        limit = self.max_key_length
        # A character has at most four bytes, so most keys need no encoding to be measured.
        if len(key) * 4 > limit and len(key.encode()) > limit:
            raise errors.INVALID_INPUT(f"Idempotency key exceeds maximum length of {limit} characters")

    def claim(
        self, app_id: str, space: Space, key: str, mark: bytes, ttl: int, now: float
    ) -> Claim | bytes | Awaitable[Claim | bytes | None] | None:
        """The claim to publish under ``key``, or the stored reply of the publish that was done under it; None while the
        publish of the same content is under way.

        ``ttl`` is the app's, in seconds. Where the counters are elsewhere, what becomes that. Raises
        errors.IDEMPOTENCY_CONFLICT when the key belongs to other content.
        """
        claimed = self._counters.claim((app_id, space, key), mark, ttl, now)
        return _later(claimed) if inspect.isawaitable(claimed) else _outcome(claimed)


def running(space: Space) -> errors.SockudoError:
    """The refusal of a repeat while the publish under its key is under way."""
    return errors.IDEMPOTENCY_RUNNING(_RUNNING_TEXT[space], retry_after=1)


async def _later(claimed: Awaitable[Claimed]) -> Claim | bytes | None:
    return _outcome(await claimed)


def _outcome(claimed: Claimed) -> Claim | bytes | None:
    if claimed == "conflict":
        raise errors.IDEMPOTENCY_CONFLICT(
            "The idempotency key was already used with a different payload; make a new key for each new event"
        )
    return None if isinstance(claimed, str) else claimed
