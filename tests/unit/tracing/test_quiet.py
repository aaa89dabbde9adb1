"""What OpenTelemetry says in our log: once a minute, without tracebacks, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from sockudo.tracing.quiet import RareLines


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logger(clock: Clock) -> Iterator[logging.Logger]:
    lines = RareLines(clock)
    top = logging.getLogger("telemetry_of_the_test")
    lines.install(top)
    yield logging.getLogger("telemetry_of_the_test.exporter")
    lines.remove()
    assert top.propagate
    assert lines not in top.handlers


def test_a_line_is_said_once_a_minute_with_what_was_left_out(logger: logging.Logger, clock: Clock) -> None:
    with capture_logs() as said:
        for number in range(100):
            logger.warning("no answer after %d tries", number)
            clock.now += 1
    assert [(line["says"], line.get("left_out")) for line in said] == [
        ("no answer after 0 tries", None),
        ("no answer after 60 tries", 59),
    ]
    assert {line["log_level"] for line in said} == {"warning"}


def test_different_lines_do_not_silence_each_other(logger: logging.Logger) -> None:
    with capture_logs() as said:
        logger.warning("first")
        logger.error("second")
        logger.warning("first")
        logger.info("not worth it")
    assert [line["says"] for line in said] == ["first", "second"]


def test_a_traceback_becomes_the_name_of_its_exception(logger: logging.Logger) -> None:
    with capture_logs() as said:
        try:
            raise ConnectionError("with everything in it")
        except ConnectionError:
            logger.exception("export failed")
    [line] = said
    assert (line["says"], line["problem"]) == ("export failed", "ConnectionError")
    assert "exc_info" not in line


def test_nothing_is_said_twice_through_the_root(logger: logging.Logger) -> None:
    heard: list[logging.LogRecord] = []
    listening = logging.Handler()
    listening.emit = heard.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(listening)
    try:
        logger.warning("only in our own words")
    finally:
        logging.getLogger().removeHandler(listening)
    assert [record.name for record in heard if record.name.startswith("telemetry_of_the_test")] == []


def test_two_servers_of_a_process_share_the_logger() -> None:
    logger, first, second = logging.getLogger("telemetry_of_two"), RareLines(), RareLines()
    first.install(logger)
    second.install(logger)
    first.remove()
    assert not logger.propagate
    second.remove()
    assert logger.propagate


def test_what_is_remembered_is_bounded(logger: logging.Logger) -> None:
    with capture_logs() as said:
        for number in range(1000):
            logger.warning(f"line {number}")  # noqa: G004 - as if each were a text of its own
    assert len(said) == 1000
    [handler] = (each for each in logging.getLogger("telemetry_of_the_test").handlers if isinstance(each, RareLines))
    assert len(handler._said) <= 256
