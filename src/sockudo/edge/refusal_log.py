"""Lines in the log for refused requests and connections: each mistake shows up, and no flood of them does."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import structlog

from sockudo.edge.replies import Refusal

__all__ = ["RefusalLog"]

_WINDOW: Final = 60.0
_MAX_PAIRS: Final = 2000
_LINES_PER_SECOND: Final = 10
# Of these the operator's side is often the cause: credentials, switches, limits, a part that fails.
_WARNED: Final = frozenset({401, 403, 429})

_log = structlog.get_logger("sockudo.refusals")


class _Open:
    """One error and address whose first line has been written."""

    __slots__ = ("ends", "repeats", "request")

    def __init__(self, ends: float, request: str | None) -> None:
        self.ends = ends
        self.request = request
        self.repeats = 0


class RefusalLog:
    """Writes one line for each error and address in a minute, and at its end one with the number of repetitions.

    At most ten lines a second and 2000 open pairs; the others are counted in one line a minute. Times are monotonic
    seconds that do not go back.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str | None], _Open] = OrderedDict()
        self._second = 0
        self._lines = 0
        self._unlogged = 0
        self._summary_at = 0.0

    def note(self, refusal: Refusal, address: str | None, request: str | None, now: float) -> None:
        """Takes in one refusal; ``request`` is method and path without the query, None for a WebSocket past it."""
        key = (refusal.spec.slug, address)
        found = self._open.get(key)
        if found is not None and now < found.ends:
            found.repeats += 1
            return
        if found is None and len(self._open) >= _MAX_PAIRS:
            self._leave_out(now)
            return
        if not self._may_write(now):
            self._leave_out(now)
            return
        if found is not None:
            self._close(key, found)
        self._open[key] = _Open(now + _WINDOW, request)
        status = refusal.spec.status
        write = _log.warning if status is None or status in _WARNED or status >= 500 else _log.info
        write(
            "refused",
            error=refusal.spec.slug,
            address=address,
            request=request,
            reason=refusal.text,
            likely_cause=refusal.likely_cause,
        )

    def sweep(self, now: float) -> None:
        """Once a second: writes how often what was logged has come again, a minute after its line."""
        while self._open:
            key, oldest = next(iter(self._open.items()))
            if now < oldest.ends:
                break
            self._close(key, oldest)
        if self._unlogged and now >= self._summary_at:
            _log.warning("refusals without a line of their own", times=self._unlogged)
            self._unlogged = 0

    def _close(self, key: tuple[str, str | None], ended: _Open) -> None:
        del self._open[key]
        if ended.repeats:
            slug, address = key
            _log.info("refused again", error=slug, address=address, request=ended.request, times=ended.repeats)

    def _may_write(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        self._lines += 1
        return self._lines <= _LINES_PER_SECOND

    def _leave_out(self, now: float) -> None:
        if not self._unlogged:
            self._summary_at = now + _WINDOW
        self._unlogged += 1
