"""Which requests may take the express lane: publishes of events, and of notifications."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["LanePublish", "lane_route"]

_PUBLISH: Final = re.compile(rb"/apps/([^/]+)/(events|batch_events|push/publish)/?")


class LanePublish(NamedTuple):
    """A publish before its body: what `publish_reply` takes, in its order. ``batch`` is None for a notification."""

    batch: bool | None
    app_id: str
    raw_path: bytes
    query: bytes | None
    headers: dict[bytes, bytes]


@lru_cache(maxsize=1024)
def lane_route(path: bytes) -> tuple[bool | None, str] | None:
    """Whether this is a publish endpoint, which of them, and the app id as it stands in the path."""
    found = _PUBLISH.fullmatch(path)
    if found is None:
        return None
    kind = found[2]
    return None if kind == b"push/publish" else kind == b"batch_events", found[1].decode("latin-1")
