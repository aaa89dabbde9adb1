"""Joining deliveries into one request, and what a refusal of it means for each."""

from __future__ import annotations

import msgspec
import pytest

from sockudo.webhooks.earlier import by_channel
from sockudo.webhooks.records import Answer, Delivery
from sockudo.webhooks.requests import body_of, is_joinable, joined, outcomes_of
from unit.webhooks.parts import a_delivery, endpoints_of

[ENDPOINT] = endpoints_of({}).endpoints


def told(name: str, *channels: str, time_ms: int = 5, **fields: object) -> Delivery:
    events = [msgspec.json.encode({"name": name, "channel": channel}) for channel in channels]
    about = {"channel": channels[0], "body": body_of(time_ms, events), "events": len(events), **fields}
    return a_delivery(name, **about)  # type: ignore[arg-type]


def test_all_events_are_in_the_joined_request_in_order() -> None:
    whole = joined([told("1", "a", "a", time_ms=7), told("2", "b", time_ms=3)])
    body = msgspec.json.decode(whole.body)
    assert body["time_ms"] == 3
    assert [(event["name"], event["channel"]) for event in body["events"]] == [("1", "a"), ("1", "a"), ("2", "b")]
    assert (whole.events, whole.channel) == (3, "")
    assert whole.id not in ("1", "2")
    assert joined([told("1", "a"), told("2", "a")]).channel == "a"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"time_ms":x,"events":[]}', b'{"time_ms":1,"events":[]'])
def test_a_body_of_another_form_is_sent_as_it_is(body: bytes) -> None:
    assert not is_joinable(a_delivery("1", body=body))


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_of_several_channels_is_tried_one_by_one_and_counts_for_none(status: int) -> None:
    some = [told(str(number), f"room-{number}") for number in range(50)]
    outcomes = outcomes_of(ENDPOINT, some, Answer(status), 10, 20)
    assert {(each.state, each.attempt, each.alone) for each in outcomes} == {("waiting", None, True)}
    dues = [each.due_at_ms for each in outcomes]
    assert min(dues) >= 20
    assert max(dues) < 1020
    assert len(set(dues)) > 40, "spread, so that those that fail do not stand beside each other"


def test_without_an_answer_all_of_them_have_failed() -> None:
    outcomes = outcomes_of(ENDPOINT, [told("1", "a"), told("2", "b")], Answer(None, "timeout"), 10, 20)
    assert [each.state for each in outcomes] == ["waiting", "waiting"]
    assert all(each.attempt is not None and each.attempt.problem == "timeout" for each in outcomes)


def test_of_one_channel_the_first_is_the_one_that_was_refused() -> None:
    outcomes = outcomes_of(ENDPOINT, [told("1", "a"), told("2", "a")], Answer(500), 10, 20)
    assert [each.attempt is None for each in outcomes] == [False, True]
    assert all(each.alone for each in outcomes)


def test_a_delivery_of_several_channels_becomes_one_for_each() -> None:
    first, second = by_channel(told("1", "a", "b", "a"))
    assert [event["channel"] for event in msgspec.json.decode(first.body)["events"]] == ["a", "a"]
    assert (first.id, first.channel, first.events) == ("1", "a", 2)
    assert (second.id, second.channel, second.events) == ("1-1", "b", 1)
