from __future__ import annotations

import pytest

from sockudo.errors import CATALOGUE
from sockudo.errors.catalogue import as_sent, can_retry, find_rows, nearest_names, plain_row, search_rows


def _slugs(text: str) -> list[str]:
    return [row.slug for row in search_rows(text)]


def test_without_words_everything_is_found() -> None:
    assert _slugs("  ") == list(CATALOGUE)


def test_a_number_finds_what_is_sent_with_it_and_nothing_that_mentions_it() -> None:
    assert {"origin_not_allowed", "channel_auth_invalid", "terminated"} <= set(_slugs("4009"))
    assert _slugs("4009") == [slug for slug, row in CATALOGUE.items() if row.ws == 4009]
    assert _slugs("413") == ["payload_too_large", "body_too_large", "message_too_long", "push_payload_too_large"]


def test_the_exact_row_comes_first_and_every_word_must_be_there() -> None:
    assert _slugs("client_rate")[0] == "client_rate"
    assert _slugs("errors.md#over_quota")[0] == "over_quota"
    assert _slugs("allowed_origins")[0] == "origin_not_allowed"
    assert "origin_not_allowed" in _slugs("ORIGIN page")
    assert _slugs("origin no-such-word") == []


@pytest.mark.parametrize(
    ("asked", "near"), [("4008", "4009"), ("slow_consmer", "slow_consumer"), ("quota", "over_quota")]
)
def test_a_mistyped_code_has_neighbours(asked: str, near: str) -> None:
    assert find_rows(asked) == []
    assert near in nearest_names(asked)


def test_a_row_in_words() -> None:
    row = CATALOGUE["slow_consumer"]
    assert as_sent(row) == ["WebSocket error frame and close 4100: clients come back after a while"]
    assert can_retry(row) == "can help"
    assert plain_row(row)["remedy"] == row.remedy
    assert as_sent(CATALOGUE["message_too_big"]) == ["WebSocket close 1009, without an error frame"]
    assert as_sent(CATALOGUE["client_event"]) == ["WebSocket error frame 4301; the connection stays open"]
    assert as_sent(CATALOGUE["webhook_timeout"]) == ["timeout, in replies, events or the log"]


def test_no_remedy_sends_operators_where_they_are() -> None:
    """A remedy stands on the page Why?: where else to look is kept beside it."""
    for row in CATALOGUE.values():
        assert "Why?" not in row.remedy, row.slug
    assert "Why?" in str(CATALOGUE["channel_auth_invalid"].seen_in)
