"""How the parts find their Redis: one server, the master that Sentinels name, a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sockudo.config import Loaded
from sockudo.config.sections.redis import Redis, RedisAccess, RedisCluster, RedisServer, RedisTls, useless_redis_nodes
from sockudo.config.values import read_servers

Problems = Callable[..., tuple[str, ...]]
Load = Callable[..., Loaded]

SECRET = "p@ss/w:rd %41"


def test_one_server_or_the_master_of_sentinels() -> None:
    one = Redis(host="h", password=SECRET, username="me").access()
    assert one == RedisAccess(RedisServer("h", 6379, 0, "me", SECRET, False), RedisTls(), "database.redis")
    assert one.place == "h:6379"
    several = Redis(
        password=SECRET,
        db=3,
        sentinels=("s:1", "[::1]:2"),
        name="harbor",
        sentinel_username="watch",
        sentinel_password="other",
        master_tls=RedisTls(enabled=True),
    ).access()
    assert several.sentinels == (
        RedisServer("s", 1, 0, "watch", "other", False),
        RedisServer("::1", 2, 0, "watch", "other", False),
    )
    assert (several.server.password, several.server.db, several.server.tls) == (SECRET, 3, True)
    assert several.place == "the master 'harbor' of the Sentinels s:1, [::1]:2"
    assert several.section == "database.redis.sentinels"


def test_an_address_goes_before_sentinels() -> None:
    redis = Redis(password=SECRET, sentinels=("s:1",))
    found = redis.access("rediss://:x@one/2", "queue.redis.url_override")
    assert found.server == RedisServer("one", 6379, 2, "", "x", True)
    assert (found.sentinels, found.section) == ((), "queue.redis.url_override")


def test_logins_of_a_cluster() -> None:
    redis = Redis(username="main", password="of main", cluster=RedisCluster(nodes=("a:1",), password="of cluster"))
    found = redis.cluster_access(("redis://me:mine@b:2", "c:3"), of="adapter.cluster.nodes")
    assert found.seeds == (
        RedisServer("b", 2, 0, "me", "mine", False),
        RedisServer("c", 3, 0, "main", "of cluster", False),
    )
    assert found.section == "adapter.cluster.nodes"
    own = redis.cluster_access()
    assert own.seeds == (RedisServer("a", 1, 0, "main", "of cluster", False),)
    assert (own.section, own.place) == ("database.redis.cluster.nodes", "the cluster of a:1")


@pytest.mark.parametrize(
    ("redis", "tls", "encrypted", "authority"),
    [
        (Redis(), None, False, None),
        (Redis(cluster=RedisCluster(use_tls=True)), None, True, None),
        (Redis(master_tls=RedisTls(enabled=True, ca_path="/main")), RedisTls(ca_path="/own"), True, "/main"),
        (Redis(master_tls=RedisTls(ca_path="/main")), RedisTls(enabled=True, ca_path="/own"), True, "/own"),
    ],
)
def test_tls_of_a_cluster(redis: Redis, tls: RedisTls | None, encrypted: bool, authority: str | None) -> None:
    found = redis.cluster_access(("a:1",), tls)
    assert (found.server.tls, found.tls.ca_path) == (encrypted, authority)


def test_nothing_shows_a_password() -> None:
    redis = Redis(
        password=SECRET,
        sentinels=("s:1",),
        sentinel_password=SECRET,
        cluster=RedisCluster(nodes=("redis://:hidden@a:1",), password=SECRET),
    )
    shown = repr((redis, redis.access(), redis.cluster_access(), redis.cluster))
    assert SECRET not in shown
    assert "hidden" not in shown
    assert "hidden" not in redis.cluster_access().place


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("a, b:1 ,[::1]", ("a:7", "b:1", "[::1]:7")),
        (["a", {"host": "b"}, {"host": "::1", "port": 8}, {"port": 9}], ("a:7", "b:7", "[::1]:8", "localhost:9")),
        (["::1", "[::1]:2", "redis://a"], ("[::1]:7", "[::1]:2", "redis://a")),
        ([], ()),
    ],
)
def test_lists_of_servers(raw: Any, found: tuple[str, ...]) -> None:
    assert read_servers(raw, 7) == found


@pytest.mark.parametrize(
    "raw", [[{"host": 1}], [{"host": "a", "port": 0}], [{"host": "a", "db": 1}], [7], {"host": "a"}]
)
def test_lists_that_are_none(raw: Any) -> None:
    with pytest.raises(ValueError, match="is not a"):
        read_servers(raw, 7)


def test_nodes_that_are_no_servers() -> None:
    assert useless_redis_nodes(["a:1", "redis://x:y@b:2/0", "rediss://c"]) is None
    for text in ("http://a", "a:port", "redis://", "redis://a/x"):
        told = useless_redis_nodes(["good:1", text])
        assert told is not None
        assert "at place 2" in told
        assert text not in told.partition(":")[0]


def test_what_cannot_be_used_is_refused(problems: Problems, loaded: Load) -> None:
    adapter = "[adapter]\ndriver = 'redis'\n"
    [told] = problems(adapter + "redis.redis_pub_options.url = 'redis://a'\nredis.redis_sub_options.url = 'redis://b'")
    assert "are not the same: nodes use one server" in told
    [told] = problems(adapter, env={"REDIS_URL": "http://:hidden@a"})[:1]
    assert told.startswith("REDIS_URL: adapter.redis.redis_pub_options.url is not the address of a Redis server")
    assert "hidden" not in told
    [told] = problems("[database.redis]\nsentinels = ['redis://:hidden@a:1']")
    assert "use database.redis.sentinel_username and sentinel_password" in told
    [told] = problems(adapter + "[database.redis.sentinel_tls]\nca_path = '/nowhere/ca.pem'")
    assert "database.redis.sentinel_tls.ca_path = '/nowhere/ca.pem' is no file that this user can read" in told
    for driver, path in (("adapter", "adapter.cluster"), ("queue", "queue.redis_cluster")):
        toml = f"[{driver}]\ndriver = 'redis-cluster'\n[database.redis.cluster]\nnodes = []\n"
        [told] = problems(toml)
        assert told.endswith(f"and {path}.nodes are empty: name a server of the cluster")
        loaded(toml, env={"REDIS_CLUSTER_NODES": "a:1"})
    for section in ("cache", "rate_limiter"):
        [told] = problems(f"[{section}]\ndriver = 'redis-cluster'\n[database.redis.cluster]\nnodes = []\n")
        assert told.endswith("database.redis.cluster.nodes is empty: name a server of the cluster")
        [told] = problems(f"[{section}]\ndriver = 'redis'\n", env={"REDIS_URL": "http://:hidden@a"})
        assert told.startswith(f"REDIS_URL: {section}.redis.url_override is not the address of a Redis server")
    # None of it matters to a node that is alone.
    loaded("", env={"REDIS_URL": "http://:hidden@a"})


def test_one_variable_names_the_server_of_all(loaded: Load) -> None:
    settings = loaded("[adapter]\ndriver = 'redis'\n", env={"REDIS_URL": "redis://all:1"}).settings
    assert settings.redis_of_nodes().server == settings.redis_of_queue("redis").server
    shared = "[cache]\ndriver = 'redis'\n[rate_limiter]\ndriver = 'redis_cluster'\n"
    settings = loaded(shared, env={"REDIS_URL": "redis://all:1"}).settings
    assert settings.redis_of_cache().place == "all:1"
    assert settings.redis_of_limits().place == "the cluster of 127.0.0.1:7000"
    environ = {"REDIS_CLUSTER_NODES": "a:1", "DATABASE_REDIS_CLUSTER_NODES": "b:2"}
    clustered = loaded("[adapter]\ndriver = 'redis-cluster'\n", env=environ).settings
    assert clustered.redis_of_nodes().place == clustered.redis_of_queue("redis-cluster").place == "the cluster of b:2"
    assert clustered.database.redis.cluster.nodes == ("b:2",)
