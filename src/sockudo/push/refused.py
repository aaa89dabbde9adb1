"""Publishes that never became one: what an app's calls and rules were refused with lately. Ours alone."""

from __future__ import annotations

from typing import Any, Final

from sockudo.errors import CATALOGUE, SockudoError
from sockudo.inspector import Entry, Inspector, Kind
from sockudo.inspector.problems import Problems
from sockudo.push.bodies import PublishRequest

__all__ = ["note_refused", "refused_lately"]

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


_KINDS: Final[frozenset[Kind]] = frozenset({"request_refused", "push_refused"})


def note_refused(inspector: Inspector, app_id: str, request: PublishRequest, problem: SockudoError) -> None:
    """Tells the inspector of a publish that nobody waits for, such as a rule's; nothing of what it says."""
    channel = next((target.channel for target in request.targets if target.channel is not None), None)
    inspector.note(
        Entry(
            inspector.now_ms(),
            "push_refused",
            app_id,
            channel=channel,
            error=problem.spec.slug,
            text=problem.text,
            status=problem.spec.status,
        )
    )


def refused_lately(problems: Problems, app_id: str) -> list[dict[str, Any]]:
    """Publishes of the app that were refused with a reason of push, of calls and of rules, the newest first; of this
    node, since its start.
    """
    found = [group for group in problems.groups(app_id) if group.kind in _KINDS and group.error in _ROWS]
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
