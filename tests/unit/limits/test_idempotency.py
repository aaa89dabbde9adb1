"""A key is done once: claimed, finished or given back, and forgotten in time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.limits.idempotency import Claim, IdempotencyKeys, Space, fingerprint

OK = b'{"ok":true}'
CONTENT = fingerprint(b"content")
OTHER = fingerprint(b"other content")


def keys(**bounds: int) -> IdempotencyKeys:
    return IdempotencyKeys(128, **bounds)


def claimed(
    store: IdempotencyKeys,
    key: str = "k",
    now: float = 0.0,
    *,
    app: str = "shop",
    space: Space = "event",
    ttl: int = 120,
) -> Claim:
    claim = store.begin(app, space, key, CONTENT, ttl, now)
    assert isinstance(claim, Claim)
    return claim


def stored(store: IdempotencyKeys, key: str = "k", now: float = 0.0, ttl: int = 120) -> Claim | bytes:
    return store.begin("shop", "event", key, CONTENT, ttl, now)


# ---- keys ----


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(SockudoError) as refused:
        keys().check_key("")
    assert refused.value.spec is errors.INVALID_INPUT
    assert refused.value.text == "Idempotency key must not be empty"


@pytest.mark.parametrize("key", ["a" * 128, "é" * 64, "👋" * 32, "any characters: \n\t\0 go"])
def test_keys_up_to_the_limit_in_bytes_are_allowed(key: str) -> None:
    keys().check_key(key)


@pytest.mark.parametrize("key", ["a" * 129, "é" * 65, "👋" * 33])
def test_a_key_over_the_limit_in_bytes_is_refused(key: str) -> None:
    with pytest.raises(SockudoError) as refused:
        keys().check_key(key)
    assert refused.value.spec is errors.INVALID_INPUT
    assert refused.value.text == "Idempotency key exceeds maximum length of 128 characters"


def test_the_limit_of_keys_can_be_replaced() -> None:
    store = keys()
    store.max_key_length = 4
    with pytest.raises(SockudoError, match="maximum length of 4 "):
        store.check_key("abcde")


# ---- once ----


def test_a_finished_publish_answers_with_its_reply() -> None:
    store = keys()
    claimed(store).complete(b'{"channels":{}}', 0.0)
    assert stored(store, now=1.0) == b'{"channels":{}}'


def test_the_same_key_with_other_content_is_a_conflict() -> None:
    store = keys()
    claim = claimed(store)
    for _ in ("running", "finished"):
        with pytest.raises(SockudoError) as refused:
            store.begin("shop", "event", "k", OTHER, 120, 0.0)
        assert refused.value.spec is errors.IDEMPOTENCY_CONFLICT
        assert refused.value.body()["status"] == 409
        assert "idempotency key was already used with a different payload" in refused.value.text
        claim.complete(OK, 0.0)


@pytest.mark.parametrize(
    ("space", "text"),
    [
        ("event", "Idempotent publish is still in progress"),
        ("batch", "Idempotent batch publish is still in progress"),
    ],
)
def test_a_key_whose_publish_is_under_way_is_told_to_wait(space: Space, text: str) -> None:
    store = keys()
    claimed(store, space=space)
    with pytest.raises(SockudoError) as refused:
        store.begin("shop", space, "k", CONTENT, 120, 1e9)
    assert refused.value.spec is errors.IDEMPOTENCY_RUNNING
    assert refused.value.text == text
    assert refused.value.retry_after == 1


def test_a_failed_publish_gives_its_key_back() -> None:
    """The reference keeps the claim of a refused publish: every retry is told to wait until the key expires."""
    store = keys()
    claimed(store).release()
    again = store.begin("shop", "event", "k", OTHER, 120, 0.0)
    assert isinstance(again, Claim)


def test_apps_and_spaces_are_apart() -> None:
    store = keys()
    claimed(store).complete(OK, 0.0)
    claimed(store, app="other")
    claimed(store, space="batch")


def test_what_comes_after_the_end_of_a_claim_does_nothing() -> None:
    store = keys()
    first = claimed(store)
    first.complete(OK, 0.0)
    first.release()
    first.complete(b"{}", 0.0)
    assert stored(store) == OK

    store = keys()
    failed = claimed(store)
    failed.release()
    second = claimed(store)
    failed.release()
    failed.complete(b"{}", 0.0)
    with pytest.raises(SockudoError):
        stored(store)
    second.complete(OK, 0.0)
    assert stored(store) == OK


# ---- for how long ----


def test_a_reply_is_kept_for_the_time_to_live_and_no_longer() -> None:
    """The reference's memory keeps every key for its own 300 s, whatever the app asks for."""
    store = keys()
    claimed(store, ttl=10).complete(OK, 5.0)
    assert stored(store, now=14.9, ttl=10) == OK
    assert isinstance(stored(store, now=15.0, ttl=10), Claim)


def test_a_key_may_be_used_with_other_content_once_it_has_ended() -> None:
    store = keys()
    claimed(store, ttl=10).complete(OK, 0.0)
    claim = store.begin("shop", "event", "k", OTHER, 10, 10.0)
    assert isinstance(claim, Claim)
    claim.complete(b"{}", 10.0)
    # The first record, still waiting to be swept, takes nothing of the second along.
    for number in range(5):
        claimed(store, f"n-{number}", now=11.0, ttl=10).complete(OK, 11.0)
    assert store.begin("shop", "event", "k", OTHER, 10, 11.0) == b"{}"
    assert len(store) == 6


def test_ended_records_go_as_others_come_whatever_their_time_to_live() -> None:
    store = keys()
    claimed(store, "long", ttl=1000).complete(OK, 0.0)
    for number in range(100):
        claimed(store, f"a-{number}", ttl=10).complete(OK, 0.0)
    for number in range(50):
        claimed(store, f"b-{number}", now=10.0, ttl=20).complete(OK, 10.0)
    assert len(store) == 51
    assert store.evicted == 0
    assert stored(store, "long", 10.0) == OK


# ---- how many ----


def test_past_the_bound_the_record_nearest_to_its_end_is_forgotten() -> None:
    store = keys(max_entries=3)
    claimed(store, "long", ttl=1000).complete(OK, 0.0)
    for key in "abc":
        claimed(store, key, ttl=10).complete(OK, 1.0)
    assert len(store) == 3
    assert store.evicted == 1
    assert isinstance(stored(store, "a", 2.0), Claim)
    assert [stored(store, key, 2.0) for key in ("long", "b", "c")] == [OK] * 3


def test_large_replies_are_bounded_by_their_bytes() -> None:
    store = keys(max_bytes=1000)
    for key in "abc":
        claimed(store, key).complete(b"x" * 400, 0.0)
    assert len(store) == 2
    claimed(store, "huge").complete(b"x" * 1001, 0.0)
    assert len(store) == 0
    assert store.evicted == 4
    claimed(store, "a").complete(OK, 0.0)
    assert stored(store, "a") == OK


def test_running_claims_are_never_evicted() -> None:
    store = keys(max_entries=1)
    running = claimed(store, "running")
    for key in "abc":
        claimed(store, key).complete(OK, 0.0)
    with pytest.raises(SockudoError):
        stored(store, "running")
    running.complete(OK, 0.0)
    assert stored(store, "running") == OK


STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["complete", "release"]), st.floats(0, 8)))


@given(STEPS)
def test_keys_agree_with_a_model_that_forgets_nothing(steps: list[tuple[str, str, float]]) -> None:
    """A key's reply is given back exactly while less than its time to live has passed since it was stored."""
    store, model, now = keys(), dict[str, tuple[float, bytes]](), 0.0
    for number, (key, end, passed) in enumerate(steps):
        now += passed
        ttl = 10 if key in "ab" else 20
        expires_at, reply = model.get(key, (0.0, b""))
        answer = stored(store, key, now, ttl)
        if now < expires_at:
            assert answer == reply
            continue
        assert isinstance(answer, Claim)
        if end == "release":
            answer.release()
            model.pop(key, None)
        else:
            answer.complete(b"%d" % number, now)
            model[key] = (now + ttl, b"%d" % number)
    assert len(store) <= 4


# ---- fingerprints ----


def test_a_fingerprint_is_a_digest_of_the_parts() -> None:
    assert len(CONTENT) == 32
    assert fingerprint(b"a", b"b") == fingerprint(b"a", b"b")


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_other_parts_have_another_fingerprint(one: list[bytes], two: list[bytes]) -> None:
    assert (fingerprint(*one) == fingerprint(*two)) is (one == two)
