"""Positions of a resume whose channels the connection has yet to subscribe to (spec: history § 4.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["PARKED_SECONDS", "Parked", "Wanted"]

PARKED_SECONDS = 10.0


class Wanted(NamedTuple):
    """Where a client was on one channel. ``legacy``: it sent no stream id, which the replay buffer alone can answer."""

    serial: int
    stream_id: str | None = None
    last_message_id: str | None = None
    legacy: bool = False


@dataclass(slots=True)
class Parked:
    """One resume's answer in the making.

    ``positions`` wait for their channel's subscribe until ``until`` (monotonic seconds); ``behind`` are public channels
    that were replayed at once, with the place from which a later subscribe goes on. ``recovered`` and ``failed`` are
    the entries of the aggregate so far; ``told`` once it was sent.
    """

    until: float
    positions: dict[str, Wanted] = field(default_factory=dict)
    behind: dict[str, Wanted] = field(default_factory=dict)
    recovered: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    told: bool = False
