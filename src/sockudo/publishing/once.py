"""Publishes that carry an idempotency key: done once, and answered alike each time (spec: http-api § 9.1)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from sockudo.apps.live import LiveApp
from sockudo.base.clock import Clock
from sockudo.hub import AppState
from sockudo.limits.idempotency import Claim, IdempotencyKeys, Space, running
from sockudo.publishing.answers import Answer, Owned

__all__ = ["Once", "held"]


class Once:
    """The publishes under way that have a key, and what repeats of them are answered."""

    def __init__(self, keys: IdempotencyKeys, clock: Clock, owned: Owned) -> None:
        self.keys = keys
        self._clock = clock
        self._owned = owned
        # Answers that are still to come, by the key that they are for.
        self._running: dict[tuple[str, ...], asyncio.Future[bytes]] = {}

    def answer(
        self,
        app: LiveApp,
        state: AppState,
        space: Space,
        key: str,
        mark: bytes,
        publish: Callable[[float], Answer],
        now: float,
    ) -> Answer:
        """Publishes under a key; where it was used already, the answer that was given, or that is to come.

        Raises errors.IDEMPOTENCY_CONFLICT when the key belongs to other content.
        """
        claim = self.keys.claim(app.id, space, key, mark, app.idempotency_ttl, now)
        answer = partial(self._claimed, app, state, space, key, publish)
        return (
            self._owned.start(_later(claim, answer, self._clock)) if inspect.isawaitable(claim) else answer(claim, now)
        )

    def _claimed(
        self,
        app: LiveApp,
        state: AppState,
        space: Space,
        key: str,
        publish: Callable[[float], Answer],
        claim: Claim | bytes | None,
        now: float,
    ) -> Answer:
        if claim is None or isinstance(claim, bytes):
            state.traffic.idempotent_repeats += 1
            return self.repeat(app, space, key, claim)
        with held(claim):
            return self.keep(claim, publish(now), now)

    def repeat(self, app: LiveApp, space: Space, key: str, reply: bytes | None) -> Answer:
        """The answer to a publish whose key is in use: what the first one was answered, or will be."""
        if reply is not None:
            return reply
        answer = self._running.get((app.id, space, key))
        if answer is None:
            raise running(space)
        return answer

    def keep(self, claim: Claim, answer: Answer, now: float) -> Answer:
        """Has the key answer with this reply from when it is there, or gives the key back when it fails."""
        if isinstance(answer, bytes):
            claim.complete(answer, now)
            return answer

        def end(done: asyncio.Future[bytes]) -> None:
            del self._running[claim.key]
            if done.cancelled() or done.exception() is not None:
                claim.release()
            else:
                claim.complete(done.result(), self._clock.monotonic())

        self._running[claim.key] = answer
        answer.add_done_callback(end)
        return answer


@contextmanager
def held(claim: Claim | None) -> Iterator[None]:
    """Gives the key back when the publish fails, so that a retry is not refused."""
    try:
        yield
    except BaseException:
        if claim is not None:
            claim.release()
        raise


async def _later(
    claim: Awaitable[Claim | bytes | None], answer: Callable[[Claim | bytes | None, float], Answer], clock: Clock
) -> bytes:
    """The answer once it is known who has the key."""
    given = answer(await claim, clock.monotonic())
    return given if isinstance(given, bytes) else await asyncio.shield(given)
