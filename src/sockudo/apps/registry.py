"""The apps of the running server: looked up without waiting, kept in step with the store.

The registry holds every app resolved in two dictionaries and asks the store for its revision once a second; only when
that changed are the records read again. So a lookup never waits, and a store that fails costs nothing but news: the
apps stay as they were last known, and `AppRegistry.healthy` is false.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeVar

import structlog

from sockudo import errors
from sockudo.apps.edits import without_ended
from sockudo.apps.live import LiveApp
from sockudo.apps.origins import configure
from sockudo.apps.ports import AppStore
from sockudo.apps.resolve import Defaults, resolve
from sockudo.base import ids
from sockudo.cluster.items import Item
from sockudo.config.apps import App

__all__ = ["AppRegistry", "AppsChanged", "Changes"]

_T = TypeVar("_T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """Ids of the apps that a reload changed, each in exactly one group, sorted; false when there are none.

    ``disabled`` were enabled before and no longer are; ``updated`` changed in any other way, which includes being
    enabled again.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.updated or self.disabled or self.removed)

    @property
    def closed(self) -> tuple[str, ...]:
        """The apps whose connections must end: disabled or removed."""
        return self.disabled + self.removed


class AppsChanged(Item, frozen=True, tag="apps_changed"):
    """The records of apps changed in the store that nodes share; each node reads them anew."""


class AppRegistry:
    """Every app the server serves, ready for the hot path.

    A `LiveApp` is replaced as a whole when its record changes; one whose record did not change stays the same object.
    ``aliases`` are further names of apps, alias to id.
    """

    def __init__(
        self,
        store: AppStore,
        defaults: Defaults,
        now: Callable[[], float] = time.time,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._aliases = aliases or {}
        self._now = now
        self._defaults = defaults
        self._by_id: dict[str, LiveApp] = {}
        self._by_key: dict[str, LiveApp] = {}
        self._revision: int | None = None
        # When the next previous secret ends, and the apps of which one is still in the store.
        self._next_end = inf
        self._ended: set[str] = set()
        self._inline: frozenset[str] = frozenset()
        self._healthy = False
        self._problem: str | None = None
        # The last to read the records must also be the last to put them in place.
        self._lock = asyncio.Lock()

    @property
    def healthy(self) -> bool:
        """Whether the store answered when it was last asked."""
        return self._healthy

    @property
    def problem(self) -> str | None:
        """Why the store did not answer when it was last asked; None when it did, and before it was asked."""
        return None if self._healthy else self._problem

    async def check(self) -> bool:
        """Whether the store answered when it was last asked, for health checks. Raises errors.SERVICE_UNAVAILABLE."""
        if self.problem is not None:
            raise errors.SERVICE_UNAVAILABLE(self.problem)
        return self._healthy

    @property
    def configured(self) -> frozenset[str]:
        """The ids of the apps that the configuration names."""
        return self._inline

    def by_key(self, key: str) -> LiveApp | None:
        """The app with this key, disabled ones included."""
        return self._by_key.get(key)

    def by_id(self, app_id: str) -> LiveApp | None:
        """The app with this id, or of which this is an alias and no app's id; disabled ones included."""
        return self._by_id.get(app_id) or self._by_id.get(self._aliases.get(app_id, app_id))

    def all(self) -> Sequence[LiveApp]:
        """Every app, sorted by id."""
        return tuple(self._by_id.values())

    async def start(self, inline: Sequence[App] = ()) -> None:
        """Opens the store, puts the configured apps into it, over rows of the same id, and reads all.

        Raises ``errors.SERVICE_UNAVAILABLE`` when the store does not answer and ``errors.APP_KEY_TAKEN`` when a
        configured app has the key of another app.
        """
        await self._store.start()
        await self.replace_inline(inline)

    async def stop(self) -> None:
        """Closes the store. Lookups go on answering from what is known."""
        await self._store.stop()
        self._healthy = False

    async def ensure_first_app(self, *, shared: bool = True) -> App | None:
        """Creates an app with random credentials when there is none at all, and returns it; else None.

        The result carries the secret: print it once, to the person who started the server. Raises
        ``errors.SERVICE_UNAVAILABLE`` where other nodes have apps of their own instead of ``shared`` ones.
        """
        async with self._lock:
            if self._by_id:
                return None
            if not shared:
                raise errors.SERVICE_UNAVAILABLE(
                    "There is no app, and one that is made now would be known to this node alone: configure the apps "
                    "on all joined nodes (app_manager.array.apps, or SOCKUDO_DEFAULT_APP_ID, _KEY and _SECRET), or "
                    "name a database that they share (app_manager.driver)"
                )
            app_id, key, secret = ids.app_credentials()
            app = App(id=app_id, key=key, secret=secret, enabled=True)
            await self._store.save(app)
            await self._load(await self._store.revision())
            return app

    async def replace_inline(self, apps: Sequence[App], defaults: Defaults | None = None) -> Changes:
        """Makes these the apps that come from the configuration, and returns what changed.

        Removes the ones that an earlier call put there and this one does not name, also when that was before a restart;
        apps from elsewhere stay, unless they have the id of a configured one. New ``defaults`` hold for every app at
        once, which counts as updated. Raises as `start` does; when a key is taken, nothing is changed.
        """
        async with self._lock:
            await configure(self._store, apps)
            self._inline = frozenset(app.id for app in apps)
            return await self._load(await self._store.revision(), defaults)

    def end_secrets(self) -> Changes:
        """Refuses previous secrets from their end on, whether the store answers or not, and returns whose they were."""
        now = self._now()
        if now < self._next_end:
            return Changes()
        before, after = self._by_id, dict(self._by_id)
        for app_id, live in before.items():
            record = without_ended(live.record, now)
            if record is not live.record:
                after[app_id] = resolve(record, self._defaults)
                self._ended.add(app_id)
                _log.info("the previous secret has ended", app_id=app_id)
        self._put(after)
        return _compare(before, after)

    async def refresh(self) -> Changes:
        """Reads the records again if the store changed, and returns which apps did.

        Raises ``errors.SERVICE_UNAVAILABLE`` when the store does not answer; the apps stay as they were.
        """
        async with self._lock:
            revision = await self._store.revision()
            return Changes() if revision == self._revision else await self._load(revision)

    async def write(self, work: Callable[[AppStore], Awaitable[_T]], on_change: Callable[[Changes], None]) -> _T:
        """Lets ``work`` change the store; when this returns, the server goes by what it changed.

        ``on_change`` gets what changed, as by `watch`. Should the store stop answering once ``work`` is done, its
        result is returned all the same, and the change is noticed when the store answers again. Raises what ``work``
        does.
        """
        async with self._lock:
            result = await work(self._store)
            try:
                revision = await self._store.revision()
                changes = Changes() if revision == self._revision else await self._load(revision)
            except errors.SockudoError as error:
                self._healthy, self._problem = False, error.text
                _log.warning("a changed app is not served yet", reason=error.text)
                return result
            if changes:
                on_change(changes)
            return result

    async def watch(
        self,
        interval: float,
        on_change: Callable[[Changes], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Refreshes every ``interval`` seconds until cancelled, ends previous secrets, and passes on what changed.

        A store that does not answer is logged once, tried again each time, and logged when it is back.
        """
        failing = False
        while True:
            await sleep(interval)
            if ended := self.end_secrets():
                on_change(ended)
            try:
                changes = await self.refresh()
                await self._drop_ended()
            except errors.SockudoError as error:
                if not failing:
                    _log.error(
                        "app store fails; the apps stay as last known", reason=error.text, cause=str(error.__cause__)
                    )
                failing, self._healthy, self._problem = True, False, error.text
                continue
            if failing:
                _log.info("app store answers again")
            failing, self._healthy = False, True
            if changes:
                on_change(changes)

    async def _load(self, revision: int, defaults: Defaults | None = None) -> Changes:
        # The revision was asked before the records are read: a change in between is then read twice, never missed.
        records = await self._store.all()
        now = self._now()
        same_defaults = defaults is None or defaults == self._defaults
        self._defaults = defaults or self._defaults
        before = self._by_id
        after: dict[str, LiveApp] = {}
        for record in records:
            app = without_ended(record, now)
            known = before.get(app.id)
            if known is None or known.record != app or not same_defaults:
                known = resolve(app, self._defaults)
            after[app.id] = known
            if app is not record:
                self._ended.add(app.id)
        self._put(after)
        self._revision = revision
        self._healthy = True
        return _compare(before, after)

    def _put(self, apps: dict[str, LiveApp]) -> None:
        self._by_id = apps
        self._by_key = {live.key: live for live in apps.values()}
        ends = (live.record.previous_secret.until for live in apps.values() if live.record.previous_secret is not None)
        self._next_end = min(ends, default=inf)

    async def _drop_ended(self) -> None:
        """Takes previous secrets that have ended out of the store."""
        while self._ended:
            app_id = next(iter(self._ended))
            try:
                await self._store.change(app_id, self._without_ended)
            except errors.SockudoError as error:
                # Gone meanwhile, or a record that others have to put right first.
                _log.debug("a previous secret stays in the store", app_id=app_id, reason=error.text)
            self._ended.discard(app_id)

    def _without_ended(self, app: App | None) -> App:
        if app is None:
            raise errors.APP_NOT_FOUND("The app was removed")
        return without_ended(app, self._now())


def _compare(before: dict[str, LiveApp], after: dict[str, LiveApp]) -> Changes:
    updated: list[str] = []
    disabled: list[str] = []
    for app_id in sorted(before.keys() & after.keys()):
        old, new = before[app_id], after[app_id]
        if old.enabled and not new.enabled:
            disabled.append(app_id)
        elif old is not new:
            updated.append(app_id)
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        updated=tuple(updated),
        disabled=tuple(disabled),
        removed=tuple(sorted(before.keys() - after.keys())),
    )
