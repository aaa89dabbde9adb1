"""What operators do to apps, over every kind of store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from contract.app_tables import app_settings, new_table
from sockudo import errors
from sockudo.apps.admin import AppAdmin
from sockudo.apps.edits import version_of, with_values
from sockudo.apps.ports import AppStore
from sockudo.config.apps import App, Limits, Policy
from sockudo.config.problems import ConfigError
from sockudo.drivers.memory_apps import MemoryAppStore
from sockudo.drivers.selection import app_store
from sockudo.drivers.sql.apps import sqlite_apps
from support.databases import DatabaseServer

SHOP = App("shop", "k-shop", "s3cr3t", True, Policy(limits=Limits(max_event_batch_size=3)))


@pytest.fixture(params=["memory", "sqlite", "postgres", "mariadb"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AppStore]:
    """A started store of every kind, with nothing in it."""
    made: AppStore
    if request.param == "memory":
        made = MemoryAppStore()
    elif request.param == "sqlite":
        made = sqlite_apps(tmp_path / "data" / "apps.sqlite3")
    else:
        server: DatabaseServer = request.getfixturevalue(request.param)
        made = app_store(app_settings(server, new_table()))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def admin(store: AppStore) -> AppAdmin:
    return AppAdmin(store)


async def refused(work: Any) -> errors.SockudoError:
    with pytest.raises(errors.SockudoError) as caught:
        await work
    assert "s3cr3t" not in caught.value.text
    return caught.value


def more_connections(app: App) -> App:
    return with_values(app, {"limits.max_connections": 7}, "here")


async def test_an_added_app_is_read_back(admin: AppAdmin) -> None:
    record = {"id": "shop", "policy": {"limits": {"max_connections": 3}}}
    added = await admin.add(record, "request", fields={"max_event_batch_size": "4"})
    assert await admin.get("shop") == added
    assert added.policy.limits == Limits(max_connections=3, max_event_batch_size=4)
    assert added.enabled
    assert list(await admin.all()) == [added]


async def test_an_id_and_a_key_that_are_taken_are_told_apart(admin: AppAdmin, store: AppStore) -> None:
    await store.save(SHOP)
    same_id = await refused(admin.add({"id": "shop", "key": "another"}, "request"))
    assert (same_id.spec, same_id.text) == (errors.APP_EXISTS, "App 'shop' exists already")
    same_key = await refused(admin.add({"id": "b", "key": "k-shop"}, "request"))
    assert same_key.spec is errors.APP_KEY_TAKEN
    assert list(await store.all()) == [SHOP]


async def test_an_id_that_is_made_up_is_a_free_one(
    admin: AppAdmin, store: AppStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save(SHOP)
    drawn = iter([("shop", "k-1", "s-1"), ("free", "k-2", "s-2")])
    monkeypatch.setattr("sockudo.base.ids.app_credentials", lambda: next(drawn))
    assert (await admin.add({}, "request")).id == "free"


async def test_of_two_who_add_one_app_the_later_is_refused(admin: AppAdmin) -> None:
    results = await asyncio.gather(
        *(admin.add({"id": "shop", "key": f"k-{number}"}, "request") for number in range(5)), return_exceptions=True
    )
    apps = [result for result in results if isinstance(result, App)]
    assert list(await admin.all()) == apps
    assert len(apps) == 1
    assert {getattr(result, "spec", None) for result in results if result not in apps} == {errors.APP_EXISTS}


async def test_a_change_keeps_what_it_does_not_name(admin: AppAdmin, store: AppStore) -> None:
    await store.save(SHOP)
    changed = await admin.edit("shop", more_connections)
    assert changed.policy.limits == Limits(max_connections=7, max_event_batch_size=3)
    assert await admin.get("shop") == changed


async def test_a_wrong_value_changes_nothing(admin: AppAdmin, store: AppStore) -> None:
    await store.save(SHOP)
    with pytest.raises(ConfigError, match=r"policy\.limits\.max_connections"):
        await admin.edit("shop", lambda app: with_values(app, {"limits.max_connections": "many"}, "here"))
    with pytest.raises(ConfigError, match="id contains"):
        await admin.add({"id": "a/b"}, "request")
    assert list(await store.all()) == [SHOP]


async def test_a_key_can_be_changed_to_a_free_one_only(admin: AppAdmin, store: AppStore) -> None:
    await store.save(SHOP)
    await store.save(App("b", "k-b", "s"))
    taken = await refused(admin.edit("shop", lambda app: structs.replace(app, key="k-b")))
    assert taken.spec is errors.APP_KEY_TAKEN
    assert (await admin.edit("shop", lambda app: structs.replace(app, key="k-c"))).key == "k-c"


async def test_a_rotated_app_has_another_secret_and_all_else_as_before(admin: AppAdmin, store: AppStore) -> None:
    await store.save(SHOP)
    rotated = await admin.rotate("shop")
    assert rotated.secret != SHOP.secret
    assert structs.replace(rotated, secret=SHOP.secret) == SHOP
    assert await admin.get("shop") == rotated
    assert (await admin.rotate("shop", key=True)).key != SHOP.key


async def test_an_app_is_switched_off_and_on(admin: AppAdmin, store: AppStore) -> None:
    await store.save(SHOP)
    assert not (await admin.switch("shop", enabled=False)).enabled
    assert await admin.switch("shop", enabled=True) == SHOP


async def test_a_removed_app_is_gone(admin: AppAdmin, store: AppStore) -> None:
    await store.save(SHOP)
    assert await admin.remove("shop") == SHOP
    assert list(await store.all()) == []
    assert (await refused(admin.remove("shop"))).spec is errors.APP_NOT_FOUND


@pytest.mark.parametrize("what", ["edit", "rotate", "switch", "remove"])
async def test_whoever_looked_before_another_changed_it_is_told(admin: AppAdmin, store: AppStore, what: str) -> None:
    await store.save(SHOP)
    seen = version_of(await admin.get("shop"))
    theirs = await admin.edit("shop", more_connections)
    late = {
        "edit": lambda: admin.edit("shop", lambda app: app, version=seen),
        "rotate": lambda: admin.rotate("shop", version=seen),
        "switch": lambda: admin.switch("shop", enabled=False, version=seen),
        "remove": lambda: admin.remove("shop", version=seen),
    }[what]
    assert (await refused(late())).spec is errors.APP_CHANGED
    assert await admin.get("shop") == theirs
    await admin.switch("shop", enabled=False, version=version_of(theirs))


async def test_of_two_who_change_what_they_both_looked_at_one_is_told(admin: AppAdmin, store: AppStore) -> None:
    await store.save(SHOP)
    seen = version_of(SHOP)
    results = await asyncio.gather(*(admin.rotate("shop", version=seen) for _ in range(4)), return_exceptions=True)
    apps = [result for result in results if isinstance(result, App)]
    assert apps == [await admin.get("shop")]
    assert {getattr(result, "spec", None) for result in results if result not in apps} == {errors.APP_CHANGED}


@pytest.mark.parametrize(
    ("wanted", "hint"), [("shp", "Did you mean 'shop'?"), ("k-shop", "'k-shop' is the key of app 'shop'."), ("x", "")]
)
async def test_an_app_that_is_not_there(admin: AppAdmin, store: AppStore, wanted: str, hint: str) -> None:
    await store.save(SHOP)
    works: list[Callable[[], Any]] = [
        lambda: admin.get(wanted),
        lambda: admin.edit(wanted, lambda app: app),
        lambda: admin.rotate(wanted),
        lambda: admin.remove(wanted),
    ]
    for work in works:
        error = await refused(work())
        assert error.spec is errors.APP_NOT_FOUND
        assert hint in error.text
    assert list(await store.all()) == [SHOP]
