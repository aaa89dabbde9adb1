"""Spans of what is sent: one for each time that a batch goes to its provider."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from sockudo.base.spans import Attributes, Span, Tracer
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Job
from sockudo.push.delivery import Batch
from sockudo.push.pipeline.sending import Sending
from sockudo.push.recipients import ROUTE_NAMES

__all__ = ["run_traced"]

_OTHER: Final = "_OTHER"


async def run_traced(tracer: Tracer, batch: Batch, sending: Sending) -> list[Job]:
    """See `Sending.run`. The span is a part of the request that published, however much later this is, and also in
    another process.

    It tells how many recipients came to what, and nothing of any of them. The provider is not told of the trace.
    """
    span = tracer.start("send push batch", "client", _about(batch), cause=batch.trace)
    error: str | None = _OTHER
    try:
        messages = await sending.run()
        error = None
    except SockudoError as problem:
        error = problem.spec.slug
        raise
    except asyncio.CancelledError:
        error = "cancelled"
        raise
    finally:
        _end(span, batch, sending, error)
    return messages


def _end(span: Span, batch: Batch, sending: Sending, error: str | None) -> None:
    outcomes = Counter(f"sockudo.push.{sent.outcome}" for sent in sending.sent)
    failures = Counter(sent.error.kind for sent in sending.sent if sent.error is not None)
    left = len(batch.jobs) - len(sending.sent)
    told = {**outcomes, "sockudo.push.deferred": left} if left else dict(outcomes)
    if error is not None:
        span.end(told, error=error)
    elif failures:
        span.end(told, error=failures.most_common(1)[0][0], failed=not outcomes["sockudo.push.accepted"])
    else:
        span.end(told)


def _about(batch: Batch) -> Attributes:
    provider = ROUTE_NAMES[batch.provider]
    return {
        "messaging.system": "sockudo",
        "messaging.destination.name": f"push.{provider}",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": batch.publish_id,
        "messaging.batch.message_count": len(batch.jobs),
        "sockudo.app_id": batch.app_id,
        "sockudo.push.provider": provider,
        "sockudo.push.batch_id": batch.batch_id,
        "sockudo.push.attempt": batch.attempt,
    }
