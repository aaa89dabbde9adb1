"""An app goes with the configuration that named it, over a restart as well; those of operators stay."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.apps.origins import configure
from sockudo.apps.ports import Origin
from sockudo.apps.registry import AppRegistry
from sockudo.apps.resolve import Defaults
from sockudo.config.apps import App
from sockudo.drivers.memory_apps import MemoryAppStore


def an_app(app_id: str, **fields: object) -> App:
    values: dict[str, object] = {"id": app_id, "key": f"k-{app_id}", "secret": f"s-{app_id}", "enabled": True, **fields}
    return App(**values)  # type: ignore[arg-type]


async def ids(store: MemoryAppStore) -> Sequence[str]:
    return [app.id for app in await store.all()]


@pytest.fixture
def store() -> MemoryAppStore:
    return MemoryAppStore()


async def test_an_app_that_left_the_configuration_is_gone_at_the_next_start(store: MemoryAppStore) -> None:
    await store.save(an_app("made"))
    await AppRegistry(store, Defaults()).start([an_app("one"), an_app("two")])
    with capture_logs() as logs:
        again = AppRegistry(store, Defaults())
        await again.start([an_app("one")])
    assert [live.id for live in again.all()] == ["made", "one"]
    assert await ids(store) == ["made", "one"]
    assert [(line["log_level"], line["app_id"]) for line in logs] == [("warning", "two")]


async def test_an_app_that_was_changed_by_an_operator_is_still_of_the_configuration(store: MemoryAppStore) -> None:
    await configure(store, [an_app("one")])
    await store.change("one", lambda _: an_app("one", secret="rotated"))
    await configure(store, [])
    assert await ids(store) == []


async def test_an_app_of_which_it_is_not_known_stays_and_is_named_once(store: MemoryAppStore) -> None:
    for app_id in ("kept", "named"):
        await store.save(an_app(app_id))
        store._origins[app_id] = None
    with capture_logs() as logs:
        await configure(store, [an_app("named")])
        await configure(store, [an_app("named")])
    assert [(line["log_level"], line["app_id"]) for line in logs] == [("warning", "kept")]
    assert "sockudo apps remove kept" in logs[0]["remedy"]
    assert await store.origins() == {"kept": Origin.OPERATOR, "named": Origin.CONFIGURATION}
    await configure(store, [])
    assert await ids(store) == ["kept"]


async def test_a_key_of_an_app_that_goes_is_free(store: MemoryAppStore) -> None:
    await configure(store, [an_app("one", key="k")])
    await configure(store, [an_app("two", key="k")])
    assert await ids(store) == ["two"]


async def test_a_taken_key_changes_nothing(store: MemoryAppStore) -> None:
    await store.save(an_app("made", key="k"))
    await configure(store, [an_app("one")])
    with pytest.raises(errors.SockudoError) as caught:
        await configure(store, [an_app("two", key="k")])
    assert caught.value.spec is errors.APP_KEY_TAKEN
    assert await ids(store) == ["made", "one"]
