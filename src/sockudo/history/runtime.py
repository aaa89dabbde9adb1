"""The histories of a server: opened once an app keeps one, closed in order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog
from msgspec.structs import replace

from sockudo import errors
from sockudo.apps.policies import StreamPolicies
from sockudo.apps.registry import AppRegistry
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.message_records import channel_of_log
from sockudo.base.spans import Tracer
from sockudo.base.stream_records import Position, Row
from sockudo.config import Settings
from sockudo.config.databases import database_of
from sockudo.history.frames import StoredMessageError, frame_of, version_of
from sockudo.history.message_frames import version_frame
from sockudo.history.presence import PresenceHistory, PresenceHistoryOptions
from sockudo.history.service import History, HistoryOptions
from sockudo.history.traced import TracedHistory
from sockudo.hub import Hub
from sockudo.hub.edges import Edges, MemberReported
from sockudo.hub.events import ChannelClosed, ChannelForgotten, ChannelOpened, UserChanged
from sockudo.hub.streams.ports import HistoryStore
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import USER_CHANNEL_PREFIX

__all__ = ["HistoryRuntime", "write_timeout"]

Deliver = Callable[[str, Frame, Frame | None], None]
"""App id and a message at its place in a durable channel; of an append to one also the frame with all of its text."""

_MEMORY_TIMEOUT = 5.0

_log = structlog.get_logger("sockudo.server")


class HistoryRuntime:
    """``messages`` are the durable channels over the configured store, ``presence`` the presence histories.

    ``store`` makes the configured store, ``memory`` one of this process; neither is opened by that. ``deliver``
    delivers what another node stored to this one's subscribers. ``node_id`` is this node's; ``is_alive`` says
    which run, ``is_gone`` whether a member of a channel is on none, and ``is_alone`` whether this is the only one.
    """

    def __init__(
        self,
        hub: Hub,
        edges: Edges,
        apps: AppRegistry,
        clock: Clock,
        settings: Settings,
        store: Callable[[Settings], HistoryStore],
        memory: Callable[[], HistoryStore],
        *,
        deliver: Deliver,
        wants_whole: Callable[[str, str], bool],
        node_id: str,
        is_alive: Callable[[str], bool],
        is_gone: Callable[[str, str, str], bool],
        is_alone: Callable[[], bool],
        tracer: Tracer | None = None,
    ) -> None:
        self._hub = hub
        self._edges = edges
        self._apps = apps
        self._clock = clock
        self._settings = settings
        self._make_store = store
        self._make_memory = memory
        self._tracer = tracer
        self._deliver = deliver
        self._wants_whole = wants_whole
        self._node_id = node_id
        self._is_alive = is_alive
        self._is_gone = is_gone
        self._is_alone = is_alone
        self.messages: Component[History] = Component(
            "history",
            self._open_messages,
            History.close,
            partial(errors.HISTORY_UNAVAILABLE, "The history store is not open yet", retry_after=1),
        )
        self.presence: Component[PresenceHistory] = Component(
            "presence history",
            self._open_presence,
            PresenceHistory.close,
            partial(errors.HISTORY_UNAVAILABLE, "The presence history is not open yet", retry_after=1),
        )
        hub.observers.add(ChannelForgotten, self._forget)
        hub.observers.add(ChannelOpened, self._opened)
        hub.observers.add(ChannelClosed, self._closed)
        hub.observers.add(UserChanged, self._user_changed)

    @property
    def messages_needed(self) -> bool:
        """Whether some app keeps the messages of a channel."""
        return any(app.streams is not None and app.streams.stores for app in self._apps.all())

    @property
    def presence_needed(self) -> bool:
        """Whether some app keeps the presence history of a channel."""
        return any(app.streams is not None and app.streams.keeps_presence for app in self._apps.all())

    def configure(self, settings: Settings) -> None:
        """Takes over what may change while running."""
        self._settings = settings
        if (messages := self.messages.if_open) is not None:
            messages.options = _history_options(settings)
        if (presence := self.presence.if_open) is not None:
            presence.options = _presence_history_options(settings)

    async def refresh_totals(self) -> None:
        """Counts again what is kept, for metrics; takes a moment at most."""
        if (messages := self.messages.if_open) is not None:
            await messages.refresh_totals()
        if (presence := self.presence.if_open) is not None:
            await presence.refresh_totals()

    async def close(self) -> None:
        """The presence history writes into the durable one, so that is closed last."""
        await self.presence.close()
        await self.messages.close()

    async def _open_messages(self) -> History:
        settings = self._settings
        options = _history_options(settings)
        store, noticed = self._make_store(settings), (self._stream_changed, self._stream_trimmed, self._elsewhere)
        parts = (store, self._clock, options, *noticed)
        history = History(*parts) if self._tracer is None else TracedHistory(*parts, self._tracer)
        history.wants_whole = self._wants_whole_of
        await history.start()
        _log.info("history", backend=options.backend)
        return history

    async def _open_presence(self) -> PresenceHistory:
        settings = self._settings
        memory = History(self._make_memory(), self._clock, HistoryOptions(node_id=settings.instance.process_id))
        options = _presence_history_options(settings)
        presence = PresenceHistory(
            memory,
            self.policies,
            self._clock,
            options,
            durable=self.messages,
            node_id=self._node_id,
            is_alive=self._is_alive,
            is_gone=self._is_gone,
        )
        await presence.start()
        self._edges.add(MemberReported, presence.note)
        _log.info("presence history", durable=self.messages.is_open)
        return presence

    def policies(self, app_id: str) -> StreamPolicies | None:
        """How the channels of an app are kept; None for an app that is not there, or keeps nothing."""
        app = self._apps.by_id(app_id)
        return None if app is None else app.streams

    def _wants_whole_of(self, app_id: str, log: str) -> bool:
        return self._wants_whole(app_id, channel_of_log(log) or "")

    def _stream_of(self, app_id: str, channel: str) -> str:
        policies = self.policies(app_id)
        return channel if policies is None else policies.stream_of(channel)

    def _forget(self, forgotten: ChannelForgotten) -> None:
        if (messages := self.messages.if_open) is not None:
            messages.forget(forgotten.app_id, self._stream_of(forgotten.app_id, forgotten.channel))

    def _opened(self, opened: ChannelOpened) -> None:
        if not self._is_alone():
            self._let_go(opened.app_id, opened.channel)

    def _closed(self, closed: ChannelClosed) -> None:
        if not self._is_alone():
            self._let_go(closed.app_id, closed.channel)
        elif (messages := self.messages.if_open) is not None:
            messages.closed(closed.app_id, self._stream_of(closed.app_id, closed.channel))

    def _user_changed(self, changed: UserChanged) -> None:
        if not self._is_alone():
            self._let_go(changed.app_id, USER_CHANNEL_PREFIX + changed.user_id)

    def _let_go(self, app_id: str, channel: str) -> None:
        """Forgets where a durable channel without subscribers is: what other nodes store meanwhile does not come here.

        So who subscribes next is not sent what was published before.
        """
        policies, messages, state = self.policies(app_id), self.messages.if_open, self._hub.find(app_id)
        if messages is None or state is None or policies is None or policies.of(channel).history is None:
            return
        messages.forget(app_id, policies.stream_of(channel))
        state.replay.drop(channel)

    def _elsewhere(self, app_id: str, stream: str, row: Row) -> None:
        presence = self.presence.if_open
        if presence is not None and presence.stream_changed(app_id, stream):
            return
        try:
            frame, whole = self._frames(stream, row)
            self._deliver(app_id, frame, whole)
        except StoredMessageError as problem:
            _log.error("a stored message cannot be read", app_id=app_id, channel=stream, reason=str(problem))

    def _frames(self, stream: str, row: Row) -> tuple[Frame, Frame | None]:
        channel = channel_of_log(stream)
        if channel is None:
            return frame_of(row), None
        place = Position(row.stream_id, row.serial)
        frame = version_frame(channel, version_of(row), place)
        return frame, None if row.latest is None else replace(frame, data=row.latest.version.data)

    def _stream_changed(self, app_id: str, channel: str, position: Position) -> None:
        presence = self.presence.if_open
        if presence is not None and presence.stream_changed(app_id, channel):
            return
        state, named = self._hub.find(app_id), channel_of_log(channel) or channel
        # What is delivered has its places in one of the two streams of a channel.
        if state is not None and self._stream_of(app_id, named) == channel:
            state.replay.align(named, position, self._clock.monotonic())

    def _stream_trimmed(self, app_id: str, stream: str, oldest: int) -> None:
        state, channel = self._hub.find(app_id), channel_of_log(stream) or stream
        if self._stream_of(app_id, channel) != stream:
            return
        buffer = state.replay.get(channel) if state is not None else None
        if buffer is not None:
            buffer.trim(oldest)


def write_timeout(settings: Settings) -> float:
    """Seconds that one write to the configured store may take."""
    history = settings.history
    if history.backend == "memory":
        return _MEMORY_TIMEOUT
    database = database_of(history.backend)
    return (history.sqlite if database is None else database.history(settings)).write_timeout_ms / 1000


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
