"""``sockudo push`` against replies of the server."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sockudo.client.failures import ApiError, UnreachableError
from sockudo.errors import CATALOGUE
from sockudo.push.cli import publishing, waiting
from sockudo.push.cli.trial import recipient_of
from sockudo.push.diagnosis.advice import STATE_WORDS
from sockudo.push.records import TERMINAL

TIME = 1_767_225_600_123
LATER = 4_102_444_800_123
COUNTERS = {
    "planned": 3,
    "dispatched": 2,
    "succeeded": 2,
    "failed": 0,
    "expired": 0,
    "retryScheduled": 1,
    "retryAttempted": 0,
    "deadLettered": 0,
}
COMMANDS = [
    ["publish"],
    ["status"],
    ["why"],
    ["cancel"],
    ["dead-letters"],
    ["replay"],
    ["test"],
    ["vapid"],
    ["devices", "list"],
    ["devices", "show"],
    ["devices", "remove"],
    ["credentials", "list"],
    ["credentials", "store"],
]


def status(state: str = "dispatching", **more: Any) -> dict[str, Any]:
    counters = {**COUNTERS, **more.pop("counters", {})}
    return {
        "appId": "4471",
        "publishId": "ship-8841",
        "state": state,
        "counters": counters,
        "createdAtMs": TIME,
        **more,
    }


def device(device_id: str = "tablet-7", **more: Any) -> dict[str, Any]:
    return {
        "appId": "4471",
        "id": device_id,
        "clientId": "u-91",
        "formFactor": "tablet",
        "platform": "android",
        "timezone": "Asia/Tokyo",
        "locale": "ja-JP",
        "lastActiveAtMs": TIME,
        "pushState": "ACTIVE",
        "pushFailureCount": 0,
        "recipient": {"transportType": "gcm", "provider": "fcm", "tokenHash": "ab12"},
        **more,
    }


def letter(letter_id: str = "dead-1", **more: Any) -> dict[str, Any]:
    return {
        "deadLetterId": letter_id,
        "appId": "4471",
        "publishId": "ship-8841",
        "provider": "fcm",
        "stage": "retry_schedule",
        "key": "k",
        "reason": "retry attempts exhausted: quota",
        "occurredAtMs": TIME,
        "replayable": True,
        **more,
    }


def listed(*items: Any, cursor: str | None = None) -> dict[str, Any]:
    return {"items": list(items), "next_cursor": cursor, "has_more": cursor is not None}


class FakePush:
    """Keeps the calls; answers each with what ``replies`` holds for it, one after the other, or raises it."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Any]] = {}
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, _: object) -> FakePush:
        return self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            replies = self.replies[name]
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
            if isinstance(reply, Exception):
                raise reply
            return reply

        return call


@pytest.fixture
def push(api: Any, monkeypatch: pytest.MonkeyPatch) -> FakePush:
    fake = FakePush()
    monkeypatch.setattr("sockudo.push.cli.options._client", lambda _: fake)
    return fake


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_FIRST", 0.001)
    monkeypatch.setattr(waiting, "_LONGEST", 0.001)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_exit_codes(run: Any, command: list[str]) -> None:
    result = run("push", *command, "--help")
    assert result.exit_code == 0
    assert f"sockudo push {' '.join(command)}" in result.stdout
    assert "Exit codes:" in result.stdout


# ---- publish ----


def test_a_moment_that_is_past_is_said(run: Any, push: FakePush) -> None:
    push.replies["publish"] = [{"publishId": "late", "status": "accepted", "expectedRecipients": 1}]
    result = run("push", "publish", "--device", "d", "--title", "t", "--at", str(TIME))
    assert result.exit_code == 0, result.stderr
    assert "not before" not in result.stdout
    assert "is past: it is sent at once." in result.stderr


def test_a_publish_with_everything(run: Any, push: FakePush, tmp_path: Any) -> None:
    override = tmp_path / "own.json"
    override.write_text('{"apns": {"aps": {"alert": "Shipped"}}}')
    push.replies["publish"] = [{"publishId": "ship-8841", "status": "accepted", "expectedRecipients": 3}]
    result = run(
        *("push", "publish", "--channel", "parcel-8841", "--client", "u-91", "--device", "tablet-7", "--device", "b"),
        *("--title", "Shipped", "--body", "On its way, {{ data.name }}", "--data", '{"name": "Ana"}'),
        *("--icon", "https://x.test/i.png", "--sound", "ding", "--collapse-key", "parcel", "--template", "shipped"),
        *("--override", str(override), "--at", str(LATER), "--expires", str(LATER + 1), "--publish-id", "ship-8841"),
        "--ignore-quota",
    )
    assert result.exit_code == 0, result.stderr
    assert "Accepted for 3 recipients, not before" in result.stdout
    assert "sockudo push status ship-8841" in result.stderr
    [(name, (sent,), options)] = push.calls
    assert (name, options) == ("publish", {"ignore_quota": True})
    assert sent == {
        "publishId": "ship-8841",
        "recipients": [
            {"type": "channel", "channel": "parcel-8841"},
            {"type": "client", "clientId": "u-91"},
            {"type": "device", "deviceId": "tablet-7"},
            {"type": "device", "deviceId": "b"},
        ],
        "payload": {
            "title": "Shipped",
            "body": "On its way, {{ data.name }}",
            "icon": "https://x.test/i.png",
            "sound": "ding",
            "collapseKey": "parcel",
            "templateId": "shipped",
            "templateData": {"name": "Ana"},
        },
        "providerOverrides": [{"provider": "apns", "payload": {"aps": {"alert": "Shipped"}}}],
        "notBeforeMs": LATER,
        "expiresAtMs": LATER + 1,
    }


def test_spans_count_from_now() -> None:
    assert publishing.moment_of("90s", "--in", now=1000.5) == 1_090_500
    assert publishing.moment_of("2h", "--in", now=0.0) == 7_200_000
    assert publishing.moment_of(None, "--in") is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--title", "x"], "Name the target"),
        (["--channel", "c"], "The notification is empty"),
        (["--channel", "c", "--title", "x", "--at", "2026-01-05", "--in", "5m"], "exclude each other"),
        (["--channel", "c", "--title", "x", "--timeout", "5"], "--timeout goes with --wait"),
        (["--channel", "c", "--data", "{"], "--data is not JSON"),
        (["--channel", "c", "--data", "[1]"], "--data must be a JSON object"),
        (["--channel", "c", "--data", "@/no/such/file"], "cannot be read"),
        (["--channel", "c", "--title", "x", "--in", "soon"], "--in: 'soon' is not a time"),
        (["--channel", "c", "--override", "/no/such/file"], "cannot be read"),
    ],
)
def test_what_cannot_be_meant(run: Any, push: FakePush, arguments: list[str], words: str) -> None:
    result = run("push", "publish", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert push.calls == []


@pytest.mark.parametrize("text", ['"x"', '[{"provider": "apns"}]', '{"apns": 1}'])
def test_a_file_that_holds_no_overrides(run: Any, push: FakePush, tmp_path: Any, text: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)
    result = run("push", "publish", "--channel", "c", "--override", str(path))
    assert result.exit_code == 2
    assert "holds no overrides" in result.stderr


WAIT = ("push", "publish", "--channel", "c", "--title", "x", "--wait")


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_waiting_ends_with_how_it_went(run: Any, push: FakePush, state: str) -> None:
    push.replies["publish"] = [{"publishId": "ship-8841", "status": "accepted", "expectedRecipients": 3}]
    push.replies["status"] = [status("queued"), status("dispatching"), status(state)]
    result = run(*WAIT)
    assert result.exit_code == (0 if state == "succeeded" else 1)
    assert STATE_WORDS[state] in result.stdout
    assert [name for name, _, _ in push.calls] == ["publish", "status", "status", "status"]


def test_waiting_not_for_ever(run: Any, push: FakePush) -> None:
    push.replies["publish"] = [{"publishId": "ship-8841", "status": "accepted", "expectedRecipients": 3}]
    push.replies["status"] = [status("dispatching")]
    result = run(*WAIT, "--timeout", "0.01")
    assert result.exit_code == 4
    assert "Not done within 0.01 seconds." in result.stderr


def test_waiting_as_json(run: Any, push: FakePush) -> None:
    push.replies["publish"] = [{"publishId": "ship-8841", "status": "accepted", "expectedRecipients": 3}]
    push.replies["status"] = [status("succeeded")]
    result = run(*WAIT, "--json")
    assert json.loads(result.stdout)["state"] == "succeeded"
    assert result.stderr == ""


def test_the_bar_shows_the_funnel(capsys: Any) -> None:
    with waiting._RichBar() as bar:
        bar.show(status("queued", counters={"planned": 0, "succeeded": 0, "retryScheduled": 0}))
        bar.show(status(counters={"failed": 1}, retryAfterMs=TIME))
        [task] = bar._progress.tasks
    assert (task.total, task.completed, task.description) == (3, 3, "dispatching")
    assert task.fields["details"].startswith("3 of 3, 2 succeeded, 1 failed, next at 20")


@pytest.mark.parametrize(("state", "total"), [("queued", None), ("failed", 0), ("cancelled", 0)])
def test_the_bar_counts_nothing_out_of_an_unknown_number(capsys: Any, state: str, total: int | None) -> None:
    none = dict.fromkeys(COUNTERS, 0)
    with waiting._RichBar() as bar:
        bar.show(status(state, counters=none))
        [task] = bar._progress.tasks
    assert (task.total, task.fields["details"]) == (total, "")
    shown = capsys.readouterr().err
    assert state in shown
    assert "0/" not in shown


def test_a_quota_says_which(run: Any, push: FakePush) -> None:
    push.replies["publish"] = [{"publishId": "ship-8841", "status": "quota_exceeded", "expectedRecipients": 3}]
    push.replies["status"] = [status("quota_exceeded", errorReason="fanout_max exceeded: 3 recipients, at most 0")]
    result = run("push", "publish", "--channel", "c", "--title", "x")
    assert result.exit_code == 1
    assert "fanout_max exceeded" in result.stdout
    assert "X-Sockudo-Push-Quota-Override" in result.stderr


def test_a_publish_that_was_published_before(run: Any, push: FakePush) -> None:
    push.replies["publish"] = [{"publishId": "ship-8841", "status": "partially_succeeded", "expectedRecipients": 3}]
    result = run("push", "publish", "--channel", "c", "--title", "x", "--publish-id", "ship-8841")
    assert result.stdout == "Published before under this id, and partially_succeeded: ship-8841\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ApiError(404, "device_not_found", "device 'x' is not registered"), 1, "sockudo push devices"),
        (ApiError(503, "credential_missing", "fcm: set FCM_PROJECT_ID"), 1, "sockudo explain credential_missing"),
        (ApiError(413, "push_payload_too_large", "fcm payload exceeds 4096 bytes"), 1, "Send an id"),
        (ApiError(400, "scheduled_push_invalid", "expiresAtMs is in the past"), 1, "milliseconds"),
        (ApiError(429, "rate_limited", "push lag", docs="errors.md#push_backpressure", retry_after=5), 1, "5 seconds"),
        (UnreachableError("https://ws.example.com", "Connection refused"), 3, "Is the server running?"),
    ],
)
def test_every_refusal_says_what_to_do(run: Any, push: FakePush, error: Exception, code: int, words: str) -> None:
    push.replies["publish"] = [error]
    result = run("push", "publish", "--device", "x", "--title", "x")
    assert result.exit_code == code
    assert words in result.stderr


# ---- why ----


def reasons(**more: Any) -> dict[str, Any]:
    finding = {
        "kind": "bad",
        "text": "Publish ship-8841: fcm refused it. It said: Unregistered.",
        "code": "provider_token_invalid",
        "remedy": "Take the token afresh.",
        "publishId": "ship-8841",
    }
    reach = {
        "publishId": "ship-8841",
        "state": "failed",
        "createdAtMs": TIME,
        "reached": False,
        "why": "fcm refused it.",
        "code": "provider_token_invalid",
        "deliveries": [],
    }
    return {
        "appId": "4471",
        "who": "u-91",
        "of": "client",
        "delivered": False,
        "findings": [finding],
        "devices": [{**device(), "channels": ["news", "sport"]}],
        "publishes": [reach],
        "lookedAt": 3,
        "complete": True,
        "refused": [],
        **more,
    }


def test_why_says_the_reason_and_what_to_do(run: Any, push: FakePush) -> None:
    push.replies["why"] = [reasons()]
    result = run("push", "why", "u-91")
    assert result.exit_code == 1
    for words in (
        "u-91: a client with 1 device",
        "tablet-7  u-91    fcm       ACTIVE  news, sport",
        "problem  Publish ship-8841: fcm refused it. It said: Unregistered.",
        "→ Take the token afresh.",
        "→ More: sockudo explain provider_token_invalid",
    ):
        assert words in result.stdout
    assert "Of the newest 3 publishes" in result.stderr
    assert "Error" not in result.stderr
    assert push.calls == [("why", ("u-91",), {"publish_id": None})]


def test_why_ends_with_0_when_all_was_delivered(run: Any, push: FakePush) -> None:
    finding = {"kind": "info", "text": "The newest one was taken by the provider.", "remedy": "Look at the device."}
    refused = [{"code": "device_not_found", "count": 2, "lastAtMs": TIME, "text": "no x", "remedy": "Register it."}]
    push.replies["why"] = [reasons(delivered=True, findings=[finding], refused=refused)]
    result = run("push", "why", "tablet-7", "--publish", "ship-8841")
    assert result.exit_code == 0
    assert "note     The newest one was taken" in result.stdout
    assert "device_not_found" not in result.stdout
    assert push.calls == [("why", ("tablet-7",), {"publish_id": "ship-8841"})]


def test_why_tells_what_was_refused_and_that_it_did_not_see_all(run: Any, push: FakePush) -> None:
    refused = [{"code": "device_not_found", "count": 2, "lastAtMs": TIME, "text": "no x", "remedy": "Register it."}]
    push.replies["why"] = [reasons(of=None, devices=[], publishes=[], findings=[], refused=refused, complete=False)]
    result = run("push", "why", "ghost")
    assert result.exit_code == 1
    assert "no device, and no client that has one" in result.stdout
    assert "device_not_found, 2 times, last at" in result.stdout
    assert "→ Register it." in result.stdout
    assert "--publish" in result.stderr


def test_why_as_json_and_what_cannot_be_answered(run: Any, push: FakePush) -> None:
    push.replies["why"] = [reasons()]
    result = run("push", "why", "u-91", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, reasons())
    assert result.stderr == ""
    push.replies["why"] = [ApiError(404, "publish_not_found", "This app has no push publish 'x'")]
    result = run("push", "why", "u-91", "--publish", "x")
    assert result.exit_code == 1
    assert "sockudo explain publish_not_found" in result.stderr
    assert run("push", "why").exit_code == 2


# ---- status and cancel ----


def test_a_status_with_failures_and_what_to_do(run: Any, push: FakePush) -> None:
    failures = [
        {
            "provider": "fcm",
            "class": "invalid_token",
            "failureClass": "device_terminal",
            "count": 12,
            "example": {"deviceId": "tablet-7", "reason": "Unregistered"},
        },
        {"provider": "apns", "class": "auth_failure", "failureClass": "credential_auth", "count": 1, "example": {}},
    ]
    counters = {"planned": 16, "failed": 13, "retryScheduled": 1}
    push.replies["status"] = [status("dispatching", counters=counters, failures=failures, missing=["device:ghost"])]
    result = run("push", "status", "ship-8841")
    assert result.exit_code == 0
    for words in ("invalid_token Unregistered", "12", "tablet-7", "a raw recipient", "device:ghost"):
        assert words in result.stdout
    assert "retrying:      1" in result.stdout
    assert "waiting:       0" in result.stdout
    for words in ("Take the endpoint or token afresh", "Store the right credentials", "--deliveries"):
        assert words in result.stderr


def test_single_deliveries_page_by_page(run: Any, push: FakePush) -> None:
    error = {"class": "quota", "failureClass": "provider_quota", "reason": "QUOTA_EXCEEDED"}
    first = {"occurredAtMs": TIME, "deviceId": "a", "provider": "fcm", "outcome": "accepted", "attempt": 1}
    second = {**first, "deviceId": None, "outcome": "retryable", "error": error}
    push.replies["status"] = [status()]
    push.replies["deliveries"] = [listed(first, cursor="c-1"), listed(second)]
    result = run("push", "status", "ship-8841", "--deliveries", "--all")
    assert "retryable" in result.stdout
    assert "quota QUOTA_EXCEEDED" in result.stdout
    assert "(raw recipient)" in result.stdout
    assert [options["cursor"] for name, _, options in push.calls if name == "deliveries"] == [None, "c-1"]


def test_recent_publishes(run: Any, push: FakePush) -> None:
    push.replies["publishes"] = [listed(status(), status("failed"), cursor="more")]
    result = run("push", "status", "--state", "failed", "--limit", "2")
    assert result.stdout.count("ship-8841") == 2
    assert "There is more" in result.stderr
    assert push.calls == [("publishes", (), {"state": "failed", "cursor": None, "limit": 2})]
    push.replies["publishes"] = [listed(status(), status("failed"))]
    lines = run("push", "status", "--json").stdout.splitlines()
    assert [json.loads(line)["state"] for line in lines] == ["dispatching", "failed"]
    assert "No state is called 'fialed'" in run("push", "status", "--state", "fialed").stderr
    assert run("push", "status", "--deliveries").exit_code == 2


def test_cancel(run: Any, push: FakePush) -> None:
    push.replies["cancel"] = [None]
    push.replies["status"] = [status("cancelled")]
    assert run("push", "cancel", "ship-8841").stdout == "ship-8841 is cancelled; nothing is sent any more.\n"
    push.replies["status"] = [status("succeeded")]
    result = run("push", "cancel", "ship-8841")
    assert result.exit_code == 1
    assert "it is sent to everybody" in result.stderr


def test_a_provider_that_cannot_send_is_named(run: Any, push: FakePush) -> None:
    push.replies["status"] = [status(waitsFor=[{"provider": "apns", "missing": "set APNS_TOPIC"}])]
    result = run("push", "status", "ship-8841")
    assert "apns cannot send now; its recipients wait." in result.stderr
    assert "set APNS_TOPIC" in result.stderr


# ---- devices ----


def test_devices_are_listed_without_a_command(run: Any, push: FakePush) -> None:
    push.replies["devices"] = [listed(device(), device("b", clientId=None, pushState="FAILING", pushFailureCount=2))]
    result = run("push", "devices")
    assert "tablet-7" in result.stdout
    assert "FAILING, 2 failures" in result.stdout
    run("push", "devices", "list", "--client", "u-91", "--all")
    assert push.calls[-1][2] == {"client_id": "u-91", "cursor": None, "limit": 1000}
    push.replies["devices"] = [listed()]
    assert "The client u-91 has no device." in run("push", "devices", "list", "--client", "u-91").stdout


def test_one_device_and_its_channels(run: Any, push: FakePush) -> None:
    push.replies["device"] = [device()]
    push.replies["subscriptions"] = [listed({"channel": "news"}, cursor="c"), listed({"channel": "parcels"})]
    result = run("push", "devices", "show", "tablet-7")
    assert "news, parcels" in result.stdout
    push.replies["subscriptions"] = [listed()]
    assert "no channel" in run("push", "devices", "show", "tablet-7").stdout
    assert json.loads(run("push", "devices", "show", "tablet-7", "--json").stdout)["channels"] == []


def test_credentials_are_listed_without_a_command(run: Any, push: FakePush) -> None:
    push.replies["credentials"] = [listed({"credential_id": "fcm-1", "provider": "fcm", "version": 2})]
    result = run("push", "credentials")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["id     provider  version", "fcm-1  fcm       2"]


def test_devices_are_removed(run: Any, push: FakePush) -> None:
    push.replies |= {"device": [device()], "remove_device": [None], "remove_devices_of": [{"deleted": 3}]}
    assert run("push", "devices", "remove", "tablet-7").exit_code == 2
    assert run("push", "devices", "remove", "--yes").exit_code == 2
    assert push.calls == []
    assert run("push", "devices", "remove", "tablet-7", "--yes").stdout == "1 device removed.\n"
    assert [name for name, _, _ in push.calls] == ["device", "remove_device"]
    assert run("push", "devices", "remove", "--client", "u-91", "--yes").stdout == "3 devices removed.\n"
    push.replies["device"] = [ApiError(404, "device_not_found", "device not found")]
    assert run("push", "devices", "remove", "x", "--yes").exit_code == 1


# ---- dead letters ----


def test_dead_letters(run: Any, push: FakePush) -> None:
    push.replies["dead_letters"] = [listed(letter(), letter("dead-2", replayable=False, provider=None))]
    result = run("push", "dead-letters", "--provider", "Web_Push", "--since", "2026-01-05T00:00:00Z")
    assert "retry attempts exhausted: quota" in result.stdout
    assert "sockudo push replay" in result.stderr
    assert push.calls[0][2]["provider"] == "webpush"
    assert push.calls[0][2]["since_ms"] == 1_767_571_200_000
    assert run("push", "dead-letters", "--provider", "gcm").exit_code == 2


def test_replay(run: Any, push: FakePush) -> None:
    push.replies["dead_letters"] = [listed(letter(), cursor="c"), listed(letter("dead-2", replayable=False))]
    push.replies["replay"] = [{"deadLetterId": "dead-1", "replayed": True, "messageId": "m"}]
    assert run("push", "replay", "--all", "--yes", "--provider", "fcm").stdout == "1 dead letter sent again.\n"
    assert [args for name, args, _ in push.calls if name == "replay"] == [("dead-1",)]
    assert run("push", "replay", "a", "b", "--yes").stdout == "2 dead letters sent again.\n"
    for arguments in ([], ["a", "--all"], ["a", "--provider", "fcm", "--yes"], ["a"]):
        assert run("push", "replay", *arguments).exit_code == 2
    push.replies["dead_letters"] = [listed()]
    assert "no dead letters" in run("push", "replay", "--all", "--yes").stdout


# ---- test ----

TRIED = {"provider": "fcm", "outcome": "accepted", "tookMs": 34, "source": "stored", "providerMessageId": "m-1"}


def test_a_test_of_a_device(run: Any, push: FakePush) -> None:
    push.replies["test"] = [{**TRIED, "deviceId": "tablet-7"}]
    result = run("push", "test", "FCM", "--device", "tablet-7", "--title", "Hi")
    assert result.exit_code == 0, result.stderr
    assert "accepted after 34 ms" in result.stdout
    assert "m-1" in result.stdout
    sent = push.calls[0][1][0]
    assert (sent["provider"], sent["deviceId"], sent["payload"]["title"]) == ("fcm", "tablet-7", "Hi")


def test_a_test_that_is_refused_says_what_to_do(run: Any, push: FakePush) -> None:
    error = {"class": "invalid_token", "failureClass": "device_terminal", "reason": "Unregistered"}
    refused = {**TRIED, "outcome": "rejected", "error": error, "code": "provider_token_invalid", "remedy": "Afresh."}
    push.replies["test"] = [refused]
    result = run("push", "test", "apns", "--token", "-", stdin="secret-token\n")
    assert result.exit_code == 1
    for words in ("refused it", "Afresh.", "sockudo explain provider_token_invalid", "A publish would remove"):
        assert words in result.stderr
    assert "secret-token" not in result.output
    assert push.calls[0][1][0]["recipient"] == {"transportType": "apns", "deviceToken": "secret-token"}
    assert run("push", "test", "apns", "--device", "x", "--json").exit_code == 1


def test_a_test_that_cannot_be_meant(run: Any, push: FakePush) -> None:
    assert "Providers: fcm, apns" in run("push", "test", "gcm", "--device", "x").stderr
    assert run("push", "test", "fcm").exit_code == 2
    assert run("push", "test", "fcm", "--device", "x", "--token", "y").exit_code == 2
    assert "JSON.stringify" in run("push", "test", "webpush", "--token", "https://x").stderr
    assert run("push", "test", "fcm", "--token", "-", stdin="").exit_code == 2
    assert push.calls == []


def test_the_subscription_of_a_browser_is_a_token() -> None:
    given = {"endpoint": "https://push.test/1", "expirationTime": None, "keys": {"p256dh": "p", "auth": "a"}}
    wanted = {"transportType": "web", "endpoint": "https://push.test/1", "p256dh": "p", "auth": "a"}
    assert recipient_of("webpush", json.dumps(given)) == wanted
    assert recipient_of("wns", "https://x") == {"transportType": "wns", "channelUri": "https://x"}


# ---- vapid ----


def test_vapid_keys_belong_together_and_are_new_each_time(run: Any) -> None:
    first = json.loads(run("push", "vapid", "--json").stdout)
    second = json.loads(run("push", "vapid", "--json").stdout)
    assert first["privateKey"] != second["privateKey"]

    def decoded(text: str) -> bytes:
        assert "=" not in text
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    number, point = decoded(first["privateKey"]), decoded(first["publicKey"])
    assert (len(number), len(point), point[0]) == (32, 65, 4)
    numbers = ec.derive_private_key(int.from_bytes(number, "big"), ec.SECP256R1()).public_key().public_numbers()
    assert point[1:] == numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def test_vapid_prints_what_a_server_is_started_with(run: Any) -> None:
    result = run("push", "vapid", "--contact", "mailto:ops@example.com")
    settings = dict(line.partition("=")[::2] for line in result.stdout.splitlines())
    assert settings["PUSH_WEBPUSH_ENABLED"] == "true"
    assert settings["VAPID_CONTACT"] == "mailto:ops@example.com"
    assert {"VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY"} <= settings.keys()
    assert run("push", "vapid", "--contact", "ops@example.com").exit_code == 2


# ---- the page ----


def test_the_page_names_every_command_state_and_code() -> None:
    page = (Path(__file__).parents[4] / "docs" / "push.md").read_text()
    for command in {command[0] for command in COMMANDS}:
        assert f"`sockudo push {command}" in page
    for state in STATE_WORDS.keys() - {"throttled"}:
        assert f"`{state}`" in page
    for code in (
        "device_not_found",
        "provider_token_invalid",
        "credential_missing",
        "publish_not_found",
        "scheduled_push_invalid",
        "provider_throttled",
        "push_payload_too_large",
    ):
        assert f"`{code}`" in page
        assert code in CATALOGUE
