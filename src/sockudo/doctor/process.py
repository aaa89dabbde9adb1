"""How many connections the process can hold, before the system refuses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from sockudo.base.process import reserved_descriptors
from sockudo.client.failures import UnreachableError
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.doctor.operators import metrics_text

__all__ = ["FULL", "RAISE", "check_descriptors", "judge"]

_FEW: Final = 4096
FULL: Final = 0.95
_FILLING: Final = 0.85
RAISE: Final = (
    "Raise the hard limit where it is started and restart it: LimitNOFILE= under systemd, --ulimit nofile= for Docker."
)


async def check_descriptors(deployment: Deployment) -> Sequence[Finding]:
    """From the process itself where it may be looked at, else from its metrics."""
    settings, app = deployment.settings, deployment.app
    wanted = [
        0 if settings is None else settings.connection_limit,
        0 if app is None else app.policy.limits.max_connections,
    ]
    process = deployment.process()
    if process is not None and process.descriptors is not None:
        return [judge(process.descriptors, process.open, max(wanted), f"process {process.pid}")]
    try:
        text = await metrics_text(deployment)
    except UnreachableError:
        text = ""
    limit, in_use = _number(text, "process_max_fds"), _number(text, "process_open_fds")
    if limit is None:
        return [
            not_checked(
                "no process of the server on this machine that may be looked at, and no metrics that can be read: run "
                "it there, as the server's user or root, with --config"
            )
        ]
    return [judge(limit, in_use, max(wanted), "its metrics")]


def judge(limit: int, in_use: int | None, wanted: int, source: str) -> Finding:
    """``wanted`` is the largest max_connections that is configured, 0 for none."""
    room = limit - reserved_descriptors(limit)
    facts: dict[str, Any] = {"limit": limit, "open": in_use, "max_connections": wanted or None}
    used = f", {in_use:,} in use" if in_use is not None else ""
    text = f"{limit:,} descriptors{used} ({source})"
    share = 0.0 if in_use is None else in_use / room
    if share >= FULL:
        return problem(f"{text}: new WebSockets are refused with 4100 already, or will be in a moment", RAISE, **facts)
    if wanted > room:
        return problem(
            f"{text}: room for about {room:,} connections, and max_connections is {wanted:,}",
            RAISE,
            f"Or lower max_connections below {room:,}, so that clients are refused with 4100 or 4004.",
            **facts,
        )
    if share >= _FILLING:
        return warning(f"{text}: few connections more, and new ones are refused with 4100", RAISE, **facts)
    if limit < _FEW:
        return warning(f"{text}: room for about {room:,} connections", RAISE, **facts)
    return ok(f"{text}: room for about {room:,} connections", **facts)


def _number(text: str, name: str) -> int | None:
    found = re.search(rf"^\w*{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.MULTILINE)
    return int(float(found[1])) if found is not None else None
