"""What of an endpoint's claims goes into the next request: channels in order, joined as far as they may be."""

from __future__ import annotations

from sockudo.jobs.ports import Job, Lease
from sockudo.webhooks.backlog import Backlog
from sockudo.webhooks.queue import Claim
from sockudo.webhooks.requests import body_of
from unit.webhooks.parts import a_delivery


def a_claim(name: str, channel: str, *, events: int = 1, alone: bool = False) -> Claim:
    body = body_of(1, [b'{"name":"n"}'] * events)
    delivery = a_delivery(name, channel=channel, body=body, events=events, alone=alone)
    return Claim(delivery, Lease(Job("waiting", name, "app", b""), name, "token", 1, 0), [])


def ids(claims: list[Claim]) -> list[str]:
    return [claim.delivery.id for claim in claims]


def backlog(*claims: Claim) -> Backlog:
    made = Backlog()
    made.waiting += claims
    return made


def test_deliveries_are_joined_up_to_the_size() -> None:
    of = backlog(a_claim("1", "a", events=2), a_claim("2", "b", events=2), a_claim("3", "c"), a_claim("4", "d"))
    assert ids(of.next(5)) == ["1", "2", "3"]
    assert ids(of.next(5)) == ["4"]
    assert of.under_way == 2


def test_one_that_is_larger_than_the_size_goes_alone() -> None:
    of = backlog(a_claim("1", "a", events=9), a_claim("2", "b"))
    assert ids(of.next(5)) == ["1"]


def test_what_goes_alone_is_not_joined() -> None:
    of = backlog(a_claim("1", "a"), a_claim("2", "b", alone=True), a_claim("3", "c"))
    assert ids(of.next(5)) == ["1", "3"]
    assert ids(of.next(5)) == ["2"]


def test_a_channel_has_one_request_at_a_time() -> None:
    of = backlog(a_claim("1", "a"), a_claim("2", "b"))
    first = of.next(1)
    of.waiting.insert(0, a_claim("3", "a"))
    assert ids(of.next(1)) == ["2"]
    assert of.next(1) == []
    assert of.ended(first, arrived=True) == []
    assert ids(of.next(1)) == ["3"]


def test_what_waits_behind_a_refused_request_is_no_longer_next() -> None:
    of = backlog(a_claim("1", "a"), a_claim("2", "b"))
    first = of.next(1)
    of.waiting.append(a_claim("3", "a"))
    assert ids(of.ended(first, arrived=False)) == ["3"]
    assert ids(of.empty()) == ["2"]
