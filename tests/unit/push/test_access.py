"""Identity tokens of devices (spec: push § 2.1)."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator

import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push import access
from sockudo.push.access import DeviceTokens, hash_token, matches

SALT = bytes(range(16))


@pytest.fixture
def tokens() -> Iterator[DeviceTokens]:
    made = DeviceTokens()
    yield made
    made.close()


def test_the_form_of_a_hash() -> None:
    name, rounds, salt, digest = hash_token("t", SALT).split("$")
    assert (name, rounds, len(salt), len(digest)) == ("pbkdf2-sha256", "120000", 22, 43)
    assert urlsafe_b64decode(f"{salt}==") == SALT
    assert urlsafe_b64decode(f"{digest}=") == hashlib.pbkdf2_hmac("sha256", b"t", SALT, 120_000)


def test_a_hash_is_matched_by_its_token_alone() -> None:
    stored = hash_token("token", SALT)
    assert matches("token", stored)
    assert matches("token", stored + "=")
    assert not matches("Token", stored)
    assert not matches("", stored)


def test_weak_and_broken_hashes_match_nothing() -> None:
    weak = urlsafe_b64encode(hashlib.pbkdf2_hmac("sha256", b"t", SALT, 119_999)).rstrip(b"=").decode()
    salt = urlsafe_b64encode(SALT).rstrip(b"=").decode()
    for stored in (
        f"pbkdf2-sha256$119999${salt}${weak}",
        f"pbkdf2-sha256$999999999${salt}${weak}",
        f"pbkdf2-sha512$120000${salt}${weak}",
        "t",
        "",
        "$$$",
    ):
        assert not matches("t", stored)


async def test_a_token_is_made_once_and_known_by_its_hash(tokens: DeviceTokens) -> None:
    token, stored = await tokens.make()
    assert len(token) == 43
    assert len(urlsafe_b64decode(f"{token}=")) == 32
    assert token not in stored
    assert await tokens.check(token, stored)
    assert not await tokens.check(f"{token[:-1]}!", stored)
    assert not await tokens.check(token, None)
    assert not await tokens.check("x" * 10_000, stored)
    assert (await tokens.make())[0] != token


async def test_what_was_right_once_is_right_at_once_and_only_for_that_hash(
    tokens: DeviceTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, stored = await tokens.make()
    rotated = hash_token("another", SALT)
    asked: list[str] = []
    monkeypatch.setattr(access, "matches", lambda token, stored: asked.append(stored))
    assert await tokens.check(token, stored)
    assert asked == []
    assert not await tokens.check(token, rotated)
    assert asked == [rotated]


async def test_hashing_leaves_the_loop_alone_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    where: list[int] = []

    def slow(_token: str, _stored: str) -> bool:
        where.append(threading.get_ident())
        return gate.wait(10)

    monkeypatch.setattr(access, "matches", slow)
    tokens = DeviceTokens(waiting=2)
    waiting = [asyncio.ensure_future(tokens.check(f"t{n}", "stored")) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(SockudoError) as caught:
        await tokens.check("t3", "stored")
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert caught.value.retry_after == 1
    gate.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert threading.get_ident() not in where
    assert await tokens.check("t3", "stored")
    tokens.close()
    tokens.close()


async def test_only_so_many_are_remembered(tokens: DeviceTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_REMEMBERED", 3)
    for number in range(10):
        tokens._remember(f"t{number}", "stored")
    assert len(tokens._known) == 3
