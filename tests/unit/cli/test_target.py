"""Which server and which app a command takes, and what it says when it cannot know."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from sockudo.cli import target as module
from sockudo.cli.target import DEFAULT_URL, resolve
from sockudo.client.auth import Credentials

DEV = Credentials("app-id", "app-key", "app-secret")
PIER = Credentials("4471", "pier-key", "tide-secret")
DOCK = Credentials("4472", "dock-key", "ebb-secret")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> bool:
        raise AssertionError(f"{url} was asked")

    monkeypatch.setattr(module, "_knows_dev_app", refuse)
    monkeypatch.setattr(module, "_local_apps", lambda config: [])


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
