"""What all sessions of this node share, and who is let in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final

import structlog

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.registry import AppRegistry
from sockudo.auth.diagnose import mistaken_key
from sockudo.auth.ports import Revocation
from sockudo.auth.revocations import Revocations
from sockudo.base.clock import Clock
from sockudo.base.ids import socket_id
from sockudo.base.tasks import end_tasks
from sockudo.base.windows import KeyedWindows
from sockudo.cluster.ports import Membership
from sockudo.config import Settings
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.hub import AppState, Hub, Peer
from sockudo.hub.events import PredicateFailed
from sockudo.hub.ports import Schedule
from sockudo.inspector import Inspector
from sockudo.protocol import frames
from sockudo.protocol.delta import ChannelDeltas
from sockudo.protocol.formats import RECOVERABLE_V1_JSON, V1_JSON, Format
from sockudo.sessions.context import Publisher, sdk_of
from sockudo.sessions.diagnostics import FilterWarnings
from sockudo.sessions.quotas import AppQuotas
from sockudo.sessions.session import Session

__all__ = ["Gateway"]

_NO_ORIGIN: Final = "the client sent no Origin header: it is no browser, or a proxy dropped the header"


class Gateway:
    """Admits connections and knows everything a session needs besides its own state.

    ``settings`` is replaced as a whole when the configuration is reloaded; sessions read it when they need it.
    """

    def __init__(
        self,
        hub: Hub,
        apps: AppRegistry,
        clock: Clock,
        settings: Settings,
        schedule: Schedule,
        publisher: Publisher,
        revocations: Revocations,
        inspector: Inspector,
        membership: Membership,
    ) -> None:
        self.hub = hub
        self.quotas = AppQuotas(hub, apps, membership, shared=settings.adapter.enable_socket_counting)
        self.inspector = inspector
        self.publisher = publisher
        self.revocations = revocations
        # Work of sessions that later frames do not wait for.
        self._tasks: set[asyncio.Task[None]] = set()
        self.apps = apps
        self.clock = clock
        self.settings = settings
        self.schedule = schedule
        self.draining = False
        # Connections that were refused before they had a session, by key and slug of the error catalogue.
        self.refused: Counter[tuple[str, str]] = Counter()
        # Requests of the HTTP API, and upgrades before their handshake, by slug.
        self.refused_requests: Counter[str] = Counter()
        # Warnings of refused signatures, by app.
        self.auth_warnings = KeyedWindows(1)
        # Failed recoveries, by app and code.
        self.resume_warnings = KeyedWindows(60)
        hub.observers.add(PredicateFailed, FilterWarnings(clock).note)
        # Bound once: every connection logs several lines at debug, and they are rarely wanted.
        self.log: structlog.stdlib.BoundLogger = structlog.get_logger("sockudo.sessions").bind()

    def sessions(self) -> Iterator[Session]:
        """Every session of this node; the set may change while it is walked only if the caller copies it first."""
        for state in self.hub.states():
            yield from state.all_connections()  # type: ignore[misc]  # connections of the hub are sessions here

    def admit(self, key: str, origin: str | None) -> LiveApp:
        """The app that a new connection belongs to, after the checks of spec: websocket § 2.3 in their order.

        Raises the row of the catalogue whose frame and close code the peer gets.
        """
        app = self.apps.by_key(key)
        if app is None:
            raise errors.UNKNOWN_APP()
        if not app.enabled:
            raise errors.APP_DISABLED("Application disabled")
        if not app.origin_allowed(origin):
            raise errors.ORIGIN_NOT_ALLOWED(likely_cause=None if origin else _NO_ORIGIN)
        limit = self.settings.connection_limit
        if limit and self.hub.connection_count() >= limit:
            raise errors.OVER_CAPACITY()
        self.quotas.check(app)
        return app

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts work of a session that nothing waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends the work of sessions that is under way."""
        await end_tasks(self._tasks)

    def note_refusal(self, key: str, error: SockudoError, address: str, origin: str | None) -> None:
        """Counts a refused connection for the metrics, by app id, and notifies the inspector.

        Keys that no app has are counted as ``unknown`` together, as strangers choose their number; the error of such a
        key gets its likely cause.
        """
        app = self.apps.by_key(key)
        app_id = app.id if app is not None else None
        self.refused[app_id or "unknown", error.spec.slug] += 1
        if error.spec is errors.UNKNOWN_APP:
            error.likely_cause = mistaken_key(key, self.apps.all())
        self.inspector.connect_refused(
            error.spec,
            error.text,
            error.likely_cause,
            app_id=app_id,
            address=address,
            origin=origin,
            shared_cause=error.shared_cause,
        )

    def open(
        self,
        app: LiveApp,
        peer: Peer,
        wire_format: Format = V1_JSON,
        *,
        echo: bool | None = None,
        client: str = "",
        client_version: str = "",
    ) -> Session:
        """A registered session for an admitted connection; the greeting is the caller's to send.

        ``echo`` is what the client wants, None leaving it to the configuration; ``client`` is its SDK's name.
        """
        state = self.state(app)
        echoes = wire_format.v2 and self._echoes(echo)
        if app.v1_recovery and wire_format is V1_JSON:
            wire_format = RECOVERABLE_V1_JSON
        session = Session(
            self._free_socket_id(state),
            state,
            peer,
            app,
            self,
            wire_format,
            echo=echoes,
            sdk=sdk_of(client, client_version),
        )
        self.hub.connect(session)
        self.quotas.changed(app)
        return session

    def _echoes(self, wanted: bool | None) -> bool:
        options = self.settings.echo_control
        if not options.enabled:
            return True
        return options.default_echo_messages if wanted is None else wanted

    def state(self, app: LiveApp) -> AppState:
        """The live state of an app."""
        return self.hub.find(app.id) or self._new_state(app)

    def _new_state(self, app: LiveApp) -> AppState:
        state = self.hub.app(app.id)
        state.subscription_counts = bool(app.features.enable_subscription_count)
        state.deltas = ChannelDeltas(app.delta_channels)
        if app.recovery is not None:
            state.replay.ttl = app.recovery.buffer_ttl
        return state

    def apply_app(self, app: LiveApp) -> None:
        """Gives the sessions of an app its changed record; those of an app that was disabled are ended."""
        for session in self.sessions_of(app.id):
            session.live = app
            if not app.enabled:
                session.end(errors.APP_DISABLED("Application disabled"))
        self._new_state(app)

    def remove_app(self, app_id: str) -> None:
        """Ends the sessions of an app that no longer exists and forgets its state."""
        for session in self.sessions_of(app_id):
            session.end(errors.UNKNOWN_APP(likely_cause="the app was removed while the client was connected"))
        self.hub.forget(app_id)

    def end_user(self, app_id: str, user_id: str, error: ErrorSpec) -> int:
        """Ends every connection of a user on this node; how many they were."""
        state = self.hub.find(app_id)
        sessions = [] if state is None else list(state.connections_of(user_id))
        for session in sessions:
            session.end(error())  # type: ignore[attr-defined]  # every connection of this hub is a session
        return len(sessions)

    def sessions_of(self, app_id: str) -> list[Session]:
        """Every session of one app."""
        state = self.hub.find(app_id)
        return list(state.all_connections()) if state is not None else []  # type: ignore[arg-type]  # as above

    def sessions_in(self, app_id: str, channel: str) -> list[Session]:
        """Every session of one app that is subscribed to a channel, by its name."""
        state = self.hub.find(app_id)
        found = None if state is None else state.find(channel)
        return [] if found is None else list(found.subscribers())  # type: ignore[arg-type]  # as above

    def sessions_with(self, socket_id: str, app_id: str | None = None) -> list[Session]:
        """The sessions with this socket id, of one app or of all: each app has its own ids."""
        states = [state for state in self.hub.states() if app_id in (None, state.app_id)]
        found = (state.connection(socket_id) for state in states)
        return [session for session in found if session is not None]  # type: ignore[misc]  # as above

    def revoke(self, app_id: str, revocations: Sequence[Revocation]) -> int:
        """Ends every session of the app whose token is among those taken back; how many."""
        ended, code = 0, errors.TOKEN_REVOKED.event_code
        for session in self.sessions_of(app_id):
            token = session.v2.token if session.v2 is not None else None
            if token is not None and any(revocation.covers(token) for revocation in revocations):
                session.send(frames.token_event("token_expired", code=code, reason="revoked"))
                session.end(errors.TOKEN_REVOKED())
                ended += 1
        return ended

    @staticmethod
    def _free_socket_id(state: AppState) -> str:
        while state.connection(candidate := socket_id()) is not None:
            pass
        return candidate
