"""Bounds of the counters inside one process; what all counters promise is tests/contract/test_counters.py."""

from __future__ import annotations

from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.ports import Claim

OK = b'{"ok":true}'


def claimed(store: InProcessCounters, key: str = "k", now: float = 0.0, *, ttl: int = 120) -> Claim:
    claim = store.claim((key,), b"content", ttl, now)
    assert not isinstance(claim, (str, bytes))
    return claim


def stored(store: InProcessCounters, key: str = "k", now: float = 0.0) -> object:
    return store.claim((key,), b"content", 120, now)


def test_ended_records_go_as_others_come_whatever_their_time_to_live() -> None:
    store = InProcessCounters()
    claimed(store, "long", ttl=1000).complete(OK, 0.0)
    for number in range(100):
        claimed(store, f"a-{number}", ttl=10).complete(OK, 0.0)
    for number in range(50):
        claimed(store, f"b-{number}", now=10.0, ttl=20).complete(OK, 10.0)
    assert len(store) == 51
    assert store.evicted == 0
    assert stored(store, "long", 10.0) == OK


def test_past_the_bound_the_record_nearest_to_its_end_is_forgotten() -> None:
    store = InProcessCounters(max_entries=3)
    claimed(store, "long", ttl=1000).complete(OK, 0.0)
    for key in "abc":
        claimed(store, key, ttl=10).complete(OK, 1.0)
    assert len(store) == 3
    assert store.evicted == 1
    assert not isinstance(stored(store, "a", 2.0), (str, bytes))
    assert [stored(store, key, 2.0) for key in ("long", "b", "c")] == [OK] * 3


def test_large_replies_are_bounded_by_their_bytes() -> None:
    store = InProcessCounters(max_bytes=1000)
    for key in "abc":
        claimed(store, key).complete(b"x" * 400, 0.0)
    assert len(store) == 2
    claimed(store, "huge").complete(b"x" * 1001, 0.0)
    assert len(store) == 0
    assert store.evicted == 4
    claimed(store, "a").complete(OK, 0.0)
    assert stored(store, "a") == OK


def test_running_claims_are_never_evicted() -> None:
    store = InProcessCounters(max_entries=1)
    running = claimed(store, "running")
    for key in "abc":
        claimed(store, key).complete(OK, 0.0)
    assert stored(store, "running") == "running"
    running.complete(OK, 0.0)
    assert stored(store, "running") == OK
