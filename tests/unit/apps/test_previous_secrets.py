"""A secret that was replaced is accepted until its end, whatever it signs, and not a moment longer."""

from __future__ import annotations

import asyncio

import pytest

from sockudo import errors
from sockudo.apps.admin import AppAdmin
from sockudo.apps.edits import without_ended
from sockudo.apps.registry import AppRegistry, Changes
from sockudo.apps.resolve import Defaults
from sockudo.apps.signer import Signer
from sockudo.auth.channels import channel_message, check_channel_auth, check_user_auth
from sockudo.auth.tokens import make_token, read_token
from sockudo.config.app_reader import read_app
from sockudo.config.apps import App, PreviousSecret
from sockudo.config.problems import ConfigError
from sockudo.drivers.memory_apps import MemoryAppStore

SHOP = App("shop", "k-shop", "first", True)
END = 5_000


class Time:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def registry(time: Time) -> AppRegistry:
    """Serves one app, whose secret was rotated and is kept."""
    store = MemoryAppStore()
    registry = AppRegistry(store, Defaults(), time)
    await store.save(SHOP)
    await AppAdmin(store).rotate("shop", until=END)
    await registry.start()
    return registry


def accepted(registry: AppRegistry, secret: str) -> set[bool]:
    """What the app says to everything that can be signed."""
    app = registry.by_id("shop")
    assert app is not None
    signer = Signer(secret)
    joined = signer.hexdigest(channel_message("1.2", "private-a", None))
    user = signer.hexdigest(b"1.2::user::{}")
    return {
        app.signer.matches(b"request", signer.hexdigest(b"request")),
        check_channel_auth(app, "1.2", "private-a", f"k-shop:{joined}", None),
        check_user_auth(app, "1.2", f"k-shop:{user}", "{}"),
        _reads(app, make_token("k-shop", secret, "ana", {"*": ["subscribe"]}, 60, 1_000)),
    }


def _reads(app: object, text: str) -> bool:
    try:
        read_token(app, text, 1_000)  # type: ignore[arg-type]  # a LiveApp
    except errors.SockudoError:
        return False
    return True


def current(registry: AppRegistry) -> str:
    app = registry.by_id("shop")
    assert app is not None
    return app.record.secret


async def test_both_secrets_are_accepted_and_the_new_one_signs(registry: AppRegistry) -> None:
    assert accepted(registry, current(registry)) == {True}
    assert accepted(registry, "first") == {True}
    assert accepted(registry, "another") == {False}
    app = registry.by_id("shop")
    assert app is not None
    assert app.signer.hexdigest(b"webhook") == Signer(current(registry)).hexdigest(b"webhook")


async def test_the_old_one_ends_also_when_the_store_does_not_answer(registry: AppRegistry, time: Time) -> None:
    time.now = END - 1
    assert registry.end_secrets() == Changes()
    assert accepted(registry, "first") == {True}
    time.now = END
    assert registry.end_secrets() == Changes(updated=("shop",))
    assert accepted(registry, "first") == {False}
    assert accepted(registry, current(registry)) == {True}
    assert registry.end_secrets() == Changes()


async def test_an_ended_one_is_taken_out_of_the_store(registry: AppRegistry, time: Time) -> None:
    store = registry._store
    time.now = END

    async def once(_: float) -> None:
        if (await store.all())[0].previous_secret is None:
            raise asyncio.CancelledError

    told: list[Changes] = []
    with pytest.raises(asyncio.CancelledError):
        await registry.watch(1.0, told.append, sleep=once)
    assert told == [Changes(updated=("shop",))]
    assert (await store.all())[0].previous_secret is None


async def test_one_that_ended_while_the_server_was_away_is_never_accepted(time: Time) -> None:
    store = MemoryAppStore()
    await store.save(App("shop", "k-shop", "second", True, previous_secret=PreviousSecret("first", END)))
    time.now = END + 1
    registry = AppRegistry(store, Defaults(), time)
    await registry.start()
    assert accepted(registry, "first") == {False}


async def test_another_rotation_ends_what_was_kept() -> None:
    store = MemoryAppStore()
    await store.save(SHOP)
    admin = AppAdmin(store)
    first = await admin.rotate("shop", until=END)
    assert first.previous_secret == PreviousSecret("first", END)
    second = await admin.rotate("shop", until=END)
    assert second.previous_secret == PreviousSecret(first.secret, END)
    assert (await admin.rotate("shop")).previous_secret is None
    assert without_ended(second, END - 1) is second


def test_neither_secret_is_shown() -> None:
    app = App("shop", "k", "hidden-1", previous_secret=PreviousSecret("hidden-2", 1))
    assert "hidden" not in repr(app)
    assert "hidden" not in repr(app.previous_secret)
    record = {"id": "a", "key": "k", "secret": "s", "previous_secret": {"secret": " hidden ", "until": "x"}}
    with pytest.raises(ConfigError) as caught:
        read_app(record, "here")
    assert len(caught.value.problems) == 2
    assert "hidden" not in str(caught.value)
