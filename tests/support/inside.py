"""The server's inner layers without sockets and without waiting: apps by hand, a clock by hand, peers that remember."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.policies import StreamPolicies
from sockudo.apps.resolve import Defaults, resolve
from sockudo.auth.revocations import Revocations
from sockudo.base.components import Component
from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.directory import Directory
from sockudo.cluster.in_process import Network, join_network
from sockudo.cluster.network import NetworkBus
from sockudo.cluster.ports import Bus, Membership
from sockudo.cluster.router import Router
from sockudo.cluster.shared_counters import SharedCounters
from sockudo.config import Settings
from sockudo.config.apps import App, Policy
from sockudo.errors import SockudoError
from sockudo.history.calls import Sleep
from sockudo.hub import AppState, Hub, HubOptions
from sockudo.hub.edges import Edges
from sockudo.hub.events import Observers
from sockudo.hub.streams.versions import VersionSerials
from sockudo.hub.view import HubView
from sockudo.inspector import Inspector
from sockudo.limits.app_rates import AppRates
from sockudo.limits.idempotency import IdempotencyKeys
from sockudo.protocol.formats import V1_JSON, Format
from sockudo.publishing import EventApi, Publisher
from sockudo.publishing.caches import SharedCaches
from sockudo.publishing.entries import HubEntries, LocalEntries
from sockudo.publishing.metachannels import Metachannels
from sockudo.publishing.nodes import Message, OtherNodes
from sockudo.publishing.pushes import EventPushes, NoPushes
from sockudo.publishing.recorders import Recorders
from sockudo.publishing.rosters import Rosters
from sockudo.publishing.shared_streams import SharedStreams
from sockudo.publishing.stored_events import StoredEvents
from sockudo.publishing.topics import Topics
from sockudo.push.directory import Directory as PushDirectory
from sockudo.push.service import Push
from sockudo.push.services import PushServices, Storage
from sockudo.sessions import Gateway, Session
from sockudo.sessions.orders import answer_orders
from sockudo.testing import FakeClock
from support.signing import Credentials, channel_auth, user_auth
from support.virtual_time import LoopClock
from support.world import Peer

__all__ = [
    "Apps",
    "Client",
    "HandComponent",
    "Node",
    "NodeComponents",
    "OrderedPeer",
    "credentials",
    "live_app",
    "no_history",
    "of_directory",
]

NOW = 1_767_225_600
"""The time of day at which every node's clock starts."""


def live_app(app_id: str = "app", *, enabled: bool = True, defaults: Defaults | None = None, **policy: Any) -> LiveApp:
    """An app as the server uses it; key and secret are made from its id. ``policy`` are the fields of `Policy`."""
    app = App(app_id, f"key-{app_id}", f"secret-{app_id}", enabled, Policy(**policy))
    return resolve(app, defaults or Defaults())


def credentials(app: LiveApp) -> Credentials:
    """What the app's backend signs with."""
    return Credentials(app.id, app.key, app.record.secret)


class Apps:
    """Stands in for the registry: the apps that a test puts there."""

    healthy = True

    def __init__(self, *apps: LiveApp) -> None:
        self._apps = {app.id: app for app in apps}

    def put(self, app: LiveApp) -> None:
        self._apps[app.id] = app

    def remove(self, app_id: str) -> None:
        del self._apps[app_id]

    def by_key(self, key: str) -> LiveApp | None:
        return next((app for app in self._apps.values() if app.key == key), None)

    def by_id(self, app_id: str) -> LiveApp | None:
        return self._apps.get(app_id)

    def all(self) -> Sequence[LiveApp]:
        return tuple(self._apps.values())


class OrderedPeer(Peer):
    """Also remembers what came when: whole writes and close frames in one list."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[bytes | tuple[int, str]] = []

    def write(self, data: bytes) -> None:
        super().write(data)
        self.log.append(data)

    def close(self, code: int, reason: str) -> None:
        super().close(code, reason)
        self.log.append((code, reason))


class Client:
    """A session and the peer behind it, driven frame by frame."""

    def __init__(self, node: Node, session: Session, peer: OrderedPeer) -> None:
        self.node = node
        self.session = session
        self.peer = peer

    @property
    def socket_id(self) -> str:
        return self.session.socket_id

    def send_raw(self, payload: bytes) -> None:
        """One message, as the transport passes it on."""
        self.session.last_seen = self.node.clock.monotonic()
        self.session.receive(payload)

    def send(self, event: str, data: Any = None, channel: str | None = None) -> None:
        frame = {"event": event, "channel": channel, "data": data}
        self.send_raw(json.dumps({key: value for key, value in frame.items() if value is not None}).encode())

    def subscribe(self, channel: str, data: Any = None, **fields: Any) -> None:
        """Asks to join, with a right signature where the channel needs one; ``data`` becomes channel_data."""
        asked: dict[str, Any] = {"channel": channel}
        if data is not None:
            asked["channel_data"] = data if isinstance(data, str) else json.dumps(data)
        if channel.startswith(("private-", "presence-")):
            signed = asked.get("channel_data") if channel.startswith("presence-") else None
            asked["auth"] = channel_auth(credentials(self.session.live), self.socket_id, channel, signed)
        self.send("pusher:subscribe", asked | fields)

    def sign_in(self, user: Any) -> None:
        """Asks to sign in; ``user`` becomes user_data."""
        user_data = user if isinstance(user, str) else json.dumps(user)
        auth = user_auth(credentials(self.session.live), self.socket_id, user_data)
        self.send("pusher:signin", {"user_data": user_data, "auth": auth})

    def frames(self) -> list[dict[str, Any]]:
        """Every frame since the last look, after the turn has ended."""
        self.node.settle()
        return self.peer.frames()

    def events(self) -> list[str]:
        """The names of these frames."""
        return [frame["event"] for frame in self.frames()]

    def error(self) -> tuple[int, str]:
        """Code and message of the one frame since the last look."""
        [frame] = self.frames()
        assert frame["event"] == "pusher:error"
        assert "channel" not in frame
        return frame["data"]["code"], frame["data"]["message"]

    def data(self) -> Any:
        """The decoded data of the one frame since the last look."""
        [frame] = self.frames()
        return msgspec.json.decode(frame["data"])


class HandComponent(Component[Any]):
    """Closed until `put`. Opening it does what ``opening`` does, and fails where that is None."""

    def __init__(self, name: str, closed: Callable[[], SockudoError], service: Any = None) -> None:
        super().__init__(name, self._make, self._end, closed)
        self.opening: Callable[[], Awaitable[Any]] | None = None
        self._closed_error = closed
        self.put(service)

    def put(self, service: Any) -> None:
        """Opens the component with a service, or closes it with None."""
        self._service = service
        self.state = "closed" if service is None else "open"

    async def _make(self) -> Any:
        if self.opening is None:
            raise self._closed_error()
        return await self.opening()

    async def _end(self, _: Any) -> None:
        """The test closes what it opened."""


class NodeComponents:
    """The components of a node without sockets, all closed."""

    def __init__(self) -> None:
        self.history = HandComponent("history", no_history)
        self.presence_history = HandComponent("presence history", no_history)
        self.webhooks = HandComponent("webhooks", lambda: errors.SERVICE_UNAVAILABLE("closed", retry_after=1))
        self.push_storage = HandComponent("push store", _no_push_store)
        self.push: Push | None = None
        self.push_services = PushServices(self.push_storage, lambda: self.push)


def of_directory(directory: PushDirectory, **others: Any) -> Storage:
    """What is open with a directory; ``others`` are further fields that the test uses."""
    fields: dict[str, Any] = {"store": None, "rules": None, "removals": directory.removals, "reading": None, **others}
    return Storage(directory=directory, **cast(Any, fields))


def no_history() -> SockudoError:
    return errors.HISTORY_UNAVAILABLE("not open yet", retry_after=1)


def _no_push_store() -> SockudoError:
    return errors.SERVICE_UNAVAILABLE("The push store is not open yet", retry_after=1)


class Node:
    """Hub and gateway with turns of the loop and time by hand."""

    def __init__(
        self,
        *apps: LiveApp,
        settings: Settings | None = None,
        options: HubOptions | None = None,
        network: Network | None = None,
        clock: FakeClock | None = None,
        sleep: Sleep = asyncio.sleep,
        bus: NetworkBus | None = None,
        stored: StoredEvents | None = None,
    ) -> None:
        """With a ``bus`` the node runs on the loop and in its time instead of by hand."""
        self.turns: list[Callable[[], object]] = []
        schedule: Callable[[Callable[[], object]], object] = self.turns.append
        by_hand = clock or FakeClock(NOW)
        if clock is None:
            by_hand.advance(1000)
        self.clock: Any = by_hand
        if bus is not None:
            schedule, self.clock = asyncio.get_running_loop().call_soon, LoopClock()
        observers = Observers()
        self.inspector = Inspector(self.clock.time, observers)
        self.hub = Hub(schedule, self.clock.monotonic, options or HubOptions(), observers=observers)
        self.apps = Apps(*(apps or (live_app(),)))
        self.app = self.apps.all()[0]
        self.settings = settings or Settings()
        self.rates = AppRates(InProcessCounters())
        self.components = NodeComponents()
        self.bus: Bus
        self.membership: Membership
        self.bus, self.membership = join_network(schedule, network) if bus is None else (bus, bus.membership)
        self.router = Router()
        self.counters: InProcessCounters | SharedCounters = InProcessCounters()
        if bus is not None:
            self.counters = SharedCounters(bus, self.membership, self.router, self.clock.monotonic)
        self.keys = IdempotencyKeys(self.counters, 128)
        self.view = HubView(self.hub)
        self.cluster_directory = Directory(self.bus, self.router, self.view)
        self.topics, own = Topics(self.bus), HubEntries(self.hub, self._counts, self.clock.monotonic)
        self.rosters = Rosters(self.bus, self.membership, self.router, self.topics, own)
        self.entries = LocalEntries(self.bus, self.membership, self.topics, self.rosters, self.hub, own)
        self.shared = SharedStreams(
            self.bus, self.membership, self.router, self.hub, self.clock, self.policies, sleep=sleep
        )
        self.caches = SharedCaches(self.bus, self.membership, self.router, self.topics, self.hub, self.clock, stored)
        self.edges = Edges(observers)
        self.metachannels = Metachannels(self.bus, self.membership, self.rosters, self.hub)
        self.recorders = Recorders(
            self.bus, self.membership, self.router, self.rosters, own, self.edges, lambda _: self.edges.observed
        )
        self.publisher = Publisher(
            self.hub,
            self.keys,
            self.clock,
            self.components.history,
            self.inspector.doubts,
            OtherNodes(self.bus, self.membership, self.topics, self.hub),
            self.entries,
            self.shared,
            self.caches,
            self.policies,
            VersionSerials(self.membership.me.id, self.clock.time),
        )
        self.revocations = Revocations()
        self.gateway = Gateway(
            self.hub,
            self.apps,  # type: ignore[arg-type]
            self.clock,
            self.settings,
            schedule,
            self.publisher,
            self.revocations,
            self.inspector,
            self.membership,
        )
        self.router.on_item(Message, self.publisher.receive)
        answer_orders(self.router, self.gateway, self.revocations)
        self.bus.attach(self.router)

    def _counts(self, app_id: str) -> bool:
        app = self.apps.by_id(app_id)
        return app is not None and bool(app.features.enable_subscription_count)

    def policies(self, app_id: str) -> StreamPolicies | None:
        """How the channels of an app are kept."""
        app = self.apps.by_id(app_id)
        return None if app is None else app.streams

    def event_api(self, pushes: EventPushes | None = None) -> EventApi:
        """What takes the publishes of backends."""
        pushes = pushes or NoPushes()
        return EventApi(
            self.publisher, self.keys, self.rates, self.clock, self.inspector.doubts, self.cluster_directory, pushes
        )

    @property
    def state(self) -> AppState:
        """The state of the first app."""
        return self.gateway.state(self.app)

    def connect(self, app: LiveApp | None = None, shape: Format = V1_JSON, peer: Any = None, **options: Any) -> Client:
        """A client whose greeting has been sent and read, by a WebSocket unless another ``peer`` is given."""
        peer = OrderedPeer() if peer is None else peer
        return Client(self, self.gateway.open(app or self.app, peer, shape, **options), peer)

    def configure(self, **changes: Any) -> None:
        """Replaces settings, as a reload does."""
        self.settings = self.gateway.settings = msgspec.structs.replace(self.settings, **changes)

    def settle(self) -> None:
        """Turns of the loop until nothing is scheduled."""
        for _ in range(1000):
            if not self.turns:
                return
            due, self.turns[:] = list(self.turns), []
            for function in due:
                function()
        raise AssertionError("the loop does not come to rest")
