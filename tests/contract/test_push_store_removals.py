"""What every push store promises about apps that were removed; the one in memory is the definition."""

from __future__ import annotations

import pytest

from contract.places import PushPlace
from sockudo.push.lifecycle import Step
from sockudo.push.ports import PushStore, Removal
from sockudo.push.records import Credential, ScheduledJob, Shard, Target, Template
from support.push_stores import (
    DAY,
    NOW,
    a_device,
    a_letter,
    a_status,
    a_subscription,
    accept,
    an_event,
    an_intent,
)

# With the store, which is open for the whole run.
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def fill(store: PushStore, app_id: str) -> None:
    """Something of everything that there may be of an app."""
    for number in range(3):
        device_id, publish_id = f"d-{number}", f"p-{number}"
        await store.put_device(a_device(device_id, f"t-{number}", app_id=app_id, client_id="u"))
        await store.put_subscription(a_subscription("news", device_id, app_id))
        # Of a device that is not here.
        await store.put_subscription(a_subscription("news", f"stray-{number}", app_id))
        credential = Credential(app_id=app_id, credential_id=f"c-{number}", provider="fcm", material={"x": "y"})
        await store.put_credential(credential)
        template = Template(app_id=app_id, template_id=f"t-{number}", default_locale="en", locales={})
        await store.put_template(template)
        status, intent = a_status(publish_id, app_id, NOW), an_intent(publish_id, app_id, NOW)
        assert await store.accept(status, intent, [f"id:{publish_id}"], NOW + DAY) is None
        await store.put_shard(Shard(app_id=app_id, publish_id=publish_id, shard_id="s", target=Target(type="channel")))
        later = an_intent(f"later-{number}", app_id, NOW)
        await store.put_job(ScheduledJob(app_id=app_id, publish_id=f"later-{number}", due_at_ms=NOW + 5, intent=later))
        await store.take_steps(app_id, publish_id, [Step(f"k-{number}", "accepted", "fcm")], NOW, NOW + DAY)
        await store.append_events([an_event(f"e-{number}", NOW, publish_id, app_id)])
        await store.append_dead_letters([a_letter(f"{number}" * 64, NOW, publish_id, app_id=app_id)])
        await store.record_once(app_id, f"once-{number}", NOW, NOW + DAY)
        await store.note_operator(app_id, f"s-{number}", NOW)
        await store.lock(app_id, f"l-{number}", "owner", NOW, NOW + DAY)


async def found(store: PushStore, app_id: str) -> dict[str, int]:
    """How many there are of each kind, by every way that leads to them."""
    none: dict[str, int | None] = {"provider": None, "since_ms": None, "until_ms": None}
    names = [f"p-{n}" for n in range(3)]
    shards = [await store.shard(app_id, name, "s") for name in names]
    events = [await store.events(app_id, name, "", 10) for name in names]
    return {
        "devices": len(await store.devices(app_id, "", 100)) + await store.count_devices_of(app_id, "u"),
        "subscriptions": len(await store.subscriptions(app_id, after="", limit=100)),
        "channels": len(await store.subscribed_channels(app_id, "", 100)),
        "credentials": len(await store.credentials(app_id, "", 100))
        + sum(each.app_id == app_id for each in await store.credentials_for("fcm")),
        "templates": len(await store.templates(app_id, "", 100)),
        "statuses": len(await store.statuses(app_id, states=None, after="", limit=100)),
        "counts": sum((await store.count_publishes(app_id)).values()),
        "log": len(await store.intents(app_id, "", 100)),
        "stuck": sum(each.app_id == app_id for each in await store.stuck("queued", NOW + DAY, 100)),
        "shards": sum(shard is not None for shard in shards),
        "jobs": len(await store.jobs(app_id, "", 100)),
        "due": sum(job.app_id == app_id for job in await store.due_jobs(NOW + DAY, 100)),
        "events": sum(map(len, events)),
        "letters": len(await store.dead_letters(app_id, after="", limit=100, **none)),  # type: ignore[arg-type]
        "keys": sum([await store.recorded(app_id, f"once-{n}", NOW) for n in range(3)]),
        "notes": len(await store.operator_notes(app_id, "", 100)),
    }


async def test_all_that_is_kept_of_an_app_goes_in_steps_and_of_others_nothing(push_store: PushStore) -> None:
    for app_id in ("gone", "Gone", "gone2"):
        await fill(push_store, app_id)
    whole = await found(push_store, "gone2")
    assert all(whole.values()), whole
    steps = []
    while (deleted := await push_store.delete_app("gone", 7)) or not steps:
        assert deleted <= 7
        steps.append(deleted)
    assert len(steps) >= 5
    assert set(steps[:-1]) == {7}
    assert await found(push_store, "gone") == dict.fromkeys(whole, 0)
    assert await push_store.lock("gone", "l-0", "another", NOW, NOW + 1)
    for app_id in ("Gone", "gone2"):
        assert await found(push_store, app_id) == whole


async def test_an_app_that_has_nothing(push_store: PushStore) -> None:
    assert await push_store.delete_app("nobody", 100) == 0


async def test_the_same_names_may_come_again(push_store: PushStore) -> None:
    await fill(push_store, "gone")
    while await push_store.delete_app("gone", 1000):
        pass
    await accept(push_store, "p-0", app_id="gone")
    await push_store.put_device(a_device("d-0", "t-0", app_id="gone"))
    assert len(await push_store.devices("gone", "", 10)) == 1


async def test_removals_are_noted_until_they_end(push_store: PushStore) -> None:
    assert await push_store.removals() == []
    await push_store.note_removal("b", NOW)
    await push_store.note_removal("a", NOW + 1)
    await push_store.note_removal("b", NOW + 2)
    assert await push_store.removals() == [Removal("a", NOW + 1), Removal("b", NOW)]
    await push_store.end_removal("b")
    await push_store.end_removal("b")
    assert await push_store.removals() == [Removal("a", NOW + 1)]
    await push_store.delete_app("a", 10)
    assert await push_store.removals() == [Removal("a", NOW + 1)]


async def test_notes_outlast_the_process(push_place: PushPlace) -> None:
    async with push_place.open() as store:
        await store.note_removal("gone", NOW)
    if push_place.kind == "memory":
        return
    async with push_place.open() as store:
        assert await store.removals() == [Removal("gone", NOW)]
