"""``sockudo push why`` against a running server: each documented failure is played, and the reason and what to do are
found (spec: index § 3; push § 12)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from typer.testing import Result

from sockudo.errors import CATALOGUE
from sockudo.testing import ProviderAnswer
from support import commands
from support.operators import PASSWORD, Operator
from support.push_ground import SECRET, Ground, PushServer, ground
from support.server import DEFAULT_APP
from support.waiting import wait_until

DEAD = ProviderAnswer(404, body=b'{"error":{"details":[{"errorCode":"UNREGISTERED"}]}}')
THROTTLED = ProviderAnswer(429, {"retry-after": "2"}, b'{"error":{"status":"QUOTA_EXCEEDED"}}')
LARGE = ProviderAnswer(413)
FORBIDDEN = ProviderAnswer(401)
DOWN = ProviderAnswer(503)
OTHER_PROJECT = ProviderAnswer(403, body=b'{"error":{"details":[{"errorCode":"SENDER_ID_MISMATCH"}]}}')


class Told(NamedTuple):
    """What the command said: its exit code, its JSON and its text."""

    code: int
    reply: Any
    text: str

    @property
    def codes(self) -> list[str]:
        return [each["code"] for each in self.reply["findings"] if "code" in each]

    @property
    def refused(self) -> dict[str, Any]:
        return {each["code"]: each for each in self.reply["refused"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("push")) as made:
        yield made


@pytest.fixture(scope="module")
def server(place: Ground) -> Iterator[PushServer]:
    """HMS is on and has no credentials."""
    config = {
        "dashboard": {"password": PASSWORD},
        "push_rules": [{"channel_pattern": "rule-*", "event_filter": ["shipped"], "rate_limit_per_second": 100}],
    }
    breaker = {"failure_threshold": 1000, "cooldown_secs": 1}
    retry = {"initial_backoff_ms": 50, "max_backoff_ms": 100, "max_attempts": 2}
    with place.server(config, hms_enabled=True, circuit_breaker=breaker, retry=retry) as running:
        yield running


def command(server: PushServer, *arguments: str) -> Result:
    """In this process, which has imported it already; each command as a process of its own is in tests/cli."""
    app = {"APP_ID": DEFAULT_APP.id, "APP_KEY": DEFAULT_APP.key, "APP_SECRET": DEFAULT_APP.secret}
    environ = {**{f"SOCKUDO_{name}": value for name, value in app.items()}, "SOCKUDO_URL": server.server.url}
    done = commands.invoke(["push", "why", *arguments], env={**environ, "NO_COLOR": "1", "COLUMNS": "200"})
    assert SECRET not in done.output
    return done


def why(server: PushServer, *arguments: str) -> Told:
    """As JSON and as text, which have to agree."""
    as_json, as_text = command(server, *arguments, "--json"), command(server, *arguments)
    assert as_json.exit_code == as_text.exit_code, (as_json, as_text)
    assert as_json.stderr == ""
    reply = json.loads(as_json.stdout)
    assert as_json.exit_code == (0 if reply["delivered"] else 1)
    for each in reply["findings"]:
        assert each["text"] in as_text.stdout
        if each["kind"] != "info":
            assert f"→ {each['remedy']}" in as_text.stdout
        if "code" in each:
            assert each["remedy"] == CATALOGUE[each["code"]].remedy
            assert f"sockudo explain {each['code']}" in as_text.stdout
    return Told(as_json.exit_code, reply, as_text.stdout)


def device(name: str) -> dict[str, str]:
    return {"type": "device", "deviceId": name}


def channel(name: str) -> dict[str, str]:
    return {"type": "channel", "channel": name}


def refused(server: PushServer, path: str, body: Any, status: int, code: str) -> None:
    reply = server.ask("POST", path, body)
    assert (reply.status, reply.json()["code"]) == (status, code), reply.text
    assert reply.json()["docs"].endswith(f"#{code}")


def sent(place: Ground, server: PushServer, name: str, *answers: ProviderAnswer, forever: bool = False) -> Any:
    """Publishes, under the device's id with ``-1``, to a channel with one device; the status at its end."""
    token = server.register(name, name, client_id=f"client-{name}")
    if answers:
        place.script(token, *answers, forever=forever)
    server.publish(f"{name}-1", channel(name))
    return server.ended(f"{name}-1")


def test_everything_was_delivered(place: Ground, server: PushServer) -> None:
    sent(place, server, "w-fine")
    # Of the device, of the client that it belongs to, and of the publish.
    server.register("w-fine-tab", "w-fine", client_id="client-w-fine")
    server.publish("w-fine-2", channel("w-fine"))
    server.ended("w-fine-2")
    for whom, of in (("w-fine", "device"), ("client-w-fine", "client"), ("w-fine-2", "publish")):
        told = why(server, whom, *(() if of == "publish" else ("--publish", "w-fine-2")))
        assert (told.code, told.reply["of"], told.codes) == (0, of, [])
        assert "took it" in told.text or "was taken by the provider" in told.text
    # One of the client's devices was not there yet.
    told = why(server, "client-w-fine")
    assert (told.code, len(told.reply["devices"])) == (0, 2)


def test_device_not_found(server: PushServer) -> None:
    body = {"recipients": [device("w-ghost")], "payload": {"title": "x"}}
    refused(server, "/publish", body, 404, "device_not_found")
    told = why(server, "w-ghost")
    assert (told.code, told.reply["of"]) == (1, None)
    assert told.codes[0] == "device_not_found"
    assert "w-ghost" in told.refused["device_not_found"]["text"]
    # Beside targets that are there it is in the status.
    server.register("w-there")
    server.publish("w-half", device("w-ghost"), device("w-there"))
    assert server.ended("w-half")["missing"] == ["device:w-ghost"]
    assert why(server, "w-ghost").reply["publishes"][0]["publishId"] == "w-half"
    assert why(server, "w-half").codes == ["no_recipients"]


def test_provider_token_invalid(place: Ground, server: PushServer) -> None:
    assert sent(place, server, "w-dead", DEAD)["state"] == "failed"
    told = why(server, "w-dead")
    assert told.codes == ["device_not_found", "provider_token_invalid"]
    assert "The device was removed for that" in told.text
    assert why(server, "w-dead", "--publish", "w-dead-1").code == 1
    assert why(server, "w-dead-1").codes == ["provider_token_invalid"]
    recipient = {"transportType": "web", "endpoint": f"https://{SECRET}@x.test/", "p256dh": "x", "auth": "y"}
    body = {"recipients": [{"type": "recipient", "recipient": recipient}], "payload": {"title": "x"}}
    refused(server, "/publish", body, 400, "provider_token_invalid")
    assert "endpoint" in why(server, "w-dead").refused["provider_token_invalid"]["text"]


def test_credential_missing(server: PushServer) -> None:
    recipient = {"transportType": "hms", "registrationToken": f"{SECRET}-hms"}
    server.register("w-hms", "w-hms", recipient=recipient)
    server.publish("w-hms-1", channel("w-hms"))
    wait_until(lambda: server.done("GET", "/publish/w-hms-1/status").get("waitsFor"), "HMS to be missed")
    told = why(server, "w-hms")
    assert set(told.codes) == {"credential_missing"}
    assert "hms cannot send for this app: " in told.text
    told = why(server, "w-hms-1")
    assert told.codes == ["credential_missing"]
    assert "HMS_APP_ID" in told.text
    body = {"recipients": [{"type": "recipient", "recipient": recipient}], "payload": {"title": "x"}}
    refused(server, "/publish", body, 503, "credential_missing")
    assert "HMS_APP_ID" in why(server, "w-hms").refused["credential_missing"]["text"]


def test_publish_not_found(server: PushServer) -> None:
    reply = server.ask("GET", "/publish/w-nothing/status")
    assert (reply.status, reply.json()["code"]) == (404, "publish_not_found")
    assert why(server, "w-nothing").codes == ["device_not_found", "publish_not_found"]
    done = command(server, "u-1", "--publish", "w-nothing")
    assert done.exit_code == 1
    assert "publish_not_found" in done.stderr
    assert CATALOGUE["publish_not_found"].remedy in done.stderr


def test_scheduled_push_invalid_and_payload_too_large(place: Ground, server: PushServer) -> None:
    server.register("w-late", "w-late")
    late = {"recipients": [channel("w-late")], "payload": {"title": "x"}, "expiresAtMs": 1_700_000_000}
    refused(server, "/publish", late, 400, "scheduled_push_invalid")
    large = {"recipients": [channel("w-late")], "payload": {"title": "x", "templateData": {"a": "y" * 4200}}}
    refused(server, "/publish", large, 413, "push_payload_too_large")
    told = why(server, "w-late")
    assert "expiresAtMs" in told.refused["scheduled_push_invalid"]["text"]
    assert "4096" in told.refused["push_payload_too_large"]["text"]
    for code in ("scheduled_push_invalid", "push_payload_too_large"):
        assert f"→ {CATALOGUE[code].remedy}" in told.text
    # Where the provider's bound is narrower, it is the provider who says so.
    assert sent(place, server, "w-narrow", LARGE)["state"] == "failed"
    for whom in ("w-narrow", "client-w-narrow"):
        assert why(server, whom).codes == ["push_payload_too_large"]


def test_provider_throttled(place: Ground, server: PushServer) -> None:
    token = server.register("w-slow", "w-slow")
    place.script(token, THROTTLED, forever=True)
    server.publish("w-slow-1", channel("w-slow"))
    wait_until(lambda: server.done("GET", "/publish/w-slow-1/status").get("retryAfterMs"), "the retry to be planned")
    told = why(server, "w-slow")
    assert told.codes == ["provider_throttled"]
    assert "it is tried again" in told.text
    assert server.ended("w-slow-1")["state"] == "dead_lettered"
    told = why(server, "w-slow")
    assert told.codes == ["provider_throttled"]
    assert "given up after the retries" in told.text
    assert why(server, "w-slow-1").codes == ["provider_throttled", "push_retries_exhausted"]


@pytest.mark.parametrize(
    ("answer", "code"), [(FORBIDDEN, "provider_auth_failed"), (DOWN, "provider_unavailable")], ids=["401", "503"]
)
def test_a_provider_that_refuses_or_is_away(
    place: Ground, server: PushServer, answer: ProviderAnswer, code: str
) -> None:
    name = f"w-{code}"
    sent(place, server, name, answer, forever=True)
    told = why(server, f"client-{name}")
    assert told.codes == [code]
    assert told.reply["devices"][0]["pushState"] == "ACTIVE"


def test_a_token_of_another_project(place: Ground, server: PushServer) -> None:
    sent(place, server, "w-project", OTHER_PROJECT, forever=True)
    told = why(server, "w-project")
    assert told.codes == ["provider_project_mismatch"]
    assert "sent with project" in told.text
    # Those who run the server learn of it without asking for the publish.
    groups = server.server.signed("GET", f"/apps/{DEFAULT_APP.id}/problems", params={"q": "project"}).json()["groups"]
    [group] = [each for each in groups if each["error"] == "provider_project_mismatch"]
    assert "sent with project" in group["last"][0]["text"]
    assert group["explanation"]["remedy"] == CATALOGUE["provider_project_mismatch"].remedy


def test_a_time_that_is_past(place: Ground, server: PushServer) -> None:
    server.register("w-past", "w-past")
    body = {"recipients": [channel("w-past")], "payload": {"title": "x"}, "notBeforeMs": 1_700_000_000}
    reply = server.ask("POST", "/scheduled", {**body, "publishId": "w-past-1"})
    assert (reply.status, reply.json()["code"]) == (400, "scheduled_push_invalid")
    assert "notBeforeMs must be in the future: it is 1700000000, and now is " in reply.json()["error"]


def test_expired_and_cancelled(place: Ground, server: PushServer) -> None:
    token = server.register("w-times", "w-times")
    place.script(token, THROTTLED)
    server.publish("w-expired", channel("w-times"), expiresAtMs=int(time.time() * 1000) + 1500)
    assert server.ended("w-expired")["state"] == "expired"
    assert "push_expired" in why(server, "w-expired").codes
    assert why(server, "w-times").codes == ["push_expired"]
    server.publish("w-later", channel("w-times"), notBeforeMs=int(time.time() * 1000) + 600_000)
    told = why(server, "w-times", "--publish", "w-later")
    assert (told.code, told.codes) == (1, [])
    assert "waits for its time" in told.text
    server.done("DELETE", "/scheduled/w-later")
    for arguments in (["w-times", "--publish", "w-later"], ["w-later"]):
        told = why(server, *arguments)
        assert told.code == 1
        assert "cancelled before it was sent" in told.text
        assert "publish it under another id" in told.text


def test_no_devices_for_the_client(server: PushServer) -> None:
    server.publish("w-nobody", {"type": "client", "clientId": "w-client"})
    assert server.ended("w-nobody")["errorReason"] == "no_recipients"
    told = why(server, "w-client")
    assert told.codes == ["device_not_found", "no_recipients"]
    assert "no client of that id has one" in told.text
    assert why(server, "w-nobody").codes == ["no_recipients"]


def test_the_subscription_is_missing(server: PushServer) -> None:
    server.register("w-alone", client_id="w-lonely")
    server.register("w-other", "w-harbour")
    server.publish("w-town", channel("w-harbour"))
    server.ended("w-town")
    told = why(server, "w-lonely")
    assert told.code == 1
    assert "Device w-alone is on no channel" in told.text
    told = why(server, "w-alone", "--publish", "w-town")
    assert "Publish w-town was not meant for them. It went to the channel w-harbour." in told.text
    assert "Subscribe the device" in told.text
    # Who subscribes after that is not among its recipients.
    server.done("POST", "/channelSubscriptions", {"channel": "w-harbour", "deviceId": "w-alone"})
    told = why(server, "w-alone", "--publish", "w-town")
    assert told.codes == ["no_recipients"]
    assert "not among the recipients when it was planned" in told.text


def test_a_rule_that_did_not_match(place: Ground, server: PushServer) -> None:
    data = json.dumps({"title": "Shipped", "body": "On its way"})
    token = server.register("w-rule", "rule-1", client_id="w-rule-client")
    server.server.publish("rule-1", "delayed", data)
    server.server.publish("other-1", "shipped", data)
    told = why(server, "w-rule-client")
    assert told.code == 1
    assert "was meant for them" in told.text
    assert "event_filter and channel_pattern of a [[push_rules]]" in told.text
    server.server.publish("rule-1", "shipped", data)
    wait_until(lambda: place.sent_at(token), "the notification of the rule")
    # One command at a time: between two the outcome may be counted.
    wait_until(lambda: command(server, "w-rule-client", "--json").exit_code == 0, "the outcome to be counted")


def test_the_dashboard_and_the_route_say_the_same(server: PushServer) -> None:
    server.publish("w-page", {"type": "client", "clientId": "w-page-client"})
    server.ended("w-page")
    operator = Operator(server.server)
    for whom in ("w-page-client", "w-page"):
        told = why(server, whom)
        shown = operator.api("GET", f"/push/{server.app_id}/why?q={whom}&thorough=yes")
        assert shown == told.reply
        page = operator.page(f"/dashboard/push/why?q={whom}").text
        for each in told.reply["findings"]:
            assert each["text"] in page
            assert each["code"] in page
