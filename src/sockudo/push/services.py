"""What routes, pages and rules use of push, whether it is open or not: without a provider what is kept can be asked
for, and nothing is taken (spec: push § 5, step 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.config.sections.push import Push as PushSettings
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Job
from sockudo.push.delivery import Readiness
from sockudo.push.directory import Directory
from sockudo.push.endpoints import EndpointRules
from sockudo.push.messages import PUSH_QUEUE
from sockudo.push.ports import PushStore
from sockudo.push.recipients import Provider
from sockudo.push.removals import Removals
from sockudo.push.service import Push
from sockudo.push.telemetry import PushCounters

__all__ = ["PushServices", "Storage", "push_off"]


def push_off(store: PushStore, clock: Clock, rules: EndpointRules, counters: PushCounters) -> Push:
    """Over a store that is open; every publish that is otherwise right gets errors.PUSH_DISABLED."""
    return Push(store, _NoQueue(PUSH_QUEUE), clock, _nobody, rules, PushSettings(), counters=counters)


async def _nobody(app_id: str) -> Mapping[Provider, Readiness]:
    return {}


class _NoQueue(MemoryJobQueue):
    """A queue that takes nothing."""

    async def put(self, jobs: Sequence[Job], now_ms: int, *, lasting: bool = True) -> None:
        raise errors.PUSH_DISABLED("push admission unavailable: push providers are disabled")


class Storage(NamedTuple):
    """What works on an open store alone. ``reading`` answers questions about publishes and takes none."""

    store: PushStore
    rules: EndpointRules
    directory: Directory
    removals: Removals
    reading: Push


class PushServices:
    """``storage`` opens for the first caller that needs it.

    ``serving`` returns push as it takes publishes, None while it takes none; ``exists`` answers whether there may be
    something in the store.
    """

    def __init__(
        self, storage: Component[Storage], serving: Callable[[], Push | None], exists: Callable[[], bool] = lambda: True
    ) -> None:
        self.storage = storage
        self.serving = serving
        self.exists = exists

    async def open_directory(self) -> Directory:
        """Devices, subscriptions, credentials and templates. Raises errors.SERVICE_UNAVAILABLE."""
        return (await self.storage.open()).directory
