"""Publishes that never became one: what an app's calls were refused with lately, of what push refuses. Ours alone."""

from __future__ import annotations

from typing import Any, Final

from sockudo.errors import CATALOGUE
from sockudo.inspector.problems import Problems

__all__ = ["refused_lately"]

_MOST: Final = 10

_ROWS: Final = frozenset(
    {
        "credential_missing",
        "credential_unreadable",
        "device_not_found",
        "provider_token_invalid",
        "push_backpressure",
        "push_disabled",
        "push_payload_too_large",
        "push_rate_limited",
        "scheduled_push_invalid",
    }
)
"""Rows of the catalogue that a publish which was never taken can have been refused with."""


def refused_lately(problems: Problems, app_id: str) -> list[dict[str, Any]]:
    """Calls of the app that were refused with a reason of push, the newest first; of this node, since its start."""
    found = [group for group in problems.groups(app_id) if group.kind == "request_refused" and group.error in _ROWS]
    return [
        {
            "code": group.error,
            "count": group.count,
            "lastAtMs": group.last_at,
            "text": group.last[-1].text if group.last else "",
            "remedy": CATALOGUE[group.error].remedy if group.error else "",
        }
        for group in found[:_MOST]
    ]
