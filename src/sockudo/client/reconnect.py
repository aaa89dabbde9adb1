"""When a client comes back after its connection ended, as stock Pusher clients do it (spec: websocket § 9)."""

from __future__ import annotations

from typing import Final

__all__ = ["Reconnect"]

_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 10.0


class Reconnect:
    """Decides after each end of a connection; remembers only how often in a row it did not work."""

    def __init__(self) -> None:
        self._failures = 0

    def established(self) -> None:
        """A connection works: the next wait is the shortest again."""
        self._failures = 0

    def delay(self, code: int | None, *, established: bool) -> float | None:
        """Seconds to wait before the next try; None when trying again is pointless.

        ``code`` is the close code, None when the server could not be reached. A server that says "at once" before it
        has accepted the connection is not believed: it would be asked in a tight circle.
        """
        if code is not None and (4000 <= code < 4100 or 4300 <= code < 5000):
            return None
        if code is not None and 4200 <= code < 4300 and established:
            return 0.0
        self._failures += 1
        return min(_FIRST_DELAY * 2.0 ** (self._failures - 1), _LONGEST_DELAY)
