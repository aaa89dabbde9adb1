"""What a node does behind its listeners: its parts, how they are wired, and in which order they open and close."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final

import structlog

from sockudo import errors
from sockudo.apps import AppRegistry, Changes, Defaults
from sockudo.apps.registry import AppsChanged
from sockudo.auth.ports import Revocation
from sockudo.auth.revocations import Revocations
from sockudo.base.clock import Clock
from sockudo.base.components import Opener
from sockudo.base.spans import Tracer
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.carrier import Carrier
from sockudo.cluster.directory import Directory
from sockudo.cluster.in_process import Network, join_network
from sockudo.cluster.items import ALL
from sockudo.cluster.members import Timing
from sockudo.cluster.network import NetworkBus, join_carrier
from sockudo.cluster.owners import OwnerCounts
from sockudo.cluster.ports import Bus, Membership, Received
from sockudo.cluster.readiness import Readiness
from sockudo.cluster.router import Router
from sockudo.cluster.shared_counters import SharedCounters
from sockudo.cluster.stores import StoreOfNodes
from sockudo.config import Settings
from sockudo.config.app_choice import aliases
from sockudo.config.app_reader import origin_warnings
from sockudo.config.apps import App
from sockudo.drivers import MemoryHistoryStore
from sockudo.drivers.selection import app_store, history_store, revocation_store, starts_without_database
from sockudo.drivers.shared import cache_store, window_store
from sockudo.history.runtime import HistoryRuntime
from sockudo.hub import Hub
from sockudo.hub.edges import Edges
from sockudo.hub.events import Observers
from sockudo.hub.streams.versions import VersionSerials
from sockudo.hub.view import HubView
from sockudo.inspector import Inspector
from sockudo.limits.app_rates import AppRates
from sockudo.limits.idempotency import IdempotencyKeys
from sockudo.monitoring.elsewhere import Elsewhere
from sockudo.protocol.delta import DeltaNode
from sockudo.protocol.frames import Frame
from sockudo.publishing import EventApi, Publisher
from sockudo.publishing.caches import SharedCaches
from sockudo.publishing.entries import HubEntries, LocalEntries
from sockudo.publishing.metachannels import Metachannels
from sockudo.publishing.nodes import Message, OtherNodes
from sockudo.publishing.recorders import Recorders
from sockudo.publishing.rosters import SCRUB_SECONDS, Rosters
from sockudo.publishing.shared_streams import SharedStreams
from sockudo.publishing.stored_events import StoredEvents
from sockudo.publishing.stored_streams import StoredStreams
from sockudo.publishing.topics import Topics
from sockudo.push.diagnosis.advice import note_refused
from sockudo.push.drivers import ConfiguredPush
from sockudo.push.rules import EventRules
from sockudo.push.runtime import PushRuntime
from sockudo.push.wing import push_wing
from sockudo.server.options import delta_options, hub_options, publish_options
from sockudo.server.worker import WorkerPlace
from sockudo.sessions import Gateway
from sockudo.sessions.orders import answer_orders
from sockudo.webhooks.records import Sender
from sockudo.webhooks.runtime import WebhookRuntime, webhook_queue
from sockudo.webhooks.wing import webhook_wing

__all__ = ["Services"]

# That other nodes may take to take over what this one recorded.
_HAND_OVER_SECONDS: Final = 2.0

_log = structlog.get_logger("sockudo.server")


class Services:
    """The parts of one node. They exist from here on; `open` makes them work and `close` ends them.

    ``first_app`` is the app that was made because there was none, with its secret, for printing once.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        tracer: Tracer | None = None,
        network: Network | None = None,
        carrier: Carrier | None = None,
        worker: WorkerPlace | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.settings = settings
        self.clock = clock
        self.first_app: App | None = None
        self.bus, self.membership = _join(settings, loop, network, carrier)
        # Where other processes may join; None inside this one.
        self.carried = self.bus if isinstance(self.bus, NetworkBus) else None
        self.through = "" if carrier is None else carrier.name
        self.readiness = Readiness(self.membership, self.through, lambda: self.settings.cluster.up_grace)
        self.router = router = Router()
        observers = Observers()
        self.inspector = inspector = Inspector(clock.time, observers)
        deltas = DeltaNode(delta_options(settings), clock.time)
        self.hub = hub = Hub(loop.call_soon, clock.monotonic, hub_options(settings), deltas, observers)
        if self.bus.networked:
            hub.later = loop.call_later
        self.view = HubView(hub)
        self.directory = Directory(self.bus, router, self.view)
        self.apps = apps = AppRegistry(
            app_store(settings, serving=True, run_dir=None if worker is None else worker.run_dir),
            Defaults.from_settings(settings),
            aliases=aliases(settings.apps, dev=settings.dev),
        )
        self.owned = OwnerCounts()
        self.cache_store, self.window_store = cache_store(settings), window_store(settings)
        self.counters = SharedCounters(
            self.bus,
            self.membership,
            router,
            clock.monotonic,
            allows=lambda: self.settings.idempotency.on_failure == "allow",
            mode=lambda: self.settings.rate_limiter.on_failure,
            counts=self.owned,
            claims=self.cache_store,
            windows=self.window_store,
        )
        self.rates = AppRates(self.counters)
        self.keys = IdempotencyKeys(self.counters, settings.idempotency.max_key_length)
        self.revocations = Revocations(revocation_store(settings))
        self.edges = edges = Edges(observers)
        self.histories = HistoryRuntime(
            hub,
            edges,
            apps,
            clock,
            settings,
            history_store,
            MemoryHistoryStore,
            deliver=self._deliver_stored,
            wants_whole=self._wants_whole,
            node_id=self.membership.me.id,
            is_alive=self.membership.is_alive,
            is_gone=self._is_gone,
            is_alone=lambda: self.bus.alone,
            tracer=tracer,
        )
        self.webhooks = WebhookRuntime(edges, inspector, apps, clock, settings, webhook_queue, _webhook_sender, tracer)
        topics, own = Topics(self.bus), HubEntries(hub, self._counts_channels, clock.monotonic)
        self._rosters = Rosters(self.bus, self.membership, router, topics, own)
        self._entries = LocalEntries(self.bus, self.membership, topics, self._rosters, hub, own)
        self._metachannels = Metachannels(self.bus, self.membership, self._rosters, hub)
        self.recorders = Recorders(self.bus, self.membership, router, self._rosters, own, edges, self._reports)
        stored = None if self.cache_store is None else StoredEvents(self.cache_store, clock.monotonic, self.owned)
        self._caches = SharedCaches(self.bus, self.membership, router, topics, hub, clock, stored)
        self.streams = SharedStreams(
            self.bus, self.membership, router, hub, clock, self.histories.policies, counts=self.owned
        )
        self._stored = StoredStreams(
            self.bus, self.membership, router, hub, self.histories.messages, self.histories.policies
        )
        self._publisher = publisher = Publisher(
            hub,
            self.keys,
            clock,
            self.histories.messages,
            inspector.doubts,
            OtherNodes(self.bus, self.membership, topics, hub),
            self._entries,
            self.streams,
            self._caches,
            self.histories.policies,
            VersionSerials(self.membership.me.id, clock.time),
        )
        self.gateway = Gateway(
            hub, apps, clock, settings, loop.call_soon, publisher, self.revocations, inspector, self.membership
        )
        self.push = PushRuntime(
            apps,
            clock,
            settings,
            ConfiguredPush(),
            self._publish_notification,
            lambda: self.webhooks.service.if_open,
            inspector,
            tracer,
        )
        self.event_rules = EventRules(self.push.serving, settings.push_rules, clock, partial(note_refused, inspector))
        self.events = EventApi(
            publisher,
            self.keys,
            self.rates,
            clock,
            inspector.doubts,
            self.directory,
            self.event_rules,
            publish_options(settings),
        )
        router.on_item(Message, publisher.receive)
        self.elsewhere = Elsewhere(self.bus, self.membership, router, inspector)
        router.on_item(AppsChanged, self._apps_changed)
        answer_orders(router, self.gateway, self.revocations)
        self.wings = (webhook_wing(self.webhooks, settings.queue.driver), push_wing(self.push))
        self._reading: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._opener = Opener(
            {
                self.histories.presence: lambda: self.histories.presence_needed,
                self.histories.messages: lambda: self.histories.messages_needed,
                self.webhooks.service: lambda: self.webhooks.needed,
                self.push.delivery: lambda: self.push.needed,
            },
            errors.SockudoError,
            # Without its database there is no push for now, which is no reason not to serve.
            optional=(self.push.delivery,),
        )

    # ---- opening and closing ----

    async def open(self) -> None:
        """Reads the apps and opens what they need. Raises ``errors.SockudoError``; `close` undoes what was opened."""
        for store in self.stores.values():
            await store.start()
        await self._open_apps()
        await self._read_revocations()
        await self._opener.start()
        self.bus.attach(self.router)
        await self.bus.open()
        self.bus.subscribe(ALL)
        self._tasks = start_tasks(self._scrub())

    async def close(self) -> None:
        """Ends everything, from the top down: what is closed may still use what is closed later."""
        await self.elsewhere.close()
        # First, since it reports what is due before the node drains.
        await self.recorders.hand_over(_HAND_OVER_SECONDS)
        await self.streams.hand_over()
        await self.counters.hand_over()
        self._caches.hand_over()
        await self.bus.close()
        await end_tasks(self._tasks)
        await self.recorders.close()
        self._entries.close()
        await self._rosters.close()
        await self.streams.close()
        await self._stored.close()
        await self.counters.close()
        await self._caches.close()
        await self._publisher.changing.close()
        for store in self.stores.values():
            await store.close()
        await end_tasks(self._reading)
        await self._opener.close()
        await self.event_rules.close()
        await self.push.close()
        await self.webhooks.service.close()
        await self.histories.close()
        await self.revocations.stop()
        await self.apps.stop()

    @property
    def stores(self) -> Mapping[str, StoreOfNodes]:
        """Those outside of the nodes, for keys, last events and limits, by what their checks are called."""
        found = {"cache": self.cache_store, "limits": self.window_store}
        return {name: store for name, store in found.items() if store is not None}

    async def _open_apps(self) -> None:
        await self.apps.start(self.settings.apps)
        if not self.settings.apps:
            self.first_app = await self.apps.ensure_first_app(shared=self.settings.apps_are_shared)
        for app in self.apps.all():
            self.gateway.state(app)
            _log.info("app", app_id=app.id, enabled=app.enabled)
            # The configuration has named the configured ones already.
            for warning in () if app.id in self.apps.configured else origin_warnings(app.record):
                _log.warning("app", app_id=app.id, warning=warning)

    async def _read_revocations(self) -> None:
        try:
            await self.revocations.start(self.clock.time())
        except errors.SockudoError as error:
            if not starts_without_database(self.settings):
                raise
            # No token is taken before they are known.
            _log.error("capability tokens are refused until the revocation store answers", reason=error.text)

    def watches(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Look once a second, for ever, what other processes have changed in the stores."""
        return (
            self.apps.watch(1.0, self.apply_changes),
            self.revocations.watch(1.0, self.clock.time, self._end_revoked),
        )

    def _end_revoked(self, revocations: Sequence[Revocation]) -> None:
        """Ends the sessions whose tokens another process has revoked."""
        for app_id, group in groupby(sorted(revocations, key=_app_of), key=_app_of):
            self.gateway.revoke(app_id, tuple(group))

    def _counts_channels(self, app_id: str) -> bool:
        """Whether other nodes have to know how many subscriptions the app's channels have here."""
        app = self.apps.by_id(app_id)
        return app is not None and bool(app.features.enable_subscription_count or app.record.policy.webhooks)

    def _is_gone(self, app_id: str, channel: str, user_id: str) -> bool:
        return self.recorders.is_gone(app_id, channel, user_id)

    def _reports(self, app_id: str) -> bool:
        """Whether anything of an app is reported: to its webhooks, or in a presence history."""
        app = self.apps.by_id(app_id)
        kept = app is not None and app.streams is not None and app.streams.keeps_presence
        return app is not None and (bool(app.record.policy.webhooks) or kept)

    async def _scrub(self) -> None:
        """Looks again and again whether what other nodes know and what is known of them is true."""
        while True:
            await asyncio.sleep(SCRUB_SECONDS)
            if not self.bus.alone:
                self._rosters.scrub()
                self.recorders.announce()
                self.streams.scrub()
            self._stored.scrub()

    def _wants_whole(self, app_id: str, channel: str) -> bool:
        return self._publisher.wants_whole(app_id, channel)

    def _deliver_stored(self, app_id: str, frame: Frame, whole: Frame | None) -> None:
        self._publisher.deliver_stored(app_id, frame, whole)

    async def _publish_notification(self, app_id: str, channel: str, payload: Mapping[str, Any]) -> str | None:
        """Publishes a push notification on a channel, for subscribers of this server."""
        app = self.apps.by_id(app_id)
        if app is None:
            raise errors.INVALID_INPUT(f"there is no app {app_id}")
        return await self.events.notification(app, self.gateway.state(app), channel, payload)

    # ---- while it runs ----

    def apply_edits(self, changes: Changes) -> None:
        """Does what `apply_changes` does, and has the other nodes read the apps anew."""
        self.apply_changes(changes)
        self.bus.publish(ALL, AppsChanged())

    def _apps_changed(self, _received: Received, _item: AppsChanged) -> None:
        [task] = start_tasks(self._read_apps())
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read_apps(self) -> None:
        try:
            changes = await self.apps.refresh()
        except errors.SockudoError:
            # `AppRegistry.watch` says so, and reads them when the store answers.
            return
        if changes:
            self.apply_changes(changes)

    def apply_changes(self, changes: Changes) -> None:
        """Gives open sessions the changed apps; those of a disabled or removed app end."""
        for app_id in changes.removed:
            self.gateway.remove_app(app_id)
        for app_id in (*changes.added, *changes.updated, *changes.disabled):
            app = self.apps.by_id(app_id)
            if app is not None:
                self.gateway.apply_app(app)
        self._opener.changed()
        _log.info(
            "apps changed",
            added=changes.added,
            updated=changes.updated,
            disabled=changes.disabled,
            removed=changes.removed,
        )

    async def reload(self, settings: Settings) -> None:
        """Takes over ``settings``, which differ only in what may change while running; a refusal changes nothing.

        Raises ``errors.SockudoError`` for apps that cannot be used.
        """
        changes = await self.apps.replace_inline(settings.apps, Defaults.from_settings(settings))
        self.settings = self.gateway.settings = settings
        self.keys.max_key_length = settings.idempotency.max_key_length
        self.hub.options = hub_options(settings)
        self.events.options = publish_options(settings)
        self.histories.configure(settings)
        self.push.configure(settings)
        self.event_rules.configure(settings.push_rules)
        for state in self.hub.states():
            state.cache.ttl = settings.channel_limits.cache_ttl
        self._opener.changed()
        if changes:
            self.apply_changes(changes)


def _join(
    settings: Settings, loop: asyncio.AbstractEventLoop, network: Network | None, carrier: Carrier | None
) -> tuple[Bus, Membership]:
    """The node's ports: on a carrier where there is one, else inside this process."""
    name = settings.node_name
    if carrier is None:
        return join_network(loop.call_soon, network, name, opened=False)
    health = settings.adapter.cluster_health
    timing = Timing(health.heartbeat_interval_ms / 1000, health.node_timeout_ms / 1000)
    bus = join_carrier(carrier, name, timing, guest=settings.server_role == "api")
    return bus, bus.membership


def _app_of(revocation: Revocation) -> str:
    return revocation.app_id


def _webhook_sender(settings: Settings) -> Sender:
    # Takes a while to import, which servers without webhooks should not pay for.
    from sockudo.webhooks.sender import HttpSender

    return HttpSender(allow_private=settings.webhooks.allow_private_addresses)
