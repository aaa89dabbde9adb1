"""Events that become notifications: mapped before they are said, accepted after, bounded (spec: push § 9)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
import structlog

from sockudo import errors
from sockudo.config.push_rules import PayloadMapping, PushRule
from sockudo.errors import CATALOGUE, SockudoError
from sockudo.inspector import Inspector
from sockudo.push.diagnosis.advice import note_refused, refused_lately
from sockudo.push.records import Payload
from sockudo.push.rules import EventRules, mapped
from sockudo.push.service import Push
from unit.push.nodes import Desk

RULE = PushRule(channel_pattern="parcel-*", event_filter=("shipped",), rate_limit_per_second=3)
DATA = {"title": "Shipped", "body": "Your parcel", "data": {"no": 1}, "eta": 5}


class Site:
    """Rules over the service; without ``on`` push is off."""

    def __init__(self, *rules: PushRule, on: bool = True) -> None:
        self.desk = Desk()
        self.inspector = Inspector(self.desk.clock.time)
        refused = partial(note_refused, self.inspector)
        self.rules = EventRules(self._push, rules or (RULE,), self.desk.clock, refused)
        self.on = on

    def _push(self) -> Push | None:
        return self.desk.push if self.on else None

    async def said(self, *channels: str, name: str = "shipped", data: Any = None, wanted: object = None) -> None:
        """An event that is said in between."""
        told = await self.rules.before("app", name, DATA if data is None else data, channels or ("parcel-1",), wanted)
        self.rules.after(told)
        await self.rules.background.idle()

    async def published(self) -> list[tuple[list[str | None], Payload]]:
        intents = await self.desk.store.intents("app", "", 100)
        return [([target.channel for target in intent.targets], intent.payload) for intent in intents]


# ---- the mapping ----


@pytest.mark.parametrize(
    ("mapping", "data", "payload"),
    [
        ({}, {"title": "t", "body": "b"}, Payload(title="t", body="b", template_data={})),
        ({}, '{"title":"t","body":"b"}', Payload(title="t", body="b", template_data={})),
        # What is left goes under the field, also when it has one of that name.
        ({}, DATA, Payload(title="Shipped", body="Your parcel", template_data={"data": {"data": {"no": 1}, "eta": 5}})),
        ({"include_remaining_fields": False}, DATA, Payload(title="Shipped", body="Your parcel", template_data={})),
        (
            {"title_field": "t", "body_field": "b", "template_data_field": "rest"},
            {"t": "x", "b": "y", "title": "z"},
            Payload(title="x", body="y", template_data={"rest": {"title": "z"}}),
        ),
    ],
)
def test_what_a_rule_makes_of_data(mapping: dict[str, Any], data: Any, payload: Payload) -> None:
    rule = PushRule(channel_pattern="*", event_filter=("e",), payload_mapping=PayloadMapping(**mapping))
    assert mapped(rule, data) == payload


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"title": "t"}, "push rule for 'parcel-*': the event's data must have a string 'body'"),
        ({"title": 1, "body": "b"}, "push rule for 'parcel-*': the event's data must have a string 'title'"),
        ({"title": None, "body": "b"}, "push rule for 'parcel-*': the event's data must have a string 'title'"),
        ("plain planted text", "push rule for 'parcel-*': the event's data must be a JSON object"),
        ("[1]", "push rule for 'parcel-*': the event's data must be a JSON object"),
        ("[" * 100_000, "push rule for 'parcel-*': the event's data must be a JSON object"),
        ([DATA], "push rule for 'parcel-*': the event's data must be a JSON object"),
        (7, "push rule for 'parcel-*': the event's data must be a JSON object"),
    ],
)
async def test_data_that_does_not_fit_fails_the_event(data: Any, text: str) -> None:
    for on in (True, False):
        site = Site(on=on)
        with pytest.raises(SockudoError) as caught:
            await site.said(data=data)
        assert (caught.value.spec, caught.value.text) == (errors.INVALID_INPUT, text)
        assert await site.published() == []


# ---- which events ----


def test_only_events_that_some_rule_means_are_looked_at() -> None:
    off = PushRule(channel_pattern="*", event_filter=("never",), enabled=False)
    rules = EventRules(lambda: None, (RULE, off), Desk().clock, lambda *_: None)
    assert rules.events == {"shipped"}
    rules.configure(())
    assert rules.events == frozenset()


async def test_each_rule_and_channel_that_matches_is_a_publish_of_its_own() -> None:
    site = Site(RULE, PushRule(channel_pattern="*", event_filter=("other", "shipped")))
    await site.said("parcel-1", "news")
    published = await site.published()
    assert sorted(targets for targets, _ in published) == [["news"], ["parcel-1"], ["parcel-1"]]
    await site.said("parcel-1", name="unknown", data="plain")
    assert len(await site.published()) == 3


async def test_nothing_is_accepted_before_the_event_was_said() -> None:
    site = Site()
    await site.rules.before("app", "shipped", DATA, ("parcel-1",), None)
    await site.rules.background.idle()
    assert await site.published() == []


async def test_a_rule_has_its_own_rate_for_each_app() -> None:
    site = Site(RULE, PushRule(channel_pattern="parcel-*", event_filter=("sent",), rate_limit_per_second=3))
    await site.said("parcel-1", "parcel-2", "news")
    with pytest.raises(SockudoError) as caught:
        await site.said("parcel-1", "parcel-2")
    assert (caught.value.spec, caught.value.retry_after) == (errors.PUSH_RATE_LIMITED, 1)
    assert caught.value.text.startswith("push rule for 'parcel-*' exceeded: more than 3 notifications")
    # It took nothing: one more still fits.
    await site.said("parcel-3")
    await site.said("parcel-1", name="sent")
    await site.rules.before("other", "shipped", DATA, ("parcel-1",), None)
    site.desk.clock.advance(1)
    await site.said("parcel-1")
    assert len(await site.published()) == 5
    assert site.desk.push.counters.counts["rate_dropped_total", ("app",)] == 2


async def test_rules_are_not_held_to_the_acceptance_rate() -> None:
    site = Site()
    site.desk.push.options = Desk(acceptance_rps=1).options
    await site.said("parcel-1", "parcel-2")
    await site.said("news", wanted={"title": "x"})
    assert len(await site.published()) == 3


# ---- in the background ----


async def test_failures_in_the_background_are_logged_without_what_was_said() -> None:
    site = Site()
    site.desk.ready = {}
    with structlog.testing.capture_logs() as lines:
        await site.said(data={"title": "planted-title", "body": "planted-body"})
    [line] = lines
    assert line["event"] == "a notification of a rule is not sent"
    assert (line["app_id"], line["error"]) == ("app", "credential_missing")
    assert "planted" not in repr(lines)
    off = Site(on=False)
    with structlog.testing.capture_logs() as lines:
        await off.said()
    assert [line["error"] for line in lines] == ["push_disabled"]


async def test_a_refusal_in_the_background_is_found_by_who_asks_why() -> None:
    site = Site()
    site.desk.ready = {}
    await site.said("parcel-7", data={"title": "planted-title", "body": "planted-body"})
    [told] = refused_lately(site.inspector.problems, "app")
    assert (told["code"], told["count"], told["remedy"]) == (
        "credential_missing",
        1,
        CATALOGUE["credential_missing"].remedy,
    )
    [group] = site.inspector.problems.groups("app")
    [entry] = group.last
    assert (entry.kind, entry.channel, entry.status) == ("push_refused", "parcel-7", 503)
    assert "planted" not in repr(entry)
    assert refused_lately(site.inspector.problems, "another") == []


async def test_what_does_not_fit_is_dropped_and_counted() -> None:
    site = Site(PushRule(channel_pattern="*", event_filter=("shipped",), rate_limit_per_second=10**6))
    site.rules.background._capacity = 2
    with structlog.testing.capture_logs() as lines:
        told = await site.rules.before("app", "shipped", DATA, [f"c{number}" for number in range(5)], None)
        site.rules.after(told)
        await site.rules.background.idle()
    assert len(await site.published()) == 2
    assert site.rules.background.dropped == 3
    assert site.desk.push.counters.counts["rate_dropped_total", ("app",)] == 3
    dropped = [line for line in lines if line["event"].startswith("notifications of rules are dropped")]
    assert [line["dropped"] for line in dropped] == [1, 2]
    [told] = refused_lately(site.inspector.problems, "app")
    assert (told["code"], told["count"]) == ("push_backpressure", 3)


async def test_closing_lets_what_waits_be_accepted() -> None:
    site = Site(PushRule(channel_pattern="*", event_filter=("shipped",), rate_limit_per_second=10**6))
    told = await site.rules.before("app", "shipped", DATA, [f"c{number}" for number in range(50)], None)
    site.rules.after(told)
    await site.rules.close()
    assert len(await site.published()) == 50


async def test_a_store_that_hangs_does_not_hold_up_the_end() -> None:
    site = Site()
    hangs = asyncio.Event()

    async def ready(app_id: str) -> Any:
        await hangs.wait()

    site.desk.push.ready = ready
    told = await site.rules.before("app", "shipped", DATA, [f"parcel-{number}" for number in range(2)], None)
    site.rules.after(told)
    async with asyncio.timeout(10):
        await site.rules.background.close(0.01)
    assert await site.published() == []


async def test_a_defect_stops_one_and_not_the_others() -> None:
    site = Site()
    publish = site.desk.push.publish
    broken = [True]

    async def fails_once(*args: Any, **fields: Any) -> Any:
        if broken:
            broken.pop()
            raise RuntimeError("defect")
        return await publish(*args, **fields)

    site.desk.push.publish = fails_once  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as lines:
        await site.said("parcel-1", "parcel-2", "parcel-3")
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["notifications of rules have stopped"]
    assert len(await site.published()) == 2


# ---- extras.push ----


async def test_what_an_event_asks_for_is_accepted_for_each_channel_before_it_is_said() -> None:
    site = Site()
    wanted = {"title": "Hi", "templateData": {"a": 1}, "collapse_key": "k"}
    told = await site.rules.before("app", "any", "plain", ("one", "two"), wanted)
    assert told is None
    payload = Payload(title="Hi", template_data={"a": 1}, collapse_key="k")
    assert sorted(await site.published(), key=repr) == [(["one"], payload), (["two"], payload)]
    keys = await site.desk.queued()
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("wanted", "spec"),
    [
        ("title", errors.WRONG_SHAPE),
        ([], errors.WRONG_SHAPE),
        ({"title": 1}, errors.WRONG_SHAPE),
        ({"title": "t" * 257}, errors.INVALID_INPUT),
        ({"templateId": "nope"}, errors.INVALID_INPUT),
        ({"title": "{{ data.x }}"}, errors.INVALID_INPUT),
        ({"templateData": {"x": "y" * 4200}}, errors.PUSH_PAYLOAD_TOO_LARGE),
    ],
)
async def test_what_cannot_be_sent_fails_the_event(wanted: Any, spec: errors.ErrorSpec) -> None:
    site = Site()
    with pytest.raises(SockudoError) as caught:
        await site.said("one", name="any", wanted=wanted)
    assert caught.value.spec is spec
    assert await site.published() == []


async def test_it_fails_the_event_while_push_is_off() -> None:
    site = Site(on=False)
    with pytest.raises(SockudoError) as caught:
        await site.said("one", wanted={"title": "x"})
    assert caught.value.spec is errors.PUSH_DISABLED
    assert caught.value.text == "push admission unavailable: push providers are disabled"


async def test_rules_and_the_event_itself_may_both_push() -> None:
    site = Site()
    await site.said("parcel-1", wanted={"title": "own"})
    assert sorted(payload.title or "" for _, payload in await site.published()) == ["Shipped", "own"]


# ---- while it runs ----


async def test_other_rules_hold_from_the_next_event_on() -> None:
    site = Site()
    await site.said("parcel-1")
    site.rules.configure([PushRule(channel_pattern="letter-*", event_filter=("posted",))])
    assert site.rules.events == {"posted"}
    await site.said("parcel-1")
    await site.said("letter-1", name="posted")
    assert sorted(channels for channels, _ in await site.published()) == [["letter-1"], ["parcel-1"]]
    site.rules.configure([])
    await site.said("letter-1", name="posted")
    assert len(await site.published()) == 2


async def test_rules_that_stay_the_same_go_on_counting_and_others_begin_anew() -> None:
    site = Site()
    for _ in range(RULE.rate_limit_per_second):
        await site.said("parcel-1")
    site.rules.configure([RULE])
    with pytest.raises(SockudoError) as caught:
        await site.said("parcel-1")
    assert caught.value.spec is errors.PUSH_RATE_LIMITED
    # It has the number of the one before, and not its count.
    site.rules.configure([PushRule(channel_pattern="parcel-1", event_filter=("shipped",), rate_limit_per_second=1)])
    await site.said("parcel-1")
