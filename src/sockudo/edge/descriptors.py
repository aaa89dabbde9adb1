"""Whether the process still gets a descriptor: without one, new connections are reset before any code of ours runs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

import structlog

__all__ = ["DescriptorWatch"]

_WARN_EVERY: Final = 60.0

_log = structlog.get_logger("sockudo.listeners")


def _take_one() -> None:
    os.close(os.open(os.devnull, os.O_RDONLY))


class DescriptorWatch:
    """Takes a descriptor and gives it back, once a second: the event loop does not say that accepting one failed.

    ``exhausted`` counts the seconds in which there was none; they are logged once a minute.
    """

    def __init__(self, take: Callable[[], None] = _take_one) -> None:
        self._take = take
        self._warned_at: float | None = None
        self.exhausted = 0

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
                limit=_limit_of(problem),
                remedy=_REMEDIES[problem.errno],
                seconds=self.exhausted,
            )


_REMEDIES: Final = {
    errno.EMFILE: "raise the hard limit of the process: LimitNOFILE= of the systemd unit, --ulimit nofile= of Docker",
    errno.ENFILE: "raise fs.file-max with sysctl: the whole machine has none left",
}


def _limit_of(problem: OSError) -> int | None:
    if problem.errno != errno.EMFILE:
        return None
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
