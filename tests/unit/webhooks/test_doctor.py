"""What the doctor makes of the webhooks of an app: the state of its queue, and the answers of its endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.webhooks import doctor as webhooks
from sockudo.webhooks.doctor import Tried
from sockudo.webhooks.records import Answer as EndpointAnswer


def endpoint(**changes: Any) -> dict[str, Any]:
    counts = {"waiting": 0, "in_flight": 0, "delivered": 5, "dead": 0} | changes.pop("counts", {})
    return {"id": "5f0c", "url": "https://hooks.test", "state": "ok", "last_answer": None, "counts": counts} | changes


def overview(*endpoints: Any, ignored: Any = (), **queue: Any) -> dict[str, Any]:
    whole = {"healthy": True, "events_not_queued": 0, "events_lost": 0}
    return {"endpoints": list(endpoints), "ignored": list(ignored), "queue": whole | queue}


def test_a_queue_that_does_well() -> None:
    (found,) = webhooks.judge_overview(overview(endpoint(), endpoint()))
    assert (found.state, found.facts) == ("ok", {"waiting": 0, "delivered": 10, "dead": 0})
    assert webhooks.judge_overview(overview())[0].seen == "the app has no webhooks"


@pytest.mark.parametrize(
    ("told", "state", "words"),
    [
        (overview(healthy=False), "problem", "the webhook queue fails"),
        (overview(events_lost=3), "problem", "3 events were lost"),
        (overview(ignored=["policy.webhooks[0] is odd"]), "warning", "is odd"),
        (overview(endpoint(counts={"dead": 2})), "warning", "2 deliveries were given up"),
        (overview(endpoint(counts={"waiting": 1001})), "warning", "1,001 deliveries wait"),
        (
            overview(endpoint(state="held_back", last_answer={"status": 500, "advice": "See."})),
            "problem",
            "fails (500)",
        ),
        (
            overview(endpoint(state="failing", last_answer={"status": None, "problem": "timeout"})),
            "problem",
            "(timeout)",
        ),
    ],
)
def test_a_queue_that_does_not(told: dict[str, Any], state: str, words: str) -> None:
    (found,) = webhooks.judge_overview(told)
    assert (found.state, words in found.seen, bool(found.advice)) == (state, True, True), found


TAKEN, REFUSED = EndpointAnswer(200, took_ms=5), EndpointAnswer(401, took_ms=5)


@pytest.mark.parametrize(
    ("signed", "forged", "state", "words"),
    [
        (TAKEN, REFUSED, "ok", "refuses a wrong signature"),
        (TAKEN, TAKEN, "warning", "wrong signature"),
        (EndpointAnswer(200, took_ms=2500), REFUSED, "warning", "needs 2,500 ms"),
        (EndpointAnswer(401), None, "problem", "answers 401 to a signed event"),
        (EndpointAnswer(302), None, "problem", "answers 302"),
        (EndpointAnswer(None, "timeout"), None, "problem", "not reached from here: timeout"),
        (EndpointAnswer(None, "address_refused"), None, "not_checked", "private address"),
    ],
)
def test_endpoints(signed: EndpointAnswer, forged: EndpointAnswer | None, state: str, words: str) -> None:
    found = webhooks.judge_trial(Tried("https://hooks.test", signed, forged))
    assert (found.state, words in found.seen) == (state, True), found
    assert bool(found.advice) == (state != "ok")
