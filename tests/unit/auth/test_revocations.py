"""Which tokens are refused before their time, and for how long (spec: http-api § 8.2)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.auth import revocations as module
from sockudo.auth.capabilities import NO_CAPABILITIES
from sockudo.auth.ports import Kind, Revocation
from sockudo.auth.revocations import Revocations
from sockudo.auth.tokens import Token
from sockudo.base.tasks import end_tasks
from sockudo.errors import SockudoError
from support.virtual_time import in_virtual_time

NOW = 1_790_000_000.0


class Store:
    """Keeps what it is given, unless it is told to fail."""

    def __init__(self, *kept: Revocation) -> None:
        self.kept = list(kept)
        self.fails = False
        self.asked: Counter[int | None] = Counter()

    async def start(self) -> None:
        self._answer()

    async def stop(self) -> None:
        pass

    async def changes(self, seen: int | None, now: float) -> tuple[int, Sequence[Revocation]]:
        self.asked[seen] += 1
        self._answer()
        return len(self.kept), [revocation for revocation in self.kept[seen or 0 :] if now < revocation.until]

    async def record(self, revocations: Sequence[Revocation], now: float) -> None:
        self._answer()
        self.kept += revocations

    def _answer(self) -> None:
        if self.fails:
            raise errors.SERVICE_UNAVAILABLE("The revocation store does not answer")


def token(client_id: str = "u7", jti: str = "t-1") -> Token:
    return Token(client_id, NO_CAPABILITIES, int(NOW) - 60, int(NOW) + 3600, jti)


def revocation(kind: Kind = "jti", value: str = "t-1", *, app_id: str = "a", seconds: float = 600) -> Revocation:
    return Revocation(app_id, kind, value, NOW + seconds)


@pytest.fixture
async def revocations() -> Revocations:
    started = Revocations()
    await started.start(NOW)
    return started


def refused(revocations: Revocations, used: Token, app_id: str = "a", now: float = NOW) -> bool:
    answer = None
    try:
        revocations.check(app_id, used, now)
    except SockudoError as error:
        answer = error.spec, error.text
    assert answer in (None, (errors.TOKEN_REFUSED, "Authentication error: capability token has been revoked"))
    assert revocations.is_revoked(app_id, used, now) is (answer is not None)
    return answer is not None


async def test_a_jti_is_one_token(revocations: Revocations) -> None:
    await revocations.revoke([revocation("jti", "t-1")], NOW)
    assert refused(revocations, token("u7", "t-1"))
    assert refused(revocations, token("u8", "t-1"))
    assert not refused(revocations, token("u7", "t-2"))
    assert not refused(revocations, token("t-1", "u7"))


async def test_a_client_id_is_every_token_of_the_client_whenever_it_was_made(revocations: Revocations) -> None:
    await revocations.revoke([revocation("client_id", "u7")], NOW)
    assert refused(revocations, token("u7", "t-1"))
    later = Token("u7", NO_CAPABILITIES, int(NOW) + 300, int(NOW) + 900, "t-2")
    assert refused(revocations, later, now=NOW + 300)
    assert not refused(revocations, token("u8", "t-1"))


async def test_both_at_once(revocations: Revocations) -> None:
    await revocations.revoke([revocation("jti", "t-1"), revocation("client_id", "u8")], NOW)
    assert refused(revocations, token("u7", "t-1"))
    assert refused(revocations, token("u8", "t-9"))
    assert not refused(revocations, token("u7", "t-9"))


async def test_apps_do_not_share_revocations(revocations: Revocations) -> None:
    await revocations.revoke([revocation(app_id="a")], NOW)
    assert refused(revocations, token(), "a")
    assert not refused(revocations, token(), "b")


async def test_a_revocation_ends(revocations: Revocations) -> None:
    await revocations.revoke([revocation(seconds=5)], NOW)
    assert refused(revocations, token(), now=NOW + 4.9)
    assert not refused(revocations, token(), now=NOW + 5)


async def test_a_shorter_one_does_not_end_a_longer_one(revocations: Revocations) -> None:
    await revocations.revoke([revocation(seconds=600)], NOW)
    await revocations.revoke([revocation(seconds=5)], NOW)
    assert refused(revocations, token(), now=NOW + 599)
    await revocations.revoke([revocation(seconds=700)], NOW)
    assert refused(revocations, token(), now=NOW + 699)


async def test_a_restart_forgets_nothing() -> None:
    store = Store()
    first = Revocations(store)
    await first.start(NOW)
    await first.revoke([revocation("jti", "t-1", seconds=600), revocation("client_id", "u8", seconds=5)], NOW)
    second = Revocations(store)
    await second.start(NOW + 60)
    assert refused(second, token("u7", "t-1"), now=NOW + 60)
    assert not refused(second, token("u8", "t-2"), now=NOW + 60)


async def test_until_the_store_was_read_no_token_is_taken() -> None:
    store = Store()
    store.fails = True
    unread = Revocations(store)
    with pytest.raises(SockudoError) as caught:
        await unread.start(NOW)
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    with pytest.raises(SockudoError) as caught:
        unread.check("a", token(), NOW)
    assert caught.value.spec is errors.TOKEN_UNVERIFIED
    store.fails = False
    await unread.start(NOW)
    assert not refused(unread, token())


@in_virtual_time
async def test_what_another_process_records_is_in_force_within_a_second() -> None:
    store = Store()
    one, other = Revocations(store), Revocations(store)
    await one.start(NOW)
    await other.start(NOW)
    heard: list[Revocation] = []
    watching = asyncio.create_task(other.watch(1.0, lambda: NOW, heard.extend))
    await asyncio.sleep(5.5)
    assert (heard, store.asked) == ([], {None: 2, 0: 5})
    await one.revoke([revocation("jti", "t-1"), revocation("client_id", "u8", app_id="b")], NOW)
    assert not refused(other, token())
    await asyncio.sleep(1)
    assert refused(other, token())
    assert refused(other, token("u8"), app_id="b")
    assert heard == store.kept
    await asyncio.sleep(5)
    assert heard == store.kept
    await end_tasks([watching])


@in_virtual_time
async def test_a_store_that_does_not_answer_is_logged_once_and_read_when_it_does() -> None:
    store = Store()
    store.fails = True
    revocations = Revocations(store)
    with pytest.raises(SockudoError):
        await revocations.start(NOW)
    watching = asyncio.create_task(revocations.watch(1.0, lambda: NOW, lambda _: None))
    with capture_logs() as lines:
        await asyncio.sleep(5)
        with pytest.raises(SockudoError) as caught:
            revocations.check("a", token("u9"), NOW)
        assert caught.value.spec is errors.TOKEN_UNVERIFIED
        store.fails = False
        store.kept.append(revocation())
        await asyncio.sleep(5)
    assert [line["log_level"] for line in lines] == ["error", "info"]
    assert refused(revocations, token())
    assert not refused(revocations, token("u9", "t-9"))
    # What is known stays in force while it fails again.
    store.fails = True
    await asyncio.sleep(5)
    assert refused(revocations, token())
    await end_tasks([watching])


async def test_what_cannot_be_kept_is_not_in_force() -> None:
    store = Store()
    revocations = Revocations(store)
    await revocations.start(NOW)
    store.fails = True
    with pytest.raises(SockudoError) as caught:
        await revocations.revoke([revocation()], NOW)
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert not refused(revocations, token())


async def test_an_app_may_have_so_many_and_no_more(revocations: Revocations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_PER_APP", 3)
    await revocations.revoke([revocation("jti", f"t-{number}", seconds=30) for number in range(3)], NOW)
    with pytest.raises(SockudoError) as caught:
        await revocations.revoke([revocation("jti", "t-3")], NOW)
    assert caught.value.spec is errors.LIMIT_EXCEEDED
    assert refused(revocations, token(jti="t-0"))
    assert not refused(revocations, token(jti="t-3"))
    await revocations.revoke([revocation("jti", "t-3", app_id="b")], NOW)
    await revocations.revoke([revocation("jti", "t-3")], NOW + 60)
    assert refused(revocations, token(jti="t-3"), now=NOW + 60)


async def test_those_that_have_ended_are_forgotten(revocations: Revocations) -> None:
    for second in range(10_000):
        now = NOW + second
        await revocations.revoke([Revocation("a", "jti", f"t-{second}", now + 10)], now)
        await revocations.revoke([Revocation(f"a-{second}", "client_id", "u7", now + 10)], now)
        assert sum(len(ends) for ends in revocations._ends.values()) <= 2 * (10 + 60)


def test_what_a_revocation_covers() -> None:
    assert revocation("jti", "t-1").covers(token(jti="t-1"))
    assert not revocation("jti", "u7").covers(token("u7", "t-1"))
    assert revocation("client_id", "u7").covers(token("u7"))
    assert not revocation("client_id", "t-1").covers(token("u7", "t-1"))
