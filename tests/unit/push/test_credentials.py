"""Stored credentials as providers get them: opened, remembered for moments, renewed without a restart."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.credentials import RENEWED_AFTER, CredentialRequest, Credentials
from sockudo.push.recipients import Provider
from sockudo.push.records import Credential
from sockudo.push.secrecy import Envelopes
from sockudo.push.stores.sql import MemoryPushStore
from sockudo.testing import FakeClock
from support.push_accounts import check_inline

START = 1_767_225_600


class Counting(MemoryPushStore):
    """Knows how often it was asked for credentials."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def credentials(self, app_id: str, after: str, limit: int) -> list[Credential]:
        self.asked += 1
        return await super().credentials(app_id, after, limit)


def wanted(secret: str, provider: Provider = "hms", name: str = "hms", version: int = 1) -> CredentialRequest:
    app = "packageSid" if provider == "wns" else "hmsAppId"
    return CredentialRequest(provider, name, version, {app: "100", "clientSecret": secret})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
def store() -> Counting:
    return Counting()


@pytest.fixture
def credentials(store: Counting, clock: FakeClock) -> Credentials:
    return Credentials(store, Envelopes("key"), clock, check_inline)


async def secret_of(credentials: Credentials, *parts: Any) -> str | None:
    material = await credentials.material_for(*parts)
    return None if material is None else material.fields["clientSecret"]


async def test_secrets_are_opened_and_remembered_for_a_moment(
    credentials: Credentials, store: Counting, clock: FakeClock
) -> None:
    assert await credentials.material_for("app", "hms") is None
    await credentials.put("app", wanted("one"))
    assert await secret_of(credentials, "app", "hms") == "one"
    asked = store.asked
    for _ in range(5):
        assert await secret_of(credentials, "app", "hms") == "one"
    assert store.asked == asked
    clock.advance(RENEWED_AFTER)
    assert await secret_of(credentials, "app", "hms") == "one"
    assert store.asked == asked + 1


async def test_what_this_process_writes_is_seen_at_once(credentials: Credentials) -> None:
    await credentials.put("app", wanted("one"))
    assert await secret_of(credentials, "app", "hms") == "one"
    await credentials.put("app", wanted("two", version=2))
    assert await secret_of(credentials, "app", "hms") == "two"


async def test_an_answer_that_a_write_has_overtaken_is_not_remembered(
    credentials: Credentials, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await credentials.put("app", wanted("one"))
    read = store.credentials

    async def slow(app_id: str, after: str, limit: int) -> list[Credential]:
        rows = await read(app_id, after, limit)
        monkeypatch.setattr(store, "credentials", read)
        await credentials.put("app", wanted("two"))
        return rows

    monkeypatch.setattr(store, "credentials", slow)
    assert await secret_of(credentials, "app", "hms") == "one"
    assert await secret_of(credentials, "app", "hms") == "two"


async def test_what_another_process_writes_is_seen_within_seconds(
    credentials: Credentials, store: Counting, clock: FakeClock
) -> None:
    other = Credentials(store, Envelopes("key"), clock, check_inline)
    assert await credentials.material_for("app", "hms") is None
    await other.put("app", wanted("one"))
    assert await credentials.material_for("app", "hms") is None
    clock.advance(RENEWED_AFTER)
    assert await secret_of(credentials, "app", "hms") == "one"


async def test_the_newest_counts_unless_one_is_named(credentials: Credentials, clock: FakeClock) -> None:
    await credentials.put("app", wanted("old", name="z"))
    clock.advance(1)
    await credentials.put("app", wanted("new", name="a"))
    clock.advance(1)
    await credentials.put("app", wanted("wns", provider="wns", name="m"))
    assert await secret_of(credentials, "app", "hms") == "new"
    assert await secret_of(credentials, "app", "hms", "z") == "old"
    assert await secret_of(credentials, "app", "wns") == "wns"
    assert await credentials.material_for("app", "hms", "m") is None
    assert await credentials.material_for("app", "hms", "none") is None
    assert await credentials.material_for("other", "hms") is None
    assert await credentials.material_for("app", "fcm") is None


async def test_the_newest_is_found_on_any_page(credentials: Credentials, clock: FakeClock) -> None:
    for number in range(250):
        await credentials.put("app", wanted(f"s{number}", name=f"c{number:03}"))
    clock.advance(1)
    await credentials.put("app", wanted("newest", name="c120"))
    assert await secret_of(credentials, "app", "hms") == "newest"


async def test_one_that_cannot_be_opened_says_what_to_do_until_it_is_uploaded_again(
    credentials: Credentials, store: Counting, clock: FakeClock
) -> None:
    await Credentials(store, Envelopes("another"), clock, check_inline).put("app", wanted("planted"))
    for _ in range(2):
        with pytest.raises(SockudoError) as caught:
            await credentials.material_for("app", "hms")
        assert caught.value.spec is errors.CREDENTIAL_UNREADABLE
        assert caught.value.text == (
            "hms credential 'hms': The stored push credential was encrypted with another "
            "PUSH_CREDENTIAL_ENCRYPTION_KEY: set that one, or upload the credential again"
        )
    await credentials.put("app", wanted("again"))
    assert await secret_of(credentials, "app", "hms") == "again"


async def test_forms_of_other_versions(credentials: Credentials, store: Counting) -> None:
    material = {"hmsAppId": "100", "clientSecret": "envelope:v1:local:b2xk"}
    await store.put_credential(Credential(app_id="app", credential_id="hms", provider="hms", material=material))
    assert await secret_of(credentials, "app", "hms") == "old"
    hashed = {"clientSecret": "envelope:v1:sha256:00"}
    await store.put_credential(Credential(app_id="app2", credential_id="hms", provider="hms", material=hashed))
    with pytest.raises(SockudoError, match="upload the credential again"):
        await credentials.material_for("app2", "hms")


async def test_plain_text_that_looks_like_an_envelope_is_sealed(credentials: Credentials, store: Counting) -> None:
    fields = {"hmsAppId": "envelope:v1:local:eA", "clientSecret": "s"}
    await credentials.put("app", CredentialRequest("hms", "hms", 1, fields))
    material = await credentials.material_for("app", "hms")
    assert material is not None
    assert material.fields == fields


async def test_what_is_remembered_is_bounded(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockudo.push.credentials._MOST_REMEMBERED", 3)
    for number in range(10):
        await credentials.material_for(f"app{number}", "hms")
    assert len(credentials._remembered) == 3
