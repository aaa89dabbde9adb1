"""Was the event loop blocked, so that every connection waited, and was it the server's own work or the machine?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sockudo.client.failures import UnreachableError
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, warning
from sockudo.doctor.operators import metrics_text

__all__ = ["check_loop", "judge", "pressure_of"]

_PRESSURE: Final = Path("/proc/pressure/cpu")
# Milliseconds from which clients notice.
_NOTABLE: Final = 500.0
# Share of the last minute in which something waited for a core.
_STARVED: Final = 10.0
_OWN: Final = (
    "If the process uses a whole core (`top -p PID`): fewer connections or messages for this node, cheaper filters "
    "and deltas (docs/operations.md, capacity). If it does not, the machine gave it no time: other processes, a CPU "
    "limit of the container, a virtual machine that was paused."
)
_MACHINE: Final = (
    "The machine is short of CPU: other processes, a CPU limit of the container, or a busy host under the virtual "
    "machine. Give the server a core of its own."
)


async def check_loop(deployment: Deployment) -> Sequence[Finding]:
    """Asks the metrics for the longest block, and this machine for how long processes wait for a core."""
    try:
        text = await metrics_text(deployment)
    except UnreachableError:
        text = ""
    last, ever = _number(text, "event_loop_lag_ms"), _number(text, "event_loop_lag_max_ms")
    if last is None or ever is None:
        return [not_checked("the delay of the event loop is in the metrics, and they cannot be read from here")]
    here = deployment.process() is not None
    return [
        judge(last, ever, int(_number(text, "event_loop_stalls_total") or 0), pressure_of(_PRESSURE) if here else None)
    ]


def judge(last: float, ever: float, blocks: int, pressure: float | None) -> Finding:
    """Longest block in ms since the last look at the metrics and since the start, how many there were.

    ``pressure`` is the percentage of the last minute in which something on the machine waited for a core.
    """
    facts: dict[str, Any] = {"last_ms": round(last), "longest_ms": round(ever), "blocks": blocks}
    if pressure is not None:
        facts["cpu_pressure"] = pressure
    starved = pressure is not None and pressure >= _STARVED
    short = f"; for {pressure:.0f} % of the last minute something waited for a core" if starved else ""
    if last >= _NOTABLE:
        return warning(
            f"the event loop was blocked for {last:,.0f} ms since the metrics were last read: every connection waited"
            f"{short}",
            _MACHINE if starved else _OWN,
            **facts,
        )
    return ok(f"blocked for {last:,.0f} ms at most lately, {ever:,.0f} ms since the start", **facts)


def pressure_of(file: Path) -> float | None:
    """The ``avg60`` of the line ``some`` of a Linux pressure file; None where the kernel has none."""
    try:
        found = re.search(r"^some .*avg60=([0-9.]+)", file.read_text("ascii", "replace"), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else float(found[1])


def _number(text: str, name: str) -> float | None:
    found = re.search(rf"^\w*{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, re.MULTILINE)
    return None if found is None else float(found[1])
