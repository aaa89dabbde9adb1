"""Redis between nodes, and for what they keep together: ``adapter.redis adapter.cluster cache.redis
rate_limiter.redis`` (spec: platform § 1.4)."""

from __future__ import annotations

from sockudo.config.keys import Section, setting
from sockudo.config.sections.redis import RedisTls, useless_redis_nodes

__all__ = ["AdapterCluster", "AdapterRedis", "AdapterRedisUrl", "CacheRedis", "RateLimiterRedis"]


class AdapterRedisUrl(Section, frozen=True):
    """The Redis server that joins nodes. Publishing and listening have to name the same one."""

    url: str | None = setting(
        None,
        "Address of another server, in place of all keys of `database.redis` but the files of its TLS",
        env="REDIS_URL",
        secret=True,
    )

    def __repr__(self) -> str:
        return "AdapterRedisUrl()"


class AdapterRedis(Section, frozen=True):
    """Nodes that are joined by the Redis server, or the master, of `database.redis`."""

    prefix: str = setting(
        "sockudo_adapter:",
        "Begins the names of its channels there; nodes with another one are another installation",
        env="",
    )
    redis_pub_options: AdapterRedisUrl = AdapterRedisUrl()
    redis_sub_options: AdapterRedisUrl = AdapterRedisUrl()


class AdapterClusterTls(RedisTls, frozen=True):
    """TLS to the cluster that joins nodes; when it is not enabled, `database.redis` says whether there is TLS."""

    enabled: bool = setting(False, "TLS, as `rediss://` in an address has it too", env="")
    accept_invalid_certs: bool = setting(False, "Any certificate will do, of whomever it is", env="")
    ca_path: str | None = setting(None, "PEM file of the authorities that count, in place of the system's", env="")
    client_cert_path: str | None = setting(None, "PEM file of this server's certificate", env="")
    client_key_path: str | None = setting(None, "PEM file of its private key", env="")


class AdapterCluster(Section, frozen=True):
    """Nodes that are joined by a Redis Cluster."""

    nodes: tuple[str, ...] = setting(
        (),
        "Some of its servers, in place of `database.redis.cluster.nodes`",
        env="DATABASE_REDIS_CLUSTER_NODES REDIS_CLUSTER_NODES",
        check=useless_redis_nodes,
        secret=True,
        default_port=6379,
    )
    prefix: str = setting(
        "sockudo_adapter:",
        "Begins the names of its channels there; nodes with another one are another installation",
        env="",
    )
    use_sharded_pubsub: bool = setting(
        True,
        "Each channel is on one server of the cluster, which needs Redis 7; false: every server gets every "
        "message. The same on all nodes",
        env="",
    )
    tls: AdapterClusterTls = AdapterClusterTls()

    def __repr__(self) -> str:
        return f"AdapterCluster({len(self.nodes)} nodes, prefix={self.prefix!r})"


class CacheRedis(Section, frozen=True):
    """The cache in the Redis of `database.redis`, or in the cluster of `database.redis.cluster`."""

    prefix: str = setting("sockudo_cache:", "Begins the names of its keys there")
    url_override: str | None = setting(
        None,
        "Address of another server, in place of all keys of `database.redis` but the files of its TLS",
        env="REDIS_URL",
        secret=True,
    )

    def __repr__(self) -> str:
        return f"CacheRedis(prefix={self.prefix!r})"


class RateLimiterRedis(Section, frozen=True):
    """Counts of limits in the Redis of `database.redis`, or in the cluster of `database.redis.cluster`."""

    prefix: str = setting("sockudo_rl:", "Begins the names of its keys there")
    url_override: str | None = setting(
        None,
        "Address of another server, in place of all keys of `database.redis` but the files of its TLS",
        env="REDIS_URL",
        secret=True,
    )

    def __repr__(self) -> str:
        return f"RateLimiterRedis(prefix={self.prefix!r})"
