"""Failed recoveries as operators see them: the code, the channel, the probable cause, and a bounded log."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from sockudo.history import Failed
from sockudo.protocol.shapes import V2_JSON
from sockudo.sessions.refused_resume import note_failed_resume
from support.inside import Node

ELSEWHERE = Failed("stream_reset", "durable_stream_id_mismatch", "s-1", "s-2", 1, 9)


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        (ELSEWHERE, "another server or environment: the position is of the stream s-1, here is s-2"),
        (
            Failed("position_expired", "retained_history_floor_is_ahead_of_requested_serial", "s", "s", 40, 90),
            "retention or a purge removed part of what was missed: after serial 7, oldest kept 40, newest 90",
        ),
        (
            Failed("position_expired", "hot_replay_expired_and_durable_history_disabled", "s"),
            "raise connection_recovery.buffer_ttl_seconds",
        ),
        (
            Failed("continuity_unverifiable", "position_ahead_of_durable_stream", "s", "s", 1, 3),
            "the position is ahead of the stream: the store was wiped or restored, or",
        ),
        (Failed("continuity_unverifiable", "durable_history_is_not_contiguous"), "durable history is not contiguous"),
    ],
)
def test_the_cause_is_on_the_page(node: Node, failed: Failed, told: str) -> None:
    client = node.connect(shape=V2_JSON)
    note_failed_resume(client.session, "news", failed, 7)
    [group] = node.gateway.inspector.problems.groups()
    assert (group.kind, group.error, group.last[0].channel) == ("frame_refused", failed.code, "news")
    assert group.last[0].event == "pusher:resume"
    assert told in (group.cause or "")


def test_one_line_a_minute_for_each_app_and_code(node: Node) -> None:
    client = node.connect(shape=V2_JSON)
    with capture_logs() as log:
        for number in range(50):
            note_failed_resume(client.session, f"news-{number}", ELSEWHERE, 7)
        node.clock.advance(60)
        note_failed_resume(client.session, "news", ELSEWHERE, 7)
    assert [line["channel"] for line in log] == ["news-0", "news"]
    assert log[0]["error"] == "stream_reset"
