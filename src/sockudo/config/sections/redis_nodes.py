"""Redis between nodes: ``adapter.redis adapter.cluster`` (spec: platform § 1.4)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sockudo.config.keys import Key
from sockudo.config.sections.redis import RedisTls, useless_redis_nodes

__all__ = ["AdapterCluster", "AdapterRedis", "AdapterRedisUrl"]


class AdapterRedisUrl(msgspec.Struct, frozen=True):
    """The Redis server that joins nodes. Publishing and listening have to name the same one."""

    url: Annotated[
        str | None,
        Key(
            "Address of another server, in place of all keys of `database.redis` but the files of its TLS",
            env="REDIS_URL",
            secret=True,
        ),
    ] = None

    def __repr__(self) -> str:
        return "AdapterRedisUrl()"


class AdapterRedis(msgspec.Struct, frozen=True):
    """Nodes that are joined by the Redis server, or the master, of `database.redis`."""

    prefix: Annotated[
        str, Key("Begins the names of its channels there; nodes with another one are another installation")
    ] = "sockudo_adapter:"
    redis_pub_options: AdapterRedisUrl = AdapterRedisUrl()
    redis_sub_options: AdapterRedisUrl = AdapterRedisUrl()


class AdapterClusterTls(RedisTls, frozen=True):
    """TLS to the cluster that joins nodes; when it is not enabled, `database.redis` says whether there is TLS."""

    enabled: Annotated[bool, Key("TLS, as `rediss://` in an address has it too")] = False
    accept_invalid_certs: Annotated[bool, Key("Any certificate will do, of whomever it is")] = False
    ca_path: Annotated[str | None, Key("PEM file of the authorities that count, in place of the system's")] = None
    client_cert_path: Annotated[str | None, Key("PEM file of this server's certificate")] = None
    client_key_path: Annotated[str | None, Key("PEM file of its private key")] = None


class AdapterCluster(msgspec.Struct, frozen=True):
    """Nodes that are joined by a Redis Cluster."""

    nodes: Annotated[
        tuple[str, ...],
        Key(
            "Some of its servers, in place of `database.redis.cluster.nodes`",
            env="DATABASE_REDIS_CLUSTER_NODES REDIS_CLUSTER_NODES",
            check=useless_redis_nodes,
            secret=True,
            default_port=6379,
        ),
    ] = ()
    prefix: Annotated[
        str, Key("Begins the names of its channels there; nodes with another one are another installation")
    ] = "sockudo_adapter:"
    use_sharded_pubsub: Annotated[
        bool,
        Key(
            "Each channel is on one server of the cluster, which needs Redis 7; false: every server gets every "
            "message. The same on all nodes"
        ),
    ] = True
    tls: AdapterClusterTls = AdapterClusterTls()

    def __repr__(self) -> str:
        return f"AdapterCluster({len(self.nodes)} nodes, prefix={self.prefix!r})"
