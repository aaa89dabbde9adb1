"""Guessing gets nowhere, and locks nobody out who knows the password."""

from __future__ import annotations

import pytest

from sockudo import errors
from sockudo.dashboard.attempts import Attempts
from sockudo.errors import SockudoError

PER_ADDRESS = 10
IN_ALL = 200
WINDOW = 300


def guesses(attempts: Attempts, address: str, count: int, now: float = 0.0) -> int:
    """How many of the guesses are looked at at all."""
    return sum(_looked_at(attempts, address, now) for _ in range(count))


def _looked_at(attempts: Attempts, address: str, now: float) -> bool:
    try:
        attempts.check(address, now)
    except SockudoError as error:
        return not (error.spec is errors.LOGIN_LIMITED and 1 <= (error.retry_after or 0) <= WINDOW)
    return True


def test_an_address_has_so_many_and_then_waits() -> None:
    attempts = Attempts()
    assert guesses(attempts, "192.0.2.1", 50) == PER_ADDRESS
    assert guesses(attempts, "192.0.2.1", 50, WINDOW - 1) == 0
    assert guesses(attempts, "192.0.2.1", 50, WINDOW) == PER_ADDRESS


def test_one_address_does_not_use_up_anothers() -> None:
    attempts = Attempts()
    guesses(attempts, "192.0.2.1", 50)
    assert guesses(attempts, "192.0.2.2", 1) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("unknown_ip", "unknown_ip", True),
    ],
)
def test_a_network_of_one_client_counts_as_one(one: str, other: str, same: bool) -> None:
    attempts = Attempts()
    guesses(attempts, one, PER_ADDRESS)
    assert guesses(attempts, other, 1) == (0 if same else 1)


def test_many_addresses_together_are_limited() -> None:
    attempts = Attempts()
    allowed = sum(guesses(attempts, f"198.51.{i // 250}.{i % 250}", 1) for i in range(1000))
    assert allowed == IN_ALL
    assert guesses(attempts, "203.0.113.1", 1, WINDOW) == 1


def test_who_was_right_before_is_not_locked_out_by_others() -> None:
    attempts = Attempts()
    attempts.check("203.0.113.1", 0)
    attempts.forgive("203.0.113.1", 0)
    for i in range(1000):
        guesses(attempts, f"198.51.{i // 250}.{i % 250}", 1)
    assert guesses(attempts, "203.0.113.1", 1) == 1
    assert guesses(attempts, "203.0.113.2", 1) == 0


def test_a_known_browser_is_not_locked_out_by_those_who_share_its_address() -> None:
    attempts = Attempts()
    browser = attempts.browser(attempts.introduce())
    assert browser is not None
    assert guesses(attempts, "192.0.2.1", 50) == PER_ADDRESS
    attempts.check("192.0.2.1", 0, browser)
    attempts.forgive("192.0.2.1", 0, browser)
    for _ in range(PER_ADDRESS):
        attempts.check("192.0.2.1", 0, browser)
    with pytest.raises(SockudoError, match="from this browser"):
        attempts.check("192.0.2.1", 0, browser)


@pytest.mark.parametrize("forged", ["", ".", "name.", "name.00", "é.é", "\ud800.x"])
def test_a_token_that_was_not_made_here_is_nobodys(forged: str) -> None:
    attempts = Attempts()
    assert attempts.browser(forged) is None
    assert attempts.browser(Attempts().introduce()) is None


def test_right_ones_count_for_nothing() -> None:
    attempts = Attempts()
    for _ in range(10 * IN_ALL):
        attempts.check("203.0.113.1", 0)
        attempts.forgive("203.0.113.1", 0)
    assert guesses(attempts, "203.0.113.1", 50) == PER_ADDRESS
    assert guesses(attempts, "203.0.113.2", 1) == 1


def test_familiar_addresses_are_bounded() -> None:
    attempts = Attempts()
    for i in range(3000):
        attempts.forgive(f"10.{i // 65536}.{i // 256 % 256}.{i % 256}", 0)
    assert len(attempts._familiar) == 1000
