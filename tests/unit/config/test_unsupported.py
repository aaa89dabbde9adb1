"""What this version does not have: refused when it is on, silent when it is off, told otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sockudo.config import Loaded, unsupported
from sockudo.config.schema import declared, variables

Load = Callable[..., Loaded]
Problems = Callable[..., tuple[str, ...]]


@pytest.mark.parametrize("switch", unsupported.SWITCHES)
def test_a_part_that_is_on_ends_the_start(switch: str, problems: Problems, loaded: Load) -> None:
    section, _, name = switch.rpartition(".")
    (problem,) = problems(f"[{section}]\n{name} = true\nother = 1\n")
    assert problem.startswith(f"sockudo.toml: {switch} = true: ")
    assert problem.endswith("not part of this version")
    off = loaded(f"[{section}]\n{name} = false\nother = 1\n")
    assert off.warnings == ()


@pytest.mark.parametrize(
    ("toml", "warning"),
    [
        (
            'path_prefix = "/x"',
            "sockudo.toml: path_prefix has no effect: nothing reads it; let the proxy in front strip",
        ),
        (
            "[adapter]\naggregate_counts = true",
            "sockudo.toml: adapter.aggregate_counts has no effect: it is of a broker, or a setting, that",
        ),
        ("[adapter.redis]\ncluster_mode = true", "sockudo.toml: adapter.redis.cluster_mode has no effect: it is of a"),
        (
            "[adapter.cluster_health]\nenabled = true",
            "sockudo.toml: adapter.cluster_health.enabled has no effect: joined nodes always watch each other",
        ),
        (
            "[cluster_health]\nnode_timeout_ms = 1",
            "sockudo.toml: cluster_health has no effect: nothing reads it; the section is `adapter.cluster_health`",
        ),
        ("[queue.nats]\nprefix = 'x'", "sockudo.toml: queue.nats has no effect: webhook deliveries wait in this"),
        (
            "[queue.reliability]\nmax_attempts = 3",
            "sockudo.toml: queue.reliability.max_attempts has no effect: `webhooks",
        ),
        (
            "[database.redis]\ncluster_nodes = []",
            "sockudo.toml: database.redis.cluster_nodes has no effect: write them in `database.redis.cluster.nodes`",
        ),
        ("[database.scylladb]\nkeyspace = 'x'", "sockudo.toml: [database.scylladb] has no effect: the databases of"),
        ("[database.mysql]\ncache_ttl = 1", "sockudo.toml: database.mysql.cache_ttl has no effect: apps are held in"),
        ("[history]\nwriter_shards = 16", "sockudo.toml: history.writer_shards has no effect: one writer stores what"),
        ("[history.memory]\ntable_prefix = 'x'", "sockudo.toml: history.memory has no effect: messages in memory"),
        ("[delta_compression]\ncluster_coordination = true", "sockudo.toml: delta_compression.cluster_coordination ha"),
        ("[cleanup]\nbatch_size = 1", "sockudo.toml: cleanup has no effect: closed connections are cleaned up at once"),
        ("[cache.memory]\nttl = 1", "sockudo.toml: cache.memory.ttl has no effect: entries end by"),
        ("[app_manager.cache]\nttl = 1", "sockudo.toml: app_manager.cache has no effect: apps are held in memory"),
        (
            "[ssl]\npassphrase = 'x'",
            "sockudo.toml: ssl.passphrase has no effect: nothing reads it; store the private key",
        ),
        (
            "[rate_limiter.api_rate_limit]\nidentifier = 'x'",
            "sockudo.toml: rate_limiter.api_rate_limit.identifier has no",
        ),
        ("[metrics.tcp_exporter]\nport = 1", "sockudo.toml: [metrics.tcp_exporter] has no effect: the TCP exporter is"),
    ],
)
def test_what_has_no_effect_is_told(toml: str, warning: str, loaded: Load) -> None:
    (told,) = loaded(toml).warnings
    assert told.startswith(warning)


@pytest.mark.parametrize(
    ("variable", "switch"),
    [
        ("VERSIONED_MESSAGES_DRIVER", None),
        ("ANNOTATIONS_ENABLED", "annotations.enabled"),
        ("METRICS_TCP_EXPORTER_ENABLED", "metrics.tcp_exporter.enabled"),
        ("SOCKUDO_ABLY_COMPAT_ENABLED", "ably_compat.enabled"),
        ("CLUSTER_HEALTH_ENABLED", None),
        ("AI_TRANSPORT_ENABLED", "ai_transport.enabled"),
        ("AI_TRANSPORT_ROLLUP_ENABLED", None),
    ],
)
def test_switches_among_the_variables(variable: str, switch: str | None) -> None:
    found = unsupported.part_of_variable(variable)
    assert found is not None
    assert found[1] == switch


def test_tables_agree() -> None:
    for path in unsupported.SWITCHES:
        assert unsupported.part_of(path) is not None
    for path in (*unsupported.PARTS, *unsupported.NO_EFFECT):
        assert path not in declared()
    for name in variables():
        found = unsupported.part_of_variable(name)
        assert found is None or name == "QUEUE_DRIVER", name
