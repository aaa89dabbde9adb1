"""How many descriptors a process may have, and how many of them are kept from WebSockets."""

from __future__ import annotations

import resource
from typing import Final

__all__ = ["descriptor_limit", "reserved_descriptors"]

_RESERVED: Final = 64


def descriptor_limit() -> int | None:
    """How many this process may have; None where there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def reserved_descriptors(limit: int) -> int:
    """How many of them are never a WebSocket's: 64, or a quarter of a limit below 256."""
    return min(_RESERVED, limit // 4)
