"""The situations of spec: push § 13.2 against a running server, each by its number.

2, 3, 19, 20 and 28 are in test_push_faults, 12 in test_push_times, 23 in test_push_formats, 27 in
tests/blackbox/test_push_events; the invariants in test_push_invariants.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sockudo.testing import ProviderAnswer
from support.push_accounts import service_account
from support.push_ground import Ground, PushServer, ground, seeded, tokens
from support.server import Reply
from support.signing import signed_query
from support.waiting import wait_until

DOWN = ProviderAnswer(503)
THROTTLED = ProviderAnswer(429, {"retry-after": "1"})
DEAD = ProviderAnswer(404, body=b'{"error":{"details":[{"errorCode":"UNREGISTERED"}]}}')


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("push")) as made:
        yield made


@pytest.fixture(scope="module")
def server(place: Ground) -> Iterator[PushServer]:
    # One scenario's failures are not to hold up the next one's.
    breaker = {"failure_threshold": 1000, "cooldown_secs": 1}
    retry = {"initial_backoff_ms": 50, "max_backoff_ms": 100, "max_attempts": 2}
    with place.server(circuit_breaker=breaker, retry=retry) as running:
        yield running


def device(name: str) -> dict[str, str]:
    return {"type": "device", "deviceId": name}


def counters(status: Any) -> dict[str, int]:
    return {name: count for name, count in status["counters"].items() if count}


def asked(server: PushServer, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    """With headers of the caller's: names have no hyphens here, but underscores."""
    full = f"/apps/{server.app_id}/push{path.partition('?')[0]}"
    params = dict(part.split("=", 1) for part in path.partition("?")[2].split("&") if part)
    raw = b"" if body is None else json.dumps(body).encode()
    query = signed_query(server.server.app, method, full, params=params, body=raw)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.server.request(
        method, f"{full}?{query}", body=raw or None, headers={"Content-Type": "application/json", **named}
    )


def letters(server: PushServer, publish_id: str) -> list[Any]:
    found = server.done("GET", "/deadLetters")["items"]
    return [each for each in found if each["publishId"] == publish_id]


def metric(server: PushServer, name: str) -> float:
    """The sum over all labels."""
    lines = [each for each in server.server.metrics().splitlines() if each.startswith(f"sockudo_push_{name}{{")]
    return sum(float(each.rpartition(" ")[2]) for each in lines)


def test_1_what_is_sent_is_what_was_shown(place: Ground, server: PushServer) -> None:
    token = server.register("s1", "s1")
    accepted = server.publish("s1", {"type": "channel", "channel": "s1"})
    assert accepted["expectedRecipients"] == 1
    assert counters(server.ended("s1")) == {"planned": 1, "dispatched": 1, "succeeded": 1}
    shown = next(each["payload"] for each in accepted["renderedPayloads"] if each["provider"] == "fcm")
    [sent] = [each for each in place.requests if each.token == token]
    message = json.loads(sent.body)["message"]
    assert message.pop("token") == token
    assert message == shown["message"]


def test_4_no_sooner_than_the_provider_says(place: Ground, server: PushServer) -> None:
    token = server.register("s4")
    place.script(token, THROTTLED)
    server.publish("s4", device("s4"))
    found = {"planned": 1, "dispatched": 1, "succeeded": 1, "retryScheduled": 1, "retryAttempted": 1}
    assert counters(server.ended("s4")) == found
    first, second = place.sent_at(token)
    assert second - first >= 1.0 - 0.005


def test_5_and_26_a_letter_that_can_be_replayed(place: Ground, server: PushServer) -> None:
    token = server.register("s5")
    place.script(token, DOWN, DOWN)
    server.publish("s5", device("s5"))
    assert server.ended("s5")["state"] == "dead_lettered"
    assert len(place.sent_at(token)) == 2
    [letter] = letters(server, "s5")
    assert letter["replayable"]
    reply = asked(server, "POST", f"/deadLetters/{letter['deadLetterId']}/replay")
    assert reply.status == 202
    assert reply.json()["replayed"] is True
    wait_until(lambda: len(place.sent_at(token)) == 3, "the letter to be sent again")
    assert [each["deadLetterId"] for each in letters(server, "s5")] == [letter["deadLetterId"]]
    missing = asked(server, "POST", f"/deadLetters/{'0' * 64}/replay")
    assert (missing.status, missing.json()["code"]) == (404, "dead_letter_not_found")


def test_6_one_is_lost_and_one_is_not(place: Ground, server: PushServer) -> None:
    place.script(server.register("s6-a", "s6"), DOWN, forever=True)
    server.register("s6-b", "s6")
    server.publish("s6", {"type": "channel", "channel": "s6"})
    status = server.ended("s6")
    assert status["state"] == "partiallySucceeded"
    assert (status["counters"]["succeeded"], status["counters"]["deadLettered"]) == (1, 1)


def test_7_a_dead_token_of_two(place: Ground, server: PushServer) -> None:
    place.script(server.register("s7-a", "s7"), DEAD)
    server.register("s7-b", "s7")
    server.publish("s7", {"type": "channel", "channel": "s7"})
    assert server.ended("s7")["state"] == "partiallySucceeded"
    assert server.ask("GET", "/deviceRegistrations/s7-a").status == 404
    assert server.ask("GET", "/deviceRegistrations/s7-b").status == 200
    assert letters(server, "s7") == []


def test_8_what_is_said_of_an_old_token(place: Ground, server: PushServer) -> None:
    token = server.register("s8")
    place.script(token, ProviderAnswer(DEAD.status, DEAD.headers, DEAD.body, delay=1.0))
    server.publish("s8", device("s8"))
    wait_until(lambda: place.sent_at(token), "the send to the old token")
    server.register("s8", recipient={"transportType": "gcm", "registrationToken": "planted-token-new"})
    assert server.ended("s8")["state"] == "failed"
    assert server.ask("GET", "/deviceRegistrations/s8").status == 200


def test_9_and_26_wrong_credentials_delete_nobody(tmp_path: Path) -> None:
    with ground(tmp_path) as place:
        seeded(tmp_path, tokens(50), channel="news")
        place.use_profile("auth-failure")
        with place.server() as server:
            server.publish("s9")
            status = server.ended("s9")
            assert counters(status) == {"planned": 50, "dispatched": 50, "failed": 50}
            assert len(server.done("GET", "/deviceRegistrations")["items"]) == 50
            markers = letters(server, "s9")
            assert {each["replayable"] for each in markers} == {False}
            [failure] = status["failures"]
            assert (failure["failureClass"], failure["count"]) == ("credential_auth", 50)
            refused = asked(server, "POST", f"/deadLetters/{markers[0]['deadLetterId']}/replay")
            assert refused.status == 400
            line = 'failure_class="credential_auth"'
            found = [
                each for each in server.server.metrics().splitlines() if line in each and "provider_failures" in each
            ]
            assert [float(each.rpartition(" ")[2]) for each in found] == [50.0]


def test_10_an_access_token_that_was_revoked(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.server() as server:
        account = json.loads(service_account(f"{place.mock.url}/token"))
        server.done("POST", "/credentials/fcm", {"serviceAccountJson": account})
        token = server.register("s10")
        place.script(token, ProviderAnswer(401))
        server.publish("s10", device("s10"))
        assert counters(server.ended("s10")) == {"planned": 1, "dispatched": 1, "succeeded": 1}
        assert len([each for each in place.mock.requests if each.provider == "oauth"]) == 2


def test_11_expired_before_it_came(place: Ground, server: PushServer) -> None:
    """Times that cannot be kept are refused (spec: push § 3)."""
    token = server.register("s11")
    past = {"expiresAtMs": int(time.time() * 1000) - 1000}
    body = {"publishId": "s11", "recipients": [device("s11")], "payload": {"title": "x"}, **past}
    reply = server.ask("POST", "/publish", body)
    assert (reply.status, reply.json()["code"]) == (400, "scheduled_push_invalid")
    assert server.ask("GET", "/publish/s11/status").status == 404
    assert place.sent_at(token) == []


def test_13_the_same_publish_thrice(place: Ground, server: PushServer) -> None:
    token = server.register("s13")
    names = [server.publish("s13", device("s13"), title=title)["publishId"] for title in ("A", "A", "B")]
    assert names == ["s13"] * 3
    server.ended("s13")
    assert len(place.sent_at(token)) == 1


def test_14_templates_that_cannot_be_filled(server: PushServer) -> None:
    for payload in ({"title": "{{ data.missing }}", "templateData": {}}, {"templateId": "nobody-knows"}):
        body = {"publishId": "s14", "recipients": [{"type": "channel", "channel": "x"}], "payload": payload}
        assert server.ask("POST", "/publish", body).status in (400, 404)
        assert server.ask("GET", "/publish/s14/status").status == 404


def test_15_a_template_that_changes_meanwhile(place: Ground, server: PushServer) -> None:
    def template(title: str) -> dict[str, Any]:
        return {"templateId": "s15", "defaultLocale": "en", "locales": {"en": {"title": title, "body": "B"}}}

    token = server.register("s15")
    server.done("POST", "/templates", template("Old"))
    later = int(time.time() * 1000) + 1500
    body = {"publishId": "s15", "recipients": [device("s15")], "payload": {"templateId": "s15"}, "notBeforeMs": later}
    server.done("POST", "/publish", body)
    server.done("POST", "/templates", template("New"))
    server.ended("s15")
    [sent] = [each for each in place.requests if each.token == token]
    assert json.loads(sent.body)["message"]["notification"]["title"] == "Old"


def test_16_too_large_for_a_provider(server: PushServer) -> None:
    server.register("s16", recipient={"transportType": "apns", "deviceToken": "planted-apple"})
    payload = {"title": "x", "templateData": {"text": "y" * 4200}}
    reply = server.ask("POST", "/publish", {"recipients": [device("s16")], "payload": payload})
    assert (reply.status, reply.json()["code"]) == (413, "push_payload_too_large")
    assert "4096" in reply.json()["error"]


def test_17_nobody_is_ready(tmp_path: Path) -> None:
    raw = {"type": "recipient", "recipient": {"transportType": "gcm", "registrationToken": "planted"}}
    body = {"recipients": [raw], "payload": {"title": "x"}}
    with ground(tmp_path) as place:
        with place.server(fcm_enabled=False, apns_enabled=False, webpush_enabled=False) as server:
            assert server.ask("POST", "/publish", body).status == 503
        with place.server(fcm={"endpoint": place.mock.url}) as server:
            reply = server.ask("POST", "/publish", body)
            assert (reply.status, reply.json()["code"]) == (503, "credential_missing")
            assert "planted" not in reply.text
        assert place.requests == []


def test_18_quotas(tmp_path: Path) -> None:
    with ground(tmp_path) as place:
        place.environ = {"PUSH_FANOUT_MAX": "0"}
        with place.server() as server:
            server.register("s18", "news")
            assert [server.publish("s18")["status"] for _ in range(2)] == ["quota_exceeded"] * 2
            channel = [{"type": "channel", "channel": "news"}]
            body = {"publishId": "s18-over", "recipients": channel, "payload": {"title": "x"}}
            reply = asked(server, "POST", "/publish", body, x_sockudo_push_quota_override="1")
            assert reply.json()["status"] == "accepted"
            assert server.ended("s18-over")["counters"]["succeeded"] == 1
        assert len(place.requests) == 1


def test_21_and_22_devices_of_their_own(server: PushServer) -> None:
    def as_device(method: str, path: str, token: str | None = None) -> int:
        given = {} if token is None else {"x_sockudo_device_identity_token": token}
        return asked(server, method, path, x_sockudo_push_capability="push-subscribe", **given).status

    registered: dict[str, str] = {}
    for name in ("s21-a", "s21-b"):
        recipient = {"transportType": "gcm", "registrationToken": f"planted-{name}"}
        body = {"id": name, "formFactor": "phone", "platform": "android", "timezone": "UTC", "locale": "en"}
        reply = server.done("POST", "/deviceRegistrations", {**body, "push": {"recipient": recipient}})
        registered[name] = reply["deviceIdentityToken"]
        for channel in ("s21", "s21-other"):
            server.done("POST", "/channelSubscriptions", {"channel": channel, "deviceId": name})
    own = registered["s21-a"]
    assert as_device("GET", "/deviceRegistrations/s21-a") == 401
    assert as_device("GET", "/deviceRegistrations/s21-a", "wrong") == 401
    assert as_device("GET", "/deviceRegistrations/s21-b", own) == 401
    assert as_device("DELETE", "/channelSubscriptions?channel=s21&deviceId=s21-a", own) == 200
    rows = server.done("GET", "/channelSubscriptions")["items"]
    left = {(row["channel"], row["deviceId"]) for row in rows if row["deviceId"].startswith("s21")}
    assert left == {("s21-other", "s21-a"), ("s21", "s21-b"), ("s21-other", "s21-b")}
    body["id"] = "s21-a"
    again = {**body, "push": {"recipient": {"transportType": "gcm", "registrationToken": "planted-s21-a"}}}
    rotated = asked(server, "POST", "/deviceRegistrations", again, x_sockudo_rotate_device_identity_token="1").json()
    assert as_device("GET", "/deviceRegistrations/s21-a", own) == 401
    assert as_device("GET", "/deviceRegistrations/s21-a", rotated["deviceIdentityToken"]) == 200
    assert "deviceIdentityToken" not in asked(server, "GET", "/deviceRegistrations/s21-a").json()


@pytest.mark.parametrize("path", ["/deviceRegistrations", "/channelSubscriptions", "/deadLetters"])
def test_24_every_row_once(place: Ground, server: PushServer, path: str) -> None:
    for number in range(3):
        place.script(server.register(f"s24-{number}", "chan-1", "chan-11"), ProviderAnswer(401), forever=True)
        # A batch has one letter for each reason.
        server.publish(f"s24-{number}", device(f"s24-{number}"))
        server.ended(f"s24-{number}")
    found, cursor = [], ""
    while True:
        page = asked(server, "GET", f"{path}?limit=1" + (f"&cursor={cursor}" if cursor else "")).json()
        found += [json.dumps(item, sort_keys=True) for item in page["items"]]
        if not page["has_more"]:
            break
        cursor = page["next_cursor"]
    whole = [json.dumps(item, sort_keys=True) for item in asked(server, "GET", f"{path}?limit=1000").json()["items"]]
    assert len(found) >= 3
    assert found == whole
    assert len(set(found)) == len(found)


def test_25_a_circuit_opens_and_closes_again(tmp_path: Path) -> None:
    with ground(tmp_path) as place:
        seeded(tmp_path, tokens(1), channel="news")
        [recipient] = tokens(1)
        place.script(recipient.token, *[DOWN] * 10, ProviderAnswer())
        retry = {"initial_backoff_ms": 50, "max_backoff_ms": 50, "max_attempts": 100}
        with place.server(circuit_breaker={"failure_threshold": 5, "cooldown_secs": 1}, retry=retry) as server:
            server.publish("s25")
            assert server.ended("s25", 40)["state"] == "succeeded"
            assert metric(server, "circuit_breaker_open_total") >= 1
            assert metric(server, "circuit_breaker_deferred_total") >= 1
        times = place.sent_at(recipient.token)
        # Five in a row, and then one try in each cool-down.
        assert len(times) == 11
        assert min(later - before for before, later in pairwise(times[4:])) >= 1.0 - 0.005
