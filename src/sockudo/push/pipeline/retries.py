"""When a notification that was not taken is sent again (spec: push § 7.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from msgspec.structs import replace

from sockudo.push.delivery import Batch, DeliveryJob, delivery_key
from sockudo.push.messages import Retry
from sockudo.push.pipeline.options import RetryOptions
from sockudo.push.records import OutcomeError

__all__ = ["deadline_ms", "due_ms", "retries"]

_BUCKET_MS: Final = 1000
_UNKNOWN: Final = "unknown"


def retries(
    batch: Batch, failed: Sequence[tuple[DeliveryJob, OutcomeError | None]], options: RetryOptions, now_ms: int
) -> Iterator[Retry]:
    """Those that failed in the same way, and are to wait as long, go together as a batch of the next attempt.

    The same failures make the same batches, with the same ids.
    """
    groups: dict[tuple[str, int | None], list[tuple[DeliveryJob, OutcomeError | None]]] = {}
    for job, error in failed:
        wait = error.retry_after_ms if error is not None and options.respect_retry_after else None
        kind = _UNKNOWN if error is None else error.kind
        groups.setdefault((kind, None if wait is None else wait // _BUCKET_MS), []).append((job, error))
    first, _, name = batch.batch_id.partition("-deferred-")[0].partition("-retry-")
    split = len(groups) > 1 or "." in name or "-deferred-" in batch.batch_id
    for (kind, _), members in groups.items():
        attempt = batch.attempt + 1
        jobs = [job for job, _ in members]
        batch_id = f"{first}-retry-{attempt}"
        if split:
            # Told from the others by whom it has.
            batch_id = f"{batch_id}.{delivery_key(batch, jobs[0])[:16]}"
        again = replace(batch, batch_id=batch_id, jobs=jobs, attempt=attempt, not_before_ms=None)
        waits = [error.retry_after_ms for _, error in members if error is not None and error.retry_after_ms is not None]
        asked = max(waits, default=None) if options.respect_retry_after else None
        yield Retry(batch=again, reason=kind, due_at_ms=due_ms(again, asked, options, now_ms))


def due_ms(batch: Batch, asked_ms: int | None, options: RetryOptions, now_ms: int) -> int:
    """When ``batch``, whose attempt is the next one, is to be sent; ``asked_ms`` is what the provider asks for.

    One over the number of attempts is due at once, to be given up.
    """
    if batch.attempt > options.max_attempts:
        return now_ms
    if asked_ms is not None:
        # Never earlier than the provider says.
        wait = max(0, asked_ms - now_ms)
        wait += int(wait * options.jitter_percent / 100 * _fraction(batch))
    else:
        wait = min(options.initial_backoff_ms * 2 ** (batch.attempt - 2), options.max_backoff_ms)
        wait += int(wait * options.jitter_percent / 100 * (2 * _fraction(batch) - 1))
        wait = min(wait, options.max_backoff_ms)
    return min(now_ms + wait, max(now_ms, deadline_ms(batch, options, now_ms)))


def deadline_ms(batch: Batch, options: RetryOptions, now_ms: int) -> int:
    """After which it is not sent again."""
    begun = now_ms if batch.first_attempt_at_ms is None else batch.first_attempt_at_ms
    end = begun + options.max_elapsed_ms
    return end if batch.expires_at_ms is None else min(end, batch.expires_at_ms)


def _fraction(batch: Batch) -> float:
    """From 0 to 1, the same for the same batch and attempt."""
    text = f"{batch.app_id}\0{batch.publish_id}\0{batch.batch_id}\0{batch.attempt}"
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") / 0xFFFFFFFF
