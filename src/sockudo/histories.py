"""The histories of the server: opened once an app wants one, closed in order, and told what they have to know."""

from __future__ import annotations

import structlog

from sockudo.apps.policies import StreamPolicies
from sockudo.config import Settings
from sockudo.edge.context import Edge
from sockudo.history import History, HistoryOptions, PresenceHistory, PresenceHistoryOptions
from sockudo.history.traced import TracedHistory
from sockudo.hub import Hub
from sockudo.publishing.pipeline import Pipeline
from sockudo.stores import MemoryHistoryStore
from sockudo.stores.histories import history_store, write_timeout
from sockudo.streams.records import Position

__all__ = ["Histories"]

_log = structlog.get_logger("sockudo.server")


class Histories:
    """Opens what an app needs, and nothing before: nothing is made that nobody asked for.

    What is open is told to everyone who uses it: the edge, the pipeline and the hub.
    """

    def __init__(self, edge: Edge, pipeline: Pipeline, hub: Hub, settings: Settings) -> None:
        self._edge = edge
        self._pipeline = pipeline
        self._hub = hub
        self._settings = settings

    async def start_wanted(self) -> None:
        """Opens what some app wants and is not open. Raises errors.HISTORY_UNAVAILABLE; call it again then."""
        edge = self._edge
        if edge.history is not None and edge.presence_history is not None:
            return
        wanted = [app.streams for app in edge.apps.all() if app.streams is not None]
        if edge.presence_history is None and any(streams.keeps_presence for streams in wanted):
            await self._start_presence_history()
        if edge.history is None and any(streams.stores for streams in wanted):
            await self._start_history()

    def configure(self, settings: Settings) -> None:
        """Takes over what may change while running."""
        self._settings = settings
        if self._edge.history is not None:
            self._edge.history.options = _history_options(settings)
        if self._edge.presence_history is not None:
            self._edge.presence_history.options = _presence_history_options(settings)

    async def refresh_totals(self) -> None:
        """Looks again what is kept; takes a moment at most."""
        for each in (self._edge.history, self._edge.presence_history):
            if each is not None:
                await each.refresh_totals()

    async def close(self) -> None:
        """What is known of members goes into the durable history, so that is closed last."""
        if self._edge.presence_history is not None:
            await self._edge.presence_history.close()
        if self._edge.history is not None:
            await self._edge.history.close()

    async def _start_history(self) -> None:
        settings, edge = self._settings, self._edge
        options = _history_options(settings)
        given = (history_store(settings), edge.clock, options, self._stream_changed, self._stream_trimmed)
        history = History(*given) if edge.tracer is None else TracedHistory(*given, edge.tracer)
        await history.start()
        self._hub.on_forgotten = history.forget
        self._pipeline.history = edge.history = history
        if edge.presence_history is not None:
            edge.presence_history.durable = history
        edge.checks["history"] = history.check
        edge.degrading["history_writes"] = history.taking.check
        _log.info("history", backend=options.backend)

    async def _start_presence_history(self) -> None:
        settings, edge = self._settings, self._edge
        memory = History(MemoryHistoryStore(), edge.clock, HistoryOptions(node_id=settings.instance.process_id))
        presence = PresenceHistory(memory, self._policies, edge.clock, _presence_history_options(settings))
        await presence.start()
        presence.durable = edge.history
        self._hub.on_member.append(presence.note)
        edge.presence_history = presence
        _log.info("presence history", durable=edge.history is not None)

    def _policies(self, app_id: str) -> StreamPolicies | None:
        app = self._edge.apps.by_id(app_id)
        return None if app is None else app.streams

    def _stream_changed(self, app_id: str, channel: str, position: Position) -> None:
        presence = self._edge.presence_history
        if presence is not None and presence.stream_changed(app_id, channel):
            return
        state = self._hub.apps.get(app_id)
        if state is not None:
            state.replay.align(channel, position, self._edge.clock.monotonic())

    def _stream_trimmed(self, app_id: str, channel: str, oldest: int) -> None:
        state = self._hub.apps.get(app_id)
        buffer = state.replay.get(channel) if state is not None else None
        if buffer is not None:
            buffer.trim(oldest)


def _history_options(settings: Settings) -> HistoryOptions:
    history = settings.history
    return HistoryOptions(
        backend=history.backend,
        node_id=settings.instance.process_id,
        max_page_size=history.max_page_size,
        queue_capacity=history.writer_queue_capacity,
        write_timeout=write_timeout(settings),
        purge_interval=history.purge_interval_seconds,
        purge_batch_size=history.purge_batch_size,
        max_purge_per_tick=history.max_purge_per_tick,
    )


def _presence_history_options(settings: Settings) -> PresenceHistoryOptions:
    return PresenceHistoryOptions(max_page_size=settings.presence_history.max_page_size)
