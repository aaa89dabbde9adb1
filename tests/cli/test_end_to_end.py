"""The command line as people use it, against a started server.

One command of each kind is a process from nothing; the others are copies of one, which tests/process/test_forked.py
shows to be the same.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import commands
from support.certificates import write_certificate
from support.commands import environment
from support.forked import ForkedProcess
from support.server import DEFAULT_APP, FROM_NOTHING, ServerProcess, app_record, start_server
from support.waiting import PATIENCE


def _run(
    server: ServerProcess, *arguments: str, stdin: str = "", cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    where = cwd or server.folder
    return commands.run(arguments, env=environment(server.url, **more), cwd=where, stdin=stdin, code=None)


def _run_from_nothing(server: ServerProcess, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*FROM_NOTHING, *arguments],
        env=environment(server.url),
        cwd=server.folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


class Listening:
    """A running ``sockudo listen --json``."""

    def __init__(self, process: subprocess.Popen[str] | ForkedProcess) -> None:
        self.process = process

    def event(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait()}: {self.process.stderr.read() if self.process.stderr else ''}"
        found: dict[str, Any] = json.loads(line)
        assert abs(found.pop("time") - time.time()) < 60
        return found

    def said(self, pattern: str) -> str:
        """Reads what it tells its user until a line matches."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if re.search(pattern, line):
                return line
        raise AssertionError(f"it ended with {self.process.wait()} before it said {pattern!r}")


@contextmanager
def _listening(server: ServerProcess, *arguments: str, from_nothing: bool = False) -> Iterator[Listening]:
    line = ["listen", "--json", *arguments]
    env = environment(server.url, PYTHONUNBUFFERED="1")
    pipe, folder = subprocess.PIPE, server.folder
    process: subprocess.Popen[str] | ForkedProcess
    if from_nothing:
        process = subprocess.Popen([*FROM_NOTHING, *line], env=env, cwd=folder, stdout=pipe, stderr=pipe, text=True)
    else:
        process = ForkedProcess(line, env=env, cwd=folder, stdout=pipe, stderr=pipe)
    with process:
        listening = Listening(process)
        try:
            listening.said("Listening to")
            yield listening
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["", "private-cache-"])
def test_what_is_published_is_heard(server: ServerProcess, unique: str, kind: str) -> None:
    channel = f"{kind}{unique}"
    real = not kind
    run = _run_from_nothing if real else _run
    with _listening(server, channel, "--count", "2", from_nothing=real) as listening:
        done = run(server, "publish", channel, "tide-rise", '{"metres": 2.4, "at": "Łódź"}')
        assert (done.returncode, done.stdout) == (0, f"Published tide-rise to {channel}.\n")
        assert listening.event() == {
            "event": "tide-rise",
            "channel": channel,
            "data": {"metres": 2.4, "at": "Łódź"},
        }
        assert run(server, "publish", channel, "said", "-", stdin="from a pipe\n").returncode == 0
        assert listening.event()["data"] == "from a pipe"
        assert listening.process.wait(PATIENCE) == 0


def test_presence(server: ServerProcess, unique: str) -> None:
    channel = f"presence-{unique}"
    with _listening(server, channel, "--user-id", "crew-8", "--user-info", '{"rank": "mate"}') as first:
        with _listening(server, channel, "--user-id", "crew-9"):
            joined = first.event()
            assert joined["event"] == "pusher_internal:member_added"
            assert joined["data"] == {"user_id": "crew-9", "user_info": {}}
            users = _run_from_nothing(server, "channels", channel, "--users", "--json")
            assert sorted(user["id"] for user in json.loads(users.stdout)["users"]) == ["crew-8", "crew-9"]
            listed = _run(server, "channels", "--prefix", channel, "--json")
            assert json.loads(listed.stdout) == {"channels": {channel: {"subscription_count": 2, "user_count": 2}}}
            one = _run(server, "channels", channel, "--json")
            assert json.loads(one.stdout) == {"occupied": True, "subscription_count": 2, "user_count": 2}
            table = _run(server, "channels")
            assert re.search(rf"{channel} +2", table.stdout)
        assert first.event()["event"] == "pusher_internal:member_removed"


def test_events_for_a_user(server: ServerProcess, unique: str) -> None:
    channel = f"#server-to-user-{unique}"
    with _listening(server, channel, "--count", "1") as listening:
        assert _run(server, "publish", channel, "hello", "1").returncode == 0
        assert listening.event() == {"event": "hello", "channel": channel, "data": 1}


def test_counts_exclusion_and_several_channels(server: ServerProcess, unique: str) -> None:
    with _listening(server, f"{unique}-a", "--count", "1") as listening:
        done = _run(
            server, "publish", f"{unique}-a", "x", "--channel", f"{unique}-b",
            "--info", "subscription_count", "--json",
        )  # fmt: skip
        counts = json.loads(done.stdout)["channels"]
        assert {name: entry["subscription_count"] for name, entry in counts.items()} == {
            f"{unique}-a": 1,
            f"{unique}-b": 0,
        }
        assert listening.event()["data"] is None


def test_the_same_idempotency_key_publishes_once(server: ServerProcess, unique: str) -> None:
    with _listening(server, unique, "--timeout", "20", "--count", "2") as listening:
        for _ in range(2):
            assert _run(server, "publish", unique, "once", "1", "--idempotency-key", unique).returncode == 0
        assert _run(server, "publish", unique, "last", "2").returncode == 0
        assert [listening.event()["event"], listening.event()["event"]] == ["once", "last"]


def test_time_runs_out(server: ServerProcess, unique: str) -> None:
    done = _run(server, "listen", unique, "--timeout", "0.5", "--count", "1")
    assert done.returncode == 4
    assert "0 of 1 events came within 0.5 seconds." in done.stderr
    assert _run(server, "listen", unique, "--timeout", "0.5").returncode == 0


def test_interrupt_is_a_clean_end(server: ServerProcess, unique: str) -> None:
    with _listening(server, unique, from_nothing=True) as listening:
        listening.process.send_signal(signal.SIGINT)
        assert listening.process.wait(PATIENCE) == 0
        assert listening.process.stderr is not None
        assert "Traceback" not in listening.process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("publish", "harbor", "x"), {"SOCKUDO_APP_SECRET": "wrong"}, "explain signature_mismatch"),
        (("publish", "harbor", "x"), {"SOCKUDO_APP_KEY": "wrong"}, "explain unknown_key"),
        (("publish", "harbor", "x"), {"SOCKUDO_APP_ID": "nobody"}, "explain app_not_found"),
        (("publish", "har bor", "x"), {}, "har bor"),
        (("publish", "harbor", "x" * 201), {}, "length of 200"),
        (("channels", "harbor", "--users"), {}, "presence"),
        (("listen", "harbor"), {"SOCKUDO_APP_KEY": "wrong"}, "explain unknown_app"),
        (("listen", "private-pier"), {"SOCKUDO_APP_SECRET": "wrong"}, "The secret is not that of app app-id"),
        (("listen", "har bor"), {}, "invalid characters"),
    ],
)
def test_refusals_are_explained(
    server: ServerProcess, arguments: Sequence[str], environment: dict[str, str], said: str
) -> None:
    app = {"SOCKUDO_APP_ID": "app-id", "SOCKUDO_APP_KEY": "app-key", "SOCKUDO_APP_SECRET": "app-secret"}
    done = _run(server, *arguments, **(app | environment))
    assert done.returncode == 1, done
    assert said in done.stderr
    assert "app-secret" not in done.stderr
    assert "wrong" not in done.stderr


@pytest.mark.parametrize("arguments", [("publish", "harbor", "x"), ("channels",), ("listen", "harbor")])
def test_nobody_there(server: ServerProcess, arguments: Sequence[str]) -> None:
    done = _run(server, *arguments, "--url", "http://127.0.0.1:9")
    assert done.returncode == 3
    assert "No answer from http://127.0.0.1:9: Connection refused" in done.stderr


def test_the_apps_of_a_configuration_file_can_be_used(server: ServerProcess, tmp_path: Path) -> None:
    config = server.folder / "config.json"
    assert _run(server, "channels", "--config", str(config)).returncode == 0
    (tmp_path / "broken.toml").write_text("prot = 6001\n")
    done = _run(server, "channels", "--config", str(tmp_path / "broken.toml"))
    assert done.returncode == 2
    assert "prot" in done.stderr


def test_listening_comes_back_after_a_restart(unique: str) -> None:
    with start_server() as first, _listening(first, unique, "--count", "2") as listening:
        first.publish(unique, "before", "1")
        assert listening.event()["event"] == "before"
        first.terminate()
        with start_server({"port": first.port}) as second:
            listening.said("Listening to")
            second.publish(unique, "after", "2")
            assert listening.event()["event"] == "after"


def test_the_first_app_of_the_embedded_store_is_found(tmp_path: Path) -> None:
    """Without configuration and without --dev, the commands beside the server know its app."""
    with start_server({"app_manager": {"driver": "sqlite", "array": {"apps": []}}}) as server:
        here = {"SOCKUDO_DATA_DIR": str(server.folder / "data")}
        done = _run(server, "publish", "harbor", "x", cwd=tmp_path, **here)
        assert done.returncode == 0, done
        assert _run(server, "listen", "private-x", "--timeout", "0.3", cwd=tmp_path, **here).returncode == 0


def test_a_configuration_that_cannot_be_used(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "sockudo.toml").write_text("prot = 6001\nhost = 5\n")
    done = _run(server, "serve", "--config", str(tmp_path / "sockudo.toml"))
    assert done.returncode == 1
    assert "did you mean" in done.stderr.lower()
    assert "host" in done.stderr


# ---- a server with TLS ----


def test_a_configuration_leads_to_its_server_with_tls(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, host="shop.test")
    settings = {"enabled": True, "cert_path": str(files[0]), "key_path": str(files[1])}
    with start_server({"ssl": settings}, plain_http=False) as server:
        config = tmp_path / "sockudo.toml"
        config.write_text(
            f"port = {server.port}\n[ssl]\nenabled = true\ncert_path = '{files[0]}'\nkey_path = '{files[1]}'\n"
            "[app_manager]\ndriver = 'memory'\n[[app_manager.array.apps]]\nid = 'app-id'\nkey = 'app-key'\n"
            "secret = 'app-secret'\nenabled = true\n"
        )
        env = {name: value for name, value in environment(server.url).items() if not name.startswith("SOCKUDO_")}

        def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
            return commands.run(arguments, env=env, cwd=tmp_path, code=None)

        named = ran("publish", "--config", str(config), "harbor", "tide-rise", "1")
        assert (named.returncode, named.stderr) == (0, "")
        heard = ran("listen", "--config", str(config), "private-harbor", "--timeout", "0.5")
        assert "Listening to private-harbor" in heard.stderr
        place = f"https://127.0.0.1:{server.port}"
        refused = ran(
            "publish", "--url", place, "--app-id", "app-id", "harbor", "tide-rise", "1", "--config", str(config)
        )
        assert refused.returncode == 3
        assert "self-signed" in refused.stderr
        assert "--cacert" in refused.stderr
        assert "Is the server running" not in refused.stderr
        let = ran("publish", "--url", place, "--config", str(config), "--insecure", "harbor", "tide-rise", "1")
        assert let.returncode == 0
        assert "is not checked" in let.stderr
        report = ran("doctor", "--config", str(config), "--only", "port,tls,server,publish", "--json")
        found = json.loads(report.stdout)["findings"]
        assert {each["check"] for each in found if each["state"] == "ok"} == {"port", "tls", "server", "publish"}, found


def test_listening_to_an_app_with_allowed_origins() -> None:
    app = app_record(DEFAULT_APP, channels={"allowed_origins": ["https://shop.test"]})
    with start_server({"app_manager": {"array": {"apps": [app]}}}) as server:
        refused = _run(server, "listen", "prices", "--count", "1", "--timeout", "5")
        assert refused.returncode == 1
        assert "4009 Origin not allowed" in refused.stderr
        assert "Without --origin" in refused.stderr
        assert _run(server, "listen", "prices", "--origin", "https://shop.test/cart").returncode == 2
        other = _run(server, "listen", "prices", "--origin", "https://other.test", "--timeout", "5")
        assert other.returncode == 1
        assert "Without --origin" not in other.stderr
        with _listening(server, "prices", "--origin", "https://shop.test", "--count", "1") as listening:
            assert _run(server, "publish", "prices", "changed", "1").returncode == 0
            assert listening.event()["event"] == "changed"
