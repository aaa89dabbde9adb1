"""What a server process has logged, line by line."""

from __future__ import annotations

import json
from typing import Any

from support.server import ServerProcess
from support.waiting import wait_until

__all__ = ["log_lines", "wait_for_line"]


def log_lines(server: ServerProcess) -> list[dict[str, Any]]:
    """The JSON lines, whole ones only; what was printed for people is left out."""
    whole = server.log.rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def wait_for_line(server: ServerProcess, message: str, *, after: int = 0) -> dict[str, Any]:
    """The fields of the first line with this message, ``after`` so many earlier lines of any kind; waits for it."""

    def found() -> dict[str, Any] | None:
        fields = (line["fields"] for line in log_lines(server)[after:])
        return next((each for each in fields if each["message"] == message), None)

    try:
        return wait_until(found, f"the log line {message!r}")
    except AssertionError as timeout:
        raise AssertionError(f"{timeout}; the log after line {after}:\n{server.log[-6000:]}") from None
