"""``sockudo message``: real processes against a server whose messages can change."""

from __future__ import annotations

import json
import subprocess

from blackbox.changing import VERSIONED, create
from support import commands
from support.server import ServerProcess, start_server


def _run(server: ServerProcess, *arguments: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = commands.environment(server.url)
    return commands.run(("message", *arguments), env=environment, cwd=server.folder, stdin=stdin, code=code)


def test_a_message_is_grown_corrected_and_deleted() -> None:
    with start_server(VERSIONED) as server:
        serial = create(server, "chat", "Once")["message_serial"]
        done = _run(server, "append", "chat", serial, "-", "--op-id", "o-1", stdin=" upon\n")
        assert done.stdout.startswith("Done: it is version ")
        again = _run(server, "append", "chat", serial, " upon", "--op-id", "o-1")
        assert again.stdout.startswith("Nothing was changed: ")
        assert "data:     Once upon\n" in _run(server, "show", "chat", serial).stdout
        _run(server, "update", "chat", serial, '{"a": 1}', "--description", "numbers", "--client-id", "u-9")
        _run(server, "delete", "chat", serial, "--clear", "data")

        shown = _run(server, "versions", "chat", serial, "--oldest", "--json").stdout
        versions = [json.loads(line) for line in shown.splitlines()]
        assert [(each["action"], each.get("data")) for each in versions] == [
            ("create", "Once"),
            ("append", " upon"),
            ("update", '{"a": 1}'),
            ("delete", None),
        ]
        assert versions[2]["version"]["description"] == "numbers"
        table = _run(server, "versions", "chat", serial).stdout.splitlines()
        assert [line.split()[2] for line in table[1:]] == ["delete", "update", "append", "create"]
        assert "(delete)" in _run(server, "show", "chat", serial).stdout
        missing = _run(server, "show", "chat", f"{serial}0", code=1)
        assert "has no message" in missing.stderr


def test_a_server_without_versions_says_what_to_switch_on() -> None:
    with start_server() as server:
        refused = _run(server, "show", "chat", "1:a:1", code=1)
        assert "versioned_messages.enabled" in refused.stderr
