"""One client's session: frames in, decisions, frames out.

Sequences only: what a frame means is in `sockudo.sessions.actions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.base.ids import unique_id
from sockudo.errors import SockudoError
from sockudo.hub import AppState, Connection, GateLimits, Peer
from sockudo.hub.events import ConnectionEnded, ConnectionLeft
from sockudo.hub.outgoing import visible
from sockudo.limits.windows import SocketWindow
from sockudo.protocol import frames
from sockudo.protocol.filters import PAST_UNITS, MessageView, Predicate, SharedBudget
from sockudo.protocol.frame import Frame
from sockudo.protocol.inbound import InboundFrame
from sockudo.protocol.shapes import V1_JSON, Shape
from sockudo.sessions.actions import ACTIONS
from sockudo.sessions.client_events import client_event
from sockudo.sessions.recoverable import Recoverable
from sockudo.sessions.refusals import note_refusal
from sockudo.sessions.sdk import sdk
from sockudo.sessions.v2 import V2State

if TYPE_CHECKING:
    from sockudo.sessions.gateway import Gateway

__all__ = ["Session"]


# Channels that are named to operators, of one connection.
_NAMED: Final = 5
# Events that are or may become the protocol's own, of this version or another.
_PROTOCOL: Final = ("pusher", "sockudo", "ai-")
# Connections that end by these were ended through the HTTP API.
_BY_BACKEND: Final = frozenset({errors.TERMINATED, errors.FORCE_RECONNECT, errors.TOKEN_REVOKED})
# These were ended because their peer broke the framing rules: it is not one that was lost and comes back.
_BROKEN: Final = frozenset({errors.PROTOCOL_VIOLATION, errors.INVALID_TEXT, errors.MESSAGE_TOO_BIG})


def _discard(_: bytes) -> None:
    """Stands in for a transport to which nothing may be written any more."""


class Session(Connection):
    """A connection with its app's rules, its limits and its liveness. Times are monotonic seconds."""

    __slots__ = (
        "_all_window",
        "_client_window",
        "_queued_bytes",
        "_queued_frames",
        "authorized",
        "echo",
        "ended",
        "gateway",
        "last_seen",
        "live",
        "messages_received",
        "opened_at",
        "pinged_at",
        "recoverable",
        "sdk",
        "v2",
    )

    def __init__(
        self,
        socket_id: str,
        state: AppState,
        peer: Peer,
        live: LiveApp,
        gateway: Gateway,
        shape: Shape = V1_JSON,
        *,
        echo: bool = False,
        client: str = "",
        client_version: str = "",
    ) -> None:
        super().__init__(socket_id, state, peer, shape)
        # Whether its own client events come back to it.
        self.echo = echo
        self.sdk = sdk(client, client_version)
        self.v2 = V2State() if shape.v2 else None
        self.recoverable = Recoverable(self) if shape is not V1_JSON else None
        self.live = live
        self.gateway = gateway
        self.opened_at = self.last_seen = gateway.clock.monotonic()
        self.pinged_at = 0.0
        self.messages_received = 0
        self.authorized = False
        self.ended = False
        self._all_window: SocketWindow | None = None
        self._client_window: SocketWindow | None = None
        self._queued_frames = 0
        self._queued_bytes = 0

    # ---- in ----

    def receive(self, payload: bytes) -> None:
        """Acts on one message of the client; a refusal becomes an error frame and the connection stays
        (spec: websocket § 5)."""
        traffic = self.app.traffic
        traffic.messages_received += 1
        self.messages_received += 1
        traffic.bytes_received += len(payload)
        if self.recoverable is not None and self.recoverable.busy:
            self.recoverable.postpone(payload)
            return
        self.handle(payload)

    def handle(self, payload: bytes) -> None:
        """Acts on a message whose turn has come."""
        frame: InboundFrame | None = None
        try:
            frame = self.shape.decode(payload)
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
        except Exception:
            # A defect costs one frame, not the connection; the client gets an id that leads to the log.
            reference = unique_id()
            self.gateway.log.exception("frame failed", socket_id=self.socket_id, reference=reference)
            self.refuse(errors.INTERNAL_ERROR(f"Internal server error {reference}"), about=frame)

    def _ignored(self, frame: InboundFrame) -> None:
        doubts, address = self.gateway.inspector.doubts, self.peer.address
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

    # ---- out ----

    def refuse(
        self, error: SockudoError, channel: str | None = None, *, about: InboundFrame | str | None = None
    ) -> None:
        """Answers with an error frame, and ends the session where the catalogue says so.

        ``channel`` is named in the frame. ``about`` is what was refused, for the operator: the client's frame, or the
        channel that it wanted to join.
        """
        if error.spec.closes:
            self.end(error)
            return
        self.app.traffic.errors[error.spec.slug] += 1
        self.send(frames.error(error.spec.ws or 4000, error.client_text, channel))
        note_refusal(self, error, channel, about)
        self.gateway.log.debug("frame refused", app_id=self.live.id, socket_id=self.socket_id, error=error.spec.slug)

    def end(self, error: SockudoError) -> None:
        """Says why, closes, and leaves every channel; nothing is written after it
        (spec: websocket § 4, close helper)."""
        if self.ended:
            return
        self.app.traffic.errors[error.spec.slug] += 1
        code = error.spec.ws or 4000
        self.catch_up()
        if code >= 4000 and not (self.shape.v2 and error.spec is errors.PONG_TIMEOUT):
            self.peer.write(self.shape.encode(frames.error(code, error.client_text)))
        backend = error.spec in _BY_BACKEND
        self.gateway.hub.observers.emit(ConnectionEnded(self, error, "backend" if backend else "server"))
        silent_v1 = error.spec is errors.PONG_TIMEOUT and not self.shape.v2
        self._leave(clean=silent_v1 or error.spec in _BROKEN, forced=backend)
        self.peer.close(code, error.client_text)
        self.gateway.log.debug(
            "connection ended", app_id=self.live.id, socket_id=self.socket_id, code=code, error=error.spec.slug
        )

    def leave(self, *, code: int | None = None) -> None:
        """Takes the session out of the hub because its peer has closed with this code, or was lost without one.

        After a close its presence members go at once, without a grace (spec: websocket § 6.5).
        """
        if self.ended:
            return
        silent = self.gateway.clock.monotonic() - self.last_seen
        self.gateway.hub.observers.emit(ConnectionLeft(self, code, silent))
        self._leave(clean=code is not None)

    def _leave(self, *, clean: bool, forced: bool = False) -> None:
        self.ended = True
        self.write = _discard
        if self.recoverable is not None:
            self.recoverable.stop()
        options = self.gateway.hub.options
        grace = options.v2_presence_grace if self.shape.v2 else options.presence_grace
        held_until = None if clean or not grace else self.gateway.clock.monotonic() + grace
        self.gateway.hub.disconnect(self, held_until=held_until, forced=forced)
        self.gateway.log.debug("disconnected", app_id=self.live.id, socket_id=self.socket_id, clean=clean)

    def send_all(self, past: Iterable[Frame]) -> None:
        """Writes several messages at once."""
        shown = [self.shape.encode(visible(frame, tags=self.gateway.hub.options.show_tags)) for frame in past]
        if shown:
            self.gateway.hub.frames_in_write = len(shown)
            self.write(b"".join(shown))
            self.gateway.hub.frames_in_write = 1

    def accepting(self, predicate: Predicate | None, work: int = PAST_UNITS) -> Callable[[Frame], bool]:
        """Whether a message of the past passes a subscription's filter: the same test as for those published now.

        ``work`` is for all messages that are shown to it, as that of `SharedBudget` is for all expressions.
        """
        if predicate is None:
            return lambda _: True
        budget = SharedBudget(work)
        return lambda frame: predicate.matches(MessageView(frame, self.app.predicate_failed, budget))

    def gate_limits(self) -> GateLimits:
        """How much may be held back for the connection: as much as may wait for it otherwise."""
        settings = self.gateway.settings

        def overflow() -> None:
            # Ending changes the channels that the publisher is walking: it waits for the end of the turn.
            self.gateway.schedule(lambda: self.end(errors.SLOW_CONSUMER()))

        return GateLimits(settings.outbound_messages, settings.websocket.max_bytes, overflow)

    # ---- a peer that reads too slowly (spec: websocket § 17) ----

    def pause(self) -> None:
        """The transport's buffer is full: from now on what is written is counted."""
        if self.write is not _discard:
            self._queued_frames = self._queued_bytes = 0
            self.write = self._write_counted

    def resume(self) -> None:
        """The transport's buffer has drained."""
        if self.write is not _discard:
            self.write = self.peer.write

    def _write_counted(self, data: bytes) -> None:
        settings = self.gateway.settings
        options = settings.websocket
        frames = self.gateway.hub.frames_in_write
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
            self.gateway.schedule(lambda: self.gateway.hub.missed(self))
        if options.disconnect_on_buffer_full:
            # Ending changes the channels that the caller may be walking: it waits for the end of the turn.
            self.write = _discard
            self.gateway.schedule(lambda: self.end(self._too_slow()))

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
