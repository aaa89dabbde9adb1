"""``sockudo push`` against a running server, whose providers answer in every way."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import commands
from support.forked import ForkedProcess
from support.push_accounts import apns_p12
from support.push_ground import SECRET, PushServer, push_server
from support.server import DEFAULT_APP
from support.waiting import PATIENCE, wait_until

GONE = {"status": 404, "body": {"error": {"status": "NOT_FOUND", "details": [{"errorCode": "UNREGISTERED"}]}}}
DOWN = {"status": 503, "body": {"error": {"status": "UNAVAILABLE"}}}


@pytest.fixture(scope="module")
def push() -> Iterator[PushServer]:
    with push_server() as running:
        yield running


def run(push: PushServer, *arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return commands.run(
        ["push", *arguments],
        env=commands.environment(push.server.url, DEFAULT_APP),
        cwd=Path(__file__).parent,
        code=code,
        stdin=stdin,
        secrets=(SECRET, DEFAULT_APP.secret),
    )


def test_everybody_is_reached(push: PushServer) -> None:
    push.register("a-1", "harbor", client_id="u-1")
    push.register("a-2", "harbor")
    done = run(
        push,
        "publish",
        "--channel",
        "harbor",
        "--title",
        "Tide",
        "--body",
        "{{ data.m }} m",
        "--data",
        '{"m": 2}',
        "--publish-id",
        "tide-1",
        "--wait",
        "--timeout",
        "30",
    )
    assert "sent to everybody" in done.stdout
    assert "succeeded:     2" in done.stdout
    told = [each["body"] for each in push.providers.requests if each["token"] == f"{SECRET}-a-1"]
    assert '"body":"2 m"' in told[0].replace('": "', '":"')
    again = run(push, "publish", "--channel", "harbor", "--title", "Tide", "--publish-id", "tide-1")
    assert "Published before under this id, and succeeded" in again.stdout
    both = run(push, "status", "tide-1", "--deliveries")
    assert both.stdout.count("accepted  1") == 2
    assert "tide-1" in run(push, "status", "--state", "succeeded").stdout
    for whom in ("u-1", "a-1", "tide-1"):
        assert "Error" not in run(push, "why", whom).stderr


def test_what_failed_says_why_and_what_to_do(push: PushServer) -> None:
    token = push.register("b-1", "pier")
    push.register("b-2", "pier")
    push.providers.script(token, GONE)
    done = run(push, "publish", "--channel", "pier", "--title", "x", "--publish-id", "pier-1", "--wait", code=1)
    assert "sent to some" in done.stdout
    assert "invalid_token" in done.stdout
    assert "b-1" in done.stdout
    assert "Take the endpoint or token afresh" in done.stderr
    for whom in ("b-1", "pier-1"):
        assert "More: sockudo explain provider_token_invalid" in run(push, "why", whom, code=1).stdout
    assert json.loads(run(push, "why", "b-2", "--json").stdout)["delivered"] is True
    assert "device 'b-1' is not registered" in run(push, "publish", "--device", "b-1", "--title", "x", code=1).stderr
    assert "sockudo push devices" in run(push, "devices", "show", "b-1", code=1).stderr
    assert "this app has no push publish" in run(push, "status", "nothing", code=1).stderr
    assert (
        "expiresAtMs"
        in run(push, "publish", "--channel", "pier", "--title", "x", "--expires", "1700000000000", code=1).stderr
    )
    large = json.dumps({"a": "x" * 4200})
    assert "4096" in run(push, "publish", "--channel", "pier", "--title", "x", "--data", large, code=1).stderr
    nobody = run(push, "publish", "--channel", "empty", "--title", "x", "--wait", code=1)
    assert "No device was there to be notified." in nobody.stderr


def test_a_publish_for_later_is_cancelled(push: PushServer) -> None:
    push.register("c-1", "later")
    run(push, "publish", "--channel", "later", "--title", "x", "--publish-id", "later-1", "--in", "1h")
    assert "not before" in run(push, "status", "later-1").stdout
    assert "is cancelled" in run(push, "cancel", "later-1").stdout
    assert "cancelled before it was sent" in run(push, "status", "later-1").stdout
    assert run(push, "cancel", "nothing", code=1)


def test_dead_letters_are_sent_again(push: PushServer) -> None:
    token = push.register("d-1", "dock")
    push.providers.script(token, DOWN, DOWN)
    run(push, "publish", "--channel", "dock", "--title", "x", "--publish-id", "dock-1", "--wait", code=1)
    letters = [
        json.loads(line) for line in run(push, "dead-letters", "--json", "--provider", "fcm").stdout.splitlines()
    ]
    [letter] = [each for each in letters if each["publishId"] == "dock-1"]
    assert "retry attempts exhausted" in letter["reason"]
    assert "Add --yes" in run(push, "replay", letter["deadLetterId"], code=2).stderr
    assert run(push, "replay", letter["deadLetterId"], "--yes").stdout == "1 dead letter sent again.\n"
    wait_until(lambda: sum(each["token"] == token for each in push.providers.requests) == 3, "the replay")
    assert "dead letter not found" in run(push, "replay", "x", "--yes", code=1).stderr


def test_a_provider_is_tried(push: PushServer) -> None:
    token = push.register("e-1")
    assert "fcm took it" in run(push, "test", "fcm", "--device", "e-1").stdout
    push.providers.script(token, GONE)
    refused = run(push, "test", "fcm", "--token", "-", stdin=token, code=1)
    assert "invalid_token" in refused.stdout
    assert "fcm refused it" in refused.stderr
    missing = run(push, "test", "apns", "--token", "-", stdin=f"{SECRET}-x", code=1)
    assert "apns cannot be tried" in missing.stderr
    assert "sockudo explain credential_missing" in missing.stderr
    browser = push.providers.browser("tried")
    subscription = {"endpoint": browser["endpoint"], "keys": {"p256dh": browser["p256dh"], "auth": browser["auth"]}}
    assert "webpush took it" in run(push, "test", "webpush", "--token", "-", stdin=json.dumps(subscription)).stdout


def test_devices_are_listed_shown_and_removed(push: PushServer) -> None:
    push.register("f-1", "news", "sport", client_id="u-f")
    push.register("f-2", client_id="u-f")
    listed = run(push, "devices", "list", "--client", "u-f").stdout
    assert "f-1" in listed
    assert "f-2" in listed
    assert "a-1" not in listed
    assert "news, sport" in run(push, "devices", "show", "f-1").stdout
    assert run(push, "devices", "remove", "f-1", "--yes").stdout == "1 device removed.\n"
    assert run(push, "devices", "remove", "--client", "u-f", "--yes").stdout == "1 device removed.\n"
    assert "has no device" in run(push, "devices", "list", "--client", "u-f").stdout


def test_credentials_are_stored_from_files_and_refused_with_what_is_wrong(push: PushServer, tmp_path: Path) -> None:
    p12, passphrase = tmp_path / "push.p12", tmp_path / "passphrase"
    p12.write_bytes(base64.b64decode(apns_p12(SECRET)))
    passphrase.write_text(f"{SECRET}\n")
    refused = run(push, "credentials", "store", "apns", str(p12), code=1).stderr
    assert "p12 is protected by a passphrase: give it as p12Password" in refused
    assert "sockudo explain credential_invalid" in refused
    assert run(push, "credentials", "list").stdout == "No credential is stored.\n"
    stored = run(push, "credentials", "store", "apns", str(p12), "--passphrase-file", str(passphrase)).stdout
    assert stored == "The credential apns of apns is stored. It is used within seconds.\n"
    pair = run(push, "vapid", "--json").stdout
    reply = run(push, "credentials", "store", "webpush", "-", "--id", "pair-1", "--json", stdin=pair).stdout
    assert json.loads(reply) == {
        "app_id": DEFAULT_APP.id,
        "credential_id": "pair-1",
        "provider": "webPush",
        "version": 1,
    }
    listed = run(push, "credentials", "list").stdout.split()
    assert [listed[place] for place in (3, 6)] == ["apns", "pair-1"]
    assert "cannot be read" in run(push, "credentials", "store", "fcm", "no-such-file", code=2).stderr


def test_a_terminal_sees_a_bar(push: PushServer) -> None:
    push.register("g-1", "bar")
    ours, theirs = pty.openpty()
    with ForkedProcess(
        ["push", "publish", "--channel", "bar", "--title", "x", "--wait"],
        env=commands.environment(push.server.url, DEFAULT_APP, TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        seen = b""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                seen += os.read(ours, 4096)
            except OSError:
                break
        os.close(ours)
        assert process.wait(PATIENCE) == 0
    assert b"1 of 1" in seen
    assert b"1 succeeded" in seen
