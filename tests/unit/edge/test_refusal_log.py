"""Lines for refusals: one for each mistake, however often it is made."""

from __future__ import annotations

from structlog.testing import capture_logs

from sockudo import errors
from sockudo.edge.refusal_log import RefusalLog
from sockudo.edge.replies import Refusal

WRONG = Refusal.of(errors.SIGNATURE_MISMATCH("Invalid API signature"))
SHAPE = Refusal.of(errors.WRONG_SHAPE("Expected 'array'"))


def test_one_line_for_each_error_and_address_and_then_how_often_it_came_again() -> None:
    log = RefusalLog()
    with capture_logs() as lines:
        for at in range(30):
            log.note(WRONG, "192.0.2.1", "POST /apps/a/events", 100.0 + at)
        log.note(SHAPE, "192.0.2.1", "POST /apps/a/events", 130.0)
        log.note(WRONG, "192.0.2.2", "POST /apps/a/events", 130.0)
        log.sweep(159.0)
        assert len(lines) == 3
        log.sweep(160.0)
    assert [(line["event"], line["log_level"], line["error"], line.get("times")) for line in lines] == [
        ("refused", "warning", "signature_mismatch", None),
        ("refused", "info", "wrong_shape", None),
        ("refused", "warning", "signature_mismatch", None),
        ("refused again", "info", "signature_mismatch", 29),
    ]


def test_after_a_minute_it_is_written_again() -> None:
    log = RefusalLog()
    with capture_logs() as lines:
        log.note(WRONG, "192.0.2.1", None, 100.0)
        log.note(WRONG, "192.0.2.1", None, 101.0)
        log.note(WRONG, "192.0.2.1", None, 160.0)
    assert [line["event"] for line in lines] == ["refused", "refused again", "refused"]


def test_many_addresses_get_ten_lines_a_second_and_one_that_counts_the_rest() -> None:
    log = RefusalLog()
    with capture_logs() as lines:
        for number in range(5000):
            log.note(WRONG, f"10.0.{number >> 8}.{number & 255}", None, 100.0)
        assert len(lines) == 10
        log.sweep(161.0)
    assert (lines[-1]["event"], lines[-1]["times"]) == ("refusals without a line of their own", 4990)


def test_what_is_remembered_is_bounded() -> None:
    log = RefusalLog()
    with capture_logs() as lines:
        for number in range(5000):
            log.note(WRONG, f"10.0.{number >> 8}.{number & 255}", None, 100.0 + number / 100)
        assert len(lines) <= 2000
