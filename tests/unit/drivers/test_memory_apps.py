"""What the store in memory does beyond the contract that every store keeps: nothing outlasts it."""

from __future__ import annotations

from sockudo.config.apps import App
from sockudo.drivers.memory_apps import MemoryAppStore


async def test_a_new_store_knows_nothing_of_another() -> None:
    first = MemoryAppStore()
    await first.save(App("a", "k", "s"))
    second = MemoryAppStore()
    assert list(await second.all()) == []
    assert await second.revision() == 0


async def test_what_was_listed_does_not_change_afterwards() -> None:
    store = MemoryAppStore()
    await store.save(App("a", "k", "s"))
    listed = await store.all()
    await store.save(App("b", "l", "s"))
    assert [app.id for app in listed] == ["a"]
