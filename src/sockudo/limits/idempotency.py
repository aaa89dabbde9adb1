"""Publishes that carry a key are done once, and repeated from memory (spec: http-api § 9.1).

A key is claimed before the publish and given back if that fails, so a retry after a refusal is a new try. A
finished one answers with the stored reply for the app's time to live, provided that the content is the same.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Literal, NamedTuple

from sockudo import errors

__all__ = ["Claim", "IdempotencyKeys", "Space", "fingerprint"]

Space = Literal["event", "batch", "message"]
"""Keys of single events and of the items of a batch are one space, keys of whole batch requests another, and those of
one message on one channel (spec: http-api § 9.2) the third."""

_Key = tuple[str, Space, str]

_RUNNING_TEXT: dict[Space, str] = {
    "event": "Idempotent publish is still in progress",
    "batch": "Idempotent batch publish is still in progress",
    "message": "Idempotent publish is still in progress",
}
# Ended records thrown away for each new one, of each time to live: more than one, so that they cannot pile up.
_SWEPT_PER_RECORD = 2


def fingerprint(*parts: bytes) -> bytes:
    """What tells contents apart: the SHA-256 of ``parts`` and of where each one ends."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


class _Record(NamedTuple):
    key: _Key
    fingerprint: bytes
    reply: bytes
    expires_at: float


class Claim:
    """The right to do the publish of one key. Ends by exactly one of `complete` and `release`; more do nothing."""

    __slots__ = ("_keys", "fingerprint", "key", "ttl")

    def __init__(self, keys: IdempotencyKeys, key: _Key, fingerprint: bytes, ttl: int) -> None:
        self._keys = keys
        self.key = key
        self.fingerprint = fingerprint
        self.ttl = ttl

    def complete(self, reply: bytes, now: float) -> None:
        """The publish is done: until ``now`` plus the time to live the key answers with ``reply``."""
        self._keys.complete(self, reply, now)

    def release(self) -> None:
        """The publish failed: the key is free again."""
        self._keys.give_back(self)


class IdempotencyKeys:
    """The keys of all apps, in this process's memory.

    Running claims are as many as requests are under way. Finished records are bounded twice, by ``max_entries`` and by
    the bytes of their replies; past either bound the one nearest to its end is forgotten early, counted in ``evicted``.
    ``max_key_length`` (bytes) may be replaced at any time. Times are monotonic seconds and must not go back.
    """

    __slots__ = (
        "_by_ttl",
        "_finished",
        "_max_bytes",
        "_max_entries",
        "_reply_bytes",
        "_running",
        "evicted",
        "max_key_length",
    )

    def __init__(self, max_key_length: int, max_entries: int = 200_000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.max_key_length = max_key_length
        self.evicted = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._running: dict[_Key, Claim] = {}
        self._finished: dict[_Key, _Record] = {}
        self._reply_bytes = 0
        # In the order of their ends, apart for each time to live. A record whose key was used anew stays until swept.
        self._by_ttl: dict[int, deque[_Record]] = {}

    def __len__(self) -> int:
        """Finished records kept, ended ones that are not swept yet included."""
        return len(self._finished)

    def check_key(self, key: str) -> None:
        """Raises errors.INVALID_INPUT for a key that is empty or too long."""
        if not key:
            raise errors.INVALID_INPUT("Idempotency key must not be empty")
        limit = self.max_key_length
        # A character has at most four bytes, so most keys need no encoding to be measured.
        if len(key) * 4 > limit and len(key.encode()) > limit:
            raise errors.INVALID_INPUT(f"Idempotency key exceeds maximum length of {limit} characters")

    def begin(self, app_id: str, space: Space, key: str, fingerprint: bytes, ttl: int, now: float) -> Claim | bytes:
        """The claim to publish under ``key``, or the stored reply of the publish that was done under it.

        ``ttl`` is the app's, in seconds. Raises errors.IDEMPOTENCY_CONFLICT when the key belongs to other content, and
        errors.IDEMPOTENCY_RUNNING while its publish is under way.
        """
        claim = self.join(app_id, space, key, fingerprint, ttl, now)
        if claim is None:
            raise errors.IDEMPOTENCY_RUNNING(_RUNNING_TEXT[space], retry_after=1)
        return claim

    def join(
        self, app_id: str, space: Space, key: str, fingerprint: bytes, ttl: int, now: float
    ) -> Claim | bytes | None:
        """Like `begin`, but None while the publish of the same content under this key is under way."""
        full = (app_id, space, key)
        record = self._finished.get(full)
        if record is not None:
            if now < record.expires_at:
                self._check_same(record.fingerprint, fingerprint)
                return record.reply
            self._forget(record)
        running = self._running.get(full)
        if running is not None:
            self._check_same(running.fingerprint, fingerprint)
            return None
        claim = self._running[full] = Claim(self, full, fingerprint, ttl)
        return claim

    def complete(self, claim: Claim, reply: bytes, now: float) -> None:
        """Keeps the claim's reply; nothing if the claim has ended."""
        if not self._end(claim):
            return
        self._sweep(now)
        record = _Record(claim.key, claim.fingerprint, reply, now + claim.ttl)
        self._finished[claim.key] = record
        self._reply_bytes += len(reply)
        self._by_ttl.setdefault(claim.ttl, deque()).append(record)
        while len(self._finished) > self._max_entries or self._reply_bytes > self._max_bytes:
            self._evict()

    def give_back(self, claim: Claim) -> None:
        """Frees the claim's key; nothing if the claim has ended."""
        self._end(claim)

    def _end(self, claim: Claim) -> bool:
        if self._running.get(claim.key) is not claim:
            return False
        del self._running[claim.key]
        return True

    @staticmethod
    def _check_same(known: bytes, given: bytes) -> None:
        if known != given:
            raise errors.IDEMPOTENCY_CONFLICT(
                "The idempotency key was already used with a different payload; make a new key for each new event"
            )

    def _sweep(self, now: float) -> None:
        emptied = False
        for queue in self._by_ttl.values():
            for _ in range(_SWEPT_PER_RECORD):
                if queue and now >= queue[0].expires_at:
                    self._forget(queue.popleft())
            emptied = emptied or not queue
        if emptied:
            self._by_ttl = {ttl: queue for ttl, queue in self._by_ttl.items() if queue}

    def _evict(self) -> None:
        queue = min((queue for queue in self._by_ttl.values() if queue), key=lambda queue: queue[0].expires_at)
        if self._forget(queue.popleft()):
            self.evicted += 1

    def _forget(self, record: _Record) -> bool:
        """False for a record that was left behind when its key was used anew."""
        if self._finished.get(record.key) is not record:
            return False
        del self._finished[record.key]
        self._reply_bytes -= len(record.reply)
        return True
