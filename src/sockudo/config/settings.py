"""Every setting of the server: one frozen tree, by section and key (spec: platform § 1.3 and 1.4)."""

from __future__ import annotations

import re
import socket
from typing import Annotated, Literal

import msgspec

from sockudo.config import origins
from sockudo.config.apps import App
from sockudo.config.keys import Key
from sockudo.config.push_rules import PushRule
from sockudo.config.sections import (
    Adapter,
    AppManager,
    Cache,
    ChannelLimits,
    Cluster,
    ConnectionRecovery,
    Cors,
    Dashboard,
    Database,
    DatabasePooling,
    DeltaCompression,
    EchoControl,
    Ephemeral,
    EventLimits,
    EventNameFiltering,
    History,
    HttpApi,
    Idempotency,
    Instance,
    Logging,
    Metrics,
    Presence,
    PresenceHistory,
    Push,
    Queue,
    RateLimiter,
    RedisAccess,
    Ssl,
    TagFiltering,
    UnixSocket,
    Webhooks,
    WebSocket,
)

__all__ = ["LogFormat", "Settings"]

LogFormat = Literal["auto", "text", "json"]

_HOST_PATTERN = re.compile(r"\*|(\*\.)?[a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\]|[0-9a-fA-F:]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")

_MADE_UP = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_NO_COUNT = 10_000
_DEFAULT_COUNT = 1_000


def _useless_hosts(hosts: tuple[str, ...]) -> str | None:
    wrong = next((host for host in hosts if not _HOST_PATTERN.fullmatch(host)), None)
    return None if wrong is None else f"has {wrong!r}, which is no host name: give it without scheme, port and path"


class Settings(msgspec.Struct, frozen=True):
    """The whole configuration. Never altered: a reload makes a new one and passes it on."""

    debug: Annotated[bool, Key("More log lines", env="DEBUG_MODE DEBUG", reload=True)] = False
    host: Annotated[str, Key("Listen address", env="HOST")] = "0.0.0.0"
    port: Annotated[int, Key("Port of HTTP and WebSocket; 0 = any free one", env="PORT", high=65_535)] = 6001
    mode: Annotated[
        str, Key("Free label of the environment; `production` adds warnings", env="ENVIRONMENT", reload=True)
    ] = "production"
    server_role: Annotated[
        str,
        Key(
            "What this node does: all of it, or `api`: it takes publishes of backends for the clients of other nodes",
            env="SOCKUDO_SERVER_ROLE",
            choices=("default", "api"),
        ),
    ] = "default"
    data_dir: Annotated[str, Key("Folder of the embedded stores", env="SOCKUDO_DATA_DIR")] = "./sockudo-data"
    allowed_hosts: Annotated[
        tuple[str, ...],
        Key(
            "Names for which a listener on loopback answers, besides those of loopback: host names without a port, "
            "`*.example.com`, or `*` for all. Without any, none is asked of a listener whose proxy is counted in "
            "`trust_hops`",
            env="SOCKUDO_ALLOWED_HOSTS",
            check=_useless_hosts,
            reload=True,
        ),
    ] = ()
    dev_origins: Annotated[
        tuple[str, ...],
        Key(
            "With `--dev`: origins of pages that may use the server, besides those of this machine and of private "
            "networks; `*` = all",
            env="SOCKUDO_DEV_ORIGINS",
            check=origins.useless_patterns,
            reload=True,
        ),
    ] = ()
    proxy_protocol: Annotated[
        bool,
        Key("Every TCP connection begins with a PROXY protocol header, v1 or v2", env="SOCKUDO_PROXY_PROTOCOL"),
    ] = False
    log_level: Annotated[
        str,
        Key(
            "Comma list of `level` and `logger=level`, like `info,sockudo=debug`; without it, `debug` decides",
            env="SOCKUDO_LOG RUST_LOG",
            reload=True,
        ),
    ] = "info"
    log_format: Annotated[
        LogFormat,
        Key(
            "Form of the log; `auto` = text on a terminal, JSON otherwise",
            env="LOG_OUTPUT_FORMAT",
            choices=("auto", "text", "json"),
            aliases=(("human", "text"), ("pretty", "text")),
        ),
    ] = "auto"
    max_connections: Annotated[
        int, Key("Connections of this node; 0 = no limit", env="SOCKUDO_MAX_CONNECTIONS", reload=True)
    ] = 0
    shutdown_grace_period: Annotated[
        int,
        Key("Longest wait for connections to end at shutdown", env="SHUTDOWN_GRACE_PERIOD", unit="s", reload=True),
    ] = 10
    workers: Annotated[
        int,
        Key(
            "Processes that share the port on this machine, each for a core of its own; `auto` or 0 = one per core",
            env="SOCKUDO_WORKERS",
            high=64,
            aliases=(("auto", "0"),),
        ),
    ] = 1
    drain_window: Annotated[
        int,
        Key(
            "Time over which a worker that is replaced closes its connections",
            env="SOCKUDO_DRAIN_WINDOW",
            unit="s",
            reload=True,
        ),
    ] = 5
    user_authentication_timeout: Annotated[
        int,
        Key(
            "Time to sign in, on apps that require it",
            env="USER_AUTHENTICATION_TIMEOUT",
            unit="s",
            low=1,
            reload=True,
        ),
    ] = 3600
    activity_timeout: Annotated[
        int,
        Key(
            "Silence after which a connection is pinged; announced to new connections",
            env="ACTIVITY_TIMEOUT",
            unit="s",
            low=1,
            reload=True,
        ),
    ] = 120
    websocket_max_payload_kb: Annotated[
        int,
        Key(
            "Largest message a client may send, unless `websocket.max_bytes` is set",
            env="WEBSOCKET_MAX_PAYLOAD_KB",
            unit="KB",
            low=1,
            high=2_097_151,
            reload=True,
        ),
    ] = 64
    health_check_timeout_ms: Annotated[
        int, Key("Limit of each health check", env="HEALTH_CHECK_TIMEOUT_MS", unit="ms", low=1, reload=True)
    ] = 2000
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
    push_rules: Annotated[
        tuple[PushRule, ...],
        Key("Events that are pushed to the subscribers of their channel; see Push rules", reload=True),
    ] = ()
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

    def redis_of_queue(self, driver: str) -> RedisAccess:
        """The Redis of a queue with one of these drivers."""
        redis, queue = self.database.redis, self.queue
        if driver == "redis":
            return redis.access(queue.redis.url_override, "queue.redis.url_override")
        return redis.cluster_access(queue.redis_cluster.nodes, of="queue.redis_cluster.nodes")
