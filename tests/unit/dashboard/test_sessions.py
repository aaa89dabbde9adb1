"""Sessions end: by time, by hand, with the password, and when there are too many."""

from __future__ import annotations

import pytest

from sockudo.dashboard.sessions import MAX_SESSIONS, Sessions
from sockudo.testing import FakeClock

HOURS = 3600.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sessions(clock: FakeClock) -> Sessions:
    return Sessions(clock.monotonic)


def test_a_session_is_found_by_its_id_alone(sessions: Sessions) -> None:
    token, session = sessions.open(b"v1", 8 * HOURS)
    assert sessions.find(token, b"v1") is session
    assert sessions.find(token[:-1], b"v1") is None
    assert sessions.find("", b"v1") is None
    assert sessions.find("\ud800", b"v1") is None
    # What is kept in memory is no cookie.
    assert sessions.find(session.key.hex(), b"v1") is None


def test_ids_and_tokens_are_never_the_same(sessions: Sessions) -> None:
    made = [sessions.open(b"v1", HOURS) for _ in range(50)]
    texts = {text for token, session in made for text in (token, session.csrf)}
    assert len(texts) == 100
    assert all(len(text) >= 43 for text in texts)


def test_eight_hours_and_no_longer(sessions: Sessions, clock: FakeClock) -> None:
    token, session = sessions.open(b"v1", 8 * HOURS)
    clock.advance(8 * HOURS - 1)
    assert sessions.find(token, b"v1") is session
    clock.advance(1)
    assert sessions.find(token, b"v1") is None
    assert session.ended


def test_use_does_not_make_it_longer(sessions: Sessions, clock: FakeClock) -> None:
    token, _ = sessions.open(b"v1", HOURS)
    for _ in range(60):
        clock.advance(60)
        found = sessions.find(token, b"v1")
    assert found is None


def test_a_changed_password_ends_all(sessions: Sessions) -> None:
    made = [sessions.open(b"v1", HOURS) for _ in range(3)]
    assert [sessions.find(token, b"v2") for token, _ in made] == [None, None, None]
    assert all(session.ended for _, session in made)
    # Going back to the old one opens nothing again.
    assert sessions.find(made[0][0], b"v1") is None


def test_without_a_password_nobody_is_in(sessions: Sessions) -> None:
    token, _ = sessions.open(b"v1", HOURS)
    assert sessions.find(token, None) is None


def test_logout(sessions: Sessions) -> None:
    token, session = sessions.open(b"v1", HOURS)
    other, _ = sessions.open(b"v1", HOURS)
    sessions.close(session)
    assert sessions.find(token, b"v1") is None
    assert sessions.find(other, b"v1") is not None
    assert session.ended


def test_one_too_many_ends_the_oldest(sessions: Sessions) -> None:
    tokens = [sessions.open(b"v1", HOURS)[0] for _ in range(MAX_SESSIONS + 1)]
    assert len(sessions) == MAX_SESSIONS
    assert sessions.find(tokens[0], b"v1") is None
    assert sessions.find(tokens[1], b"v1") is not None


def test_those_that_are_over_go_first(sessions: Sessions, clock: FakeClock) -> None:
    kept, _ = sessions.open(b"v1", 10 * HOURS)
    for _ in range(MAX_SESSIONS - 1):
        sessions.open(b"v1", HOURS)
    clock.advance(2 * HOURS)
    sessions.open(b"v1", HOURS)
    assert len(sessions) == 2
    assert sessions.find(kept, b"v1") is not None


def test_the_token_against_forged_requests(sessions: Sessions) -> None:
    _, session = sessions.open(b"v1", HOURS)
    _, other = sessions.open(b"v1", HOURS)
    assert session.accepts(session.csrf)
    for wrong in (None, "", session.csrf[:-1], session.csrf + "x", other.csrf, "é", "\ud800"):
        assert not session.accepts(wrong)


def test_programs_share_one_until_the_password_changes(sessions: Sessions, clock: FakeClock) -> None:
    session = sessions.programs(b"v1")
    clock.advance(1000 * HOURS)
    assert sessions.programs(b"v1") is session
    assert sessions.holds(session, b"v1")
    sessions.programs(b"v2")
    assert session.ended
    assert not sessions.holds(session, b"v1")


def test_the_end_of_the_server_is_the_end_of_all(sessions: Sessions) -> None:
    token, session = sessions.open(b"v1", HOURS)
    programs = sessions.programs(b"v1")
    sessions.close_all()
    assert session.ended
    assert programs.ended
    assert sessions.find(token, b"v1") is None
