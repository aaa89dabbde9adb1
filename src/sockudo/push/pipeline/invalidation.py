"""A warning when suspiciously many tokens of one publish are dead at once (spec: push § 7.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import structlog

from sockudo.push.delivery import Batch
from sockudo.push.lifecycle import Step
from sockudo.push.meta import meta_event
from sockudo.push.pipeline.works import Works
from sockudo.push.recipients import ROUTE_NAMES
from sockudo.push.records import PublishStatus

__all__ = ["guard"]

_LEAST: Final = 10
_PERCENT: Final = 20

_log = structlog.get_logger("sockudo.push")


def guard(works: Works, batch: Batch, taken: Sequence[Step], status: PublishStatus) -> None:
    """Tells when these outcomes have made ``failed`` cross the threshold, and a dead token is among them."""
    rejected = [step for step in taken if step.kind == "rejected"]
    if not any(step.error is not None and step.error.failure_class == "device_terminal" for step in rejected):
        return
    counters = status.counters
    threshold = max(_LEAST, math.ceil(counters.planned * _PERCENT / 100))
    if not counters.failed - len(rejected) < threshold <= counters.failed:
        return
    works.counters.count("token_invalidation_guard_total", ROUTE_NAMES[batch.provider], batch.app_id)
    about = {"planned": counters.planned, "failed": counters.failed, "thresholdPercent": _PERCENT}
    meta_event("token-invalidation-guard", batch.app_id, batch.publish_id, batch.provider, action="warned", **about)
    _log.warning(
        "many tokens of one publish are dead: are these the credentials of the right app?",
        app_id=batch.app_id,
        publish_id=batch.publish_id,
        provider=batch.provider,
        **about,
    )
