"""What a node counts and takes at this moment, as operators ask for it (spec: platform § 6.5)."""

from __future__ import annotations

from pathlib import Path

from sockudo.base.components import Component
from sockudo.history import History, PresenceHistory
from sockudo.hub.view import AppCounts, HubView
from sockudo.monitoring.health import Apps

__all__ = ["host_memory", "node_stats"]

_HISTORY_OFF = {
    "enabled": False,
    "backend": "disabled",
    "state_authority": "disabled",
    "degraded_channels": 0,
    "reset_required_channels": 0,
    "queue_depth": 0,
}


def host_memory() -> dict[str, float]:
    """The host's memory in bytes, from ``/proc/meminfo``."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    used = total - free
    return {"free": free, "used": used, "total": total, "percent": round(100 * used / total, 2)}


def node_stats(
    apps: Apps, view: HubView, history: Component[History], presence_history: Component[PresenceHistory]
) -> dict[str, object]:
    """The reply of ``/stats``: this node's memory, histories and counts, in all and by app."""
    counted = [{"app_id": app.id, **_counts(view.counts(app.id))} for app in apps.all()]
    totals: dict[str, object] = {"apps": len(counted)}
    for name in ("connections", "authenticated_connections", "users", "connections_with_meta"):
        totals[name] = sum(int(app[name]) for app in counted)  # type: ignore[call-overload]  # these four are counts
    occupancy: dict[str, int] = {}
    for app in counted:
        for name, count in app["occupancy"].items():  # type: ignore[attr-defined]  # a dict of counts
            occupancy[name] = occupancy.get(name, 0) + count
    totals["occupancy"] = occupancy
    return {
        "memory": host_memory(),
        "history": history.service.runtime_status() if history.is_open else _HISTORY_OFF,
        "presence_history": presence_history.service.runtime_status() if presence_history.is_open else _HISTORY_OFF,
        "totals": totals,
        "apps": counted,
    }


def _counts(counts: AppCounts) -> dict[str, object]:
    return {
        "connections": counts.connections,
        "authenticated_connections": counts.signed_in,
        "users": counts.users,
        "connections_with_meta": 0,
        "occupancy": {
            "channels": counts.channels,
            "subscriptions": counts.subscriptions,
            "presence_channels": counts.presence_channels,
            "presence_subscriptions": counts.presence_subscriptions,
            "presence_members": counts.presence_members,
        },
    }
