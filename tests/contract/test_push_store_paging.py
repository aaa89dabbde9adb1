"""Lists of every push store are walked in the order of their positions, and have every row once (spec: push § 1)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.places import walked
from sockudo.push.paging import (
    dead_letter_position,
    event_position,
    intent_position,
    subscription_position,
    time_position,
)
from sockudo.push.ports import PushStore
from support.push_stores import (
    NOW,
    a_device,
    a_letter,
    a_subscription,
    an_event,
    an_intent,
)

# With the store, which is open for the whole run.
pytestmark = pytest.mark.asyncio(loop_scope="session")

# Names that sort in another way as tuples, without their case, or with what comes after them as blanks.
_NAMES = st.text(st.sampled_from("aA1:- ~é\x01Ω"), min_size=1, max_size=4)
_TIMES = st.sampled_from([0, NOW - 1, NOW, NOW + 1])

_USUAL = settings(
    max_examples=int(os.environ.get("SOCKUDO_EXAMPLES", "12")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_apps = map("app{}".format, count())

Page = Callable[[str, int], Awaitable[list[Any]]]


async def both_ways(page: Page, position: Callable[[Any], str]) -> list[Any]:
    """All of a list, which is the same whatever the limit."""
    found = await walked(page, position, 1)
    assert await walked(page, position, 5) == found
    assert await page("", 1000) == found
    return found


async def test_channels_of_which_one_begins_like_the_other(push_store: PushStore) -> None:
    """``chan-1`` is before ``chan-11``, and ``chan-11:d`` before ``chan-1:d``."""
    for channel in ("chan-1", "chan-11", "chan-1:d", "chan"):
        for device_id in ("d", "d:d", "e"):
            await push_store.put_subscription(a_subscription(channel, device_id))

    async def page(after: str, limit: int) -> list[Any]:
        return await push_store.subscriptions("app", after=after, limit=limit)

    found = await both_ways(page, subscription_position)
    positions = [f"{each.channel}:{each.device_id}" for each in found]
    assert positions == sorted(positions)
    assert len({(each.channel, each.device_id) for each in found}) == 12
    assert positions.index("chan-11:e") < positions.index("chan-1:e")
    assert positions.count("chan-1:d:d") == 2


async def test_a_position_without_its_channel_goes_on_behind_it(push_store: PushStore) -> None:
    await push_store.put_subscription(a_subscription("a:b", "c"))
    await push_store.put_subscription(a_subscription("a", "b:c"))
    await push_store.put_subscription(a_subscription("a", "b:d"))
    found = await push_store.subscriptions("app", after="a:b:c\0a:b", limit=10)
    assert [each.device_id for each in found] == ["b:d"]


@_USUAL
@given(names=st.lists(st.tuples(_NAMES, _NAMES), max_size=10, unique=True))
async def test_every_subscription_is_found_once(push_store: PushStore, names: list[tuple[str, str]]) -> None:
    """Whatever channels and devices are called, a walk has every one, in the order of the positions."""
    app_id = next(_apps)
    await asyncio.gather(*(push_store.put_subscription(a_subscription(*name, app_id)) for name in names))

    def page(after: str, limit: int, **of: str) -> Awaitable[list[Any]]:
        return push_store.subscriptions(app_id, after=after, limit=limit, **of)

    found = await both_ways(page, subscription_position)
    expected = sorted(names, key=lambda name: (f"{name[0]}:{name[1]}", name[0]))
    assert [(each.channel, each.device_id) for each in found] == expected
    for channel in {channel for channel, _ in names}:
        found = await both_ways(partial(page, channel=channel), partial(subscription_position, channel=channel))
        assert [each.device_id for each in found] == sorted(d for c, d in names if c == channel)
    for device_id in {device_id for _, device_id in names}:
        found = await both_ways(partial(page, device_id=device_id), partial(subscription_position, device_id=device_id))
        assert [each.channel for each in found] == sorted(c for c, d in names if d == device_id)
    channels = await both_ways(partial(push_store.subscribed_channels, app_id), str)
    assert channels == sorted({channel for channel, _ in names})


@_USUAL
@given(rows=st.lists(st.tuples(_TIMES, _NAMES), max_size=10, unique_by=lambda row: row[1]))
async def test_every_record_of_a_time_is_found_once(push_store: PushStore, rows: list[tuple[int, str]]) -> None:
    """Whatever the ids, lists sorted by time have every record once, in the order of the positions."""
    app_id = next(_apps)
    await asyncio.gather(
        *(push_store.put_device(a_device(name, app_id=app_id)) for _, name in rows),
        *(push_store.append_log(an_intent(name, app_id, at)) for at, name in rows),
        push_store.append_events([an_event(name, at, app_id=app_id) for at, name in rows]),
        push_store.append_dead_letters([a_letter(name, at, app_id=app_id) for at, name in rows]),
    )
    every = {"provider": None, "since_ms": None, "until_ms": None}

    async def letters(after: str, limit: int) -> list[Any]:
        return await push_store.dead_letters(app_id, after=after, limit=limit, **every)  # type: ignore[arg-type]

    lists: list[tuple[Page, Callable[[Any], str]]] = [
        (partial(push_store.intents, app_id), intent_position),
        (partial(push_store.events, app_id, "ship"), event_position),
        (letters, dead_letter_position),
    ]
    expected = sorted(time_position(at, name) for at, name in rows)
    for page, position in lists:
        assert list(map(position, await both_ways(page, position))) == expected
    devices = await both_ways(partial(push_store.devices, app_id), attrgetter("id"))
    assert [device.id for device in devices] == sorted(name for _, name in rows)


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_what_comes_in_between_changes_nothing_about_the_rest(push_store: PushStore, limit: int) -> None:
    """A walk has every row that was there from the first to the last page."""
    for number in range(0, 20, 2):
        await push_store.put_device(a_device(f"d{number:02d}"))

    async def page(after: str, limit: int) -> list[Any]:
        found = await push_store.devices("app", after, limit)
        for device in found:
            if len(device.id) == 3:
                await push_store.put_device(a_device(f"{device.id}x"))
            await push_store.delete_device("app", device.id)
        return found

    found = [device.id for device in await walked(page, attrgetter("id"), limit) if not device.id.endswith("x")]
    assert found == [f"d{number:02d}" for number in range(0, 20, 2)]
