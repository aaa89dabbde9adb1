"""How long a start took, as it is told."""

from __future__ import annotations

import subprocess
import sys
import time

CODE = """
import time
began = time.monotonic()
from sockudo.server.process import duration_of_start
since = time.monotonic() - began
print(duration_of_start(began), since)
"""


def told(*command: str) -> tuple[float, float, float]:
    """What a process says of its start, how long its imports took, and how long all of it."""
    began = time.monotonic()
    text = subprocess.run([*command, sys.executable, "-c", CODE], check=True, capture_output=True, text=True).stdout
    seconds, since = map(float, text.split())
    return seconds, since, time.monotonic() - began


def test_a_start_begins_with_the_process() -> None:
    seconds, since, altogether = told()
    # The interpreter's own part; to the hundredth of a second in which the system counts.
    assert since + 0.005 < seconds < altogether + 0.02


def test_what_a_process_was_before_is_no_part_of_the_start() -> None:
    seconds, since, altogether = told("sh", "-c", 'sleep 1.3; exec "$@"', "sh")
    assert since <= seconds < altogether - 1.3
