"""The metrics of histories and presence histories (spec: history § 9): where their numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from sockudo.base.measures import BUCKETS_MS, Buckets, Distribution, Numbers
from sockudo.history import History, HistoryCounters, PresenceHistory
from sockudo.hub.streams.totals import Group

__all__ = ["HistorySources", "history_measures"]

_BOUNDS = (*map(str, BUCKETS_MS), "+Inf")


class HistorySources(NamedTuple):
    """Ask for what is open; None where nothing is."""

    history: Callable[[], History | None] = lambda: None
    presence: Callable[[], PresenceHistory | None] = lambda: None


def history_measures(histories: HistorySources) -> Iterator[Numbers | Distribution]:
    """All of them; without a history there are none."""
    history, presence = histories.history(), histories.presence()
    if history is not None:
        yield from _of_messages(history)
    if presence is not None:
        yield from _of_presence(presence)


def _of_messages(history: History) -> Iterator[Numbers | Distribution]:
    yield from _counted("history", "Messages", history.counters)
    totals = {group.app_id: total for group, total in history.totals.items() if group.of_messages}
    yield Numbers("history_retained_messages", "gauge", "Messages stored now", _by_app(_each(totals, "messages")))
    yield Numbers("history_retained_bytes", "gauge", "Their bytes", _by_app(_each(totals, "size")))
    evicted = history.evicted
    yield Numbers(
        "history_evictions_total", "counter", "Messages that retention took", _by_app(_messages(evicted.messages))
    )
    yield Numbers("history_evicted_bytes_total", "counter", "Their bytes", _by_app(_messages(evicted.size)))
    yield from _of_versions(history)
    depth = history.runtime_status()["queue_depth"]
    yield Numbers("history_queue_depth", "gauge", "Messages and events that wait to be stored", [({}, float(depth))])
    degraded = _messages(history.degraded())
    yield from _states("history", degraded, {}, _each(totals, "reset_required"))


def _of_versions(history: History) -> Iterator[Numbers]:
    totals = {group.app_id: total for group, total in history.totals.items() if group.versions}
    gone = {group.app_id: float(count) for group, count in history.evicted.messages.items() if group.versions}
    yield Numbers("history_retained_versions", "gauge", "Versions stored now", _by_app(_each(totals, "messages")))
    yield Numbers("history_retained_version_bytes", "gauge", "Their bytes", _by_app(_each(totals, "size")))
    yield Numbers("history_version_evictions_total", "counter", "Versions that retention took", _by_app(gone))


def _of_presence(presence: PresenceHistory) -> Iterator[Numbers | Distribution]:
    yield from _counted("presence_history", "Events", presence.counters)
    lost = presence.counters.lost
    yield Numbers("presence_history_lost_total", "counter", "Events that could never be written", _by_app(lost))
    totals = presence.totals()
    yield Numbers("presence_history_retained_events", "gauge", "Events kept now", _by_app(_each(totals, "messages")))
    yield Numbers("presence_history_retained_bytes", "gauge", "Their bytes", _by_app(_each(totals, "size")))
    evicted = presence.evicted()
    events: dict[str, float] = {app_id: count for app_id, count, _ in evicted}
    sizes: dict[str, float] = {app_id: size for app_id, _, size in evicted}
    yield Numbers("presence_history_evictions_total", "counter", "Events that retention took", _by_app(events))
    yield Numbers("presence_history_evicted_bytes_total", "counter", "Their bytes", _by_app(sizes))
    depth = presence.runtime_status()["queue_depth"]
    yield Numbers("presence_history_queue_depth", "gauge", "Events that wait to be written", [({}, float(depth))])
    known = presence.marked("reset_required")
    yield from _states("presence_history", presence.marked("degraded"), known, _each(totals, "reset_required"))


def _counted(prefix: str, what: str, counters: HistoryCounters) -> Iterator[Numbers | Distribution]:
    for name, text, values in (
        ("writes_total", f"{what} stored", counters.writes),
        ("write_failures_total", f"{what} whose commit failed", counters.write_failures),
        ("refused_busy_total", f"{what} that found the queue full", counters.refused_busy),
        ("degradations_total", "Streams that became degraded", counters.degradations),
        ("healings_total", "Streams that became healthy again", counters.healings),
    ):
        yield Numbers(f"{prefix}_{name}", "counter", text, _by_app(values))
    times = [
        ({"app_id": app_id}, Buckets(_BOUNDS, list(latency.counts), latency.sum_ms))
        for app_id, latency in counters.latency.items()
    ]
    yield Distribution(f"{prefix}_write_latency_ms", "Time of a commit", times)


def _states(
    prefix: str,
    degraded: Mapping[str, float],
    known: Mapping[str, float],
    written: Mapping[str, float],
) -> Iterator[Numbers]:
    """``known``: streams that this process knows to have lost something; the store has it of ``written``."""
    apps = {*degraded, *known, *written}
    lost = {app_id: max(known.get(app_id, 0), written.get(app_id, 0)) for app_id in apps}
    both = {app_id: degraded.get(app_id, 0) + lost[app_id] for app_id in apps}
    yield Numbers(
        f"{prefix}_degraded_channels", "gauge", "Streams that are not whole or not known to be", _by_app(both)
    )
    yield Numbers(f"{prefix}_reset_required_channels", "gauge", "Those that only a reset heals", _by_app(lost))


def _each(totals: Mapping[str, tuple[int, ...]], field: str) -> dict[str, float]:
    return {app_id: getattr(total, field) for app_id, total in totals.items()}


def _messages(counts: Mapping[Group, int]) -> dict[str, float]:
    return {group.app_id: count for group, count in counts.items() if group.of_messages}


def _by_app(values: Mapping[str, float]) -> list[tuple[dict[str, str], float]]:
    return [({"app_id": app_id}, float(value)) for app_id, value in values.items()]
