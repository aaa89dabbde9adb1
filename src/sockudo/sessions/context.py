"""What the handler of a frame works with: one session's state and its way out, and what all sessions of a node share.

Handlers are functions over a `SessionContext`. What feeds it with frames stands above them, in
`sockudo.sessions.session`, as does what fills a `NodeContext`, in `sockudo.sessions.gateway`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Protocol

import structlog

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.registry import AppRegistry
from sockudo.auth.capabilities import NO_CAPABILITIES, Capabilities
from sockudo.auth.revocations import Revocations
from sockudo.auth.tokens import Token
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.ids import unique_id
from sockudo.base.stream_records import Committed, Position
from sockudo.base.windows import KeyedWindows, SocketWindow
from sockudo.config import Settings
from sockudo.errors import SockudoError
from sockudo.history import History
from sockudo.hub import AppState, Connection, GateLimits, Hub, Peer
from sockudo.hub.events import ConnectionEnded, ConnectionLeft, FrameRefused
from sockudo.hub.outgoing import visible
from sockudo.hub.ports import Schedule
from sockudo.hub.streams.replay import Lookup
from sockudo.inspector import Inspector
from sockudo.protocol import frames
from sockudo.protocol.delta import Algorithm, DeltaRequest
from sockudo.protocol.filters import PAST_UNITS, MessageView, Predicate, SharedBudget
from sockudo.protocol.formats import V1_JSON, Format
from sockudo.protocol.frames import Frame
from sockudo.protocol.inbound import InboundFrame, data_value
from sockudo.protocol.names import ChannelKind
from sockudo.sessions.inbox import Inbox, OnRefusal
from sockudo.sessions.quotas import AppQuotas
from sockudo.sessions.resume_state import PendingResume

__all__ = ["NodeContext", "Pending", "Publisher", "Sdk", "SessionContext", "V2State", "discard", "sdk_of"]

# Connections that end by these were ended through the HTTP API.
_BY_BACKEND: Final = frozenset({errors.TERMINATED, errors.FORCE_RECONNECT, errors.TOKEN_REVOKED})
# These were ended because their peer broke the framing rules: it is not one that was lost and comes back.
_BROKEN: Final = frozenset({errors.PROTOCOL_VIOLATION, errors.INVALID_TEXT, errors.MESSAGE_TOO_BIG})
# A client closes with this code when it goes on with another connection.
_MOVED: Final = 4900
# Letters of what a client sent that operators are shown.
_LONGEST: Final = 300

_Kind = Literal["subscribe", "signin", "frame"]
_KINDS: Final[dict[str, _Kind]] = {"subscribe": "subscribe", "signin": "signin"}


Pending = asyncio.Future[Committed] | asyncio.Future[Committed | None]
"""A message that is being stored."""


class Publisher(Protocol):
    """How a session publishes what its client sends, and where it reads what channels have stored."""

    history: Component[History]

    def publish(
        self,
        app: LiveApp,
        state: AppState,
        frame: Frame,
        now: float,
        *,
        exclude: str | None = None,
        compress: bool = True,
        sender: str | None = None,
    ) -> Pending | None:
        """Publishes ``frame`` at the monotonic time ``now``: None when it is done, else its commit.

        ``exclude`` is the socket that does not get it, ``sender`` the one that it comes from. Without ``compress`` it
        is delivered as it is, never as a delta. Raises what the catalogue has for a channel that takes no message.
        """
        ...

    def prepare(self, app_id: str, name: str, kind: ChannelKind) -> Callable[[], Awaitable[None]] | None:
        """What has to end before a subscription to the channel is acknowledged; None for nothing, as nearly always."""
        ...

    async def settled(self, app_id: str, channel: str) -> None:
        """Returns once every change of a message has been delivered that was on its way without all of its text."""
        ...

    def follows(self, state: AppState, channel: str) -> bool:
        """Whether what any node stores in a durable channel is delivered here."""
        ...

    # ---- channels that are recoverable without a store ----

    @property
    def is_shared(self) -> bool:
        """Whether another node may number such a channel."""
        ...

    def position(self, state: AppState, channel: str) -> Position | None:
        """Where such a channel is; None when `attach` has to ask another node."""
        ...

    async def attach(self, app_id: str, channel: str) -> Position | None:
        """Where such a channel is, for who subscribes now; everything up to there has been delivered here.

        None when the node that numbers it cannot be asked.
        """
        ...

    async def lookup(self, app_id: str, channel: str, stream_id: str | None, serial: int) -> Lookup:
        """What came after a position, by the node that numbers the channel.

        Raises errors.STREAM_OWNER_UNAVAILABLE.
        """
        ...


class NodeContext(Protocol):
    """What the sessions of a node share. ``settings`` is replaced as a whole by a reload, so it is read when needed."""

    hub: Hub
    apps: AppRegistry
    clock: Clock
    settings: Settings
    quotas: AppQuotas
    schedule: Schedule
    publisher: Publisher
    revocations: Revocations
    inspector: Inspector
    log: structlog.stdlib.BoundLogger
    auth_warnings: KeyedWindows
    """Warnings of refused signatures, by app."""
    resume_warnings: KeyedWindows
    """Warnings of failed recoveries, by app and code."""

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts work of a session that its later frames do not wait for."""
        ...


class Sdk(NamedTuple):
    """The parameters ``client`` and ``version`` of the connection's URL; empty where the client gave none."""

    name: str = ""
    version: str = ""


@lru_cache(maxsize=256)
def sdk_of(name: str, version: str) -> Sdk:
    """The same object for all connections that say the same: nearly all say one of a few things."""
    return Sdk(name, version)


class V2State:
    """What a session on protocol V2 has besides: its rights, its token, its deltas."""

    __slots__ = (
        "attached",
        "behind",
        "capabilities",
        "delta_algorithms",
        "delta_requests",
        "deltas_enabled",
        "expiry_told_at",
        "history_requests",
        "last_ping",
        "pace",
        "paused",
        "token",
        "updates",
        "whole",
    )

    def __init__(self) -> None:
        # Whether all subscriptions get differences, in which formats, and what single ones have asked for.
        self.deltas_enabled = False
        self.delta_algorithms: frozenset[Algorithm] = frozenset()
        self.delta_requests: dict[str, DeltaRequest] = {}
        self.capabilities: Capabilities = NO_CAPABILITIES
        self.token: Token | None = None
        # When the client got notice of its expired token; None before that.
        self.expiry_told_at: float | None = None
        # Where each channel with history was when this connection was attached to it.
        self.attached: dict[str, Position] = {}
        # Questions about a channel's history that are not answered yet.
        self.history_requests = 0
        # By presence channel; most members never change what they say about themselves.
        self.updates: dict[str, SocketWindow] | None = None
        # Whether appends to messages come with all of their text.
        self.whole = False
        # Milliseconds within which appends to a message come as one; None where the client leaves it to the server.
        self.pace: int | None = None
        # Whether the transport's buffer is full, and whether the client gets appends less often since it was.
        self.paused = self.behind = False
        # Payload of the native ping that has not been answered.
        self.last_ping: bytes | None = None


def discard(_: bytes) -> None:
    """Stands in for a transport to which nothing may be written any more."""


class SessionContext(Connection, ABC):
    """A connection with its app's rules and its way out. Times are monotonic seconds."""

    __slots__ = (
        "app",
        "authorized",
        "echo",
        "ended",
        "inbox",
        "last_seen",
        "live",
        "messages_received",
        "node",
        "opened_at",
        "pinged_at",
        "recoverable",
        "resuming",
        "sdk",
        "v2",
    )

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
        super().__init__(socket_id, state.app_id, peer, wire_format)
        self.app = state
        # Whether its own client events come back to it.
        self.echo = echo
        self.sdk = sdk
        self.v2 = V2State() if wire_format.v2 else None
        # Whether it gets positions and may resume: on V2, and on V1 where the app lets it.
        self.recoverable = wire_format is not V1_JSON
        # A resume that is not over, or the places that the last one left.
        self.resuming: PendingResume | None = None
        # There while a frame is unfinished: those behind it wait here, and most sessions have none.
        self.inbox: Inbox | None = None
        self.live = live
        self.node = node
        self.opened_at = self.last_seen = node.clock.monotonic()
        self.pinged_at = 0.0
        self.messages_received = 0
        self.authorized = False
        self.ended = False

    # ---- in ----

    @abstractmethod
    def handle(self, payload: bytes) -> None:
        """Acts on a message whose turn has come."""

    def need_v2(self, frame: InboundFrame) -> V2State:
        """The V2 side of a session that sent this frame. Raises errors.NOT_ON_V1."""
        if self.v2 is None:
            raise errors.NOT_ON_V1(f"Protocol error: {frame.event} requires protocol V2")
        return self.v2

    def wait_for(self, work: Coroutine[Any, Any, None], failed: OnRefusal | None = None) -> None:
        """Goes on with the frame at hand in ``work``; the client's later frames wait for its end, in their order.

        What it raises from the catalogue goes to ``failed``, or to the client as an error frame. A session that has
        ended waits for nothing: ``work`` is closed.
        """
        if self.ended:
            work.close()
            return
        if self.inbox is None:
            self.inbox = Inbox(self)
        self.inbox.start(work, failed)

    # ---- out ----

    def refuse(
        self, error: SockudoError, channel: str | None = None, *, about: InboundFrame | str | None = None
    ) -> None:
        """Answers with an error frame, and ends the session where the catalogue demands it.

        ``channel`` is named in the frame. ``about`` is what was refused, for the operator: the client's frame, or the
        channel that it wanted to join.
        """
        if error.spec.closes:
            self.end(error)
            return
        self.app.traffic.errors[error.spec.slug] += 1
        self.send(frames.error(error.spec.ws or 4000, error.client_text, channel))
        self.node.hub.observers.emit(_refused(self, error, channel, about))
        self.node.log.debug("frame refused", app_id=self.live.id, socket_id=self.socket_id, error=error.spec.slug)

    def refuse_defect(self, problem: Exception, frame: InboundFrame | None = None) -> None:
        """Answers for a defect of the server with an id that leads to its traceback in the log.

        It costs one frame, not the connection.
        """
        reference = unique_id()
        self.node.log.error("frame failed", socket_id=self.socket_id, reference=reference, exc_info=problem)
        if not self.ended:
            self.refuse(errors.INTERNAL_ERROR(f"Internal server error {reference}"), about=frame)

    def end(self, error: SockudoError) -> None:
        """Sends the reason, closes, and leaves every channel; nothing is written after it
        (spec: websocket § 4, close helper)."""
        if self.ended:
            return
        self.app.traffic.errors[error.spec.slug] += 1
        code = error.spec.ws or 4000
        self.catch_up()
        if code >= 4000 and not (self.shape.v2 and error.spec is errors.PONG_TIMEOUT):
            self.peer.write(self.shape.encode(frames.error(code, error.client_text)))
        backend = error.spec in _BY_BACKEND
        self.node.hub.observers.emit(ConnectionEnded(self, error, "backend" if backend else "server"))
        silent_v1 = error.spec is errors.PONG_TIMEOUT and not self.shape.v2
        kept = self.node.hub.kept_over_drain if error.spec is errors.SERVER_SHUTDOWN else 0.0
        self._leave(clean=silent_v1 or error.spec in _BROKEN, forced=backend, kept=kept)
        self.peer.close(code, error.client_text)
        self.node.log.debug(
            "connection ended", app_id=self.live.id, socket_id=self.socket_id, code=code, error=error.spec.slug
        )

    def leave(self, *, code: int | None = None) -> None:
        """Takes the session out of the hub because its peer has closed with this code, or was lost without one.

        After a close its presence members go at once, without a grace, unless it goes on with another connection
        (spec: websocket § 6.5).
        """
        if self.ended:
            return
        silent = self.node.clock.monotonic() - self.last_seen
        self.node.hub.observers.emit(ConnectionLeft(self, code, silent))
        self._leave(clean=code not in (None, _MOVED))

    def _leave(self, *, clean: bool, forced: bool = False, kept: float = 0.0) -> None:
        self.ended = True
        self.write = discard
        self.resuming = None
        if self.inbox is not None:
            self.inbox.close()
            self.inbox = None
        options = self.node.hub.options
        grace = options.v2_presence_grace if self.shape.v2 else options.presence_grace
        grace = max(kept, 0.0 if clean else grace)
        held_until = self.node.clock.monotonic() + grace if grace else None
        self.node.hub.disconnect(self, held_until=held_until, forced=forced)
        self.node.quotas.changed(self.live)
        self.node.log.debug("disconnected", app_id=self.live.id, socket_id=self.socket_id, clean=clean)

    def send_all(self, past: Iterable[Frame]) -> None:
        """Writes several messages at once."""
        shown = [self.shape.encode(visible(frame, tags=self.node.hub.options.show_tags)) for frame in past]
        if shown:
            self.node.hub.frames_in_write = len(shown)
            self.write(b"".join(shown))
            self.node.hub.frames_in_write = 1

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
        settings = self.node.settings

        def overflow() -> None:
            # Ending changes the channels that the publisher is walking: it waits for the end of the turn.
            self.node.schedule(lambda: self.end(errors.SLOW_CONSUMER()))

        return GateLimits(settings.outbound_messages, settings.websocket.max_bytes, overflow)


def _refused(
    session: SessionContext, error: SockudoError, channel: str | None, about: InboundFrame | str | None
) -> FrameRefused:
    """What observers are shown of a refused frame: which kind of wish it was, and for which channel."""
    kind: _Kind = "frame"
    event = None
    if isinstance(about, str):
        kind, channel = "subscribe", about
    elif about is not None:
        event = about.event[:_LONGEST]
        kind = _KINDS.get(about.event.partition(":")[2], "frame")
        channel = channel or about.channel or _channel_of(about)
    shown = channel[:_LONGEST] if channel is not None else None
    return FrameRefused(session, kind, error, shown, event)


def _channel_of(frame: InboundFrame) -> str | None:
    try:
        data = data_value(frame)
    except SockudoError:
        return None
    channel = data.get("channel") if isinstance(data, dict) else None
    return channel if isinstance(channel, str) else None
