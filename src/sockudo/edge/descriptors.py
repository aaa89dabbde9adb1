"""Whether the process still gets a descriptor: without one, new connections are reset before any code of ours runs.

So WebSockets leave some for what is needed to see and mend that: the HTTP API, operators, stores and webhooks.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Final

import structlog

from sockudo import errors
from sockudo.base.process import descriptor_limit, reserved_descriptors

__all__ = ["DescriptorWatch"]

_WARN_EVERY: Final = 60.0

_log = structlog.get_logger("sockudo.listeners")


def _take_one() -> None:
    os.close(os.open(os.devnull, os.O_RDONLY))


class DescriptorWatch:
    """Takes a descriptor and gives it back, once a second: the event loop does not say that accepting one failed.

    ``exhausted`` counts the seconds in which there was none; they are logged once a minute. ``limit`` is that of the
    process, which does not change once connections are accepted.
    """

    def __init__(
        self, take: Callable[[], None] = _take_one, limit: Callable[[], int | None] = descriptor_limit
    ) -> None:
        self._take = take
        found = limit()
        self._limit = found
        self._first_reserved = None if found is None else found - reserved_descriptors(found)
        self._warned_at: float | None = None
        self.exhausted = 0

    def check_websocket(self, transport: asyncio.Transport) -> None:
        """Raises `errors.OVER_CAPACITY` for a connection whose descriptor is one of the reserved.

        The system gives the lowest free number, so all below it are taken.
        """
        found = transport.get_extra_info("socket")
        if found is not None and self._first_reserved is not None and found.fileno() >= self._first_reserved:
            raise errors.OVER_CAPACITY(
                "Over capacity: the server has no descriptors for more connections",
                likely_cause=f"of {self._limit:,} descriptors only those that WebSockets never take are left: "
                f"{_REMEDIES[errno.EMFILE]}",
            )

    def look(self, now: float) -> None:
        """``now`` is in monotonic seconds."""
        try:
            self._take()
        except OSError as problem:
            if problem.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self.exhausted += 1
            if self._warned_at is not None and now - self._warned_at < _WARN_EVERY:
                return
            self._warned_at = now
            _log.error(
                "no descriptor is left, new connections are reset",
                limit=descriptor_limit() if problem.errno == errno.EMFILE else None,
                remedy=_REMEDIES[problem.errno],
                seconds=self.exhausted,
            )


_REMEDIES: Final = {
    errno.EMFILE: "raise the hard limit of the process: LimitNOFILE= of the systemd unit, --ulimit nofile= of Docker",
    errno.ENFILE: "raise fs.file-max with sysctl: the whole machine has none left",
}
