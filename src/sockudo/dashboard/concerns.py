"""What an operator should look at now, found in what the server knows of itself."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan
from typing import TYPE_CHECKING, Final, Literal

from sockudo.base.process import descriptor_limit, open_descriptors, reserved_descriptors
from sockudo.dashboard.board import Concern
from sockudo.dashboard.samples import INTERVAL

if TYPE_CHECKING:
    from sockudo.apps.live import LiveApp
    from sockudo.dashboard.board import Board

__all__ = ["concerns"]

_MINUTE: Final = int(60 / INTERVAL)
_NEAR: Final = 0.9
_SLOW_MS: Final = 50
# Without a connection a short block delays next to nothing.
_UNNOTICED_MS: Final = 100
_NAMED: Final = 3


def concerns(board: Board) -> list[Concern]:
    """All of them, the bad ones first; the cost grows with apps and endpoints, with nothing else."""
    of_wings = [concern for area in board.areas for concern in area.concerns()]
    found = [*_capacity(board), *_apps_near_their_quota(board), *_streams(board), *of_wings, *_pace(board)]
    return sorted(found, key=lambda concern: concern.level)


def _capacity(board: Board) -> Iterator[Concern]:
    if board.gateway.draining:
        yield Concern("bad", "The server is draining or shutting down: new connections are refused.")
    if (reason := board.readiness.reason) is not None:
        yield Concern("bad", f"This node is not ready: {reason}.", "/dashboard/nodes")
    if not any(app.enabled for app in board.apps.all()):
        yield Concern("bad", "No app is enabled: no client can connect.", "/dashboard/apps")
    connections = board.gateway.hub.connection_count()
    yield from _near("connections", connections, board.settings.connection_limit, "the server's")
    yield from _descriptors(open_descriptors() or 0, descriptor_limit() or 0)


def _descriptors(used: int, limit: int) -> Iterator[Concern]:
    room = limit - reserved_descriptors(limit)
    if limit and used >= room:
        text = f"{used:,} of {limit:,} file descriptors are in use: WebSockets are refused with 4100. "
        yield Concern("bad", text + "Raise the process's limit (LimitNOFILE=, --ulimit nofile=).")
    elif limit and used >= _NEAR * room:
        yield Concern("warn", f"{used:,} of {limit:,} file descriptors are in use; {room:,} are for WebSockets.")


def _near(what: str, used: int, limit: int, whose: str, link: str | None = None) -> Iterator[Concern]:
    if limit and used >= _NEAR * limit:
        level: Literal["bad", "warn"] = "bad" if used >= limit else "warn"
        yield Concern(level, f"{used:,} of {limit:,} {what} are in use, {whose} limit.", link)


def _apps_near_their_quota(board: Board) -> Iterator[Concern]:
    full = [app for app in board.apps.all() if _used(board, app) >= _NEAR]
    full.sort(key=lambda app: -_used(board, app))
    for app in full[:_NAMED]:
        count = board.gateway.quotas.count(app.id)
        yield from _near("connections", count, app.limits.max_connections, f"app {app.id}'s", "/dashboard/apps")
    if len(full) > _NAMED:
        more = len(full) - _NAMED
        yield Concern("warn", f"{more:,} more apps are near their limit of connections.", "/dashboard/apps")


def _used(board: Board, app: LiveApp) -> float:
    """What share of its connections an app has."""
    limit = app.limits.max_connections
    return board.gateway.quotas.count(app.id) / limit if limit else 0.0


def _streams(board: Board) -> Iterator[Concern]:
    if board.history.is_open and (refused := board.history.service.taking.reason) is not None:
        yield Concern("bad", f"Publishes to durable channels are refused: {refused}")
    for name, history in (("History", board.history), ("Presence history", board.presence_history)):
        if not history.is_open:
            continue
        status = history.service.runtime_status()
        degraded, lost = status["degraded_channels"], status["reset_required_channels"]
        if degraded:
            text = f"{name}: {degraded:,} channels are degraded; they heal by themselves once the store answers."
            yield Concern("bad", text, "/dashboard/channels")
        if lost:
            text = f"{name}: {lost:,} channels have lost something and have to be reset."
            yield Concern("bad", text, "/dashboard/channels")


def _pace(board: Board) -> Iterator[Concern]:
    """What the samples of the last minute say."""
    ring = board.samples.ring
    limited = sum(ring.column("rate_limited_per_second", _MINUTE)) * INTERVAL
    if limited:
        yield Concern("warn", f"Rate limits refused about {limited:,.0f} requests or messages in the last minute.")
    longest = max((value for value in ring.column("loop_lag_max_ms", _MINUTE) if not isnan(value)), default=0.0)
    if longest >= (_SLOW_MS if board.gateway.hub.connection_count() else _UNNOTICED_MS):
        text = f"The event loop was blocked for {longest:,.0f} ms in the last minute; every connection waited. "
        yield Concern(
            "warn", text + "The log and `sockudo doctor` say whether it was the server's own work, and what to do."
        )
