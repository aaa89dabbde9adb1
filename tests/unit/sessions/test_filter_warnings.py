"""What the log says of filters that fail: once for each expression, by its id alone, and never a flood."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from sockudo.hub.events import PredicateFailed
from sockudo.protocol.frame import Frame
from sockudo.protocol.shapes import V2_JSON
from sockudo.sessions.filter_warnings import FilterWarnings
from sockudo.testing import FakeClock
from support.inside import Node


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
    monkeypatch.setattr("sockudo.sessions.filter_warnings._REMEMBERED", 3)
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
