"""``sockudo apps`` where the apps are in a database server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contract.app_tables import new_table
from sockudo.cli.target import resolve
from sockudo.server.commands import app as command_line
from support.databases import DatabaseServer

Invoke = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment that configures nothing."""
    for name in os.environ:
        if name.startswith(("SOCKUDO_", "PUSHER_", "SOKETI_", "REVERB_", "APP_", "DATABASE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def place(postgres: DatabaseServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What texts call the table that the environment names."""
    server, table = postgres.database, new_table()
    settings = {
        "APP_MANAGER_DRIVER": "postgres",
        "DATABASE_POSTGRES_HOST": server.host,
        "DATABASE_POSTGRES_PORT": str(server.port),
        "DATABASE_POSTGRES_USERNAME": server.username,
        "DATABASE_POSTGRES_PASSWORD": server.password,
        "DATABASE_POSTGRES_DATABASE": server.database,
        "DATABASE_POSTGRES_TABLE_NAME": table,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return f"table '{table}' of database '{server.database}' at {server.host}:{server.port}"


@pytest.fixture
def apps(folder: Path) -> Invoke:
    runner = CliRunner()

    def invoke(*arguments: str) -> Any:
        return runner.invoke(command_line, ["apps", *arguments])

    return invoke


def test_apps_in_postgres(place: str, apps: Invoke, folder: Path) -> None:
    assert f"There are no apps in {place}." in apps("list").stderr
    added = apps("add", "--id", "shop", "--key", "k-shop", "--secret", "s3cr3t", "--client-messages")
    assert (added.exit_code, added.stderr) == (0, "")
    assert apps("list").stdout == "ID    KEY     STATE\nshop  k-shop  enabled\n"
    assert apps("set", "shop", "--max-connections", "5").exit_code == 0
    shown = json.loads(apps("show", "shop", "--reveal-secret", "--json").stdout)
    assert (shown["secret"], shown["policy"]["limits"]["max_connections"]) == ("s3cr3t", 5)
    assert shown["policy"]["features"] == {"enable_client_messages": True}
    assert json.loads(apps("rotate", "shop", "--json").stdout)["secret"] != "s3cr3t"
    assert apps("disable", "shop").exit_code == 0
    assert json.loads(apps("list", "--json").stdout)[0]["enabled"] is False
    assert json.loads(apps("enable", "shop", "--json").stdout)["enabled"] is True
    taken = apps("add", "--id", "b", "--key", "k-shop")
    assert (taken.exit_code, "another app has it" in taken.stderr) == (1, True)
    assert "No app has the id 'shpo'." in apps("show", "shpo").stderr
    assert apps("remove", "shop", "--yes").stdout == "App 'shop' is removed.\n"
    gone = apps("remove", "shop", "--yes")
    assert gone.exit_code == 3
    assert f"There are no apps in {place}." in gone.stderr
    assert list(folder.iterdir()) == []


def test_a_server_on_this_machine_is_reached_with_an_app_of_the_database(place: str, apps: Invoke) -> None:
    apps("add", "--id", "shop", "--key", "k-shop", "--secret", "s3cr3t")
    apps("add", "--id", "closed", "--disabled")
    assert resolve("http://127.0.0.1:1", None, None, None, None).credentials.key == "k-shop"


def test_a_database_that_is_down(place: str, apps: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_POSTGRES_PORT", "1")
    for arguments in (("list",), ("add",), ("remove", "shop", "--yes")):
        result = apps(*arguments)
        assert result.exit_code == 1
        assert "The app store at 127.0.0.1:1 does not answer: " in result.stderr
        assert "database.postgres says how to reach it." in result.stderr
        assert os.environ["DATABASE_POSTGRES_PASSWORD"] not in result.output


def test_apps_of_the_configuration_never_stand_in_for_a_database(
    place: str, apps: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server would start with them; a command that changed them would change nothing."""
    record = {"id": "shop", "key": "k", "secret": "s", "enabled": True}
    (folder / "sockudo.json").write_text(json.dumps({"app_manager": {"array": {"apps": [record]}}}))
    monkeypatch.setenv("DATABASE_POSTGRES_PORT", "1")
    result = apps("rotate", "shop", "--config", "sockudo.json")
    assert (result.exit_code, "does not answer" in result.stderr) == (1, True)


def test_a_driver_that_is_not_installed(place: str, apps: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    result = apps("list")
    assert result.exit_code == 1
    assert "Error: The store of the apps cannot be used." in result.stderr
    assert "PostgreSQL needs a driver that is not installed: pip install '.[postgres]' in a checkout" in result.stderr
