"""The registry follows its store, and goes on serving when the store does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.apps.ports import AppStore
from sockudo.apps.registry import AppRegistry, Changes
from sockudo.apps.resolve import Defaults
from sockudo.config.apps import App, Limits, Policy
from sockudo.drivers.memory_apps import MemoryAppStore


class FragileStore(MemoryAppStore):
    """Keeps apps in memory, fails when told to and counts how often all were read."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.stopped = False
        self.reads = 0

    async def all(self) -> Sequence[App]:
        self._check()
        self.reads += 1
        return await super().all()

    async def revision(self) -> int:
        self._check()
        return await super().revision()

    async def stop(self) -> None:
        self.stopped = True

    def _check(self) -> None:
        if self.broken:
            raise errors.SERVICE_UNAVAILABLE("The app store does not answer") from OSError("no such disk")


def an_app(app_id: str, **fields: object) -> App:
    values: dict[str, object] = {"id": app_id, "key": f"k-{app_id}", "secret": f"s-{app_id}", "enabled": True, **fields}
    return App(**values)  # type: ignore[arg-type]


@pytest.fixture
def store() -> FragileStore:
    return FragileStore()


@pytest.fixture
def registry(store: FragileStore) -> AppRegistry:
    return AppRegistry(store, Defaults())


async def test_start_serves_stored_and_configured_apps(store: FragileStore, registry: AppRegistry) -> None:
    await store.save(an_app("b"))
    assert registry.healthy is False
    await registry.start([an_app("c"), an_app("a", enabled=False)])
    assert registry.healthy is True
    assert [live.id for live in registry.all()] == ["a", "b", "c"]
    assert [app.id for app in await store.all()] == ["a", "b", "c"]
    live = registry.by_key("k-b")
    assert live is not None
    assert live is registry.by_id("b")
    disabled = registry.by_key("k-a")
    assert disabled is not None
    assert disabled.enabled is False
    assert registry.by_key("b") is None
    assert registry.by_id("k-b") is None


async def test_a_configured_app_overwrites_the_stored_one(store: FragileStore, registry: AppRegistry) -> None:
    await store.save(an_app("a", key="old"))
    await registry.start([an_app("a", key="new")])
    assert registry.by_key("old") is None
    assert registry.by_key("new") is not None


async def test_a_configured_key_that_a_stored_app_has_stops_the_start(
    store: FragileStore, registry: AppRegistry
) -> None:
    await store.save(an_app("a", key="same"))
    with pytest.raises(errors.SockudoError) as caught:
        await registry.start([an_app("b"), an_app("c", key="same")])
    assert caught.value.spec is errors.APP_KEY_TAKEN
    assert caught.value.text == "App 'c' cannot have key 'same': app 'a' has it"
    assert [app.id for app in await store.all()] == ["a"]


async def test_a_store_that_does_not_answer_stops_the_start(store: FragileStore, registry: AppRegistry) -> None:
    store.broken = True
    with pytest.raises(errors.SockudoError) as caught:
        await registry.start([])
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE


async def test_nothing_is_read_while_nothing_changes(store: FragileStore, registry: AppRegistry) -> None:
    await registry.start([an_app("a")])
    reads = store.reads
    for _ in range(5):
        assert not await registry.refresh()
    assert store.reads == reads


async def test_refresh_says_what_changed(store: FragileStore, registry: AppRegistry) -> None:
    for app_id in ("disable", "enable", "key", "keep", "remove", "limits"):
        await store.save(an_app(app_id, enabled=app_id != "enable"))
    await registry.start()
    kept = registry.by_id("keep")

    await store.save(an_app("disable", enabled=False))
    await store.save(an_app("enable"))
    await store.save(an_app("key", key="rotated"))
    await store.save(an_app("limits", policy=Policy(limits=Limits(max_connections=1))))
    await store.save(an_app("add"))
    await store.remove("remove")

    changes = await registry.refresh()
    assert changes == Changes(
        added=("add",), updated=("enable", "key", "limits"), disabled=("disable",), removed=("remove",)
    )
    assert changes
    assert changes.closed == ("disable", "remove")
    assert registry.by_id("keep") is kept
    assert registry.by_key("k-key") is None
    assert registry.by_key("rotated") is not None
    assert registry.by_id("remove") is None
    assert [live.id for live in registry.all()] == ["add", "disable", "enable", "keep", "key", "limits"]
    assert await registry.refresh() == Changes()


async def test_a_change_to_a_disabled_app_is_an_update(store: FragileStore, registry: AppRegistry) -> None:
    await store.save(an_app("a", enabled=False))
    await registry.start()
    await store.save(an_app("a", enabled=False, secret="new"))
    assert await registry.refresh() == Changes(updated=("a",))


async def test_an_app_changed_while_the_records_are_read_is_not_missed(registry: AppRegistry) -> None:
    """A change between the question for the revision and the reading is found by the next refresh at the latest."""

    class Racing(MemoryAppStore):
        async def revision(self) -> int:
            asked = await super().revision()
            if len(await self.all()) == 1:
                await self.save(an_app("late"))
            return asked

    store = Racing()
    registry = AppRegistry(store, Defaults())
    await registry.start([an_app("a")])
    await registry.refresh()
    assert [live.id for live in registry.all()] == ["a", "late"]


async def test_the_first_app_is_made_once(store: FragileStore, registry: AppRegistry) -> None:
    await registry.start()
    app = await registry.ensure_first_app()
    assert app is not None
    assert app.enabled
    assert len(app.key) == 20
    assert len(app.secret) == 48
    live = registry.by_key(app.key)
    assert live is not None
    assert live.record == app
    assert list(await store.all()) == [app]
    assert await registry.ensure_first_app() is None
    assert not await registry.refresh()


async def test_no_first_app_where_there_is_one(registry: AppRegistry) -> None:
    await registry.start([an_app("a", enabled=False)])
    assert await registry.ensure_first_app() is None


async def test_replacing_removes_only_what_was_configured(store: FragileStore, registry: AppRegistry) -> None:
    await store.save(an_app("stored"))
    await registry.start([an_app("stays"), an_app("goes")])
    changes = await registry.replace_inline([an_app("stays", secret="new"), an_app("comes")])
    assert changes == Changes(added=("comes",), updated=("stays",), removed=("goes",))
    assert [live.id for live in registry.all()] == ["comes", "stays", "stored"]
    assert await registry.replace_inline([]) == Changes(removed=("comes", "stays"))
    assert [live.id for live in registry.all()] == ["stored"]


async def test_keys_may_move_between_configured_apps(registry: AppRegistry) -> None:
    await registry.start([an_app("a", key="1"), an_app("b", key="2"), an_app("c", key="3")])
    moved = [an_app("a", key="2"), an_app("b", key="1"), an_app("d", key="3")]
    assert await registry.replace_inline(moved) == Changes(added=("d",), updated=("a", "b"), removed=("c",))
    assert {live.key: live.id for live in registry.all()} == {"2": "a", "1": "b", "3": "d"}


async def test_a_refused_replacement_changes_nothing(store: FragileStore, registry: AppRegistry) -> None:
    await store.save(an_app("stored"))
    await registry.start([an_app("a")])
    before = await store.revision()
    for apps in ([an_app("b"), an_app("c", key="k-stored")], [an_app("b", key="x"), an_app("c", key="x")]):
        with pytest.raises(errors.SockudoError) as caught:
            await registry.replace_inline(apps)
        assert caught.value.spec is errors.APP_KEY_TAKEN
    assert await store.revision() == before
    assert [live.id for live in registry.all()] == ["a", "stored"]


async def test_new_defaults_hold_for_every_app(store: FragileStore, registry: AppRegistry) -> None:
    await store.save(an_app("stored"))
    await registry.start([an_app("a")])
    changes = await registry.replace_inline([an_app("a")], Defaults(max_batch_size=3))
    assert changes == Changes(updated=("a", "stored"))
    assert [live.limits.max_batch_size for live in registry.all()] == [3, 3]
    assert await registry.replace_inline([an_app("a")], Defaults(max_batch_size=3)) == Changes()
    await store.save(an_app("later"))
    await registry.refresh()
    later = registry.by_id("later")
    assert later is not None
    assert later.limits.max_batch_size == 3


async def test_lookups_survive_the_stop(store: FragileStore, registry: AppRegistry) -> None:
    await registry.start([an_app("a")])
    await registry.stop()
    assert store.stopped
    assert registry.healthy is False
    assert registry.by_id("a") is not None


class Steps:
    """A sleep that lets the test act between two rounds of the watch, and ends it after the last."""

    def __init__(self, *acts: object) -> None:
        self.acts = list(acts)
        self.intervals: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.intervals.append(seconds)
        if not self.acts:
            raise asyncio.CancelledError
        act = self.acts.pop(0)
        if act is not None:
            await act()  # type: ignore[operator]


async def test_the_watch_passes_changes_on(store: FragileStore, registry: AppRegistry) -> None:
    await registry.start([an_app("a")])
    seen: list[Changes] = []
    steps = Steps(None, lambda: store.save(an_app("b")), None, lambda: store.remove("a"))
    with pytest.raises(asyncio.CancelledError):
        await registry.watch(2.5, seen.append, sleep=steps)
    assert seen == [Changes(added=("b",)), Changes(removed=("a",))]
    assert set(steps.intervals) == {2.5}


async def test_a_failing_store_is_logged_once_and_costs_nothing_but_news(
    store: FragileStore, registry: AppRegistry
) -> None:
    await registry.start([an_app("a")])
    seen: list[Changes] = []
    health: list[bool] = []

    async def fail() -> None:
        store.broken = True
        await store.save(an_app("b"))

    async def note() -> None:
        health.append(registry.healthy)
        assert registry.by_id("a") is not None

    async def mend() -> None:
        await note()
        store.broken = False

    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await registry.watch(1, seen.append, sleep=Steps(note, fail, note, note, mend, note))
    assert health == [True, False, False, False, True]
    assert seen == [Changes(added=("b",))]
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "app store fails; the apps stay as last known"),
        ("info", "app store answers again"),
    ]
    assert logs[0]["reason"] == "The app store does not answer"
    assert str(logs[0]["cause"]) == "no such disk"


async def test_refresh_and_replace_do_not_overtake_each_other(store: FragileStore, registry: AppRegistry) -> None:
    """Many at once: what is served in the end is what the store holds."""
    await registry.start([an_app("a")])
    apps = [an_app("a", secret=str(number)) for number in range(10)]
    await asyncio.gather(*(registry.replace_inline([app]) for app in apps), *(registry.refresh() for _ in range(10)))
    live = registry.by_id("a")
    assert live is not None
    assert [live.record] == list(await store.all())
    assert msgspec.structs.asdict(live.record)["secret"] == "9"


# ---- writing through the registry ----


async def test_what_is_written_is_served_at_once(store: FragileStore, registry: AppRegistry) -> None:
    await registry.start()
    told: list[tuple[Changes, bool]] = []

    async def work(given: AppStore) -> str:
        await given.save(an_app("a"))
        return "done"

    def hear(changes: Changes) -> None:
        told.append((changes, registry.by_id("a") is not None))

    assert await registry.write(work, hear) == "done"
    assert told == [(Changes(added=("a",)), True)]
    assert await registry.refresh() == Changes()


async def test_writing_what_is_there_tells_nobody(store: FragileStore, registry: AppRegistry) -> None:
    await store.save(an_app("a"))
    await registry.start()
    told: list[Changes] = []
    await registry.write(lambda given: given.save(an_app("a")), told.append)
    assert told == []


async def test_a_refused_write_is_raised_and_changes_nothing(store: FragileStore, registry: AppRegistry) -> None:
    await store.save(an_app("a"))
    await registry.start()
    told: list[Changes] = []
    with pytest.raises(errors.SockudoError):
        await registry.write(lambda given: given.save(an_app("b", key="k-a")), told.append)
    assert told == []
    assert [live.id for live in registry.all()] == ["a"]


async def test_a_store_that_fails_after_the_write_is_followed_later(store: FragileStore, registry: AppRegistry) -> None:
    await registry.start()
    told: list[Changes] = []

    async def work(given: AppStore) -> str:
        await given.save(an_app("a"))
        store.broken = True
        return "done"

    assert await registry.write(work, told.append) == "done"
    assert told == []
    assert not registry.healthy
    store.broken = False
    assert await registry.refresh() == Changes(added=("a",))


async def test_the_apps_of_the_configuration_are_known(store: FragileStore, registry: AppRegistry) -> None:
    await store.save(an_app("stored"))
    await registry.start([an_app("a")])
    assert registry.configured == {"a"}


async def test_an_alias_is_no_app_of_its_own(store: FragileStore) -> None:
    """The development app has the id that every SDK takes, and the one that older snippets name."""
    registry = AppRegistry(store, Defaults(), aliases={"app-id": "1001"})
    await registry.start([App(id="1001", key="k", secret="s", enabled=True)])
    assert registry.by_id("app-id") is registry.by_id("1001") is registry.by_key("k")
    assert [app.id for app in registry.all()] == ["1001"]
    assert registry.by_id("app-idd") is None
    await registry.stop()
