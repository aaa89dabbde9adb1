"""One client's session as its transport uses it: frames in, limits, a peer that reads too slowly.

Sequences only: what a frame means is in `sockudo.sessions.actions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.base.windows import SocketWindow
from sockudo.errors import SockudoError
from sockudo.hub import AppState, Peer
from sockudo.protocol.formats import V1_JSON, Format
from sockudo.protocol.inbound import InboundFrame
from sockudo.sessions.actions import ACTIONS
from sockudo.sessions.client_events import client_event
from sockudo.sessions.context import NodeContext, Sdk, SessionContext, discard
from sockudo.sessions.deltas import keep_pace

__all__ = ["Session"]


# Channels that are named to operators, of one connection.
_NAMED: Final = 5
# Events that are or may become the protocol's own, of this version or another.
_PROTOCOL: Final = ("pusher", "sockudo", "ai-")


class Session(SessionContext):
    """A connection whose frames are carried out in the order of their arrival."""

    __slots__ = ("_all_window", "_client_window", "_queued_bytes", "_queued_frames")

    def __init__(
        self,
        socket_id: str,
        state: AppState,
        peer: Peer,
        live: LiveApp,
        node: NodeContext,
        wire_format: Format = V1_JSON,
        *,
        echo: bool = False,
        sdk: Sdk,
    ) -> None:
        super().__init__(socket_id, state, peer, live, node, wire_format, echo=echo, sdk=sdk)
        self._all_window: SocketWindow | None = None
        self._client_window: SocketWindow | None = None
        self._queued_frames = 0
        self._queued_bytes = 0

    # ---- in ----

    def receive(self, payload: bytes) -> None:
        """Acts on one message of the client, or keeps it until the one before it is finished.

        A refusal becomes an error frame and the connection stays (spec: websocket § 5).
        """
        traffic = self.app.traffic
        traffic.messages_received += 1
        self.messages_received += 1
        traffic.bytes_received += len(payload)
        if self.inbox is not None:
            self.inbox.add(payload)
            return
        self.handle(payload)

    def handle(self, payload: bytes) -> None:
        frame: InboundFrame | None = None
        try:
            frame = self.shape.format.decode(payload)
            is_client_event = frame.event.startswith("client-")
            self._check_rates(is_client_event)
            if is_client_event:
                client_event(self, frame)
                return
            action = ACTIONS.get(frame.event)
            if action is not None:
                action(self, frame)
            elif not frame.event.startswith(_PROTOCOL):
                self._ignored(frame)
        except SockudoError as error:
            self.refuse(error, about=frame)
        except Exception as problem:  # noqa: BLE001 - logged there: a defect costs one frame, not the connection
            self.refuse_defect(problem, frame)

    def _ignored(self, frame: InboundFrame) -> None:
        doubts, address = self.node.inspector.doubts, self.peer.address
        doubts.ignored(self.app.app_id, frame.event, frame.channel, self.socket_id, address)

    def pong(self, payload: bytes) -> None:
        """The peer answered a native ping; only the answer to the one that was sent counts."""
        if self.v2 is not None and payload == self.v2.last_ping:
            self.v2.last_ping = None

    def _check_rates(self, is_client_event: bool) -> None:
        limits = self.live.limits
        every = limits.message_rate_limit
        if every is not None and every.enabled:
            if self._all_window is None:
                self._all_window = SocketWindow()
            allowed = self._all_window.allow(self.last_seen, every.max_attempts, every.decay_seconds)
            self._count_check("messages", allowed, closes=every.terminate_on_limit)
        if is_client_event and limits.max_client_events_per_second:
            if self._client_window is None:
                self._client_window = SocketWindow()
            allowed = self._client_window.allow(
                self.last_seen, limits.max_client_events_per_second, limits.client_event_window_seconds
            )
            self._count_check("client_events", allowed, closes=limits.terminate_on_limit)

    def _count_check(self, limit: str, allowed: bool, *, closes: bool) -> None:
        traffic = self.app.traffic
        traffic.rate_checks[limit] += 1
        if not allowed:
            traffic.rate_refusals[limit] += 1
            raise errors.CLIENT_RATE_CLOSE() if closes else errors.CLIENT_RATE()

    # ---- a peer that reads too slowly (spec: websocket § 17) ----

    def pause(self) -> None:
        """The transport's buffer is full: from now on what is written is counted."""
        if self.write is not discard:
            self._queued_frames = self._queued_bytes = 0
            self.write = self._write_counted
            if self.v2 is not None:
                self.v2.paused = True
                if not self.v2.behind:
                    # The caller may be walking the channels.
                    self.node.schedule(lambda: keep_pace(self, behind=True))

    def resume(self) -> None:
        """The transport's buffer has drained."""
        if self.write is not discard:
            self.write = self.peer.write
            if self.v2 is not None:
                self.v2.paused = False

    def _write_counted(self, data: bytes) -> None:
        settings = self.node.settings
        options = settings.websocket
        frames = self.node.hub.frames_in_write
        over = self._queued_frames + frames > settings.outbound_messages or (
            options.max_bytes is not None and self._queued_bytes + len(data) > options.max_bytes
        )
        if not over:
            self._queued_frames += frames
            self._queued_bytes += len(data)
            self.peer.write(data)
            return
        self.app.traffic.messages_dropped += frames
        if self.v2 is not None:
            self.node.schedule(lambda: self.node.hub.missed(self))
        if options.disconnect_on_buffer_full:
            # Ending changes the channels that the caller may be walking: it waits for the end of the turn.
            self.write = discard
            self.node.schedule(lambda: self.end(self._too_slow()))

    def _too_slow(self) -> SockudoError:
        return errors.SLOW_CONSUMER(
            likely_cause=f"the client read too slowly: {self._queued_frames} messages of {self._queued_bytes} bytes "
            f"waited for it behind a full network buffer; it is subscribed to {_named(self.channels)}"
        )


def _named(channels: Iterable[str]) -> str:
    """The first channels by name, and how many more there are."""
    names = list(channels)
    shown = ", ".join(names[:_NAMED]) or "no channel any more"
    return f"{shown} and {len(names) - _NAMED:,} more" if len(names) > _NAMED else shown
