"""The log lines of push, with names that operators filter by (spec: push § 9)."""

from __future__ import annotations

import structlog

from sockudo.push.meta import audit, meta_event


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
