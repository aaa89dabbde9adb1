"""Points in time and spans of it as people write and read them on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from sockudo.cli.outcome import ExitCode, fail

__all__ = ["local_time", "read_moment", "read_seconds"]

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
# Below it a number was meant in seconds: in milliseconds it is a day of 1973 at most.
_FIRST_MS: Final = 10**11
_WHOLE: Final = re.compile(r"[0-9]{1,19}")
_SPAN: Final = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_moment(text: str, option: str) -> int:
    """Epoch milliseconds, from just that or from an ISO 8601 date or time; without an offset it is local time.

    Ends the command with a usage error that names the ``option`` for anything else.
    """
    word = text.strip()
    if _WHOLE.fullmatch(word):
        number = int(word)
        if number and number < _FIRST_MS:
            fail(
                f"{option} takes milliseconds, and {word} would be in 1970.",
                ExitCode.USAGE,
                "Seconds need three more digits.",
            )
        return number
    try:
        moment = datetime.fromisoformat(word)
        return (moment.astimezone(UTC) - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        fail(
            f"{option}: '{text}' is not a time.",
            ExitCode.USAGE,
            "Use 2026-01-05T09:30, 2026-01-05T09:30:00Z, or milliseconds since 1970.",
        )


def read_seconds(text: str) -> int | None:
    """The seconds of a span such as ``90s``, ``5m``, ``2h`` or ``1d``; None for anything else."""
    found = _SPAN.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found else None


def local_time(ms: int | None) -> str:
    """A moment on the clock of this machine, to the millisecond; ``-`` for none."""
    if ms is None:
        return "-"
    try:
        moment = (_EPOCH + ms * _MILLISECOND).astimezone()
    except OverflowError:
        return str(ms)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"
