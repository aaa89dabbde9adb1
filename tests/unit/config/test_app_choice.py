"""Which apps there are: the file's, one from variables, or the one of --dev (spec: platform § 1.5)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sockudo.config import Loaded
from sockudo.config.app_choice import DEV_ALIAS, DEV_APP, aliases, is_loopback
from sockudo.config.apps import Limits

Load = Callable[..., Loaded]
Problems = Callable[..., tuple[str, ...]]

FILE = '[[app_manager.array.apps]]\nid = "file"\nkey = "file-key"\nsecret = "file-secret"\nenabled = true\n'
OWN = {"SOCKUDO_DEFAULT_APP_ID": "own", "SOCKUDO_DEFAULT_APP_KEY": "own-key", "SOCKUDO_DEFAULT_APP_SECRET": "own-s"}


def credentials(prefix: str) -> dict[str, str]:
    word = prefix[:4].lower()
    return {f"{prefix}ID": word, f"{prefix}KEY": f"{word}-key", f"{prefix}SECRET": f"{word}-secret"}


def ids(loaded: Loaded) -> list[str]:
    return [app.id for app in loaded.settings.apps]


def test_the_file_s_apps(loaded: Load) -> None:
    got = loaded(FILE)
    assert ids(got) == ["file"]
    assert got.origins["app_manager.array.apps"] == "sockudo.toml"


def test_our_variables_replace_the_file_s_apps(loaded: Load) -> None:
    got = loaded(FILE, env=OWN)
    (app,) = got.settings.apps
    assert (app.id, app.key, app.secret, app.enabled) == ("own", "own-key", "own-s", True)
    hundred = dict.fromkeys(
        (
            "max_connections", "max_client_events_per_second", "max_backend_events_per_second",
            "max_read_requests_per_second", "max_presence_members_per_channel", "max_presence_member_size_in_kb",
            "max_channel_name_length", "max_event_channels_at_once", "max_event_name_length", "max_event_payload_in_kb",
            "max_event_batch_size",
        ),
        100,
    )  # fmt: skip
    assert app.policy.limits == Limits(**hundred)
    assert app.policy.features.enable_client_messages is False
    assert got.warnings == ()
    assert any("limits that are not given are 100 each" in source for source in got.sources)


def test_everything_about_the_default_app(loaded: Load) -> None:
    got = loaded(
        env={
            **OWN,
            "SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS": "7",
            "SOCKUDO_DEFAULT_APP_ENABLE_USER_AUTHENTICATION": "yes",
            "SOCKUDO_DEFAULT_APP_ALLOWED_ORIGINS": "https://a.test, *.b.test",
            "SOCKUDO_ENABLE_CLIENT_MESSAGES": "1",
        }
    )
    (app,) = got.settings.apps
    assert app.policy.limits.max_connections == 7
    assert app.policy.features.enable_user_authentication is True
    assert app.policy.features.enable_client_messages is True
    assert app.policy.channels.allowed_origins == ("https://a.test", "*.b.test")


def test_the_nearer_switch_for_client_messages_wins(loaded: Load) -> None:
    environ = {**OWN, "SOCKUDO_ENABLE_CLIENT_MESSAGES": "1", "SOCKUDO_DEFAULT_APP_ENABLE_CLIENT_MESSAGES": "0"}
    assert loaded(env=environ).settings.apps[0].policy.features.enable_client_messages is False


def test_a_bad_variable_of_the_default_app(problems: Problems) -> None:
    (told,) = problems(env={**OWN, "SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS": "many"})
    assert told == (
        "environment: SOCKUDO_DEFAULT_APP_* (app 'own'): max_connections = 'many' is not a whole number of 0 or more"
    )


def test_two_of_three_make_no_app(loaded: Load) -> None:
    got = loaded(FILE, env={"SOCKUDO_DEFAULT_APP_ID": "x", "SOCKUDO_DEFAULT_APP_KEY": "y"})
    assert ids(got) == []
    assert got.warnings == ("there is no default app: SOCKUDO_DEFAULT_APP_SECRET not set",)


@pytest.mark.parametrize(
    "environ",
    [
        {"SOCKUDO_DEFAULT_APP_ENABLED": "false"},
        {**OWN, "SOCKUDO_DEFAULT_APP_ENABLED": "false"},
        {"SOCKUDO_SKIP_INLINE_APPS": "true"},
        {"APP_MANAGER_REGISTER_INLINE_APPS": "false"},
    ],
)
def test_the_file_s_apps_can_be_left_out(environ: dict[str, str], loaded: Load) -> None:
    got = loaded(FILE, env=environ)
    assert ids(got) == []
    assert any(source.startswith("apps of the file left out: ") for source in got.sources)


@pytest.mark.parametrize(
    "environ", [{"SOCKUDO_SKIP_INLINE_APPS": "false"}, {"APP_MANAGER_REGISTER_INLINE_APPS": "true"}]
)
def test_or_kept(environ: dict[str, str], loaded: Load) -> None:
    assert ids(loaded(FILE, env=environ)) == ["file"]


def test_a_default_app_is_not_an_app_of_the_file(loaded: Load) -> None:
    assert ids(loaded(FILE, env={**OWN, "SOCKUDO_SKIP_INLINE_APPS": "1"})) == ["own"]


def test_variables_that_hang_in_the_air(loaded: Load) -> None:
    (warning,) = loaded(env={"SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS": "5"}).warnings
    assert warning.startswith("SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS have no effect without SOCKUDO_DEFAULT_APP_ID")


@pytest.mark.parametrize("prefix", ["SOKETI_DEFAULT_APP_", "REVERB_APP_", "PUSHER_APP_"])
def test_credentials_of_other_servers(prefix: str, loaded: Load) -> None:
    environ = credentials(prefix)
    got = loaded(env=environ)
    (app,) = got.settings.apps
    assert [app.id, app.key, app.secret] == list(environ.values())
    assert app.enabled is True
    assert app.policy.limits == Limits()
    assert f"{', '.join(environ)} read as the app {app.id!r}" in got.sources
    assert all(environ[f"{prefix}SECRET"] not in source for source in got.sources)


def test_ours_come_before_theirs(loaded: Load) -> None:
    assert ids(loaded(env={**OWN, **credentials("PUSHER_APP_")})) == ["own"]
    got = loaded(FILE, env=credentials("PUSHER_APP_"))
    assert ids(got) == ["file"]
    assert got.warnings == (
        "PUSHER_APP_ID, PUSHER_APP_KEY, PUSHER_APP_SECRET not read: sockudo.toml configures the apps already",
    )


def test_the_same_credentials_twice_are_no_surprise(loaded: Load) -> None:
    environ = {"PUSHER_APP_ID": "file", "PUSHER_APP_KEY": "file-key", "PUSHER_APP_SECRET": "file-secret"}
    assert loaded(FILE, env=environ).warnings == ()


def test_theirs_in_part_make_no_app(loaded: Load) -> None:
    got = loaded(env={"PUSHER_APP_KEY": "x"})
    assert ids(got) == []
    assert got.warnings == ("PUSHER_APP_KEY not read: an app needs PUSHER_APP_ID, PUSHER_APP_KEY, PUSHER_APP_SECRET",)


def test_what_soketi_tells_about_its_default_app(loaded: Load) -> None:
    got = loaded(
        env={
            **credentials("SOKETI_DEFAULT_APP_"),
            "SOKETI_DEFAULT_APP_MAX_CONNECTIONS": "-1",
            "SOKETI_DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC": "9",
            "SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES": "true",
            "SOKETI_DEFAULT_APP_ENABLED": "false",
        }
    )
    (app,) = got.settings.apps
    assert app.enabled is False
    assert app.policy.limits == Limits(max_connections=0, max_backend_events_per_second=9)
    assert app.policy.features.enable_client_messages is True


def test_the_development_app(loaded: Load) -> None:
    settings = loaded(dev=True).settings
    assert settings.apps == (DEV_APP,)
    assert settings.dev is True
    assert (settings.host, settings.metrics.host) == ("127.0.0.1", "127.0.0.1")
    assert settings.app_manager.driver == "memory"
    assert settings.rate_limiter.enabled is False


@pytest.mark.parametrize("environ", [OWN, credentials("PUSHER_APP_")])
def test_configured_apps_replace_the_development_app(environ: dict[str, str], loaded: Load) -> None:
    assert DEV_APP.id not in ids(loaded(env=environ, dev=True))
    assert ids(loaded(FILE, dev=True)) == ["file"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "shop.test", ""])
def test_known_credentials_never_listen_where_others_can_reach(host: str, problems: Problems) -> None:
    (told,) = problems(f'host = "{host}"', dev=True)
    assert told == (
        f"sockudo.toml: host = {host!r} can be reached by others, and everybody knows the credentials of the app "
        "of --dev: configure an app, or listen on 127.0.0.1"
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]"])
def test_loopback(host: str, loaded: Load) -> None:
    assert is_loopback(host)
    assert ids(loaded(dev=True, overrides={"host": host})) == [DEV_APP.id]


def test_the_development_app_never_enters_a_store_that_lasts(loaded: Load) -> None:
    got = loaded('[app_manager]\ndriver = "sqlite"', dev=True)
    assert ids(got) == []
    assert got.warnings == ("the app of --dev is left out: sockudo.toml keeps apps in a store that lasts",)


def test_a_development_app_on_a_unix_socket(loaded: Load) -> None:
    got = loaded('host = "0.0.0.0"\n[unix_socket]\nenabled = true\npath = "/run/s.sock"', dev=True)
    assert ids(got) == [DEV_APP.id]


@pytest.mark.parametrize("prefix", ["PUSHER_APP_", "REVERB_APP_", "SOKETI_DEFAULT_APP_", "SOCKUDO_DEFAULT_APP_"])
def test_an_app_from_variables_has_every_feature_in_development_only(prefix: str, loaded: Load) -> None:
    environ = credentials(prefix)
    (dev,) = loaded(env=environ, dev=True).settings.apps
    assert dev.policy.features == DEV_APP.policy.features
    assert dev.policy.channels.v1_recovery is True
    (plain,) = loaded(env=environ).settings.apps
    assert not plain.policy.features.enable_client_messages
    assert not plain.policy.channels.v1_recovery


def test_a_variable_switches_a_feature_off_in_development(loaded: Load) -> None:
    environ = {**credentials("SOCKUDO_DEFAULT_APP_"), "SOCKUDO_DEFAULT_APP_ENABLE_CLIENT_MESSAGES": "false"}
    (app,) = loaded(env=environ, dev=True).settings.apps
    assert app.policy.features.enable_client_messages is False
    assert app.policy.features.enable_user_authentication is True


def test_the_alias_is_the_development_apps_alone(loaded: Load) -> None:
    assert aliases((DEV_APP,), dev=True) == {DEV_ALIAS: DEV_APP.id}
    assert aliases((DEV_APP,), dev=False) == {}
    assert aliases(loaded(FILE, dev=True).settings.apps, dev=True) == {}
