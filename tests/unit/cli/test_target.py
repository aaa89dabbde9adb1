"""Which server and which app a command takes, and what it says when it cannot know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from sockudo.cli import target as module
from sockudo.cli.local_server import local_apps
from sockudo.cli.target import DEFAULT_URL, ServerOptions, resolve
from sockudo.client.auth import Credentials
from sockudo.client.trust import Trust
from support.certificates import write_certificate

DEV = Credentials("app-id", "app-key", "app-secret")
PIER = Credentials("4471", "pier-key", "tide-secret")
DOCK = Credentials("4472", "dock-key", "ebb-secret")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> bool:
        raise AssertionError(f"{url} was asked")

    monkeypatch.setattr(module, "_knows_dev_app", refuse)
    monkeypatch.setattr(module, "apps_here", lambda config: [])


def test_given_credentials_win_and_nothing_is_looked_up() -> None:
    def fail(config: Path | None) -> list[Credentials]:
        raise AssertionError("looked up")

    found = resolve("https://ws.example.com/", "4471", "pier-key", "tide-secret", None, local_apps=fail)
    assert (found.url, found.credentials) == ("https://ws.example.com", PIER)


def test_a_server_on_this_machine_is_taken_for_a_development_server() -> None:
    assert resolve(DEFAULT_URL, None, None, None, None).credentials == DEV


def test_with_local_apps_the_server_on_this_machine_is_asked() -> None:
    for knows, expected in ((True, DEV), (False, PIER)):
        asked: list[str] = []

        def is_dev(url: str, knows: bool = knows, asked: list[str] = asked) -> bool:
            asked.append(url)
            return knows

        found = resolve(DEFAULT_URL, None, None, None, None, local_apps=lambda _: [PIER, DOCK], is_dev=is_dev)
        assert found.credentials == expected
        assert asked == [DEFAULT_URL]


def test_another_machine_never_gets_the_development_credentials() -> None:
    found = resolve("https://ws.example.com", None, None, None, None, local_apps=lambda _: [PIER])
    assert found.credentials == PIER


def test_a_named_configuration_decides() -> None:
    named: list[Path | None] = []

    def local_apps(config: Path | None) -> list[Credentials]:
        named.append(config)
        return [PIER]

    assert resolve(DEFAULT_URL, None, None, None, Path("x.toml"), local_apps=local_apps).credentials == PIER
    assert named == [Path("x.toml")]


@pytest.mark.parametrize(
    ("app_id", "key", "secret"), [("4472", None, None), (None, "dock-key", None), (None, "dock-key", "ebb-secret")]
)
def test_a_part_picks_the_local_app_it_belongs_to(app_id: str | None, key: str | None, secret: str | None) -> None:
    found = resolve(DEFAULT_URL, app_id, key, secret, None, local_apps=lambda _: [PIER, DOCK])
    assert found.credentials == DOCK


def test_parts_of_two_apps_are_never_put_together(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        resolve(DEFAULT_URL, "4471", "dock-key", None, None, local_apps=lambda _: [PIER, DOCK])
    assert caught.value.exit_code == 2
    said = capsys.readouterr().err
    assert "--secret missing" in said
    assert "tide-secret" not in said
    assert "ebb-secret" not in said


def test_a_secret_alone_is_that_of_the_app_that_is_known_here(capsys: pytest.CaptureFixture[str]) -> None:
    found = resolve("https://ws.example.com", None, None, "other", None, local_apps=lambda _: [PIER])
    assert found.credentials == Credentials("4471", "pier-key", "other")
    with pytest.raises(typer.Exit):
        resolve("https://ws.example.com", None, None, "other", None, local_apps=lambda _: [PIER, DOCK])
    assert "--app-id and --key missing. Of 2 apps here each could be meant." in capsys.readouterr().err


def test_a_secret_alone_is_that_of_the_development_app_where_there_is_no_other() -> None:
    assert resolve(DEFAULT_URL, None, None, "other", None).credentials == Credentials("app-id", "app-key", "other")


def test_an_id_or_a_key_names_the_app_whose_secret_is_another() -> None:
    found = resolve(DEFAULT_URL, None, "dock-key", "other", None, local_apps=lambda _: [PIER, DOCK])
    assert found.credentials == Credentials("4472", "dock-key", "other")


def test_what_is_not_needed_need_not_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    for apps in ([], [PIER, DOCK]):
        found = resolve(
            "https://ws.test", None, "far-key", None, None, needs=("--key",), local_apps=lambda _, a=apps: a
        )
        assert found.credentials == Credentials("", "far-key", "")
    with pytest.raises(typer.Exit):
        resolve("https://ws.test", None, "far-key", None, None, needs=("--key", "--secret"))
    assert "--secret missing" in capsys.readouterr().err


# ---- what a configuration says ----

CONFIG = """
port = 7001
[app_manager]
driver = "memory"
[[app_manager.array.apps]]
id = "4471"
key = "pier-key"
secret = "tide-secret"
enabled = true
"""


def options(config: Path | None = None, url: str | None = None, **more: Any) -> ServerOptions:
    return ServerOptions(url, None, None, None, config, **more)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "apps_here", local_apps)
    path = tmp_path / "sockudo.toml"
    path.write_text(CONFIG)
    return path


def test_a_configuration_says_where_its_server_is(config: Path) -> None:
    target = options(config).resolve()
    assert (target.url, target.credentials, target.tls()) == ("http://127.0.0.1:7001", PIER, None)
    assert options(config, "https://ws.test").resolve().url == "https://ws.test"


def test_a_server_with_tls_is_known_by_its_configured_certificate(config: Path) -> None:
    certificate, key = write_certificate(config.parent)
    config.write_text(f"{CONFIG}[ssl]\nenabled = true\ncert_path = '{certificate}'\nkey_path = '{key}'\n")
    target = options(config).resolve()
    assert (target.url, target.trust) == ("https://127.0.0.1:7001", Trust(pinned=certificate))
    assert options(config, cacert=certificate).resolve().trust == Trust(authority=certificate)


@pytest.mark.parametrize(
    ("more", "word"),
    [("[unix_socket]\nenabled = true\n", "Unix socket"), ("proxy_protocol = true\n", "PROXY"), ("port = 0\n", "port")],
)
def test_an_address_that_no_command_can_call_has_to_be_given(
    config: Path, capsys: pytest.CaptureFixture[str], more: str, word: str
) -> None:
    text = CONFIG.replace("port = 7001\n", "")
    config.write_text(f"{text}{more}" if more.startswith("[") else f"{more}{text}")
    with pytest.raises(typer.Exit) as caught:
        options(config).resolve()
    assert caught.value.exit_code == 2
    said = capsys.readouterr().err
    assert word in said
    assert "--url" in said


def test_a_file_that_is_no_certificate_is_a_usage_error(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        options(config, "https://ws.test", cacert=config).resolve()
    assert caught.value.exit_code == 2
    assert f"{config} is no certificate" in capsys.readouterr().err


def test_accepting_any_certificate_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert options(config, "https://ws.test", insecure=True).resolve().trust.insecure
    assert "is not checked (--insecure)" in capsys.readouterr().err
    options(config, "http://ws.test", insecure=True).resolve()
    assert capsys.readouterr().err == ""


def test_nothing_known_says_which_options_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        resolve("https://ws.example.com", None, None, None, None)
    assert caught.value.exit_code == 2
    assert "--app-id, --key and --secret" in capsys.readouterr().err


def test_a_host_alone_means_http() -> None:
    assert resolve("127.0.0.1:6001", None, None, None, None).url == "http://127.0.0.1:6001"


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:99999", "http://[::1", "ws://127.0.0.1:6001", ""])
def test_what_is_not_a_server_is_a_usage_error(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        resolve(url, None, None, None, None)
    assert caught.value.exit_code == 2
    assert "is not the URL of a server" in capsys.readouterr().err
