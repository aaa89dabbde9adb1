"""Spans of publishes to durable channels: from when one is queued until it is stored and delivered."""

from __future__ import annotations

import asyncio

from sockudo.base.clock import Clock
from sockudo.base.message_records import channel_of_log
from sockudo.base.spans import Span, Tracer
from sockudo.base.stream_records import Append, Committed
from sockudo.errors import SockudoError
from sockudo.history.authority import Elsewhere
from sockudo.history.calls import Sleep
from sockudo.history.heads import StreamChanged
from sockudo.history.service import History, HistoryOptions, StreamTrimmed
from sockudo.history.upkeep import HistoryCounters
from sockudo.history.writer import Deliver
from sockudo.hub.streams.ports import HistoryStore
from sockudo.protocol.names import channel_kind

__all__ = ["TracedHistory"]


class TracedHistory(History):
    """A history whose publishes leave spans; a server without a tracer has the plain one.

    A span is a part of the one that was active at the publish. Saying the message is a part of its span, with all that
    comes of that.
    """

    def __init__(
        self,
        store: HistoryStore,
        clock: Clock,
        options: HistoryOptions,
        on_stream_changed: StreamChanged,
        on_stream_trimmed: StreamTrimmed,
        on_elsewhere: Elsewhere | None,
        tracer: Tracer,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(store, clock, options, on_stream_changed, on_stream_trimmed, on_elsewhere, sleep=sleep)
        self._tracer = tracer

    def submit(
        self, append: Append, deliver: Deliver, counters: HistoryCounters | None = None
    ) -> asyncio.Future[Committed]:
        """See `History.submit`. What is no message of a channel leaves no span."""
        if counters is not None:
            return super().submit(append, deliver, counters)
        tracer = self._tracer
        span = tracer.start("publish", "internal", _about(append))
        group: list[int] = []

        def delivered(outcome: Committed) -> None:
            group.append(self._writer.group_size)
            with tracer.active(span):
                deliver(outcome)

        try:
            stored = super().submit(append, delivered)
        except SockudoError as refusal:
            span.end(error=refusal.spec.slug)
            raise
        stored.add_done_callback(lambda done: _end(span, done, group))
        return stored


def _about(append: Append) -> dict[str, str]:
    channel = channel_of_log(append.channel) or append.channel
    about = {
        "messaging.system": "sockudo",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": channel,
        "sockudo.app_id": append.app_id,
        "sockudo.channel.kind": channel_kind(channel).label,
    }
    if append.message_id is not None:
        about["messaging.message.id"] = append.message_id
    return about


def _end(span: Span, done: asyncio.Future[Committed], group: list[int]) -> None:
    if done.cancelled():
        span.end(error="cancelled")
        return
    problem = done.exception()
    if problem is not None:
        span.end(error=problem.spec.slug if isinstance(problem, SockudoError) else type(problem).__name__)
        return
    outcome = done.result()
    about: dict[str, str | int | bool] = {
        "sockudo.stream.id": outcome.position.stream_id,
        "sockudo.stream.serial": outcome.position.serial,
        "sockudo.publish.repeated": outcome.repeated,
    }
    if group:
        about["sockudo.commit.group_size"] = group[0]
    # Another message under the same key is the publisher's mistake.
    span.end(about, error="idempotency_conflict" if outcome.conflict else None, failed=False)
