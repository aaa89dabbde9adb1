"""Decisions of every push store: plain functions of what was stored and what comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from msgspec.structs import replace

from sockudo.push.lifecycle import Step, with_steps
from sockudo.push.ports import FOREVER_BELOW_MS, Touch
from sockudo.push.records import TERMINAL, Device, PublishStatus

__all__ = [
    "ENDED",
    "KeyOwner",
    "accept_winner",
    "as_accepted",
    "day_of",
    "edited",
    "is_live",
    "stepped",
    "stored_key",
    "swapped",
    "touched",
]

ENDED: Final = tuple(sorted(TERMINAL))

_LONGEST_KEY: Final = 255
_DAY_MS: Final = 86_400_000
_MOST_FAILURES: Final = 3


class KeyOwner(NamedTuple):
    """The publish that an idempotency key stands for; its id is empty where there is none."""

    publish_id: str
    expires_at_ms: int


def stored_key(key: str) -> str:
    """A key as it is stored: a long one becomes a digest (spec: push § 3.2)."""
    if len(key) <= _LONGEST_KEY:
        return key
    return f"sha256:{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def is_live(expires_at_ms: int, now_ms: int) -> bool:
    """Whether a key still counts."""
    return expires_at_ms < FOREVER_BELOW_MS or expires_at_ms > now_ms


def day_of(at_ms: int) -> int:
    """When its day began."""
    return at_ms - at_ms % _DAY_MS


# ---- statuses ----


def as_accepted(status: PublishStatus) -> PublishStatus:
    """The first revision of a status."""
    return replace(status, revision=1, updated_at_ms=max(status.updated_at_ms, status.created_at_ms))


def accept_winner(
    status: PublishStatus, stored: PublishStatus | None, owner: PublishStatus | None
) -> PublishStatus | None:
    """The publish that was there before this one, None when there is none (spec: push § 5, steps 12 and 13).

    ``stored`` has the same id, ``owner`` has one of the keys.
    """
    if owner is not None:
        return owner
    if stored is None or (stored.state == "queued" and _same(stored, status)):
        return None
    return stored


def _same(stored: PublishStatus, status: PublishStatus) -> bool:
    times = {"created_at_ms": 0, "updated_at_ms": 0, "revision": 0}
    return replace(stored, **times) == replace(status, **times)


def swapped(stored: PublishStatus | None, before: PublishStatus, after: PublishStatus) -> PublishStatus | None:
    """What is stored instead, None when it is not ``before`` any more."""
    if stored is None or (stored.revision, stored.updated_at_ms) != (before.revision, before.updated_at_ms):
        return None
    return _next(stored, after, after.updated_at_ms)


def edited(stored: PublishStatus, edit: Callable[[PublishStatus], PublishStatus | None], now_ms: int) -> PublishStatus:
    """The status after the edit; the same one when it is left alone."""
    after = edit(stored)
    return stored if after is None or after == stored else _next(stored, after, now_ms)


def stepped(stored: PublishStatus, steps: Sequence[Step], now_ms: int) -> PublishStatus:
    """The status after these steps, each of them new."""
    return _next(stored, with_steps(stored, steps), now_ms) if steps else stored


def _next(stored: PublishStatus, after: PublishStatus, at_ms: int) -> PublishStatus:
    return replace(after, revision=stored.revision + 1, updated_at_ms=max(at_ms, stored.updated_at_ms + 1))


# ---- devices ----


def touched(device: Device, touch: Touch) -> Device:
    """The device after a send to it (spec: push § 3); the same one where its token has changed since."""
    if device.token_hash != touch.token_hash:
        return device
    if touch.succeeded:
        device = replace(device, last_active_at_ms=max(touch.at_ms, device.last_active_at_ms))
        return replace(device, state="ACTIVE", failure_count=0) if device.state == "FAILING" else device
    if device.state == "FAILED":
        return device
    count = device.failure_count + 1
    failed = device.state == "FAILING" and count >= _MOST_FAILURES
    return replace(device, state="FAILED" if failed else "FAILING", failure_count=count)
