"""Variables: our own, other servers', and those without effect (spec: platform § 1.2 to 1.5)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sockudo.config import Loaded
from sockudo.config.schema import Setting, declared, value_at

Load = Callable[..., Loaded]
Problems = Callable[..., tuple[str, ...]]

WITH_VARIABLE = [setting for setting in declared().values() if setting.key.names]


def other_value(setting: Setting) -> tuple[str, object]:
    """A text that a variable may hold, and the value it stands for, which is not the default."""
    if setting.key.choices:
        choice = next((word for word in setting.key.choices if word != setting.default), setting.default)
        return choice.upper(), choice
    match setting.kind:
        case "bool":
            return ("no", False) if setting.default else ("YES", True)
        case "int" | "count":
            number = {
                "adapter.cluster_health.heartbeat_interval_ms": 1000,
                "adapter.cluster_health.node_timeout_ms": 20_000,
            }.get(setting.path, setting.key.low + 7)
            return f" {number} ", number
        case "list" if setting.key.default_port:
            return "redis://a.test, b.test, [::1]:7", (
                "redis://a.test",
                f"b.test:{setting.key.default_port}",
                "[::1]:7",
            )
        case "list":
            return "PUT, a.test", ("PUT", "a.test")
        case _:
            texts = {
                "adapter.url": "nats://bus.internal:4222",
                "adapter.nats.prefix": "chat",
                "adapter.postgres.prefix": "chat",
                "unix_socket.permission_mode": "600",
                "log_level": "error",
                "metrics.prometheus.prefix": "x_",
                "dashboard.password": "eight or more",
            }
            named = "table_x" if setting.path.endswith(("table_prefix", "table_name")) else "/a b"
            named = "https://other.test/x" if setting.path.endswith("endpoint") else named
            return texts.get(setting.path, named), texts.get(setting.path, named)


@pytest.mark.parametrize(
    ("setting", "name"),
    [(setting, name) for setting in WITH_VARIABLE for name in setting.key.names],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_every_variable_sets_its_key(setting: Setting, name: str, loaded: Load) -> None:
    text, value = other_value(setting)
    environ = {name: text}
    if setting.path == "ssl.enabled":
        environ |= {"SSL_CERT_PATH": __file__, "SSL_KEY_PATH": __file__}
    if setting.path == "server_role":
        environ |= {"ADAPTER_DRIVER": "nats"}
    if setting.path == "push.retry.max_backoff_ms":
        environ |= {"PUSH_RETRY_INITIAL_BACKOFF_MS": "1"}
    got = loaded(env=environ)
    assert value_at(got.settings, setting.path) == value
    assert got.origins[setting.path] == name
    assert any(name in source for source in got.sources)


@pytest.mark.parametrize("name", ["PORT", "HOST", "METRICS_ENABLED", "ADAPTER_DRIVER"])
def test_an_empty_variable_is_not_set(name: str, loaded: Load) -> None:
    assert loaded(env={name: ""}).origins == {}


def test_a_bad_value_names_the_variable(problems: Problems) -> None:
    assert problems(env={"ADAPTER_DRIVER": "kafka", "CORS_ORIGINS": "a*b*", "DEBUG_MODE": "si"}) == (
        "environment: DEBUG_MODE = 'si' is neither true nor false",
        "environment: CORS_ORIGINS = 'a*b*' has the origin pattern 'a*b*', which has more than one '*'",
        (
            "environment: ADAPTER_DRIVER = 'kafka' is not supported by this version; the values are 'local', 'redis', "
            "'redis-cluster', 'nats', 'postgres'"
        ),
    )


@pytest.mark.parametrize(
    ("environ", "debug"),
    [
        ({"DEBUG": "1"}, True),
        ({"DEBUG": "0"}, False),
        ({"DEBUG": "app:*"}, False),
        ({"DEBUG_MODE": "false", "DEBUG": "1"}, True),
        ({"DEBUG_MODE": "true", "DEBUG": "0"}, True),
    ],
)
def test_debug_only_turns_on(environ: dict[str, str], debug: bool, loaded: Load) -> None:
    assert loaded(env=environ).settings.debug is debug


@pytest.mark.parametrize(
    ("toml", "environ", "options", "level"),
    [
        (None, {}, {}, "info"),
        (None, {"DEBUG_MODE": "1"}, {}, "info,sockudo=debug"),
        (None, {"SOCKUDO_LOG_PROD": "warn"}, {}, "warn"),
        (None, {"SOCKUDO_LOG_DEBUG": "trace"}, {}, "info"),
        (None, {"SOCKUDO_LOG_DEBUG": "trace", "DEBUG": "1"}, {}, "trace"),
        (None, {"RUST_LOG": "error", "SOCKUDO_LOG_PROD": "warn"}, {}, "error"),
        (None, {"RUST_LOG": "error", "SOCKUDO_LOG": "debug"}, {}, "debug"),
        (None, {"SOCKUDO_LOG": "debug"}, {"overrides": {"log_level": "off"}}, "off"),
        ('log_level = "error"', {}, {}, "error"),
        ('log_level = "error"', {"SOCKUDO_LOG_PROD": "warn"}, {}, "warn"),
        ('log_level = "error"\ndebug = true', {}, {}, "error"),
    ],
)
def test_the_log_filter_in_force(
    toml: str | None, environ: dict[str, str], options: dict[str, object], level: str, loaded: Load
) -> None:
    assert loaded(toml, env=environ, **options).settings.log_level == level


def test_a_filter_for_other_programs_is_only_told(loaded: Load, problems: Problems) -> None:
    got = loaded(env={"RUST_LOG": "info,hyper[span]=x"})
    assert got.settings.log_level == "info"
    assert got.warnings == ("RUST_LOG is not read: it is no list of level and logger=level",)
    (told,) = problems(env={"SOCKUDO_LOG": "loud"})
    assert told == (
        "SOCKUDO_LOG: the log filter 'loud' has 'loud', which is none of the levels "
        "trace, debug, info, warn, warning, error, critical, off"
    )


def test_variables_of_absent_parts_are_told_by_reason(loaded: Load) -> None:
    environ = {
        "KAFKA_BROKERS": "x", "ADAPTER_AGGREGATE_COUNTS": "false",
        "DATABASE_DYNAMODB_REGION": "x", "HISTORY_WRITER_SHARDS": "5", "ANNOTATIONS_ENABLED": "false",
        "QUEUE_MAX_ATTEMPTS": "3", "CONFIG_FILE": "x.toml",
    }  # fmt: skip
    assert loaded(env=environ).warnings == (
        (
            "ADAPTER_AGGREGATE_COUNTS, KAFKA_BROKERS have no effect: it is of a broker, or a setting, that this "
            "version does not know"
        ),
        "DATABASE_DYNAMODB_REGION has no effect: the databases of this version are SQLite, PostgreSQL and MySQL",
        "HISTORY_WRITER_SHARDS has no effect: one writer stores what waits for it in few transactions",
        (
            "QUEUE_MAX_ATTEMPTS has no effect: `webhooks.retry` says how a delivery is tried again; polling has no "
            "settings"
        ),
        "CONFIG_FILE is not read: use --config",
    )


def test_switching_an_absent_part_on_ends_the_start(problems: Problems) -> None:
    assert problems(env={"ANNOTATIONS_ENABLED": "true", "AI_TRANSPORT_ENABLED": "1"}) == (
        "environment: AI_TRANSPORT_ENABLED = '1': AI transport is not part of this version",
        "environment: ANNOTATIONS_ENABLED = 'true': annotations are not part of this version",
    )


def test_mistyped_names_of_our_own_are_told(loaded: Load) -> None:
    environ = {
        "SOCKUDO_MAX_CONNECTION": "5", "DATABASE_POSTGRES_USER": "x", "CONNECTION_RECOVERY_BUFFER_TTL_SECONDS": "5",
        # What Kubernetes adds for a service of that name, what the command line reads, and what is about apps.
        "SOCKUDO_PORT": "tcp://10.0.0.1:6001", "SOCKUDO_SERVICE_HOST": "10.0.0.1", "SOCKUDO_PORT_6001_TCP": "x",
        "SOCKUDO_URL": "http://x", "SOCKUDO_COMMAND": "scripts/sockudo",
        "SOCKUDO_ENABLE_CLIENT_MESSAGES": "true", "SOCKUDO_LOG_DEBUG": "info",
    }  # fmt: skip
    assert loaded(env=environ).warnings == (
        "SOCKUDO_MAX_CONNECTION is not known; did you mean SOCKUDO_MAX_CONNECTIONS?",
        "CONNECTION_RECOVERY_BUFFER_TTL_SECONDS is not known; did you mean CONNECTION_RECOVERY_BUFFER_TTL?",
        "DATABASE_POSTGRES_USER is not known; did you mean DATABASE_POSTGRES_USERNAME?",
    )


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("HISTORY_ENABLE", "HISTORY_ENABLED"),
        ("WEBSOCKET_PING_INTERVALL", "WEBSOCKET_PING_INTERVAL"),
        ("RATE_LIMITER_ENABLE", "RATE_LIMITER_ENABLED"),
        ("ACTIVITY_TIMEOUTS", "ACTIVITY_TIMEOUT"),
        ("SSL_CERT_PATHS", "SSL_CERT_PATH"),
        ("SOCKUDO_DEFAULT_APP_MAX_CONECTIONS", "SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS"),
        ("SOKETI_DEFAULT_APP_SECERT", "SOKETI_DEFAULT_APP_SECRET"),
        ("REVERB_APP_SECERT", "REVERB_APP_SECRET"),
        ("PUSH_FCM_ENABLE", "PUSH_FCM_ENABLED"),
    ],
)
def test_a_misspelt_name_is_told_with_the_nearest_of_all_that_are_read(loaded: Load, name: str, guess: str) -> None:
    assert loaded(env={name: "1"}).warnings == (f"{name} is not known; did you mean {guess}?",)


def test_what_begins_with_our_name_is_never_silent(loaded: Load) -> None:
    (told,) = loaded(env={"SOCKUDO_FOO": "1"}).warnings
    assert told.startswith("SOCKUDO_FOO is not known, and nothing reads it")


@pytest.mark.parametrize(
    "name",
    [
        # Each has another owner, and a beginning that some setting of ours has, too.
        "DATABASE_URL", "LOG_LEVEL", "SSL_CERT_FILE", "SSL_CERT_DIR", "QUEUE_CONNECTION", "CACHE_PREFIX", "REDIS_HOST",
        "HOSTNAME", "PORTS", "USER", "HTTP_PROXY", "APP_NAME", "DEBUGGER", "GOOGLE_CLOUD_PROJECT", "EVENT_ID",
        "CONNECTION_STRING", "METRICS_URL", "PUSHER_CLUSTER",
    ],
)  # fmt: skip
def test_names_of_other_software_are_no_mistakes(loaded: Load, name: str) -> None:
    assert loaded(env={name: "x"}).warnings == ()


@pytest.mark.parametrize(
    "name",
    [
        "SCYLLADB_NODES", "NATS_CLIENT_CAPACITY", "NATS_SUBSCRIPTION_CAPACITY", "NATS_MAX_RECONNECTS", "NATS_NO_ECHO",
        "NATS_PRESENCE_SYNC_CHUNK_SIZE",
    ],
)  # fmt: skip
def test_variables_of_parts_that_are_not_here_are_named(loaded: Load, name: str) -> None:
    (told,) = loaded(env={name: "1"}).warnings
    assert told.startswith(f"{name} has no effect: ")


def test_origins_of_reverb_have_their_place(loaded: Load) -> None:
    (told,) = loaded(env={"REVERB_ALLOWED_ORIGINS": "*"}).warnings
    assert "allowed_origins of the app" in told


def test_one_variable_bounds_the_pools_of_both_databases(loaded: Load) -> None:
    got = loaded(env={"DATABASE_CONNECTION_POOL_SIZE": "3"})
    assert got.settings.database.postgres.connection_pool_size == 3
    assert got.settings.database.mysql.connection_pool_size == 3
    assert "environment: DATABASE_CONNECTION_POOL_SIZE" in got.sources


def test_a_secret_that_cannot_be_read_is_not_shown(problems: Problems) -> None:
    (told,) = problems("[database.postgres]\npassword = 12345")
    assert told == "sockudo.toml: database.postgres.password is not text: put it in quotes"
