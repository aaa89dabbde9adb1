"""What is told about a stream, over HTTP and WebSocket (spec: history § 1.8, 7.1 and 7.2)."""

from __future__ import annotations

from typing import Any

from sockudo.history.degraded import Degraded
from sockudo.hub.streams.records import Retained, StreamInfo

__all__ = ["authority", "retained_of", "stream_object", "stream_state"]


def authority(backend: str) -> str:
    """Who has the last word about a stream's state."""
    return "in_memory" if backend == "memory" else "durable_store"


def stream_state(info: StreamInfo | None, degraded: Degraded | None, backend: str) -> dict[str, Any]:
    """The state of a stream. What this process knows holds before what is written in the store."""
    source = authority(backend)
    state, reason, node_id, changed_at_ms = "healthy", None, None, None
    if degraded is not None:
        state, reason, node_id, changed_at_ms = "degraded", degraded.reason, degraded.node_id, degraded.since_ms
    elif info is not None:
        state, reason, node_id, changed_at_ms = info.state, info.reason, info.node_id, info.changed_at_ms
    return {
        "stream_id": info and info.stream_id,
        "durable_state": state,
        "recovery_allowed": state == "healthy",
        "reset_required": state == "reset_required",
        "reason": reason,
        "node_id": node_id,
        "last_transition_at_ms": changed_at_ms,
        "authoritative_source": source,
        "observed_source": source if degraded is None else "local_memory_hint",
    }


def retained_of(info: StreamInfo | None) -> dict[str, Any]:
    """What a stream still holds."""
    retained = Retained() if info is None else info.retained
    return {
        "stream_id": info and info.stream_id,
        "retained_messages": retained.messages,
        "retained_bytes": retained.size,
        "oldest_available_serial": retained.oldest_serial,
        "newest_available_serial": retained.newest_serial,
        "oldest_available_published_at_ms": retained.oldest_at_ms,
        "newest_available_published_at_ms": retained.newest_at_ms,
    }


def stream_object(info: StreamInfo | None, degraded: Degraded | None, backend: str) -> dict[str, Any]:
    """A stream as operators see it. A channel that was never used has no stream, so its id and next serial are null."""
    return {
        "stream_id": info and info.stream_id,
        "next_serial": info and info.next_serial,
        "retained": retained_of(info),
        "state": stream_state(info, degraded, backend),
    }
