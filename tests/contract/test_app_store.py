"""What every `AppStore` promises, checked over each implementation; the one in memory is the definition."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.app_tables import app_settings, new_table
from sockudo import errors
from sockudo.apps.ports import AppStore, Origin
from sockudo.config.apps import (
    App,
    Channels,
    Features,
    History,
    Idempotency,
    Limits,
    MessageRateLimit,
    Namespace,
    NamespaceHistory,
    Policy,
    PreviousSecret,
)
from sockudo.drivers.memory_apps import MemoryAppStore
from sockudo.drivers.selection import app_store
from sockudo.drivers.sql.apps import sqlite_apps
from support.databases import DatabaseServer

FULL = Policy(
    limits=Limits(
        max_connections=250,
        max_client_events_per_second=10,
        message_rate_limit=MessageRateLimit(enabled=True, max_attempts=5),
        max_channel_name_length=164,
        max_event_payload_in_kb=0,
    ),
    features=Features(enable_client_messages=True, enable_watchlist_events=False),
    channels=Channels(
        allowed_origins=("https://shop.test", "*.shop.test"),
        channel_delta_compression={"news-*": "fossil"},
        channel_namespaces=(
            Namespace("chat", channel_name_pattern="^chat:[a-z]+$", history=NamespaceHistory(rewind_enabled=True)),
        ),
    ),
    webhooks=({"url": "https://hooks.shop.test/in", "event_types": ["channel_occupied"]},),
    idempotency=Idempotency(enabled=False, ttl_seconds=30),
    history=History(enabled=True),
)


def an_app(app_id: str = "shop", **fields: object) -> App:
    values: dict[str, object] = {"id": app_id, "key": f"k-{app_id}", "secret": f"s-{app_id}", "enabled": True, **fields}
    return App(**values)  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "sqlite", "postgres", "mariadb"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AppStore]:
    """A started store with nothing in it."""
    store = _made(request, tmp_path)
    await store.start()
    yield store
    await store.stop()


def _made(request: pytest.FixtureRequest, folder: Path) -> AppStore:
    if request.param == "memory":
        return MemoryAppStore()
    if request.param == "sqlite":
        return sqlite_apps(folder / "apps.sqlite3")
    server: DatabaseServer = request.getfixturevalue(request.param)
    return app_store(app_settings(server, new_table()))


async def test_a_new_store_is_empty(store: AppStore) -> None:
    assert list(await store.all()) == []


@pytest.mark.parametrize(
    "app",
    [
        an_app(),
        an_app(enabled=False),
        an_app(policy=FULL),
        an_app(previous_secret=PreviousSecret("old", 1_796_300_000)),
    ],
    ids=["plain", "disabled", "full", "rotated"],
)
async def test_a_record_comes_back_as_it_was_saved(store: AppStore, app: App) -> None:
    await store.save(app)
    assert list(await store.all()) == [app]


async def test_apps_are_sorted_by_id(store: AppStore) -> None:
    for number, app_id in enumerate(("b", "10", "a", "9", "ä", "Z")):
        await store.save(an_app(app_id, key=f"k-{number}"))
    assert [app.id for app in await store.all()] == ["10", "9", "Z", "a", "b", "ä"]


async def test_saving_replaces_the_app_of_the_same_id(store: AppStore) -> None:
    await store.save(an_app(policy=FULL))
    changed = an_app(key="another", secret="new", enabled=False)
    await store.save(changed)
    assert list(await store.all()) == [changed]


async def test_a_key_belongs_to_one_app(store: AppStore) -> None:
    await store.save(an_app("a", key="same"))
    with pytest.raises(errors.SockudoError) as caught:
        await store.save(an_app("b", key="same", secret="very-secret"))
    assert caught.value.spec is errors.APP_KEY_TAKEN
    assert caught.value.text == "App 'b' cannot have key 'same': another app has it"
    assert [app.id for app in await store.all()] == ["a"]


async def test_an_existing_app_cannot_take_the_key_of_another(store: AppStore) -> None:
    await store.save(an_app("a"))
    await store.save(an_app("b"))
    before = await store.revision()
    with pytest.raises(errors.SockudoError) as caught:
        await store.save(an_app("b", key="k-a"))
    assert caught.value.spec is errors.APP_KEY_TAKEN
    assert [app.key for app in await store.all()] == ["k-a", "k-b"]
    assert await store.revision() == before


async def test_a_key_given_up_is_free(store: AppStore) -> None:
    await store.save(an_app("a", key="first"))
    await store.save(an_app("a", key="second"))
    await store.save(an_app("b", key="first"))
    await store.remove("a")
    await store.save(an_app("c", key="second"))
    assert [(app.id, app.key) for app in await store.all()] == [("b", "first"), ("c", "second")]


async def test_keys_differ_by_case(store: AppStore) -> None:
    await store.save(an_app("a", key="Key"))
    await store.save(an_app("b", key="key"))
    assert [app.key for app in await store.all()] == ["Key", "key"]


async def test_removing_says_whether_there_was_one(store: AppStore) -> None:
    await store.save(an_app())
    assert await store.remove("shop") is True
    assert await store.remove("shop") is False
    assert list(await store.all()) == []


async def test_change_reads_and_saves(store: AppStore) -> None:
    await store.save(an_app(policy=FULL))

    def rotate(app: App | None) -> App:
        assert app is not None
        return App(app.id, app.key, "rotated", app.enabled, app.policy)

    result = await store.change("shop", rotate)
    assert result == an_app(secret="rotated", policy=FULL)
    assert list(await store.all()) == [result]


async def test_change_of_an_unknown_app_is_given_none(store: AppStore) -> None:
    seen: list[App | None] = []

    def create(app: App | None) -> App:
        seen.append(app)
        return an_app("new")

    assert await store.change("new", create) == an_app("new")
    assert seen == [None]
    assert list(await store.all()) == [an_app("new")]


async def test_what_the_edit_raises_leaves_the_store_unchanged(store: AppStore) -> None:
    await store.save(an_app())
    before = await store.revision()

    def refuse(app: App | None) -> App:
        raise errors.INVALID_INPUT("not like that")

    with pytest.raises(errors.SockudoError, match="not like that"):
        await store.change("shop", refuse)
    assert list(await store.all()) == [an_app()]
    assert await store.revision() == before
    await store.save(an_app("b"))


async def test_no_change_is_lost_when_many_happen_at_once(store: AppStore) -> None:
    await store.save(an_app(secret="0"))

    def count(app: App | None) -> App:
        assert app is not None
        return an_app(secret=str(int(app.secret) + 1))

    await asyncio.gather(*(store.change("shop", count) for _ in range(20)))
    assert (await store.all())[0].secret == "20"


async def test_the_revision_grows_with_every_change_and_only_then(store: AppStore) -> None:
    seen = [await store.revision()]
    await store.save(an_app())
    seen.append(await store.revision())
    await store.save(an_app(enabled=False))
    seen.append(await store.revision())
    await store.save(an_app(enabled=False, policy=FULL))
    seen.append(await store.revision())
    await store.save(an_app("b"))
    seen.append(await store.revision())
    await store.remove("shop")
    seen.append(await store.revision())
    assert seen == sorted(set(seen))

    await store.save(an_app("b"))
    await store.remove("shop")
    await store.all()
    assert await store.revision() == seen[-1]


async def test_stopping_twice_does_no_harm(store: AppStore) -> None:
    await store.stop()
    await store.stop()


@pytest.mark.parametrize(
    "app",
    [
        an_app(secret=""),
        an_app(key="with/slash"),
        an_app(policy=Policy(channels=Channels(allowed_origins=("*.*.test",)))),
        an_app(policy=Policy(channels=Channels(channel_namespaces=(Namespace("n", channel_name_pattern="("),)))),
    ],
    ids=["secret", "key", "origin", "pattern"],
)
async def test_a_record_that_could_not_be_read_again_is_refused(store: AppStore, app: App) -> None:
    with pytest.raises(errors.SockudoError) as caught:
        await store.save(app)
    assert caught.value.spec is errors.INVALID_INPUT
    assert "app 'shop'" in caught.value.text
    assert list(await store.all()) == []


async def test_an_app_remembers_where_it_came_from(store: AppStore) -> None:
    await store.save(an_app("file"), Origin.CONFIGURATION)
    await store.save(an_app("saved"))
    await store.change("changed", lambda _: an_app("changed"))
    expected = {"file": Origin.CONFIGURATION, "saved": Origin.OPERATOR, "changed": Origin.OPERATOR}
    assert await store.origins() == expected
    await store.change("file", lambda _: an_app("file", secret="rotated"))
    await store.save(an_app("file", secret="again"))
    assert await store.origins() == expected
    await store.save(an_app("saved"), Origin.CONFIGURATION)
    await store.remove("file")
    assert await store.origins() == {"saved": Origin.CONFIGURATION, "changed": Origin.OPERATOR}


async def test_a_previous_secret_that_is_dropped_is_a_change(store: AppStore) -> None:
    await store.save(an_app(previous_secret=PreviousSecret("old", 5)))
    before = await store.revision()
    await store.change("shop", lambda _: an_app())
    assert await store.revision() != before
    assert list(await store.all()) == [an_app()]


async def test_saving_the_same_app_from_the_same_place_is_no_change(store: AppStore) -> None:
    await store.save(an_app(), Origin.CONFIGURATION)
    before = await store.revision()
    await store.save(an_app(), Origin.CONFIGURATION)
    await store.save(an_app())
    assert await store.revision() == before


_TEXT = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=20)


@settings(
    max_examples=int(os.environ.get("SOCKUDO_EXAMPLES", "20")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(apps=st.dictionaries(_TEXT, _TEXT, max_size=5), number=st.none() | st.integers(0, 2**32 - 1))
async def test_any_text_survives(
    store: AppStore, apps: dict[str, str], number: int | None, request: pytest.FixtureRequest
) -> None:
    """Whatever ids, secrets and numbers are saved are what is read, sorted by id; and each can be removed."""
    webhook = {"url": "https://hooks.test", "event_types": list(apps)}
    policy = Policy(limits=Limits(max_event_payload_in_kb=number), webhooks=(webhook,))
    # MySQL has keys in ASCII only.
    keys = {name: ascii(name) if "mariadb" in request.node.name else name for name in apps}
    records = [App(name, f"key-{keys[name]}", secret, True, policy) for name, secret in apps.items()]
    for record in records:
        await store.save(record)
    assert list(await store.all()) == sorted(records, key=lambda app: app.id)
    for record in records:
        assert await store.remove(record.id) is True
    assert list(await store.all()) == []
