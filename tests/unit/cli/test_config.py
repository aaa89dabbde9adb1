"""`sockudo config check` and `show`: output, exit codes, and no secrets."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sockudo.server.commands import app

runner = CliRunner()

GOOD = 'port = 7\npath_prefix = "/x"\n[[app_manager.array.apps]]\nid = "a"\nkey = "k"\nsecret = "very-hidden"\n'


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "PORT", "DEBUG", "RUST_LOG", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    Path("good.toml").write_text(GOOD)
    Path("bad.toml").write_text('prot = 1\n[adapter]\ndriver = "kafka"\n')


def test_a_good_file() -> None:
    done = runner.invoke(app, ["config", "check", "--config", "good.toml"])
    assert done.exit_code == 0
    assert "file good.toml" in done.stdout
    assert "warning: good.toml: path_prefix has no effect" in done.stdout
    assert "`enabled` is left out" in done.stdout
    assert done.stdout.rstrip().endswith("The configuration is good.")


def test_a_bad_file() -> None:
    done = runner.invoke(app, ["config", "check", "-c", "bad.toml"])
    assert done.exit_code == 1
    assert "unknown key 'prot'; did you mean 'port'?" in done.stderr
    assert "adapter.driver = 'kafka' is not supported by this version" in done.stderr


def test_check_for_programs() -> None:
    good = json.loads(runner.invoke(app, ["config", "check", "-c", "good.toml", "--json"]).stdout)
    assert good["ok"] is True
    assert good["problems"] == []
    assert len(good["warnings"]) == 2
    done = runner.invoke(app, ["config", "check", "-c", "bad.toml", "--json"])
    bad = json.loads(done.stdout)
    assert (done.exit_code, bad["ok"], len(bad["problems"])) == (1, False, 2)


def test_no_file_is_good_too() -> None:
    done = runner.invoke(app, ["config", "check"])
    assert done.exit_code == 0
    assert "no configuration file: defaults" in done.stdout


def test_show_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "::1")
    done = runner.invoke(app, ["config", "show", "-c", "good.toml"])
    assert done.exit_code == 0
    assert "very-hidden" not in done.stdout
    by_path = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert by_path["port"] == ["port", "7", "good.toml"]
    assert by_path["host"] == ["host", '"::1"', "HOST"]
    assert by_path["mode"] == ["mode", '"production"', "default"]


def test_show_for_programs() -> None:
    shown = json.loads(runner.invoke(app, ["config", "show", "-c", "good.toml", "--json"]).stdout)
    assert shown["settings"]["port"] == 7
    assert shown["settings"]["app_manager"]["array"]["apps"][0]["secret"] == "********"
    assert shown["origins"]["port"] == "good.toml"
    assert shown["sources"] == ["file good.toml"]


def test_show_as_toml() -> None:
    done = runner.invoke(app, ["config", "show", "--dev", "--toml"])
    tree = tomllib.loads(done.stdout)
    assert tree["host"] == "127.0.0.1"
    assert tree["app_manager"]["array"]["apps"][0]["id"] == "1001"
    assert "app-secret" not in done.stdout


@pytest.mark.parametrize("options", [[], ["--json"], ["--toml"]])
def test_show_refuses_what_check_refuses(options: list[str]) -> None:
    done = runner.invoke(app, ["config", "show", "-c", "bad.toml", *options])
    assert done.exit_code == 1
    assert "unknown key 'prot'" in done.stderr


def test_help_has_an_example() -> None:
    for command in ("check", "show"):
        done = runner.invoke(app, ["config", command, "--help"])
        assert done.exit_code == 0
        assert f"sockudo config {command}" in done.stdout


def test_check_finds_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockudo.config.installed.missing_drivers", lambda _: ["Redis needs a driver"])
    result = runner.invoke(app, ["config", "check", "--config", "good.toml"])
    assert result.exit_code == 1
    assert "Redis needs a driver" in result.stderr
    assert "is good" not in result.stdout
