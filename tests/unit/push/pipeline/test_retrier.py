""""""

from __future__ import annotations

import msgspec
import pytest

from sockudo.config.sections.push import PushRetry
from sockudo.push.delivery import Batch, DeliveryJob, delivery_key
from sockudo.push.pipeline.retrier import deadline_ms, due_ms, retries
from sockudo.push.recipients import FcmRecipient
from sockudo.push.records import OutcomeError

_NOW = 1_800_000_000_000
_PLAIN = PushRetry(jitter_ratio_percent=0)


def _batch(batch_id: str = "fast-batch-fcm-1", attempt: int = 1, jobs: int = 3, **more: int) -> Batch:
    return Batch(
        app_id="app",
        publish_id="publish",
        provider="fcm",
        batch_id=batch_id,
        payload=msgspec.Raw(b"{}"),
        jobs=[DeliveryJob(FcmRecipient(f"token-{number}"), f"device-{number}") for number in range(jobs)],
        attempt=attempt,
        first_attempt_at_ms=_NOW,
        **more,
    )


def _error(kind: str = "unavailable", retry_after_ms: int | None = None) -> OutcomeError:
    return OutcomeError(kind=kind, failure_class="provider_transient", retry_after_ms=retry_after_ms)


@pytest.mark.parametrize(("attempt", "wait"), [(2, 1000), (3, 2000), (4, 4000), (7, 32_000), (8, 60_000), (50, 60_000)])
def test_pauses_double_up_to_the_longest(attempt: int, wait: int) -> None:
    options = PushRetry(max_attempts=100, jitter_ratio_percent=0)
    assert due_ms(_batch(attempt=attempt), None, options, _NOW) == _NOW + wait


def test_jitter_goes_both_ways_but_never_before_what_the_provider_asks_for() -> None:
    options = PushRetry(max_attempts=100)
    waits = [due_ms(_batch(f"b-{n}", 2), None, options, _NOW) - _NOW for n in range(200)]
    assert 800 <= min(waits) < 900
    assert 1100 < max(waits) <= 1200
    asked = [due_ms(_batch(f"b-{n}", 2), _NOW + 10_000, options, _NOW) - _NOW for n in range(200)]
    assert 10_000 <= min(asked) < 10_500
    assert 11_500 < max(asked) <= 12_000
    again = due_ms(_batch("b-0", 2), _NOW + 10_000, options, _NOW) - _NOW
    assert again == asked[0]


def test_nothing_waits_beyond_its_expiry_or_its_age() -> None:
    assert due_ms(_batch(attempt=2, expires_at_ms=_NOW + 300), None, _PLAIN, _NOW) == _NOW + 300
    young = PushRetry(max_elapsed_secs=0.5, jitter_ratio_percent=0)
    assert due_ms(_batch(attempt=2), _NOW + 10_000, young, _NOW) == _NOW + 500
    assert deadline_ms(_batch(), young, _NOW + 90) == _NOW + 500


def test_one_attempt_too_many_is_due_at_once() -> None:
    assert due_ms(_batch(attempt=6), _NOW + 10_000, _PLAIN, _NOW) == _NOW


def test_a_provider_is_not_asked_when_it_says_if_that_is_switched_off() -> None:
    options = PushRetry(jitter_ratio_percent=0, respect_retry_after=False)
    batch = _batch(jobs=1)
    (retry,) = retries(batch, [(batch.jobs[0], _error(retry_after_ms=_NOW + 50_000))], options, _NOW)
    assert retry.due_at_ms == _NOW + 1000


def test_those_that_failed_alike_stay_together() -> None:
    batch = _batch()
    (retry,) = retries(batch, [(job, _error()) for job in batch.jobs], _PLAIN, _NOW)
    assert (retry.batch.batch_id, retry.batch.attempt, retry.reason) == ("fast-batch-fcm-1-retry-2", 2, "unavailable")
    assert retry.batch.jobs == batch.jobs
    (third,) = retries(retry.batch, [(job, _error()) for job in batch.jobs], _PLAIN, _NOW)
    assert third.batch.batch_id == "fast-batch-fcm-1-retry-3"


def test_those_that_did_not_have_ids_that_never_meet_again() -> None:
    batch = _batch(jobs=4)
    errors = [_error(), _error("quota", _NOW + 5000), _error("quota", _NOW + 5300), _error("quota", _NOW + 60_000)]
    first = list(retries(batch, list(zip(batch.jobs, errors, strict=True)), _PLAIN, _NOW))
    assert [len(each.batch.jobs) for each in first] == [1, 2, 1]
    assert first[1].due_at_ms == _NOW + 5300
    seconds = [
        again
        for each in first
        for again in retries(each.batch, [(job, _error()) for job in each.batch.jobs], _PLAIN, _NOW)
    ]
    ids = [each.batch.batch_id for each in (*first, *seconds)]
    assert len(set(ids)) == len(ids)
    keys = {delivery_key(batch, job) for job in batch.jobs}
    assert {delivery_key(each.batch, job) for each in seconds for job in each.batch.jobs} == keys


def test_the_rest_of_a_batch_that_was_put_off_has_retries_of_its_own() -> None:
    batch, rest = _batch(), _batch("fast-batch-fcm-1-deferred-17")
    (one,) = retries(batch, [(batch.jobs[0], _error())], _PLAIN, _NOW)
    (other,) = retries(rest, [(batch.jobs[1], _error())], _PLAIN, _NOW)
    assert one.batch.batch_id != other.batch.batch_id
    assert delivery_key(rest, batch.jobs[1]) == delivery_key(batch, batch.jobs[1])
