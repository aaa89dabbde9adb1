"""Sources, their order, and everything that is wrong at once (spec: platform § 1.1, 1.2)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sockudo.config import ConfigError, Loaded, Settings, load, reloadable_changes, reloaded
from sockudo.config.apps import App
from sockudo.config.schema import build, declared

Load = Callable[..., Loaded]
Problems = Callable[..., tuple[str, ...]]


def test_nothing_at_all_is_a_configuration(loaded: Load) -> None:
    got = loaded()
    assert got.settings == Settings()
    assert got.sources == ("no configuration file: defaults",)
    assert got.warnings == ()
    assert got.origins == {}
    assert got.path is None


def test_later_sources_win_key_by_key(loaded: Load) -> None:
    toml = 'host = "10.0.0.1"\nport = 1\n[metrics]\nport = 2\nhost = "10.0.0.2"\n'
    got = loaded(toml, env={"PORT": "3", "METRICS_PORT": "4"}, dev=True, overrides={"metrics.port": 5, "host": "::1"})
    settings = got.settings
    assert (settings.host, settings.port, settings.metrics.host, settings.metrics.port) == ("::1", 3, "10.0.0.2", 5)
    assert settings.rate_limiter.enabled is False
    assert got.origins["host"] == "command line"
    assert got.origins["port"] == "PORT"
    assert got.origins["metrics.host"] == "sockudo.toml"
    assert got.origins["rate_limiter.enabled"] == "--dev"
    assert got.sources[:3] == (
        "file sockudo.toml",
        "environment: PORT, METRICS_PORT",
        "command line: metrics.port, host",
    )


def test_dev_turns_on_what_is_off_otherwise(loaded: Load) -> None:
    switches = ("connection_recovery", "history", "presence_history", "tag_filtering")
    plain, dev = loaded().settings, loaded(dev=True).settings
    assert [getattr(plain, name).enabled for name in switches] == [False] * 4
    assert [getattr(dev, name).enabled for name in switches] == [True] * 4
    assert dev.history.backend == "sqlite"
    assert loaded("[history]\nenabled = false", dev=True).settings.history.enabled is False


def test_a_discovered_file(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.json").write_text('{"port": 7, "rate_limiter": {"api_rate_limit": {"trust_hops": 2}}}')
    got = load(path=None, environ={}, cwd=tmp_path)
    assert got.settings.port == 7
    assert got.settings.rate_limiter.api_rate_limit.trust_hops == 2
    # Proxies that are trusted limit nothing.
    assert got.settings.rate_limiter.api_rate_limit.limit(100) is None
    assert got.sources == ("file config/config.json",)
    assert got.path == tmp_path / "config/config.json"


def test_a_broken_discovered_file_is_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.toml").write_text("port = ")
    (tmp_path / "config/config.json").write_text('{"port": 7}')
    with pytest.raises(ConfigError, match=r"config/config\.toml: is not TOML"):
        load(path=None, environ={}, cwd=tmp_path)


def test_a_given_file_replaces_the_discovered_one_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.toml").write_text('host = "10.0.0.1"')
    (tmp_path / "mine.json").write_text('{"port": 7}')
    got = load(path=Path("mine.json"), environ={}, cwd=tmp_path)
    assert (got.settings.host, got.settings.port) == ("0.0.0.0", 7)


def test_a_given_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml: cannot be read: No such file or directory"):
        load(path=Path("mine.toml"), environ={}, cwd=tmp_path)


def test_variables_in_the_file(loaded: Load) -> None:
    toml = 'port = ${MY_PORT}\nhost = "${MY_HOST:-127.0.0.1}"\n[metrics]\nport = "${MY_PORT}1"'
    settings = loaded(toml, env={"MY_PORT": "700"}).settings
    assert (settings.host, settings.port, settings.metrics.port) == ("127.0.0.1", 700, 7001)


def test_everything_that_is_wrong_is_told_at_once(problems: Problems) -> None:
    told = problems(
        'prot = 1\nport = "many"\n[adapter]\ndriver = "kafka"\n[metrics]\nenabled = "perhaps"',
        env={"METRICS_PORT": "-1"},
        overrides={"shutdown_grace_period": "soon", "zzyzx": 1},
    )
    assert told == (
        "sockudo.toml: unknown key 'prot'; did you mean 'port'?",
        "sockudo.toml: port = 'many' is not a whole number from 0 to 65535",
        (
            "sockudo.toml: adapter.driver = 'kafka' is not supported by this version; the values are 'local', 'redis', "
            "'redis-cluster', 'nats', 'postgres'"
        ),
        "sockudo.toml: metrics.enabled = 'perhaps' is neither true nor false",
        "environment: METRICS_PORT = '-1' is not a whole number from 0 to 65535",
        "command line: shutdown_grace_period = 'soon' is not a whole number of 0 or more",
        "command line: unknown key 'zzyzx'",
    )


def test_a_file_that_cannot_be_parsed_does_not_hide_the_rest(problems: Problems) -> None:
    told = problems("port = ", env={"PORT": "x"})
    assert len(told) == 2


def test_options_that_were_not_given_are_none(loaded: Load) -> None:
    got = loaded(overrides={"host": None, "port": None})
    assert got.settings == Settings()
    assert got.sources == ("no configuration file: defaults",)


def test_apps_do_not_come_from_the_command_line(problems: Problems) -> None:
    assert problems(overrides={"app_manager.array.apps": []})[0].startswith("command line: unknown key")


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("[rate_limter]\nenabled = true", "unknown key 'rate_limter'; did you mean 'rate_limiter'?"),
        ("[appManager]\ndriver = 'memory'", "unknown key 'appManager'; did you mean 'app_manager'?"),
        ("max_requests = 1", "unknown key 'max_requests'; did you mean 'rate_limiter.api_rate_limit.max_requests'?"),
        ("[recovery]\nenabled = true", "unknown key 'recovery'; did you mean 'connection_recovery'?"),
        ("[delta]\nenabled = true", "unknown key 'delta'; did you mean 'delta_compression'?"),
        ("[[apps]]\nid = 'x'", "unknown key 'apps'; did you mean 'app_manager.array.apps'?"),
        ("[websocket]\nmaxMessages = 1", "unknown key 'websocket.maxMessages'; did you mean 'websocket.max_messages'?"),
        ("qqqqqqqq = 1", "unknown key 'qqqqqqqq'"),
        (
            "[history]\nmax_items_per_channel = 1",
            "unknown key 'history.max_items_per_channel'; did you mean 'history.max_m",
        ),
        ("dev = true", "unknown key 'dev'"),
        ("metrics = true", "metrics is a section, not a value"),
        ("host = 1", "host = 1 is not text: put it in quotes"),
        ("[unix_socket]\npermission_mode = 660", "unix_socket.permission_mode = 660 is not text: put it in quotes"),
        ("[app_manager.array]\napps = 3", "app_manager.array.apps is not a list of apps"),
        ('server_role = "api"', "server_role = 'api' has no clients of its own and needs other nodes: say by adapter."),
    ],
)
def test_keys_that_are_refused(toml: str, problem: str, problems: Problems) -> None:
    (told,) = problems(toml)
    assert told.startswith(f"sockudo.toml: {problem}")


def test_null_is_no_value_where_a_value_is_needed(tmp_path: Path) -> None:
    (tmp_path / "it.json").write_text('{"port": null, "websocket": {"max_bytes": null}}')
    with pytest.raises(ConfigError) as caught:
        load(path=Path("it.json"), environ={}, cwd=tmp_path)
    assert caught.value.problems == ("it.json: port = null is not a whole number from 0 to 65535",)


def test_an_existing_deployment_s_file_loads(loaded: Load) -> None:
    got = loaded(
        """
        debug = false
        host = "0.0.0.0"
        port = 6001
        mode = "production"
        path_prefix = "/"
        shutdown_grace_period = 10
        [adapter]
        driver = "local"
        buffer_multiplier_per_cpu = 128
        [adapter.redis]
        requests_timeout = 5000
        [cache]
        driver = "memory"
        [cache.memory]
        ttl = 300
        max_capacity = 20000
        [queue]
        driver = "memory"
        [history]
        enabled = false
        backend = "postgres"
        [database.redis]
        host = "redis"
        [rate_limiter]
        enabled = true
        driver = "memory"
        [rate_limiter.api_rate_limit]
        max_requests = 500
        identifier = "api"
        [app_manager]
        driver = "memory"
        [app_manager.cache]
        enabled = true
        [[app_manager.array.apps]]
        id = "shop"
        key = "shop-key"
        secret = "shop-secret"
        enabled = true
        max_connections = "250"
        enable_client_messages = true
        """
    )
    settings = got.settings
    assert settings.rate_limiter.api_rate_limit.max_requests == 500
    assert settings.cache.memory.max_capacity == 20_000
    assert [app.policy.limits.max_connections for app in settings.apps] == [250]
    assert len(got.warnings) == 6
    assert all("has no effect" in warning for warning in got.warnings)


def test_secrets_are_nowhere_in_what_is_told(loaded: Load) -> None:
    got = loaded('[[app_manager.array.apps]]\nid = "a"\nkey = "k"\nsecret = "very-hidden"\n', env={"PORT": "1"})
    assert "very-hidden" not in repr(got)
    assert got.settings.apps[0].secret == "very-hidden"


def test_importing_the_configuration_loads_no_parser() -> None:
    heavy = "{'tomllib', 'json', 'difflib', 'typer', 'asyncio', 'http'}"
    code = f"import sys, sockudo.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- where the apps come from ----


def test_the_settings_say_where_their_apps_come_from(tmp_path: Path) -> None:
    app = {"id": "a", "key": "k", "secret": "s", "enabled": True}
    file = tmp_path / "sockudo.json"
    file.write_text(json.dumps({"app_manager": {"array": {"apps": [app]}}}))
    own = {f"SOCKUDO_DEFAULT_APP_{name}": "x" for name in ("ID", "KEY", "SECRET")}

    def came_from(path: Path | None, environ: dict[str, str], *, dev: bool = False) -> str:
        return load(path=path, environ=environ, cwd=tmp_path, dev=dev).settings.apps_from

    assert came_from(Path("sockudo.json"), {}) == str(file)
    assert came_from(file, own) == "SOCKUDO_DEFAULT_APP_*"
    assert came_from(None, {}) == ""
    assert came_from(None, {}, dev=True) == "--dev"


def test_nothing_changed() -> None:
    assert reloadable_changes(Settings(), Settings()) == ((), ())


def test_changes_are_told_apart() -> None:
    new = build({"port": 1, "log_level": "debug", "app_manager.array.apps": (App("a", "k", "s"),), "ssl.enabled": True})
    assert reloadable_changes(Settings(), new) == (("log_level", "app_manager.array.apps"), ("port", "ssl.enabled"))


def test_what_needs_a_restart_stays_as_it_was() -> None:
    old = build({"port": 1, "activity_timeout": 30}, dev=True)
    new = build({"port": 2, "activity_timeout": 40, "unix_socket.enabled": True, "max_connections": 7})
    taken = reloaded(old, new)
    assert taken == build({"port": 1, "activity_timeout": 40, "max_connections": 7}, dev=True)
    assert reloadable_changes(taken, new) == ((), ("port", "unix_socket.enabled"))


@pytest.mark.parametrize(
    "path",
    [
        "host", "port", "ssl.enabled", "ssl.cert_path", "unix_socket.path", "metrics.port", "metrics.enabled",
        "data_dir", "app_manager.driver", "proxy_protocol",
    ],
)  # fmt: skip
def test_listeners_and_stores_need_a_restart(path: str) -> None:
    assert not declared()[path].key.reload


@pytest.mark.parametrize(
    "path",
    [
        "app_manager.array.apps", "log_level", "cors.origin", "rate_limiter.api_rate_limit.max_requests",
        "event_limits.max_batch_size", "presence.max_members_per_channel", "activity_timeout", "max_connections",
    ],
)  # fmt: skip
def test_limits_apps_and_logs_change_at_once(path: str) -> None:
    assert declared()[path].key.reload
