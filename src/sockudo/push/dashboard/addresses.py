"""Where the pages of the area are."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

__all__ = ["AREA", "TOOLS", "list_url", "publish_url"]

AREA: Final = "/dashboard/push"

_TABS: Final = (
    ("Publishes", ""),
    ("Devices", "devices"),
    ("Dead letters", "dead-letters"),
    ("Credentials", "credentials"),
    ("Test send", "test"),
    ("Why no notification?", "why"),
)
_STATE_KINDS: Final = {
    "queued": "info",
    "planning": "info",
    "throttled": "warn",
    "dispatching": "info",
    "cancelled": "",
    "expired": "warn",
    "failed": "bad",
    "succeeded": "good",
    "partiallySucceeded": "warn",
    "quota_exceeded": "bad",
    "dead_lettered": "bad",
}
_OUTCOME_KINDS: Final = {"accepted": "good", "rejected": "bad", "retryable": "warn", "expired": "warn", "cancelled": ""}
_DEVICE_KINDS: Final = {"ACTIVE": "good", "FAILING": "warn", "FAILED": "bad"}


def list_url(view: str = "", **query: str) -> str:
    """A page of the area: of publishes, or the view of that name."""
    path = f"{AREA}/{view}" if view else AREA
    return f"{path}?{urlencode(query)}" if query else path


def publish_url(app_id: str, publish_id: str, act: str = "", **query: str) -> str:
    """The page of one publish, or where a form about it goes."""
    path = f"{AREA}/{quote(app_id, safe='')}/publishes/{quote(publish_id, safe='')}{'/' if act else ''}{act}"
    return f"{path}?{urlencode(query)}" if query else path


TOOLS: Final[dict[str, Any]] = {
    "list_url": list_url,
    "publish_url": publish_url,
    "views": _TABS,
    "state_kinds": _STATE_KINDS,
    "outcome_kinds": _OUTCOME_KINDS,
    "device_kinds": _DEVICE_KINDS,
}
"""What every template of the area is given."""
