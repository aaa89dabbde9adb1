"""Redis: ``database.redis`` (spec: platform § 1.4), and how one part of the server reaches it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from sockudo.config.keys import Section, setting

__all__ = [
    "Redis",
    "RedisAccess",
    "RedisCluster",
    "RedisSentinelTls",
    "RedisServer",
    "RedisTls",
    "useless_redis_nodes",
    "useless_redis_url",
]

_SCHEMES = ("redis", "rediss")
_FORM = "redis://user:password@host:6379/0, or rediss:// for TLS"


def useless_redis_url(text: str) -> str | None:
    """What is wrong with the address of a Redis server, without quoting it; None when nothing is."""
    try:
        url = urlsplit(text)
        if url.scheme not in _SCHEMES or not url.hostname or url.port == 0:
            return f"is not the address of a Redis server: {_FORM}"
        _number_of(url)
    except ValueError:
        return f"is not the address of a Redis server: {_FORM}"
    return None


def useless_redis_nodes(nodes: Sequence[str]) -> str | None:
    """What is wrong with a list of servers, without quoting them; None when nothing is."""
    for number, text in enumerate(nodes, 1):
        if useless_redis_url(text if "://" in text else f"redis://{text}") is not None:
            return f"has no server at place {number}: each is host:port, or {_FORM}"
    return None


def _useless_sentinels(nodes: Sequence[str]) -> str | None:
    if any("@" in text for text in nodes):
        return "has a user or a password in it: use database.redis.sentinel_username and sentinel_password"
    return useless_redis_nodes(nodes)


def _useless_host(text: str) -> str | None:
    if not text:
        return "is empty"
    # One with a user or a password is refused later, where it is not quoted.
    return useless_redis_url(text) if "://" in text and "@" not in text else None


def _empty(text: str) -> str | None:
    return None if text else "is empty"


class RedisServer(Section, frozen=True):
    """One server and who connects to it; ``None`` or ``""`` for what is not needed. ``repr`` has no password."""

    host: str
    port: int
    db: int
    username: str
    password: str
    tls: bool

    def __repr__(self) -> str:
        return f"RedisServer({self.place!r}, db={self.db}, username={self.username!r}, tls={self.tls})"

    @property
    def place(self) -> str:
        """Where it is, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class RedisTls(Section, frozen=True):
    """TLS to the Redis server."""

    enabled: bool = setting(False, "TLS, as `rediss://` in an address has it too")
    accept_invalid_certs: bool = setting(False, "Any certificate will do, of whomever it is")
    ca_path: str | None = setting(None, "PEM file of the authorities that count, in place of the system's")
    client_cert_path: str | None = setting(None, "PEM file of this server's certificate")
    client_key_path: str | None = setting(None, "PEM file of its private key")


class RedisSentinelTls(RedisTls, frozen=True):
    """TLS to the Sentinels; what `master_tls` says does not count for them."""

    enabled: bool = setting(False, "TLS")
    accept_invalid_certs: bool = setting(False, "Any certificate will do, of whomever it is")
    ca_path: str | None = setting(None, "PEM file of the authorities that count, in place of the system's")
    client_cert_path: str | None = setting(None, "PEM file of this server's certificate")
    client_key_path: str | None = setting(None, "PEM file of its private key")


class RedisCluster(Section, frozen=True):
    """A Redis Cluster, for the parts whose driver is `redis-cluster`. Passwords never leave through ``repr``."""

    nodes: tuple[str, ...] = setting(
        ("127.0.0.1:7000",),
        "Some of its servers, as `host:port`, `redis://user:password@host:port` or a table of `host` and `port`; "
        "the others are found through them",
        env="DATABASE_REDIS_CLUSTER_NODES REDIS_CLUSTER_NODES",
        check=useless_redis_nodes,
        secret=True,
        default_port=7000,
    )
    username: str | None = setting(None, "In place of `database.redis.username`")
    password: str | None = setting(None, "In place of `database.redis.password`", secret=True)
    use_tls: bool = setting(False, "TLS, with the files of `master_tls`, which has it too")

    def __repr__(self) -> str:
        return f"RedisCluster({len(self.nodes)} nodes, use_tls={self.use_tls})"


class RedisAccess(Section, frozen=True):
    """How one part finds its Redis and logs in there; ``section`` names the settings that say so.

    With ``sentinels`` the server is the master that they name ``master``, and the address of ``server`` does not count.
    With ``seeds`` it is a cluster that they belong to; each server of it is logged in to as ``server`` says.
    """

    server: RedisServer
    tls: RedisTls
    section: str
    sentinels: tuple[RedisServer, ...] = ()
    sentinel_tls: RedisTls = RedisTls()
    master: str = ""
    seeds: tuple[RedisServer, ...] = ()

    @property
    def place(self) -> str:
        """Where it is, for people."""
        if self.sentinels:
            return f"the master {self.master!r} of the Sentinels {', '.join(each.place for each in self.sentinels)}"
        if self.seeds:
            return f"the cluster of {', '.join(each.place for each in self.seeds)}"
        return self.server.place


class Redis(Section, frozen=True):
    """A Redis server, for the parts that name it as their driver. The password never leaves through ``repr``."""

    host: str = setting(
        "127.0.0.1",
        "Name or address of the server, or `redis://host:port/db` (`rediss://` for TLS)",
        check=_useless_host,
    )
    port: int = setting(6379, "Its port", low=1, high=65_535)
    db: int = setting(0, "Number of the database there", high=65_535)
    username: str | None = setting(None, "Who connects")
    password: str | None = setting(None, "The password", secret=True)
    sentinels: tuple[str, ...] = setting(
        (),
        "Sentinels, as `host:port` or a table of `host` and `port`: the server is the master that they name, and "
        "`host` and `port` are not read",
        env="",
        check=_useless_sentinels,
        default_port=26_379,
    )
    name: str = setting("mymaster", "The name of the master among the Sentinels", env="", check=_empty)
    sentinel_username: str | None = setting(None, "Who connects to the Sentinels")
    sentinel_password: str | None = setting(None, "The password there", secret=True)
    master_tls: RedisTls = RedisTls()
    sentinel_tls: RedisSentinelTls = RedisSentinelTls()
    cluster: RedisCluster = RedisCluster()

    def __repr__(self) -> str:
        return f"Redis(host={self.host.rpartition('@')[2]!r}, port={self.port}, db={self.db})"

    def server(self, url: str | None = None) -> RedisServer:
        """The server of these keys, or the one of a ``url`` that stands for all of them but the files of TLS.

        What a host that is an address leaves out is taken from the other keys. Raises ValueError for an address that
        `useless_redis_url` refuses.
        """
        if url is not None:
            return _of_url(url, Redis())
        if "://" in self.host:
            return _of_url(self.host, self)
        tls = self.master_tls.enabled
        return RedisServer(self.host, self.port, self.db, self.username or "", self.password or "", tls)

    def access(self, url: str | None = None, of: str = "") -> RedisAccess:
        """The way to one server, or to the master of Sentinels; a ``url``, of the setting ``of``, goes before both."""
        server = self.server(url)
        if url is not None or not self.sentinels:
            return RedisAccess(server, self.master_tls, "database.redis" if url is None else of)
        of_sentinels = Redis(
            username=self.sentinel_username, password=self.sentinel_password, master_tls=self.sentinel_tls
        )
        return RedisAccess(
            server,
            self.master_tls,
            "database.redis.sentinels",
            sentinels=tuple(_of_node(text, of_sentinels) for text in self.sentinels),
            sentinel_tls=self.sentinel_tls,
            master=self.name,
        )

    def cluster_access(
        self, nodes: Sequence[str] = (), tls: RedisTls | None = None, of: str = "database.redis.cluster.nodes"
    ) -> RedisAccess:
        """The way to a cluster: that of ``nodes``, of the setting ``of``, or of `RedisCluster.nodes`.

        ``tls`` stands for `master_tls` when it is enabled.
        """
        tls = tls if tls is not None and tls.enabled else self.master_tls
        login = Redis(
            username=self.cluster.username or self.username,
            password=self.cluster.password or self.password,
            master_tls=msgspec.structs.replace(tls, enabled=tls.enabled or self.cluster.use_tls),
        )
        seeds = tuple(_of_node(text, login) for text in nodes or self.cluster.nodes)
        return RedisAccess(seeds[0], tls, of if nodes else "database.redis.cluster.nodes", seeds=seeds)


def _of_node(text: str, others: Redis) -> RedisServer:
    return _of_url(text if "://" in text else f"redis://{text}", others)


def _of_url(text: str, others: Redis) -> RedisServer:
    url = urlsplit(text)
    number = _number_of(url)
    return RedisServer(
        host=url.hostname or "",
        port=url.port or others.port,
        db=others.db if number is None else number,
        username=unquote(url.username or "") or others.username or "",
        password=unquote(url.password or "") or others.password or "",
        tls=url.scheme == "rediss" or others.master_tls.enabled,
    )


def _number_of(url: SplitResult) -> int | None:
    path = url.path.strip("/")
    if not path:
        return None
    if not (path.isascii() and path.isdigit()):
        raise ValueError("the path is no number of a database")
    return int(path)
