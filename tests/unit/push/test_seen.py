from __future__ import annotations

import pytest

from sockudo.push import seen as module
from sockudo.push.seen import Seen


def test_each_is_new_once_also_when_there_are_many() -> None:
    seen = Seen()
    assert all(seen.add("fcm", f"token-{number}") for number in range(20_000))
    assert not any(seen.add("fcm", f"token-{number}") for number in range(20_000))
    assert seen.count == 20_000


def test_providers_have_tokens_of_their_own() -> None:
    seen = Seen()
    assert seen.add("fcm", "token")
    assert seen.add("hms", "token")


def test_what_was_kept_is_known_again() -> None:
    first, second = Seen(), Seen()
    for number in range(100):
        first.add("fcm", f"token-{number}")
    second.restore(first.take_fresh())
    for number in range(100, 200):
        first.add("fcm", f"token-{number}")
    second.restore(first.take_fresh())
    assert not any(second.add("fcm", f"token-{number}") for number in range(200))
    assert second.add("fcm", "token-200")


def test_it_takes_no_more_room_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 100)
    seen = Seen()
    assert all(seen.add("fcm", f"token-{number}") for number in range(200))
    assert seen.count == 100
    assert not seen.add("fcm", "token-99")
    assert seen.add("fcm", "token-150")
