"""A key is done once: claimed, finished or given back, and forgotten in time."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.cluster.counters import InProcessCounters
from sockudo.errors import SockudoError
from sockudo.limits.idempotency import IdempotencyKeys, Space, fingerprint, running
from support.clusters import DelayedCounters

OK = b'{"ok":true}'
CONTENT = fingerprint(b"content")
OTHER = fingerprint(b"other content")


def keys() -> IdempotencyKeys:
    return IdempotencyKeys(InProcessCounters(), 128)


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


def test_a_claim_answers_with_its_reply_once_it_is_complete() -> None:
    store = keys()
    claim = store.claim("shop", "event", "k", CONTENT, 120, 0.0)
    assert claim is not None
    assert not isinstance(claim, bytes)
    assert not inspect.isawaitable(claim)
    assert store.claim("shop", "event", "k", CONTENT, 120, 0.0) is None
    claim.complete(OK, 0.0)
    assert store.claim("shop", "event", "k", CONTENT, 120, 1.0) == OK


def test_the_same_key_with_other_content_is_a_conflict() -> None:
    store = keys()
    store.claim("shop", "event", "k", CONTENT, 120, 0.0)
    with pytest.raises(SockudoError) as refused:
        store.claim("shop", "event", "k", OTHER, 120, 0.0)
    assert refused.value.spec is errors.IDEMPOTENCY_CONFLICT
    assert refused.value.body()["status"] == 409
    assert "idempotency key was already used with a different payload" in refused.value.text


@pytest.mark.parametrize(
    ("space", "text"),
    [
        ("event", "Idempotent publish is still in progress"),
        ("batch", "Idempotent batch publish is still in progress"),
    ],
)
def test_a_key_whose_publish_is_under_way_is_told_to_wait(space: Space, text: str) -> None:
    refused = running(space)
    assert refused.spec is errors.IDEMPOTENCY_RUNNING
    assert refused.text == text
    assert refused.retry_after == 1


def test_apps_and_spaces_are_apart() -> None:
    store = keys()
    spaces: tuple[tuple[str, Space], ...] = (("shop", "event"), ("other", "event"), ("shop", "batch"))
    for app, space in spaces:
        assert store.claim(app, space, "k", CONTENT, 120, 0.0) is not None


async def test_claims_that_are_decided_elsewhere_come_later() -> None:
    store = IdempotencyKeys(DelayedCounters(), 128)
    assert not store.immediate
    claim = store.claim("shop", "event", "k", CONTENT, 120, 0.0)
    assert inspect.isawaitable(claim)
    assert await claim is not None
    again = store.claim("shop", "event", "k", OTHER, 120, 0.0)
    assert inspect.isawaitable(again)
    with pytest.raises(SockudoError, match="different payload"):
        await again


# ---- fingerprints ----


def test_a_fingerprint_is_a_digest_of_the_parts() -> None:
    assert len(CONTENT) == 32
    assert fingerprint(b"a", b"b") == fingerprint(b"a", b"b")


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_other_parts_have_another_fingerprint(one: list[bytes], two: list[bytes]) -> None:
    assert (fingerprint(*one) == fingerprint(*two)) is (one == two)
