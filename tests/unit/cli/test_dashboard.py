"""``sockudo dashboard password``: a new one, made or chosen, kept as a hash."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from sockudo.auth import passwords
from sockudo.auth.passwords import matches


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and hashes that cost nothing: what they have to cost is the dashboard's own matter."""
    monkeypatch.chdir(tmp_path)
    for kind in ("_MADE", "_CHOSEN"):
        monkeypatch.setattr(passwords, kind, passwords.Cost(2, 8, 1))


def kept(folder: Path) -> str:
    return (folder / "dashboard-password").read_text()


def test_help_shows_an_example(run: Any) -> None:
    result = run("dashboard", "password", "--help")
    assert result.exit_code == 0
    assert "Example: sockudo dashboard password --config sockudo.toml" in result.stdout
    assert "Exit codes:" in result.stdout


def test_a_group_of_its_own(run: Any) -> None:
    assert " password " in run("dashboard", "--help").stdout
    assert " dashboard " in run("--help").stdout


def test_made_and_printed_alone(run: Any, tmp_path: Path) -> None:
    result = run("dashboard", "password", "--data-dir", "data")
    assert result.exit_code == 0
    password = result.stdout.strip()
    assert matches(password, kept(tmp_path / "data"))
    assert password not in result.stderr
    assert stat.S_IMODE((tmp_path / "data" / "dashboard-password").stat().st_mode) == 0o600


def test_chosen_and_not_printed(run: Any, tmp_path: Path) -> None:
    result = run("dashboard", "password", "--data-dir", "data", "--stdin", stdin="eight or more\r\n")
    assert (result.exit_code, result.stdout) == (0, "")
    assert matches("eight or more", kept(tmp_path / "data"))
    assert "eight or more" not in result.stderr


def test_a_chosen_one_is_not_short(run: Any, tmp_path: Path) -> None:
    result = run("dashboard", "password", "--data-dir", "data", "--stdin", stdin="seven77\n")
    assert result.exit_code == 2
    assert "shorter than 8" in result.stderr
    assert not (tmp_path / "data").exists()


def test_the_configuration_wins(run: Any, tmp_path: Path) -> None:
    (tmp_path / "sockudo.toml").write_text('data_dir = "kept"\n[dashboard]\npassword = "from the file"\n')
    result = run("dashboard", "password", "--config", "sockudo.toml")
    assert result.exit_code == 1
    assert "dashboard.password" in result.stderr
    assert "from the file" not in result.stderr
    assert not (tmp_path / "kept").exists()


def test_the_folder_is_that_of_the_configuration(run: Any, tmp_path: Path) -> None:
    (tmp_path / "sockudo.toml").write_text('data_dir = "kept"\n')
    assert run("dashboard", "password", "--config", "sockudo.toml").exit_code == 0
    assert kept(tmp_path / "kept").startswith("scrypt:")


def test_a_folder_that_cannot_be_written(run: Any, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    result = run("dashboard", "password", "--data-dir", "data")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_a_configuration_that_cannot_be_used(run: Any, tmp_path: Path) -> None:
    (tmp_path / "sockudo.toml").write_text("port = 'x'\n")
    assert run("dashboard", "password", "--config", "sockudo.toml").exit_code == 1
