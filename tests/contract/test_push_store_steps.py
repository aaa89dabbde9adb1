"""Whatever is done to publishes, in whatever order and at once: the store says what a dictionary says."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sockudo.push.lifecycle import Step, StepKind, planned, with_steps
from sockudo.push.outcomes import change_status
from sockudo.push.ports import PushStore
from sockudo.push.records import Counters, OutcomeError, PublishStatus
from support.push_stores import DAY, NOW, accept, an_event

# With the store, which is open for the whole run.
pytestmark = pytest.mark.asyncio(loop_scope="session")

UNTIL = NOW + 7 * DAY
PUBLISHES = ("a", "b")

_USUAL = settings(
    max_examples=int(os.environ.get("SOCKUDO_EXAMPLES", "12")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


_apps = map("app{}".format, count())


class Taking(NamedTuple):
    """Steps of one publish; each is a key and a kind."""

    publish_id: str
    steps: list[tuple[str, Any]]

    def made(self, app_id: str) -> list[Step]:
        return [self._step(app_id, key, kind) for key, kind in self.steps]

    def _step(self, app_id: str, key: str, kind: StepKind) -> Step:
        event = an_event(f"event-{key}", publish_id=self.publish_id, app_id=app_id)
        return Step(key, kind, "fcm", error=_error(kind), event=event)


def _error(kind: str) -> OutcomeError | None:
    return OutcomeError(kind="quota", failure_class="provider_quota") if kind == "rejected" else None


_KINDS = st.sampled_from(["accepted", "rejected", "expired", "cancelled", "retry_scheduled", "retry_exhausted"])
_TAKING = st.builds(
    Taking, st.sampled_from(PUBLISHES), st.lists(st.tuples(st.sampled_from("pqrstuv"), _KINDS), max_size=6)
)


async def _prepared(store: PushStore) -> str:
    """An app with the publishes, planned."""
    app_id = next(_apps)
    for publish_id in PUBLISHES:
        await accept(store, publish_id, app_id)
        await change_status(store, app_id, publish_id, lambda status: planned(status, 5), NOW)
    return app_id


async def _status(store: PushStore, app_id: str, publish_id: str) -> PublishStatus:
    status = await store.status(app_id, publish_id)
    assert status is not None
    return status


@_USUAL
@given(takings=st.lists(_TAKING, max_size=8))
async def test_steps_one_after_another(push_store: PushStore, takings: list[Taking]) -> None:
    """What is taken are the first ones with their key; the status is that of these, in order."""
    app_id = await _prepared(push_store)
    model = {publish_id: await _status(push_store, app_id, publish_id) for publish_id in PUBLISHES}
    known: set[tuple[str, str]] = set()
    for taking in takings:
        steps = taking.made(app_id)
        expected = []
        for step in steps:
            if (taking.publish_id, step.key) not in known:
                known.add((taking.publish_id, step.key))
                expected.append(step)
        before = model[taking.publish_id]
        taken, status = await push_store.take_steps(app_id, taking.publish_id, steps, NOW, UNTIL)
        assert taken == expected
        assert status is not None
        assert _plain(status) == _plain(with_steps(before, expected) if expected else before)
        assert (status.updated_at_ms > before.updated_at_ms) is bool(expected)
        assert status.revision == before.revision + bool(expected)
        model[taking.publish_id] = status
    for publish_id in PUBLISHES:
        assert await _status(push_store, app_id, publish_id) == model[publish_id]
        events = await push_store.events(app_id, publish_id, "", 100)
        assert {event.event_id for event in events} == {f"event-{key}" for of, key in known if of == publish_id}


@_USUAL
@given(takings=st.lists(_TAKING, max_size=10))
async def test_steps_all_at_once(push_store: PushStore, takings: list[Taking]) -> None:
    """No key is taken twice, none is lost, and the counters are those of what was taken."""
    app_id = await _prepared(push_store)
    results = await asyncio.gather(
        *(push_store.take_steps(app_id, each.publish_id, each.made(app_id), NOW, UNTIL) for each in takings)
    )
    for publish_id in PUBLISHES:
        mine = [(each, taken) for each, (taken, _) in zip(takings, results, strict=True)]
        mine = [pair for pair in mine if pair[0].publish_id == publish_id]
        taken = [step for _, steps in mine for step in steps]
        assert Counter(step.key for step in taken) == Counter({key for each, _ in mine for key, _ in each.steps})
        kinds = Counter(step.kind for step in taken)
        assert (await _status(push_store, app_id, publish_id)).counters == Counters(
            planned=5,
            dispatched=kinds["accepted"] + kinds["rejected"] + kinds["expired"],
            succeeded=kinds["accepted"],
            failed=kinds["rejected"],
            expired=kinds["expired"],
            retry_scheduled=kinds["retry_scheduled"],
            dead_lettered=kinds["retry_exhausted"],
        )


def _plain(status: PublishStatus) -> tuple[Any, ...]:
    return status.state, status.counters, status.failures, status.error_reason, status.retry_after_ms
