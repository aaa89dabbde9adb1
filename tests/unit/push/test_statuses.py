"""Changing a status: once where nobody else does, in the store where somebody is faster."""

from __future__ import annotations

from msgspec.structs import replace

from sockudo.push.records import PublishStatus
from sockudo.push.statuses import change_status
from sockudo.push.stores.memory import MemoryPushStore
from support.push_stores import NOW, accept


class Contended(MemoryPushStore):
    """Somebody else changes the status after it was read, as often as ``rivals`` says."""

    rivals = 1

    async def status(self, app_id: str, publish_id: str) -> PublishStatus | None:
        status = await super().status(app_id, publish_id)
        if status is not None and self.rivals:
            self.rivals -= 1
            await self.swap_status(status, replace(status, error_reason="a rival"))
        return status


def planning(status: PublishStatus) -> PublishStatus:
    return replace(status, state="planning")


async def test_a_change_keeps_what_a_rival_has_done() -> None:
    store = Contended()
    store.rivals = 0
    await accept(store)
    store.rivals = 1
    conflicts: list[str] = []
    status = await change_status(store, "app", "ship", planning, NOW, conflict=lambda: conflicts.append("one"))
    assert status is not None
    assert (status.state, status.error_reason, status.revision) == ("planning", "a rival", 3)
    assert conflicts == ["one"]
    assert status == await store.status("app", "ship")


async def test_without_rivals_there_is_no_conflict() -> None:
    store = MemoryPushStore()
    await accept(store)
    conflicts: list[str] = []
    status = await change_status(store, "app", "ship", planning, NOW + 5, conflict=lambda: conflicts.append("one"))
    assert status is not None
    assert (status.state, status.updated_at_ms, conflicts) == ("planning", NOW + 5, [])


async def test_what_is_left_alone_stays() -> None:
    store = MemoryPushStore()
    stored = await accept(store)
    assert await change_status(store, "app", "ship", lambda _: None, NOW) == stored
    assert await change_status(store, "app", "ship", lambda status: status, NOW) == stored
    assert await change_status(store, "app", "unknown", planning, NOW) is None
    assert await store.status("app", "ship") == stored
