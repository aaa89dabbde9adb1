"""What a channel has kept is shown, and where it cannot be shown, why."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from sockudo import errors
from sockudo.base.stream_records import Append
from sockudo.config.apps import History as HistoryOverride
from sockudo.dashboard.channels.past import history_page, presence_page, read_past, shown_messages
from sockudo.errors import SockudoError
from sockudo.history import History, HistoryOptions
from support.desk import board_of
from support.durable import UnrulyStore, refuse
from support.edge import EdgeNode
from support.inside import live_app


class Site(EdgeNode):
    """A node with an app that keeps a history."""

    def __init__(self) -> None:
        super().__init__(live_app("kept", history=HistoryOverride(enabled=True)), live_app("plain"))
        self.store = UnrulyStore()
        self.history = History(self.store, self.clock, HistoryOptions(max_page_size=3))  # type: ignore[arg-type]
        self.components.history.put(self.history)

    async def say(self, **frame: object) -> None:
        text = json.dumps({"event": "said", "channel": "news", "message_id": "m", **frame}).encode()
        await self.history.submit(Append("kept", "news", text, "m", "said", 1000), lambda _: None)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    node = Site()
    await node.history.start()
    yield node
    await node.history.close()


async def test_messages_are_shown_with_what_else_their_frames_have(site: Site) -> None:
    await site.say(data='{"a":"<b>"}', tags={"kind": "x"})
    await site.say(data="plain")
    past = await read_past(board_of(site), site.app, "news", {}, presence=False)
    assert past.error is None
    assert past.page is not None
    assert past.stream is not None
    assert past.stream["state"]["durable_state"] == "healthy"
    second, first = shown_messages(past.page)
    assert (first.serial, first.data, second.data, second.rest) == (1, '{\n  "a": "<b>"\n}', "plain", "")
    assert json.loads(first.rest) == {"tags": {"kind": "x"}}


async def test_a_message_that_is_no_frame_is_shown_as_it_is() -> None:
    item = {
        "message": msgspec.Raw(b"[1,"),
        "serial": 1,
        "published_at_ms": 0,
        "event_name": None,
        "message_id": None,
        "payload_size_bytes": 3,
    }
    [shown] = shown_messages({"items": [item]})
    assert (shown.data, shown.event, shown.rest) == ("[1,", "", "")


async def test_a_degraded_stream_says_so_beside_its_state(site: Site) -> None:
    await site.say(data="x")
    await site.store.inner.mark("kept", "news", "degraded", "disk full", None, 0)
    past = await read_past(board_of(site), site.app, "news", {}, presence=False)
    assert past.page is None
    assert past.error is not None
    assert past.error.spec is errors.HISTORY_DEGRADED
    assert past.stream is not None
    assert (past.stream["state"]["durable_state"], past.stream["state"]["reason"]) == ("degraded", "disk full")


async def test_a_store_that_does_not_answer_is_waited_for_once(site: Site) -> None:
    site.store.plan("read", refuse())
    past = await read_past(board_of(site), site.app, "news", {}, presence=False)
    assert past.page is None
    assert past.error is not None
    assert past.error.spec is errors.HISTORY_UNAVAILABLE
    assert past.stream is None


@pytest.mark.parametrize(
    ("app_id", "channel", "spec"),
    [
        ("plain", "news", errors.HISTORY_DISABLED),
        ("kept", "[presence-history]presence-x", errors.CHANNEL_NAME),
        ("kept", "a b", errors.CHANNEL_NAME),
    ],
)
async def test_what_has_no_history_is_refused(site: Site, app_id: str, channel: str, spec: errors.ErrorSpec) -> None:
    app = site.apps.by_id(app_id)
    assert app is not None
    with pytest.raises(SockudoError) as refusal:
        await history_page(site.edge, app, channel, {})
    assert refusal.value.spec is spec


@pytest.mark.parametrize(("channel", "spec"), [("news", errors.INVALID_INPUT), ("presence-x", errors.FEATURE_DISABLED)])
async def test_what_has_no_presence_history_is_refused(site: Site, channel: str, spec: errors.ErrorSpec) -> None:
    with pytest.raises(SockudoError) as refusal:
        await presence_page(board_of(site), site.app, channel, {})
    assert refusal.value.spec is spec


async def test_a_history_that_is_not_open_yet_is_told(site: Site) -> None:
    site.components.history.put(None)
    past = await read_past(board_of(site), site.app, "news", {}, presence=False)
    assert past.error is not None
    assert past.error.spec is errors.HISTORY_UNAVAILABLE
    assert past.stream is None
