"""``sockudo push publish --wait``: a publish followed until its end, with a bar for people who watch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

from sockudo.cli.moments import local_time
from sockudo.cli.outcome import ExitCode
from sockudo.push.cli.views import funnel_of
from sockudo.push.records import TERMINAL

if TYPE_CHECKING:
    from sockudo.client.push import PushApi

__all__ = ["exit_code", "followed"]

_FIRST: Final = 0.1
_LONGEST: Final = 1.0


class _Bar(Protocol):
    def show(self, status: Mapping[str, Any]) -> None: ...


async def followed(push: PushApi, publish_id: str, seconds: float | None) -> tuple[dict[str, Any], bool]:
    """The status at the end, or when so many seconds have passed, and whether it is the end."""
    import asyncio

    deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
    pause = _FIRST
    with _bar() as bar:
        while True:
            status = await push.status(publish_id)
            bar.show(status)
            if status["state"] in TERMINAL:
                return status, True
            left = None if deadline is None else deadline - asyncio.get_running_loop().time()
            if left is not None and left <= 0:
                return status, False
            await asyncio.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 1.5, _LONGEST)


def exit_code(status: Mapping[str, Any]) -> ExitCode:
    """0 only where everybody was reached."""
    return ExitCode.DONE if status["state"] == "succeeded" else ExitCode.REFUSED


def _bar() -> AbstractContextManager[_Bar]:
    """On a terminal only: a log has no use for it."""
    return _RichBar() if sys.stderr.isatty() else nullcontext(_NoBar())


class _NoBar:
    def show(self, status: Mapping[str, Any]) -> None:
        pass


class _RichBar:
    """The settled part of what is planned, with the numbers of the funnel beside it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[details]}"))
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("queued", total=None, details="")

    def __enter__(self) -> _RichBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, status: Mapping[str, Any]) -> None:
        counts = funnel_of(status)
        names = ("succeeded", "failed", "expired", "dead_lettered", "retrying")
        # Without a known total a number means nothing: before it is planned, the bar moves alone.
        details = [f"{counts.settled:,} of {counts.planned:,}"] if counts.planned else []
        details += [f"{value:,} {name.replace('_', ' ')}" for name in names if (value := getattr(counts, name))]
        if status.get("retryAfterMs"):
            details.append(f"next at {local_time(status['retryAfterMs'])}")
        self._progress.update(
            self._task,
            description=status["state"],
            # Without recipients there is nothing to wait for.
            total=counts.planned or (0 if status["state"] in TERMINAL else None),
            completed=counts.settled,
            details=", ".join(details),
        )
