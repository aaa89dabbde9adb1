"""A server that starts before its database does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.apps import AppRegistry, Changes, Defaults, Origin
from sockudo.config import Settings
from sockudo.config.apps import App
from sockudo.drivers.memory_apps import MemoryAppStore
from sockudo.drivers.stand_in import RETRY_SECONDS, StandInAppStore

SHOP = App("shop", "k-shop", "s", True)
OTHER = App("other", "k-other", "s", True)


class Absent(MemoryAppStore):
    """A store that answers once it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.reason: str | None = "it is down"
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1
        if self.reason is not None:
            raise errors.SERVICE_UNAVAILABLE(self.reason)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def ids(store: StandInAppStore) -> Sequence[str]:
    return [app.id for app in await store.all()]


async def test_a_store_that_answers_is_simply_used() -> None:
    store, inner = StandInAppStore(there := Absent(), Time()), there
    inner.reason = None
    with capture_logs() as logs:
        await store.start()
        await store.save(SHOP)
        assert list(await inner.all()) == [SHOP]
        assert await store.change("shop", lambda _: SHOP) == SHOP
        assert await store.revision() == await inner.revision()
        assert await store.remove("shop") is True
        await store.stop()
    assert (inner.starts, logs) == (1, [])


async def test_configured_apps_are_served_from_memory_until_it_answers() -> None:
    inner, time = Absent(), Time()
    MemoryAppStore._put(inner, OTHER)
    registry = AppRegistry(StandInAppStore(inner, time), Defaults.from_settings(Settings()))
    with capture_logs() as logs:
        await registry.start([SHOP])
    assert [(line["log_level"], line["reason"]) for line in logs] == [("error", "it is down")]
    assert [app.id for app in registry.all()] == ["shop"]
    assert registry.healthy

    inner.reason = None
    time.now = RETRY_SECONDS - 1
    assert await registry.refresh() == Changes()
    time.now = RETRY_SECONDS
    with capture_logs() as logs:
        assert await registry.refresh() == Changes(added=("other",))
        assert await registry.refresh() == Changes()
    assert [line["log_level"] for line in logs] == ["info"]
    assert [app.id for app in registry.all()] == ["other", "shop"]
    assert [app.id for app in await inner.all()] == ["other", "shop"]
    assert inner.starts == 2


async def test_it_is_tried_again_every_few_seconds_and_told_once() -> None:
    inner, time = Absent(), Time()
    store = StandInAppStore(inner, time)
    with capture_logs() as logs:
        await store.start()
        for time.now in range(1, 20):
            await store.revision()
        assert inner.starts == 4
        inner.reason = "now it says something else"
        time.now = 100
        await store.revision()
    assert [line["reason"] for line in logs] == ["it is down", "now it says something else"]


async def test_revisions_grow_when_the_store_comes() -> None:
    inner, time = Absent(), Time()
    store = StandInAppStore(inner, time)
    with capture_logs():
        await store.start()
        await store.save(SHOP)
        before = await store.revision()
        inner.reason, time.now = None, RETRY_SECONDS
        assert await store.revision() > before
        assert await ids(store) == ["shop"]


async def test_a_key_that_is_taken_keeps_the_apps_as_they_are() -> None:
    inner, time = Absent(), Time()
    MemoryAppStore._put(inner, App("thief", SHOP.key, "s", True))
    store = StandInAppStore(inner, time)
    with capture_logs() as logs:
        await store.start()
        await store.save(SHOP)
        inner.reason, time.now = None, RETRY_SECONDS
        await store.revision()
    assert await ids(store) == ["shop"]
    assert logs[-1]["reason"] == "App 'shop' cannot have key 'k-shop': another app has it"


async def test_stopping_twice_does_no_harm() -> None:
    store = StandInAppStore(Absent(), Time())
    with capture_logs():
        await store.start()
    await store.stop()
    await store.stop()


async def test_a_refused_change_is_refused_by_the_one_in_use() -> None:
    store = StandInAppStore(Absent(), Time())
    with capture_logs():
        await store.start()
    await store.save(SHOP)
    with pytest.raises(errors.SockudoError, match="another app has it"):
        await store.save(App("b", SHOP.key, "s"))


async def test_an_app_that_left_the_configuration_goes_when_the_store_answers() -> None:
    inner, time = Absent(), Time()
    MemoryAppStore._put(inner, OTHER, Origin.CONFIGURATION)
    registry = AppRegistry(StandInAppStore(inner, time), Defaults.from_settings(Settings()))
    await registry.start([SHOP])
    inner.reason, time.now = None, RETRY_SECONDS
    assert await registry.refresh() == Changes()
    assert await inner.origins() == {"shop": Origin.CONFIGURATION}
