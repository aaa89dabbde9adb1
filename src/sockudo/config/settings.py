"""Every setting of the server: one frozen tree, by section and key (spec: platform § 1.3 and 1.4)."""

from __future__ import annotations

import re
import socket
from typing import Literal

import msgspec

from sockudo.config import origins
from sockudo.config.apps import App
from sockudo.config.keys import Section, setting
from sockudo.config.push_rules import PushRule
from sockudo.config.sections.dashboard import Dashboard
from sockudo.config.sections.databases import Database, DatabasePooling
from sockudo.config.sections.delivery import DeltaCompression, EchoControl, Ephemeral, EventNameFiltering, TagFiltering
from sockudo.config.sections.drivers import Adapter, AppManager, Cache, Cluster
from sockudo.config.sections.limits import ChannelLimits, EventLimits, Idempotency, Presence, RateLimiter, WebSocket
from sockudo.config.sections.push import Push
from sockudo.config.sections.redis import RedisAccess
from sockudo.config.sections.server import Cors, HttpApi, Instance, Logging, Metrics, Ssl, UnixSocket
from sockudo.config.sections.streams import ConnectionRecovery, History, PresenceHistory, VersionedMessages
from sockudo.config.sections.webhooks import Queue, Webhooks

__all__ = ["LogFormat", "Settings"]

LogFormat = Literal["auto", "text", "json"]

_HOST_PATTERN = re.compile(r"\*|(\*\.)?[a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\]|[0-9a-fA-F:]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")

_MADE_UP = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_NO_COUNT = 10_000
_DEFAULT_COUNT = 1_000


def _useless_hosts(hosts: tuple[str, ...]) -> str | None:
    wrong = next((host for host in hosts if not _HOST_PATTERN.fullmatch(host)), None)
    return None if wrong is None else f"has {wrong!r}, which is no host name: give it without scheme, port and path"


class Settings(Section, frozen=True):
    """The whole configuration. Never altered: a reload makes a new one and passes it on."""

    debug: bool = setting(False, "More log lines", env="DEBUG_MODE DEBUG", reload=True)
    host: str = setting("0.0.0.0", "Listen address")
    port: int = setting(6001, "Port of HTTP and WebSocket; 0 = any free one", high=65_535)
    mode: str = setting(
        "production", "Free label of the environment; `production` adds warnings", env="ENVIRONMENT", reload=True
    )
    server_role: str = setting(
        "default",
        "What this node does: all of it, or `api`: it takes publishes of backends for the clients of other nodes",
        env="SOCKUDO_SERVER_ROLE",
        choices=("default", "api"),
    )
    data_dir: str = setting("./sockudo-data", "Folder of the embedded stores", env="SOCKUDO_DATA_DIR")
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "Names for which a listener on loopback answers, besides those of loopback: host names without a port, "
        "`*.example.com`, or `*` for all. Without any, none is asked of a listener whose proxy is counted in "
        "`trust_hops`",
        env="SOCKUDO_ALLOWED_HOSTS",
        check=_useless_hosts,
        reload=True,
    )
    dev_origins: tuple[str, ...] = setting(
        (),
        "With `--dev`: origins of pages that may use the server, besides those of this machine and of private "
        "networks; `*` = all",
        env="SOCKUDO_DEV_ORIGINS",
        check=origins.useless_patterns,
        reload=True,
    )
    proxy_protocol: bool = setting(
        False, "Every TCP connection begins with a PROXY protocol header, v1 or v2", env="SOCKUDO_PROXY_PROTOCOL"
    )
    log_level: str = setting(
        "info",
        "Comma list of `level` and `logger=level`, like `info,sockudo=debug`; without it, `debug` decides",
        env="SOCKUDO_LOG RUST_LOG",
        reload=True,
    )
    log_format: LogFormat = setting(
        "auto",
        "Form of the log; `auto` = text on a terminal, JSON otherwise",
        env="LOG_OUTPUT_FORMAT",
        choices=("auto", "text", "json"),
        aliases=(("human", "text"), ("pretty", "text")),
    )
    max_connections: int = setting(
        0,
        "Connections of this server, of which each of its workers takes an equal share; 0 = no limit",
        env="SOCKUDO_MAX_CONNECTIONS",
        reload=True,
    )
    shutdown_grace_period: int = setting(10, "Longest wait for connections to end at shutdown", unit="s", reload=True)
    workers: int = setting(
        1,
        "Processes that share the port on this machine, each for a core of its own; `auto` or 0 = one per core",
        env="SOCKUDO_WORKERS",
        high=64,
        aliases=(("auto", "0"),),
    )
    drain_window: int = setting(
        5,
        "Time over which a worker that is replaced closes its connections",
        env="SOCKUDO_DRAIN_WINDOW",
        unit="s",
        reload=True,
    )
    drain_hold: int = setting(
        5,
        "Time for which a joined node that stops or drains keeps the members of presence channels whose connections it "
        "has closed, so that they can come back at other nodes without leaving; within `shutdown_grace_period`",
        env="SOCKUDO_DRAIN_HOLD",
        unit="s",
        high=600,
        reload=True,
    )
    user_authentication_timeout: int = setting(
        3600, "Time to sign in, on apps that require it", unit="s", low=1, reload=True
    )
    activity_timeout: int = setting(
        120, "Silence after which a connection is pinged; announced to new connections", unit="s", low=1, reload=True
    )
    websocket_max_payload_kb: int = setting(
        64,
        "Largest message a client may send, unless `websocket.max_bytes` is set",
        unit="KB",
        low=1,
        high=2_097_151,
        reload=True,
    )
    health_check_timeout_ms: int = setting(2000, "Limit of each health check", unit="ms", low=1, reload=True)
    http_api: HttpApi = HttpApi()
    cors: Cors = Cors()
    websocket: WebSocket = WebSocket()
    channel_limits: ChannelLimits = ChannelLimits()
    event_limits: EventLimits = EventLimits()
    presence: Presence = Presence()
    idempotency: Idempotency = Idempotency()
    connection_recovery: ConnectionRecovery = ConnectionRecovery()
    history: History = History()
    presence_history: PresenceHistory = PresenceHistory()
    versioned_messages: VersionedMessages = VersionedMessages()
    ephemeral: Ephemeral = Ephemeral()
    echo_control: EchoControl = EchoControl()
    event_name_filtering: EventNameFiltering = EventNameFiltering()
    tag_filtering: TagFiltering = TagFiltering()
    delta_compression: DeltaCompression = DeltaCompression()
    rate_limiter: RateLimiter = RateLimiter()
    ssl: Ssl = Ssl()
    unix_socket: UnixSocket = UnixSocket()
    metrics: Metrics = Metrics()
    dashboard: Dashboard = Dashboard()
    logging: Logging = Logging()
    instance: Instance = msgspec.field(default_factory=Instance)
    adapter: Adapter = Adapter()
    cluster: Cluster = Cluster()
    app_manager: AppManager = AppManager()
    cache: Cache = Cache()
    queue: Queue = Queue()
    webhooks: Webhooks = Webhooks()
    push: Push = Push()
    push_rules: tuple[PushRule, ...] = setting(
        (), "Events that are pushed to the subscribers of their channel; see Push rules", env="", reload=True
    )
    database: Database = Database()
    database_pooling: DatabasePooling = DatabasePooling()
    dev: bool = False
    # Where the apps of `app_manager.array.apps` come from, for people: the file's path or the variables.
    apps_from: str = ""

    @property
    def node_name(self) -> str:
        """What people call this node: the label that was chosen for its process, else its host and port."""
        label = self.instance.process_id
        made_up = _MADE_UP.match(label)
        if made_up is None:
            return label
        place = f" {self.unix_socket.path}" if self.unix_socket.enabled else f":{self.port}"
        # Of a worker its number stands behind the label.
        return f"{socket.gethostname()}{place}{label[made_up.end() :]}"

    @property
    def apps(self) -> tuple[App, ...]:
        """The configured apps, after every rule about them."""
        return self.app_manager.array.apps

    @property
    def apps_are_shared(self) -> bool:
        """Whether all nodes that this one is joined with have their apps from one store."""
        return self.adapter.driver == "local" or self.app_manager.driver not in {"sqlite", "memory"}

    @property
    def connection_limit(self) -> int:
        """Connections of this process at most, which is one of `workers`; 0 = no limit."""
        return -(-self.max_connections // max(self.workers, 1))

    @property
    def inbound_limit(self) -> int:
        """Bytes of the largest message a client may send."""
        wanted = self.websocket.max_bytes or self.websocket_max_payload_kb * 1024
        return min(wanted, self.websocket.max_message_size)

    @property
    def outbound_messages(self) -> int:
        """Messages that may wait for one connection (spec: platform § 9.1)."""
        if self.websocket.max_messages is not None:
            return self.websocket.max_messages
        return _DEFAULT_COUNT if self.websocket.max_bytes is None else _NO_COUNT

    def redis_of_nodes(self) -> RedisAccess:
        """The Redis that joins nodes, for the drivers ``redis`` and ``redis-cluster``."""
        redis, adapter = self.database.redis, self.adapter
        if adapter.driver == "redis":
            return redis.access(adapter.redis.redis_pub_options.url, "adapter.redis.redis_pub_options.url")
        return redis.cluster_access(adapter.cluster.nodes, adapter.cluster.tls, "adapter.cluster.nodes")

    def redis_of_cache(self) -> RedisAccess:
        """The Redis of the cache, for the drivers ``redis`` and ``redis-cluster``."""
        return self._redis_of(self.cache.driver, self.cache.redis.url_override, "cache.redis.url_override")

    def redis_of_limits(self) -> RedisAccess:
        """The Redis that hits of limits are added up in, for the same drivers."""
        limiter = self.rate_limiter
        return self._redis_of(limiter.driver, limiter.redis.url_override, "rate_limiter.redis.url_override")

    def _redis_of(self, driver: str, url: str | None, of: str) -> RedisAccess:
        redis = self.database.redis
        return redis.access(url, of) if driver == "redis" else redis.cluster_access()

    def redis_of_queue(self, driver: str) -> RedisAccess:
        """The Redis of a queue with one of these drivers."""
        redis, queue = self.database.redis, self.queue
        if driver == "redis":
            return redis.access(queue.redis.url_override, "queue.redis.url_override")
        return redis.cluster_access(queue.redis_cluster.nodes, of="queue.redis_cluster.nodes")
