"""Which log lines are wanted: a comma list of ``level`` and ``logger=level`` (spec: platform § 7.5)."""

from __future__ import annotations

import msgspec

__all__ = ["LEVELS", "LogFilter", "parse", "preset"]

LEVELS = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "critical": 50, "off": 100}


class LogFilter(msgspec.Struct, frozen=True):
    """Least levels as numbers of the logging module: for everything, and for loggers by the beginning of their name."""

    default: int
    loggers: tuple[tuple[str, int], ...] = ()


def preset(*, debug: bool) -> str:
    """The filter without a configured one."""
    return "info,sockudo=debug" if debug else "info"


def parse(text: str) -> LogFilter:
    """Reads a filter; without a bare level, everything else is logged from ``info``.

    Raises ValueError with the end of a sentence that begins with the filter.
    """
    default = LEVELS["info"]
    loggers: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, word = part.rpartition("=")
        level = LEVELS.get(word.strip().lower())
        if level is None:
            raise ValueError(f"has '{word.strip()}', which is none of the levels {', '.join(LEVELS)}")
        if not equals:
            default = level
        elif not name.strip():
            raise ValueError(f"has '{part}' without the name of a logger")
        else:
            loggers[name.strip().replace("::", ".")] = level
    return LogFilter(default, tuple(loggers.items()))
