"""What OpenTelemetry has to say, in our log and not over and over: a collector that is away is no news every second."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

__all__ = ["RareLines"]

_PAUSE: Final = 60.0
# Different lines that are remembered: the SDK has few, and its texts with values in them are compared by their form.
_REMEMBERED: Final = 256

_log = structlog.get_logger("sockudo.tracing")


class RareLines(logging.Handler):
    """Logs each line once a minute, with how many were left out since; from any thread.

    Tracebacks are left out as well: what went wrong is in the line, and who reads it cannot mend the SDK.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._now = now
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self._mutex = threading.Lock()
        self._logger: logging.Logger | None = None

    def install(self, logger: logging.Logger) -> None:
        """Takes over everything that is logged by this logger and those below it."""
        self._logger = logger
        logger.addHandler(self)
        logger.propagate = False

    def remove(self) -> None:
        """Gives the logger back, unless another server of the process still has it."""
        if self._logger is not None:
            self._logger.removeHandler(self)
            self._logger.propagate = not any(isinstance(each, RareLines) for each in self._logger.handlers)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        key = (record.name, str(record.msg))
        now = self._now()
        with self._mutex:
            said_at, left_out = self._said.get(key, (now - _PAUSE, 0))
            if now - said_at < _PAUSE:
                self._said[key] = (said_at, left_out + 1)
                return
            if len(self._said) >= _REMEMBERED:
                self._said.clear()
            self._said[key] = (now, 0)
        problem = record.exc_info[1] if record.exc_info else None
        _log.log(
            record.levelno,
            "opentelemetry",
            says=record.getMessage(),
            **({"problem": type(problem).__name__} if problem is not None else {}),
            **({"left_out": left_out} if left_out else {}),
        )
