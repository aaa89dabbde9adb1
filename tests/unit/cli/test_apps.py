"""``sockudo apps`` against a real store in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sockudo.base.stream_records import KEEP_ALL, Append
from sockudo.config.apps import App, Channels, Features, History, Limits, MessageRateLimit, Policy
from sockudo.config.sections.streams import HistorySqlite
from sockudo.drivers.selection import FILE_NAME
from sockudo.drivers.sql import sqlite_history
from sockudo.drivers.sql.apps import sqlite_apps
from sockudo.hub.streams.ports import HistoryStore
from sockudo.server.commands import app as command_line

Invoke = Callable[..., Any]
SHOP = App("shop", "k-shop", "s3cr3t-shop", True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment that configures nothing."""
    for name in os.environ:
        if name.startswith(("SOCKUDO_", "PUSHER_", "SOKETI_", "REVERB_", "APP_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def apps(folder: Path) -> Invoke:
    runner = CliRunner()

    def invoke(*arguments: str, stdin: str | None = None) -> Any:
        return runner.invoke(command_line, ["apps", *arguments], input=stdin)

    return invoke


def put(folder: Path, *records: App) -> None:
    async def save() -> None:
        store = sqlite_apps(folder / "sockudo-data" / FILE_NAME)
        await store.start()
        for record in records:
            await store.save(record)
        await store.stop()

    asyncio.run(save())


def stored(folder: Path) -> Sequence[App]:
    async def read() -> Sequence[App]:
        store = sqlite_apps(folder / "sockudo-data" / FILE_NAME)
        await store.start()
        try:
            return await store.all()
        finally:
            await store.stop()

    return asyncio.run(read())


def on_history(folder: Path, work: Callable[[HistoryStore], Awaitable[Any]]) -> Any:
    async def opened() -> Any:
        store = sqlite_history(folder / "sockudo-data", HistorySqlite())
        await store.start()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(opened())


def keep(folder: Path, *app_ids: str) -> None:
    """Stores a message on a channel of each app."""
    appends = [Append(app_id, "news", b"{}", "m", "e", 1_000, KEEP_ALL) for app_id in app_ids]
    on_history(folder, lambda store: store.commit(appends))


def kept(folder: Path, *app_ids: str) -> list[int]:
    """How many messages there are of each app."""

    async def count(store: HistoryStore) -> list[int]:
        found = [await store.info(app_id, "news") for app_id in app_ids]
        return [0 if info is None else info.retained.messages for info in found]

    return list(on_history(folder, count))


# ---- list and show ----


@pytest.mark.parametrize("arguments", [("list",), ("show", "shop"), ("disable", "shop"), ("remove", "shop", "--yes")])
def test_looking_creates_nothing(folder: Path, apps: Invoke, arguments: tuple[str, ...]) -> None:
    result = apps(*arguments)
    assert result.exit_code == (0 if arguments == ("list",) else 3)
    assert f"There are no apps in {folder / 'sockudo-data' / FILE_NAME}" in result.stderr
    assert result.stdout == ""
    assert list(folder.iterdir()) == []


def test_an_empty_list_is_json_too(apps: Invoke) -> None:
    result = apps("list", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_list_shows_apps_without_secrets(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP, App("a", "k-a", "s3cr3t-a"))
    result = apps("list")
    assert result.exit_code == 0
    assert result.stdout == "ID    KEY     STATE\na     k-a     disabled\nshop  k-shop  enabled\n"
    as_json = apps("list", "--json")
    assert [(item["id"], item["key"], item["enabled"]) for item in json.loads(as_json.stdout)] == [
        ("a", "k-a", False),
        ("shop", "k-shop", True),
    ]
    assert "s3cr3t" not in result.output + as_json.output


def test_show(folder: Path, apps: Invoke) -> None:
    policy = Policy(
        limits=Limits(max_connections=5, message_rate_limit=MessageRateLimit(enabled=True)),
        features=Features(enable_client_messages=True),
        channels=Channels(allowed_origins=("https://shop.test", "*.shop.test")),
        history={"enabled": True},
    )
    put(folder, App("shop", "k-shop", "s3cr3t-shop", True, policy))
    result = apps("show", "shop")
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    frames = json.loads(lines.pop("message_rate_limit"))
    assert frames == {"enabled": True, "max_attempts": 60, "decay_seconds": 60, "terminate_on_limit": False}
    assert lines == {
        "id": "shop",
        "key": "k-shop",
        "secret": "hidden; --reveal-secret prints it",
        "state": "enabled",
        "max_connections": "5",
        "enable_client_messages": "true",
        "allowed_origins": "https://shop.test, *.shop.test",
        "history": '{"enabled": true}',
    }


def test_the_secret_is_shown_when_asked_for(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP)
    assert "s3cr3t-shop" not in apps("show", "shop").output
    assert "s3cr3t-shop" not in apps("show", "shop", "--json").output
    assert "s3cr3t-shop" in apps("show", "shop", "--reveal-secret").stdout
    assert json.loads(apps("show", "shop", "--reveal-secret", "--json").stdout)["secret"] == "s3cr3t-shop"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("shpo", "Did you mean 'shop'?"), ("k-shop", "'k-shop' is the key of app 'shop'."), ("x", "`sockudo apps list`")],
)
@pytest.mark.parametrize("command", ["show", "rotate", "disable", "enable", "remove"])
def test_an_app_that_is_not_there(folder: Path, apps: Invoke, command: str, asked: str, hint: str) -> None:
    put(folder, SHOP)
    result = apps(command, asked)
    assert result.exit_code == 3
    assert f"No app has the id '{asked}'." in result.stderr
    assert hint in result.stderr
    assert list(stored(folder)) == [SHOP]


# ---- add ----


def test_add_makes_up_what_is_left_out(folder: Path, apps: Invoke) -> None:
    result = apps("add")
    assert result.exit_code == 0
    (record,) = stored(folder)
    printed = [line.rsplit(maxsplit=1) for line in result.stdout.splitlines()]
    assert printed == [["app id", record.id], ["key", record.key], ["secret", record.secret]]
    assert record.id.isdecimal()
    assert (len(record.key), len(record.secret)) == (20, 48)
    assert record.enabled
    assert record.policy == Policy()


def test_add_takes_what_is_given(folder: Path, apps: Invoke) -> None:
    result = apps(
        *("add", "--id", "shop", "--key", "k-shop", "--secret", "s3cr3t-shop", "--disabled", "--json"),
        *("--client-messages", "--no-watchlist-events", "--max-connections", "250", "--max-payload", "20"),
        *("--allowed-origin", "https://shop.test", "--allowed-origin", "*.shop.test"),
        *("--set", "max_event_batch_size=20", "--set", 'message_rate_limit={"enabled": true, "max_attempts": 5}'),
        *("--set", 'history={"enabled": true}', "--set", 'channel_namespaces=[{"name": "chat"}]'),
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"id": "shop", "key": "k-shop", "secret": "s3cr3t-shop", "enabled": False}
    (record,) = stored(folder)
    assert (record.id, record.key, record.secret, record.enabled) == ("shop", "k-shop", "s3cr3t-shop", False)
    assert record.policy.limits == Limits(
        max_connections=250,
        max_event_payload_in_kb=20,
        max_event_batch_size=20,
        message_rate_limit=MessageRateLimit(enabled=True, max_attempts=5),
    )
    assert record.policy.features == Features(enable_client_messages=True, enable_watchlist_events=False)
    assert record.policy.channels.allowed_origins == ("https://shop.test", "*.shop.test")
    assert [namespace.name for namespace in record.policy.channels.channel_namespaces] == ["chat"]
    assert record.policy.history == History(enabled=True)


def test_origins_that_no_page_has_are_kept_and_told(folder: Path, apps: Invoke) -> None:
    added = apps("add", "--id", "shop", "--allowed-origin", "https://shop.test:443", "--json")
    assert "has 'https://shop.test:443', which names the port 443" in added.stderr
    assert json.loads(added.stdout)["id"] == "shop"
    changed = apps("set", "shop", "--allowed-origin", "wss://shop.test")
    assert "is the address of a WebSocket" in changed.stderr
    good = apps("set", "shop", "--allowed-origin", "https://shop.test")
    assert good.stderr == ""
    (record,) = stored(folder)
    assert record.policy.channels.allowed_origins == ("https://shop.test",)


def test_a_secret_may_come_from_standard_input(folder: Path, apps: Invoke) -> None:
    assert apps("add", "--id", "shop", "--secret", "-", stdin="from-a-file\nmore\n").exit_code == 0
    assert stored(folder)[0].secret == "from-a-file"
    assert apps("add", "--id", "b", "--secret", "-", stdin="").exit_code == 2


def test_add_refuses_an_id_that_is_taken(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP)
    result = apps("add", "--id", "shop")
    assert result.exit_code == 1
    assert "App 'shop' exists already" in result.stderr
    assert "sockudo apps set ID" in result.stderr
    assert list(stored(folder)) == [SHOP]


def test_add_refuses_a_key_that_is_taken(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP)
    result = apps("add", "--id", "b", "--key", "k-shop")
    assert result.exit_code == 1
    assert "App 'b' cannot have key 'k-shop': another app has it" in result.stderr
    assert list(stored(folder)) == [SHOP]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--id", "a/b"), "contains '/'"),
        (("--key", ""), "key is empty"),
        (("--allowed-origin", "*.*.test"), "more than one '*'"),
        (("--set", "max_event_batch_size=many"), "max_event_batch_size"),
        (("--set", "max_event_batch_size"), "lacks a value"),
        (("--set", "max_event_bach_size=5"), "Did you mean 'max_event_batch_size'?"),
        (("--set", "webhooks=[{]"), "begins like JSON"),
        (("--set", "history=yes"), "is not an object"),
        (("--max-connections", "-1"), "--max-connections"),
    ],
)
def test_add_says_what_is_not_valid(folder: Path, apps: Invoke, arguments: tuple[str, ...], words: str) -> None:
    result = apps("add", "--secret", "s3cr3t-value", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert "s3cr3t-value" not in result.output
    assert not (folder / "sockudo-data").exists() or list(stored(folder)) == []


# ---- change ----


def test_set_changes_only_what_is_named(folder: Path, apps: Invoke) -> None:
    channels = Channels(allowed_origins=("https://shop.test",))
    history = History(enabled=True)
    policy = Policy(limits=Limits(max_connections=5, max_event_batch_size=3), channels=channels, history=history)
    put(folder, App("shop", "k-shop", "s", True, policy))
    result = apps("set", "shop", "--client-messages", "--max-connections", "0", "--set", "max_event_batch_size=")
    assert (result.exit_code, result.stdout) == (0, "App 'shop' is changed.\n")
    features = Features(enable_client_messages=True)
    assert list(stored(folder)) == [
        App("shop", "k-shop", "s", True, Policy(features=features, channels=channels, history=history))
    ]
    as_json = json.loads(apps("set", "shop", "--set", "allowed_origins=", "--json").stdout)
    assert as_json["policy"]["channels"]["allowed_origins"] == []
    assert "secret" not in as_json


def test_set_without_a_wish_or_with_a_wrong_one(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP)
    assert apps("set", "shop").exit_code == 2
    assert apps("set", "shop", "--set", "decay_seconds=0").exit_code == 2
    assert apps("set", "other", "--max-connections", "1").exit_code == 3
    assert list(stored(folder)) == [SHOP]


def test_rotate_makes_a_new_secret(folder: Path, apps: Invoke) -> None:
    put(folder, App("shop", "k-shop", "old", True, Policy(limits=Limits(max_connections=5))))
    result = apps("rotate", "shop")
    (record,) = stored(folder)
    assert result.exit_code == 0
    assert record.secret in result.stdout
    assert (record.id, record.key, record.enabled) == ("shop", "k-shop", True)
    assert record.policy.limits.max_connections == 5
    assert record.secret != "old"
    assert len(record.secret) == 48


def test_rotate_makes_a_new_key_when_asked(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP)
    printed = json.loads(apps("rotate", "shop", "--key", "--json").stdout)
    (record,) = stored(folder)
    assert printed == {"id": "shop", "key": record.key, "secret": record.secret, "enabled": True}
    assert record.key != "k-shop"
    assert record.secret != "s3cr3t-shop"


def test_disable_and_enable(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP)
    for _ in range(2):
        result = apps("disable", "shop")
        assert result.exit_code == 0
        assert "is disabled" in result.stdout
        assert stored(folder)[0].enabled is False
    assert json.loads(apps("enable", "shop", "--json").stdout)["enabled"] is True
    assert list(stored(folder)) == [SHOP]


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_remove_asks(folder: Path, apps: Invoke, answer: str) -> None:
    put(folder, SHOP)
    result = apps("remove", "shop", stdin=answer)
    assert result.exit_code == 1
    assert "Remove app 'shop' with key 'k-shop' for good?" in result.stderr
    assert list(stored(folder)) == [SHOP]


def test_remove(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP, App("b", "k-b", "s"), App("c", "k-c", "s"))
    assert apps("remove", "shop", stdin="y\n").exit_code == 0
    assert apps("remove", "b", "--yes").stdout == "App 'b' is removed.\n"
    assert json.loads(apps("remove", "c", "-y", "--json").stdout) == {"id": "c", "removed": True}
    assert list(stored(folder)) == []


def test_remove_with_what_the_channels_keep(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP, App("b", "k-b", "s"), App("c", "k-c", "s"))
    keep(folder, "shop", "b")
    assert apps("remove", "shop", "--with-history", "-y").exit_code == 0
    assert kept(folder, "shop", "b") == [0, 1]
    assert apps("remove", "b", "-y").exit_code == 0
    assert kept(folder, "shop", "b") == [0, 1]
    result = apps("remove", "c", "--with-history", stdin="n\n")
    assert "Remove app 'c' with key 'k-c' and its history for good?" in result.stderr
    assert [app.id for app in stored(folder)] == ["c"]


def test_remove_makes_no_file_for_a_history_that_never_was(folder: Path, apps: Invoke) -> None:
    put(folder, SHOP)
    assert apps("remove", "shop", "--with-history", "-y").exit_code == 0
    assert not (folder / "sockudo-data" / "history.sqlite3").exists()


# ---- which store ----


def test_the_store_is_that_of_the_configuration(folder: Path, apps: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sockudo.toml").write_text('data_dir = "from-file"\n')
    assert apps("add", "--config", "sockudo.toml").exit_code == 0
    assert (folder / "from-file" / FILE_NAME).exists()
    monkeypatch.setenv("SOCKUDO_DATA_DIR", "from-environment")
    assert apps("add", "--config", "sockudo.toml").exit_code == 0
    assert (folder / "from-environment" / FILE_NAME).exists()
    assert apps("add", "--config", "sockudo.toml", "--data-dir", "from-option").exit_code == 0
    assert (folder / "from-option" / FILE_NAME).exists()
    assert not (folder / "sockudo-data").exists()


@pytest.mark.parametrize("command", [("list",), ("show", "a"), ("add",), ("remove", "a")])
def test_apps_kept_in_memory_come_from_the_file(folder: Path, apps: Invoke, command: tuple[str, ...]) -> None:
    (folder / "sockudo.toml").write_text('[app_manager]\ndriver = "memory"\n')
    result = apps(*command, "--config", "sockudo.toml")
    assert result.exit_code == 1
    assert "app_manager.driver is 'memory'" in result.stderr
    assert "sockudo.toml" in result.stderr
    assert "SIGHUP" in result.stderr
    assert not (folder / "sockudo-data").exists()


def test_a_configuration_that_cannot_be_used(folder: Path, apps: Invoke) -> None:
    (folder / "sockudo.toml").write_text("prot = 6001\n")
    result = apps("list", "--config", "sockudo.toml")
    assert result.exit_code == 1
    assert "The configuration cannot be used." in result.stderr
    assert "prot" in result.stderr


@pytest.mark.parametrize(
    "command", [("rotate", "shop"), ("set", "shop", "--max-connections", "1"), ("remove", "shop", "-y")]
)
def test_an_app_that_the_configuration_names_comes_back(folder: Path, apps: Invoke, command: tuple[str, ...]) -> None:
    put(folder, SHOP)
    (folder / "sockudo.json").write_text(
        json.dumps({"app_manager": {"array": {"apps": [{"id": "shop", "key": "k", "secret": "s", "enabled": True}]}}})
    )
    result = apps(*command, "--config", "sockudo.json")
    assert result.exit_code == 0
    assert "the configuration names app 'shop' too" in result.stderr


def test_a_store_that_cannot_be_used(folder: Path, apps: Invoke) -> None:
    (folder / "sockudo-data").mkdir()
    (folder / "sockudo-data" / FILE_NAME).write_bytes(b"no database at all" * 100)
    for arguments in (("list",), ("add",), ("remove", "shop", "--yes")):
        result = apps(*arguments)
        assert result.exit_code == 1
        assert "its file is not an SQLite database" in result.stderr
        assert f"The file is {folder / 'sockudo-data' / FILE_NAME}." in result.stderr


@pytest.mark.parametrize("command", ["list", "show", "add", "set", "rotate", "disable", "enable", "remove"])
def test_every_command_has_help_with_an_example_and_exit_codes(apps: Invoke, command: str) -> None:
    result = apps(command, "--help")
    assert result.exit_code == 0
    assert f"Example: sockudo apps {command}" in result.stdout
    assert "3 no such app" in result.stdout


def test_the_group_lists_its_commands(apps: Invoke) -> None:
    assert "rotate" in apps("--help").stdout
    assert apps("unknown").exit_code == 2


def test_rotate_keeps_the_old_secret_for_as_long_as_it_is_told(apps: Invoke) -> None:
    secret = json.loads(apps("add", "--id", "shop", "--json").stdout)["secret"]
    before = time.time()
    result = apps("rotate", "shop", "--keep", "24h", "--json")
    assert json.loads(result.stdout)["secret"] != secret
    assert "accepted until" in result.stderr
    hidden = apps("show", "shop", "--json")
    assert set(json.loads(hidden.stdout)["previous_secret"]) == {"until"}
    assert secret not in hidden.stdout + apps("show", "shop").stdout
    assert "previous secret" in apps("show", "shop").stdout
    shown = json.loads(apps("show", "shop", "--reveal-secret", "--json").stdout)["previous_secret"]
    assert shown["secret"] == secret
    assert before + 86_399 <= shown["until"] <= time.time() + 86_400
    apps("rotate", "shop")
    assert "previous_secret" not in json.loads(apps("show", "shop", "--json").stdout)


@pytest.mark.parametrize("options", ["--keep soon", "--keep 0s", "--keep 31d", "--keep 1h --key"])
def test_rotate_refuses_what_is_no_time_to_keep_a_secret(apps: Invoke, options: str) -> None:
    apps("add", "--id", "shop")
    before = apps("show", "shop", "--reveal-secret").stdout
    assert apps("rotate", "shop", *options.split()).exit_code == 2
    assert apps("show", "shop", "--reveal-secret").stdout == before


def test_a_change_that_other_nodes_do_not_learn_of_is_noted(
    apps: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, SHOP)
    assert "of their own" not in apps("set", "shop", "--max-connections", "5").stderr
    monkeypatch.setenv("ADAPTER_DRIVER", "redis")
    assert "app_manager.driver name a database that they share" in apps("set", "shop", "--max-connections", "6").stderr
    assert [record.policy.limits.max_connections for record in stored(folder)] == [6]
