"""An app is removed: nothing more is sent for it, and a server that was killed in between deletes what it had."""

from __future__ import annotations

import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

from support import commands
from support.operators import Operator, dashboard_config
from support.push_ground import Ground, ground
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import wait_until

GONE = ("by-page", "by-command")
APPS = (*GONE, "kept")
TABLES = (
    "devices",
    "channel_subscribers",
    "provider_credentials",
    "notification_templates",
    "publish_status",
    "publish_log",
)
KEY = "planted-encryption-key"


def rows(data: Path, table: str, app_id: str) -> int:
    with sqlite3.connect(data / "push.sqlite3") as connection:
        statement = f"SELECT COUNT(*) FROM push_{table} WHERE app_id = ?"  # noqa: S608 - names of ours
        count: int = connection.execute(statement, (app_id,)).fetchone()[0]
    return count


def waiting(data: Path, app_id: str) -> int:
    with sqlite3.connect(data / "push-queue.sqlite3") as connection:
        statement = "SELECT COUNT(*) FROM push_queue_messages WHERE app_id = ?"
        count: int = connection.execute(statement, (app_id,)).fetchone()[0]
    return count


def fill(server: ServerProcess, app: Credentials, later_ms: int) -> None:
    """A device of each kind of data, and a notification for later, which waits in the queue."""

    def call(path: str, body: dict[str, Any]) -> None:
        reply = server.signed("POST", f"/apps/{app.id}/push{path}", body=body, app=app)
        assert reply.status < 300, reply.text

    recipient = {"transportType": "gcm", "registrationToken": f"token-of-{app.id}"}
    device = {"id": "d", "formFactor": "phone", "platform": "android", "timezone": "UTC", "locale": "en"}
    call("/deviceRegistrations", {**device, "push": {"recipient": recipient}})
    call("/channelSubscriptions", {"channel": "news", "deviceId": "d"})
    call("/credentials/hms", {"hmsAppId": "1", "clientSecret": "s"})
    template = {"templateId": "t", "defaultLocale": "en", "locales": {"en": {"title": "t", "body": "b"}}}
    call("/templates", template)
    publish = {"recipients": [{"type": "channel", "channel": "news"}], "payload": {"title": "x"}}
    call("/publish", {**publish, "notBeforeMs": later_ms})


def configuration(*apps: Credentials) -> dict[str, Any]:
    config = dashboard_config()
    return {**config, "app_manager": {"driver": "sqlite", "array": {"apps": [app_record(app) for app in apps]}}}


def environment(place: Ground, data: Path) -> dict[str, str]:
    return {**place.environment, "SOCKUDO_DATA_DIR": str(data), "PUSH_CREDENTIAL_ENCRYPTION_KEY": KEY}


def remove_by_command(server: ServerProcess, data: Path, app_id: str) -> None:
    where = ["--config", str(server.folder / "config.json"), "--data-dir", str(data)]
    command = ["apps", "remove", app_id, "--yes", *where]
    done = commands.run(command, env=commands.environment(), cwd=server.folder)
    assert done.stdout == f"App '{app_id}' is removed.\n"


def test_nothing_is_sent_and_everything_is_deleted_also_after_a_kill(tmp_path: Path) -> None:
    with ground(tmp_path) as place:
        env = environment(place, tmp_path)
        # Before anything is deleted, and after everything was removed, also where all of this takes long.
        later_ms = int(time.time() * 1000) + 18_000
        with start_server(configuration(DEFAULT_APP), env=env) as server:
            operator = Operator(server)
            for name in APPS:
                made = operator.api("POST", "/apps", {"id": name}, status=201)
                fill(server, Credentials(name, made["key"], made["secret"]), later_ms)
            fill(server, DEFAULT_APP, later_ms)
            operator.api("DELETE", "/apps/by-page")
            remove_by_command(server, tmp_path, "by-command")
            # One that the configuration names comes back, and keeps what it has.
            remove_by_command(server, tmp_path, DEFAULT_APP.id)
            assert {rows(tmp_path, "removals", name) for name in GONE} == {1}
            assert rows(tmp_path, "removals", DEFAULT_APP.id) == 0
            server.send_signal(signal.SIGKILL)
            server.wait()
        assert {rows(tmp_path, table, name) for table in TABLES for name in GONE} == {1}
        with start_server(configuration(DEFAULT_APP), env=env):
            wait_until(
                lambda: len(place.requests) == 2,
                "what was to be sent later, of those that are there",
                timeout=60,
            )
            wait_until(
                lambda: not any(rows(tmp_path, table, name) for table in TABLES for name in GONE),
                "all to be deleted",
                timeout=60,
            )
            assert [waiting(tmp_path, name) for name in GONE] == [0, 0]
            for name in ("kept", DEFAULT_APP.id):
                assert all(rows(tmp_path, table, name) for table in TABLES)
        assert place.sends == {"token-of-kept": 1, f"token-of-{DEFAULT_APP.id}": 1}
