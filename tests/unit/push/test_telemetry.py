"""The metrics of push: names, labels, and that nothing else can become a label."""

from __future__ import annotations

import re
from pathlib import Path

import structlog

from sockudo.base.measures import Distribution
from sockudo.push.telemetry import FAMILIES, PushCounters, audit, meta_event, push_measures

_SOURCE = Path(__file__).parents[3] / "src" / "sockudo"
_USE = re.compile(r'\.(?:count|set|note)\(\s*"([a-z_]+)"')


def test_what_is_counted_has_its_labels() -> None:
    counters = PushCounters()
    counters.count("dispatched_total", "fcm", "accepted", "app-1", by=3)
    counters.set("dispatch_inflight", 7, "fcm", "app-1")
    found = {each.name: each for each in push_measures(counters)}
    dispatched, inflight = found["dispatched_total"], found["dispatch_inflight"]
    assert dispatched.samples == [({"provider": "fcm", "status": "accepted", "app": "app-1"}, 3.0)]
    assert inflight.samples == [({"provider": "fcm", "app": "app-1"}, 7.0)]
    # Without labels it is there before there is anything to count.
    assert found["duplicate_suppressed_total"].samples == [({}, 0.0)]
    assert "retry_scheduled_total" not in found


def test_spreads_have_the_buckets_of_their_kind() -> None:
    counters = PushCounters()
    counters.note("fanout_size", 50_000, "app-1")
    counters.note("planner_duration_seconds", 0.02)
    counters.note("planner_duration_seconds", 20.0)
    found = {each.name: each for each in push_measures(counters) if isinstance(each, Distribution)}
    ((labels, sizes),) = found["fanout_size"].samples
    assert labels == {"app": "app-1"}
    assert sizes.counts == [0, 0, 0, 0, 0, 1, 0, 0]
    ((_, seconds),) = found["planner_duration_seconds"].samples
    assert (sum(seconds.counts), seconds.counts[-1], seconds.total) == (2, 1, 20.02)


def test_every_name_that_is_counted_is_in_the_table() -> None:
    used = {
        name
        for path in (_SOURCE / "push").rglob("*.py")
        for name in _USE.findall(path.read_text())
        if name.endswith(("_total", "_seconds", "_size", "_busy", "_state", "_inflight"))
    }
    assert used - set(FAMILIES) == set()
    assert {"dispatched_total", "delivery_jobs_emitted_total", "worker_exits_total"} <= used


def test_no_label_could_hold_a_publish_a_device_or_a_token() -> None:
    labels = {label for family in FAMILIES.values() for label in family.labels}
    assert not labels & {"publish", "publish_id", "device", "device_id", "token", "endpoint", "channel"}


def test_a_meta_event_has_its_five_fields() -> None:
    with structlog.testing.capture_logs() as lines:
        meta_event("publish-completed", "app", "ship", status="succeeded")
        meta_event("cleanup-event", "_system", deleted=3)
    assert lines == [
        {
            "event": "publish-completed",
            "app_id": "app",
            "publish_id": "ship",
            "provider": None,
            "detail": {"status": "succeeded"},
            "log_level": "debug",
        },
        {
            "event": "cleanup-event",
            "app_id": "_system",
            "publish_id": None,
            "provider": None,
            "detail": {"deleted": 3},
            "log_level": "info",
        },
    ]


def test_an_audit_line_says_who_did_what() -> None:
    with structlog.testing.capture_logs() as lines:
        audit("removeWhere", "app", client_id="ana", deleted=2)
    [line] = lines
    assert (line["action"], line["app_id"], line["client_id"], line["deleted"]) == ("removeWhere", "app", "ana", 2)
