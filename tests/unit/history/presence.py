"""A presence history over stores that do what a test tells them, on time by hand, and channels to happen on."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from sockudo.apps.live import LiveApp
from sockudo.base.stream_records import Row
from sockudo.config.apps import History as HistoryOverride
from sockudo.config.apps import PresenceHistory as PresenceOverride
from sockudo.history import History, HistoryOptions, HistoryQuery, PresenceHistory, PresenceHistoryOptions, Reset
from sockudo.hub import Channel, MemberEvent
from sockudo.hub.edges import MemberReported
from support.durable import HandTime, UnrulyStore
from support.inside import HandComponent, live_app, no_history
from support.waiting import settle
from support.world import World

__all__ = ["ROOM", "Observed", "added", "observed_app", "removed", "updated"]

ROOM = "presence-room"


def observed_app(app_id: str = "app", *, durable: bool = True, **limits: Any) -> LiveApp:
    """An app whose presence channels have a history; ``durable``: its messages do too."""
    return live_app(
        app_id, history=HistoryOverride(enabled=durable), presence_history=PresenceOverride(enabled=True, **limits)
    )


def added(user_id: str = "ana", info: bytes | None = b"{}", socket_id: str = "1.1") -> MemberEvent:
    return MemberEvent("member_added", "join", user_id, socket_id, info)


def updated(user_id: str = "ana", info: bytes | None = b'{"n":2}', socket_id: str = "1.1") -> MemberEvent:
    return MemberEvent("member_updated", "join", user_id, socket_id, info)


def removed(user_id: str = "ana", socket_id: str | None = "1.1") -> MemberEvent:
    return MemberEvent("member_removed", "disconnect", user_id, socket_id)


class Observed:
    """The presence history of one app. ``durable`` says where it is kept.

    ``alone``: every other process has ended.
    """

    def __init__(self, *, durable: bool = True, alone: bool = False, store: UnrulyStore | None = None) -> None:
        self.durable = durable
        self.time = HandTime()
        self.store = store or UnrulyStore()
        self.app = observed_app(durable=durable)
        self.world = World()
        self.node_id = secrets.token_hex(16)
        self.changes: list[tuple[str, str]] = []
        self.kept = self._history(self.store if durable else UnrulyStore(), "sqlite" if durable else "memory")
        self.memory = self._history(UnrulyStore() if durable else self.store, "memory")
        self.durable_history = HandComponent("history", no_history, self.kept)
        self.presence = PresenceHistory(
            self.memory,
            lambda app_id: self.app.streams if app_id == self.app.id else None,
            self.time,
            PresenceHistoryOptions(max_page_size=3),
            durable=self.durable_history,
            node_id=self.node_id,
            is_alive=lambda node_id: not alone or node_id == self.node_id,
            sleep=self.time.sleep,
        )

    def _history(self, store: UnrulyStore, backend: str) -> History:
        return History(
            store,  # type: ignore[arg-type]  # every method is there, by name
            self.time,
            HistoryOptions(backend=backend, node_id="this-node"),
            lambda app_id, stream, _: self._changed(app_id, stream),
            sleep=self.time.sleep,
        )

    def _changed(self, app_id: str, stream: str) -> None:
        self.changes.append((app_id, stream))
        self.presence.stream_changed(app_id, stream)

    async def __aenter__(self) -> Observed:
        await self.kept.start()
        await self.presence.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.store.down = False
        await self.ended(self.presence.close())
        await self.ended(self.kept.close())

    async def ended(self, closing: Any) -> None:
        """Waits for the end of something that may sleep first."""
        task = asyncio.ensure_future(closing)
        await settle()
        for _ in range(20):
            if task.done():
                break
            await self.time.elapse(10)
        await task

    def channel(self, name: str = ROOM) -> Channel:
        return self.world.app.channel(name)

    def note(self, *events: MemberEvent, channel: str = ROOM) -> None:
        for event in events:
            self.presence.note(MemberReported(self.world.app.app_id, channel, event))

    async def happen(self, *events: MemberEvent, channel: str = ROOM) -> None:
        """These happen and are written."""
        self.note(*events, channel=channel)
        await settle()

    def rows(self, channel: str = ROOM) -> list[Row]:
        """What the store holds."""
        stream = self.store.inner._streams.get((self.app.id, f"[presence-history]{channel}"))
        return list(stream.rows) if stream is not None else []

    def kinds(self, channel: str = ROOM) -> list[str | None]:
        return [row.event_name for row in self.rows(channel)]

    async def page(self, channel: str = ROOM, **query: Any) -> dict[str, Any]:
        return await self.presence.page(self.app.id, channel, HistoryQuery(**query))

    async def members(self, channel: str = ROOM, **at: int) -> list[str]:
        snapshot = await self.presence.snapshot(self.app.id, channel, **at)
        return [member["user_id"] for member in snapshot["members"]]

    async def durable_state(self, channel: str = ROOM) -> dict[str, Any]:
        state: dict[str, Any] = (await self.presence.state(self.app.id, channel))["stream"]["state"]
        return state

    async def reset(self, channel: str = ROOM) -> dict[str, Any]:
        return await self.presence.reset(self.app.id, channel, Reset(channel, "reset", "test"))
