"""What operators see of refusals: the code, the channel, the probable cause, and a bounded log."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from sockudo.history import Failed
from sockudo.hub.events import PredicateFailed
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from sockudo.sessions.diagnostics import FilterWarnings, note_failed_resume
from sockudo.testing import FakeClock
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


def warned(logs: list[Any]) -> list[tuple[str, str]]:
    return [(line["filter"], line["reason"]) for line in logs if line["log_level"] == "warning"]


def test_one_line_for_each_expression_of_each_app() -> None:
    warnings = FilterWarnings(FakeClock())
    with capture_logs() as logs:
        for _ in range(3):
            warnings.note(PredicateFailed("app", "evaluation", "first"))
            warnings.note(PredicateFailed("app", "budget", "second"))
            warnings.note(PredicateFailed("other", "evaluation", "first"))
    assert warned(logs) == [("first", "evaluation"), ("second", "budget"), ("first", "evaluation")]


def test_a_flood_of_expressions_is_five_lines_a_second_for_each_app() -> None:
    clock = FakeClock()
    warnings = FilterWarnings(clock)
    with capture_logs() as logs:
        for number in range(100):
            warnings.note(PredicateFailed("app", "evaluation", str(number)))
        warnings.note(PredicateFailed("quiet", "evaluation", "x"))
        clock.advance(1)
        warnings.note(PredicateFailed("app", "evaluation", "50"))
        warnings.note(PredicateFailed("app", "evaluation", "3"))
    assert [name for name, _ in warned(logs)] == ["0", "1", "2", "3", "4", "x", "50"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockudo.sessions.diagnostics._REMEMBERED", 3)
    clock = FakeClock()
    warnings = FilterWarnings(clock)
    for number in range(50):
        clock.advance(1)
        warnings.note(PredicateFailed("app", "evaluation", str(number)))
    assert len(warnings._warned) == 3


def test_of_a_live_message_and_of_the_past_neither_source_nor_payload_is_told() -> None:
    node = Node()
    node.configure(tag_filtering=type(node.settings.tag_filtering)(enabled=True))
    client = node.connect(shape=V2_JSON)
    secret = "abs(data.secret_field)"
    client.send("sockudo:subscribe", {"channel": "news", "filter": {"expression": secret}})
    client.frames()
    with capture_logs() as logs:
        for _ in range(2):
            node.hub.publish(node.state, Frame("said", "news", '{"secret_field":"hush"}'))
            node.settle()
        accepts = client.session.accepting(client.session.channels["news"].predicate)
        assert not accepts(Frame("said", "news", '{"secret_field":"hush"}'))
    assert client.frames() == []
    assert len(warned(logs)) == 1
    assert "secret" not in str(logs)
    assert "hush" not in str(logs)
    assert node.state.traffic.predicate_errors == {"evaluation": 3}
