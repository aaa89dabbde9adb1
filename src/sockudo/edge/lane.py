"""Which requests may take the express lane: publishes of events, and what wings entered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from sockudo.edge.replies import Reply

__all__ = ["Lane", "LaneEntry", "LanePublish"]

_KEPT_ROUTES: Final = 1024


class LaneEntry(NamedTuple):
    """How a wing answers the POST requests of one path.

    Requests take the lane while ``is_open``. ``answer`` takes what `sockudo.edge.publishing.publish_reply` does from
    the app id on, and gives a reply, or a future that ends with it.
    """

    is_open: Callable[[], bool]
    answer: Callable[[str, bytes, bytes | None, Mapping[bytes, bytes], bytes], Reply | asyncio.Future[Reply]]


class LanePublish(NamedTuple):
    """A request before its body: what `publish_reply` takes, in its order. Of a wing, ``batch`` is its entry."""

    batch: bool | LaneEntry
    app_id: str
    raw_path: bytes
    query: bytes | None
    headers: dict[bytes, bytes]


class Lane:
    """The paths below ``/apps/{app_id}/`` that are answered on the express lane; ``entries`` are those of wings."""

    def __init__(self, entries: Mapping[str, LaneEntry] | None = None) -> None:
        self._kinds: dict[bytes, bool | LaneEntry] = {b"events": False, b"batch_events": True}
        self._kinds |= {path.encode(): entry for path, entry in (entries or {}).items()}
        self._path = re.compile(rb"/apps/([^/]+)/(%b)/?" % b"|".join(map(re.escape, self._kinds)))
        self.route = lru_cache(maxsize=_KEPT_ROUTES)(self._route)

    def _route(self, path: bytes) -> tuple[bool | LaneEntry, str] | None:
        """Whether it is a batch of events or whose entry it is, and the app id as it stands in the path."""
        found = self._path.fullmatch(path)
        return None if found is None else (self._kinds[found[2]], found[1].decode("latin-1"))
