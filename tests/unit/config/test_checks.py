"""What keys have to be to one another (spec: platform § 1.6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sockudo.config import Loaded

Load = Callable[..., Loaded]
Problems = Callable[..., tuple[str, ...]]


def test_two_listeners_on_one_port(problems: Problems, loaded: Load) -> None:
    (told,) = problems("port = 9601")
    assert told == "sockudo.toml: metrics.port = 9601 is the main port as well"
    assert loaded("port = 9601\n[metrics]\nenabled = false").warnings == ()
    asked = "port = 9601\n[metrics]\nenabled = false\n[dashboard]\nenabled = true"
    assert problems(asked) == ("sockudo.toml: metrics.port = 9601 is the main port as well",)
    assert loaded("port = 0\n[metrics]\nport = 0").warnings == ()


@pytest.mark.parametrize(("interval", "timeout"), [(10_000, 30_000), (99, 30_000), (0, 0)])
def test_a_timeout_of_few_heartbeats_gives_way_to_the_defaults(interval: int, timeout: int, loaded: Load) -> None:
    section = f"[adapter.cluster_health]\nheartbeat_interval_ms = {interval}\nnode_timeout_ms = {timeout}"
    found = loaded(section)
    (warning,) = found.warnings
    assert warning.startswith(
        f"adapter.cluster_health.heartbeat_interval_ms = {interval} and "
        f"adapter.cluster_health.node_timeout_ms = {timeout} are not used, but the defaults, 2000 and 10000: "
    )
    health = found.settings.adapter.cluster_health
    assert (health.heartbeat_interval_ms, health.node_timeout_ms) == (2000, 10_000)


def test_heartbeats_come_from_the_environment(loaded: Load) -> None:
    environ = {"CLUSTER_HEALTH_HEARTBEAT_INTERVAL": "1000", "CLUSTER_HEALTH_NODE_TIMEOUT": "5000"}
    found = loaded("", env=environ)
    assert found.warnings == ()
    health = found.settings.adapter.cluster_health
    assert (health.heartbeat_interval_ms, health.node_timeout_ms) == (1000, 5000)


def test_tls_needs_both_files(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("")
    told = problems(f'[ssl]\nenabled = true\ncert_path = "{tmp_path}/cert.pem"')
    assert told == ("sockudo.toml: ssl.key_path is empty, and ssl.enabled is true: name a PEM file",)
    told = problems(f'[ssl]\nenabled = true\ncert_path = "/nowhere.pem"\nkey_path = "{tmp_path}/cert.pem"')
    assert told == ("sockudo.toml: ssl.cert_path = '/nowhere.pem' does not exist",)


def test_a_redirect_needs_tls_and_a_port_of_its_own(loaded: Load, problems: Problems, tmp_path: Path) -> None:
    assert loaded("[ssl]\nredirect_http = true").warnings == ("ssl.redirect_http has no effect: ssl.enabled is false",)
    pem = tmp_path / "it.pem"
    pem.write_text("")
    files = f'cert_path = "{pem}"\nkey_path = "{pem}"'
    (told,) = problems(f"[ssl]\nenabled = true\nredirect_http = true\nhttp_port = 6001\n{files}")
    assert told == "sockudo.toml: ssl.http_port = 6001 is taken by another listener"


def test_tls_and_the_proxy_protocol_exclude_each_other(loaded: Load, problems: Problems, tmp_path: Path) -> None:
    pem = tmp_path / "it.pem"
    pem.write_text("")
    ssl = f'[ssl]\nenabled = true\ncert_path = "{pem}"\nkey_path = "{pem}"\n'
    (told,) = problems(f"proxy_protocol = true\n{ssl}")
    assert told.startswith("sockudo.toml: proxy_protocol and ssl.enabled exclude each other")
    assert loaded(f"proxy_protocol = true\n{ssl}[unix_socket]\nenabled = true").settings.proxy_protocol


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "is not an absolute path"),
        ("s.sock", "is not an absolute path"),
        ("/run/../s.sock", "climbs with '..'"),
        ("/run/..\\\\s.sock", "climbs with '..'"),
    ],
)
def test_paths_of_the_unix_socket(path: str, problem: str, problems: Problems) -> None:
    (told,) = problems(f'[unix_socket]\nenabled = true\npath = "{path}"')
    assert told.startswith("sockudo.toml: unix_socket.path = ")
    assert told.endswith(problem)


def test_a_disabled_unix_socket_is_not_looked_at(loaded: Load) -> None:
    assert loaded('[unix_socket]\npath = "s.sock"').warnings == ()


def test_warnings_about_the_unix_socket(loaded: Load) -> None:
    got = loaded('proxy_protocol = true\n[unix_socket]\nenabled = true\npath = "/tmp/s.sock"\npermission_mode = "666"')
    assert got.warnings == (
        "unix_socket.permission_mode = '666' lets every user of this machine connect",
        "unix_socket.path = '/tmp/s.sock' lies in a folder that every user may write to",
        "proxy_protocol has no effect on a Unix socket",
    )


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("[database_pooling]\nmin = 11", "database_pooling.min = 11 is more than database_pooling.max = 10"),
        ("[database.mysql]\npool_min = 11", "database.mysql.pool_min = 11 is more than database_pooling.max = 10"),
        ("[database.postgres]\npool_max = 1", "database_pooling.min = 2 is more than database.postgres.pool_max = 1"),
    ],
)
def test_the_bounds_of_a_pool(toml: str, problem: str, problems: Problems, loaded: Load) -> None:
    assert set(problems(toml)) == {f"sockudo.toml: {problem}"}
    assert loaded(toml, env={"DATABASE_POOLING_ENABLED": "no"}).warnings == ()


def test_unlimited_conflation_keys_are_not_for_production(problems: Problems, loaded: Load) -> None:
    toml = '[delta_compression]\nmax_conflation_states_per_channel = "none"'
    (told,) = problems(toml)
    assert told.startswith("sockudo.toml: delta_compression.max_conflation_states_per_channel is none, which lets")
    assert loaded(f'mode = "staging"\n{toml}').settings.delta_compression.max_conflation_states_per_channel is None


def test_known_secrets_on_a_public_address(loaded: Load) -> None:
    app = '[[app_manager.array.apps]]\nid = "a"\nkey = "k"\nsecret = "app-secret"\nenabled = true\n'
    (warning,) = loaded(app).warnings
    assert warning == "app 'a' has a secret that everybody knows, and others can reach this server: rotate it"
    assert loaded(f'host = "127.0.0.1"\n{app}').warnings == ()


def test_without_metrics_the_dashboard_has_to_be_asked_for(loaded: Load) -> None:
    assert loaded().settings.dashboard.enabled
    off = loaded("[metrics]\nenabled = false")
    assert (off.settings.dashboard.enabled, off.origins["dashboard.enabled"]) == (False, "sockudo.toml")
    assert loaded("[metrics]\nenabled = false\n[dashboard]\nenabled = true").settings.dashboard.enabled
    assert loaded("[metrics]\nenabled = false\n[dashboard]\npublic = true").settings.dashboard.enabled
    assert not loaded(env={"METRICS_ENABLED": "no"}).settings.dashboard.enabled
    assert loaded(env={"METRICS_ENABLED": "no", "SOCKUDO_DASHBOARD_ENABLED": "yes"}).settings.dashboard.enabled


def test_a_password_of_the_dashboard_that_protects_nothing(loaded: Load, problems: Problems) -> None:
    (told,) = problems('[dashboard]\npassword = "short"')
    assert told == "sockudo.toml: dashboard.password is shorter than 8 characters"
    (warning,) = loaded('[dashboard]\npassword = "changeme"\n[metrics]\nhost = "0.0.0.0"').warnings
    assert warning.startswith("dashboard.password is one that everybody knows, and others can reach the dashboard")
    assert loaded('[dashboard]\npassword = "changeme"').warnings == ()
    public = '[dashboard]\npassword = "changeme"\npublic = true'
    assert len(loaded(public).warnings) == 1
    (warning,) = loaded("[dashboard]\nenabled = false\npublic = true").warnings
    assert warning == "dashboard.public has no effect: dashboard.enabled is false"


def test_in_development_no_password_of_the_dashboard_is_known(loaded: Load) -> None:
    got = loaded("[metrics]\nhost = '0.0.0.0'", dev=True)
    assert (got.settings.dashboard.password, got.warnings) == (None, ())
    (warning,) = loaded('[dashboard]\npassword = "dashboard"\n[metrics]\nhost = "0.0.0.0"').warnings
    assert warning.startswith("dashboard.password is one that everybody knows")


def test_origins_that_no_page_has(loaded: Load) -> None:
    toml = """
    [cors]
    origin = ["shop.test/", "https://shop.test"]

    [[app_manager.array.apps]]
    id = "shop"
    key = "shop-key"
    secret = "shop-secret"
    enabled = true
    policy.channels.allowed_origins = ["https://shop.test/basket", "*.shop.test", "https://*."]
    """
    cors, path, empty = sorted(
        loaded(toml).warnings, key=lambda warning: ("cors" not in warning, "basket" not in warning)
    )
    assert cors == "cors.origin has 'shop.test/', which has '/' behind the host: an origin has no path"
    assert "(app 'shop'): policy.channels.allowed_origins has 'https://shop.test/basket', which has '/basket'" in path
    assert "has 'https://*.', which has no domain" in empty


# ---- units ----


def test_text_with_a_unit_says_which_one_is_counted(problems: Problems) -> None:
    (told,) = problems("activity_timeout = '120s'")
    assert told.startswith(
        "sockudo.toml: activity_timeout = '120s' is not a whole number of 1 or more: it counts seconds,"
    )
    (told,) = problems("health_check_timeout_ms = '2 s'")
    assert "counts milliseconds" in told
    (told,) = problems("activity_timeout = 'soon'")
    assert "counts" not in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("activity_timeout = 120000", "activity_timeout = 120000 is 1 day: it counts seconds, and 120 may have been"),
        ("shutdown_grace_period = 3000", "3000 is 50 minutes"),
    ],
)
def test_seconds_that_look_like_milliseconds(loaded: Load, text: str, words: str) -> None:
    (told,) = loaded(text).warnings
    assert words in told


@pytest.mark.parametrize(
    "text", ["activity_timeout = 600", "activity_timeout = 12345", "[idempotency]\nttl_seconds = 3600"]
)
def test_seconds_that_may_be_meant(loaded: Load, text: str) -> None:
    assert loaded(text).warnings == ()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            'servers = ["nats://ann:pass@a:4222"]',
            (
                "adapter.nats.servers has a user or a password in it, and it is shown: use adapter.nats.username and "
                "adapter.nats.password"
            ),
        ),
        (
            'username = "ann"\ntoken = "x"',
            "adapter.nats.username and adapter.nats.token exclude each other: keep one of them",
        ),
        ('password = "x"', "adapter.nats.password needs adapter.nats.username"),
        (
            'credentials_path = "/not/here"',
            "adapter.nats.credentials_path = '/not/here' is no file that this user can read",
        ),
        (
            f'tls.client_cert_path = "{__file__}"',
            "adapter.nats.tls.client_cert_path and adapter.nats.tls.client_key_path go together",
        ),
        ('tls.ca_path = "/not/here"', "adapter.nats.tls.ca_path = '/not/here' is no file that this user can read"),
    ],
)
def test_what_nats_is_told_fits_together(lines: str, problem: str, problems: Problems, loaded: Load) -> None:
    text = f"[adapter]\ndriver = '{{}}'\n[adapter.nats]\n{lines}"
    assert problems(text.format("nats")) == (f"sockudo.toml: {problem}",)
    # The variables of NATS belong to other software, too.
    assert loaded(text.format("local")).settings.adapter.driver == "local"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('servers = ["a", "http://b"]', "has 'http://b', which is not the address of a NATS server"),
        ('servers = ["a:99999"]', "has 'a:99999', which is not the address"),
        ("servers = []", "names no server"),
        ('prefix = "a.>"', "cannot begin a subject"),
        ('prefix = ""', "cannot begin a subject"),
        ('prefix = "$SYS"', "cannot begin a subject"),
    ],
)
def test_addresses_and_prefixes_of_nats(line: str, problem: str, problems: Problems) -> None:
    (told,) = problems(f"[adapter.nats]\n{line}")
    assert problem in told


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            "workers = 2\n[history]\nenabled = true\nbackend = 'memory'",
            "workers = 2 cannot be used with history.backend = 'memory', of which each process would have its own",
        ),
        ("workers = 'auto'\n[dashboard]\npublic = true", "workers = 0 cannot be used with dashboard.public"),
    ],
)
def test_what_one_process_keeps_to_itself_is_nothing_for_workers(
    lines: str, problem: str, problems: Problems, loaded: Load
) -> None:
    (told,) = problems(lines)
    assert told.startswith(f"sockudo.toml: {problem}")
    assert loaded(f"workers = 1\n{lines.partition(chr(10))[2]}").settings.workers == 1


@pytest.mark.parametrize("backend", ["sqlite", "memory"])
def test_joined_nodes_have_one_history(backend: str, problems: Problems, loaded: Load) -> None:
    history = f"[history]\nenabled = true\nbackend = '{backend}'\n"
    (told,) = problems(f"{history}[adapter]\ndriver = 'redis'")
    assert told.startswith(f"sockudo.toml: history.backend = '{backend}' is another history on each of the nodes")
    for fine in (
        f"{history}[adapter]\ndriver = 'local'",
        f"{history}[adapter]\ndriver = 'redis'\n[instance]\nshared_stores = true",
        "[history]\nenabled = true\nbackend = 'postgres'\n[adapter]\ndriver = 'redis'",
        "[adapter]\ndriver = 'redis'",
    ):
        assert loaded(fine).settings.history.enabled == ("history" in fine)


def test_nodes_in_development_have_none_of_their_own(loaded: Load) -> None:
    joined = "[adapter]\ndriver = 'nats'\n"
    assert loaded("", dev=True).settings.history.enabled
    alone = loaded(joined, dev=True).settings
    assert (alone.history.enabled, alone.presence_history.enabled) == (False, False)
    common = loaded(f"{joined}[history]\nbackend = 'postgres'", dev=True).settings
    assert (common.history.enabled, common.presence_history.enabled) == (True, True)


def test_a_node_for_backends_needs_others(loaded: Load) -> None:
    assert loaded("server_role = 'api'\n[adapter]\ndriver = 'nats'").settings.server_role == "api"
