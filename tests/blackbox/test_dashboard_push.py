"""Push on the dashboard of a running server, whose providers answer in every way."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from support.operators import PASSWORD, Operator, Page
from support.push_ground import SECRET, PushServer, push_server
from support.waiting import wait_until

THROTTLED = {"status": 429, "body": {"error": {"status": "RESOURCE_EXHAUSTED"}}}
GONE = {"status": 404, "body": {"error": {"status": "NOT_FOUND", "details": [{"errorCode": "UNREGISTERED"}]}}}
REFUSED = {"status": 401, "body": {"error": {"status": "UNAUTHENTICATED"}}}


@pytest.fixture(scope="module")
def push() -> Iterator[PushServer]:
    with push_server({"dashboard": {"password": PASSWORD}}) as running:
        yield running


@pytest.fixture(scope="module")
def operator(push: PushServer) -> Operator:
    return Operator(push.server)


def shown(operator: Operator, path: str) -> str:
    text = operator.page(f"/dashboard/push{path}").source
    assert SECRET not in text
    assert "planted-provider-token" not in text
    return text


def submitted(operator: Operator, path: str, action: str = "", status: int | None = None, **fields: str) -> Page:
    """The form of a page with this action, sent with some fields filled in; the page that it leads to."""
    page = operator.page(f"/dashboard/push{path}")
    return operator.submit(page, f"/dashboard/push{action or path.partition('?')[0]}", fields, status=status)


def api(operator: Operator, push: PushServer, path: str, method: str = "GET", body: Any = None) -> Any:
    return operator.api(method, f"/push/{push.app_id}{path}", body)


def test_a_publish_goes_through_its_funnel(push: PushServer, operator: Operator) -> None:
    token = push.register("retry-1", "funnel", client_id="u-1")
    push.register("fine-1", "funnel")
    push.providers.script(token, {**THROTTLED, "headers": {"retry-after": "1"}})
    push.publish("funnel-1", {"type": "channel", "channel": "funnel"})
    page = f"/{push.app_id}/publishes/funnel-1"

    def retrying() -> bool:
        found = api(operator, push, "/publishes/funnel-1")
        return bool(found["funnel"]["retrying"])

    wait_until(retrying, "the retry to be planned")
    moving = shown(operator, page)
    assert "every 2s" in moving
    assert "Retrying" in moving
    push.ended("funnel-1")
    ended = shown(operator, page)
    assert "sent to everybody" in ended
    assert "every 2s" not in ended
    assert "retryable" in ended
    assert "quota" in ended
    assert "funnel-1" in shown(operator, "")
    assert "funnel-1" in shown(operator, "?state=succeeded")
    assert "funnel-1" not in shown(operator, "?state=failed")


def why(operator: Operator, who: str, publish_id: str = "") -> str:
    return shown(operator, f"/why?q={quote(who)}&publish_id={quote(publish_id)}")


def test_each_documented_failure_is_found_on_one_page(push: PushServer, operator: Operator) -> None:
    # Device not found: the backend was refused.
    refused = push.ask(
        "POST", "/publish", {"recipients": [{"type": "device", "deviceId": "ghost"}], "payload": {"title": "x"}}
    )
    assert refused.status == 404
    page = why(operator, "ghost")
    assert "device_not_found" in page
    assert "No device has the id ghost" in page

    # Provider token invalid: the device is gone, and its outcome is found all the same.
    dead = push.register("dead-1", "why-dead")
    push.providers.script(dead, GONE)
    push.publish("why-dead", {"type": "channel", "channel": "why-dead"})
    push.ended("why-dead")
    page = why(operator, "dead-1")
    for words in ("No device has the id dead-1", "fcm refused it", "provider_token_invalid", "The device was removed"):
        assert words in page

    # Credential missing: APNs lacks its topic.
    push.register("apple-1", "why-apple", recipient={"transportType": "apns", "deviceToken": f"{SECRET}-a"})
    push.publish("why-apple", {"type": "channel", "channel": "why-apple"})
    wait_until(lambda: push.done("GET", "/publish/why-apple/status").get("waitsFor"), "APNs to be missed")
    page = why(operator, "apple-1")
    assert "apns cannot send now" in shown(operator, f"/{push.app_id}/publishes/why-apple")
    [lacking] = push.done("GET", "/publish/why-apple/status")["waitsFor"]
    assert lacking["provider"] == "apns"
    assert "APNS_" in lacking["missing"]
    assert "credential_missing" in page
    assert "apns cannot send for this app: " in page

    # Scheduled push invalid and payload too large: the backend was refused.
    for body in (
        {"recipients": [{"type": "channel", "channel": "c"}], "payload": {"title": "x"}, "expiresAtMs": 1},
        {
            "recipients": [{"type": "channel", "channel": "c"}],
            "payload": {"body": "x" * 4000, "templateData": {"a": "y" * 500}},
        },
    ):
        assert push.ask("POST", "/publish", body).status in (400, 413)
    page = why(operator, "apple-1")
    assert "scheduled_push_invalid" in page
    assert "push_payload_too_large" in page

    # Provider throttled, until the retries were exhausted.
    slow = push.register("slow-1", "why-slow")
    push.providers.script(slow, THROTTLED, forever=True)
    push.publish("why-slow", {"type": "channel", "channel": "why-slow"})
    assert push.ended("why-slow")["state"] == "dead_lettered"
    page = why(operator, "slow-1")
    assert "provider_throttled" in page

    # Publish not found.
    assert "publish_not_found" in operator.page("/dashboard/push/why?q=slow-1&publish_id=nothing", status=404).source

    # Refused credentials.
    locked = push.register("locked-1", "why-locked", client_id="u-locked")
    push.providers.script(locked, REFUSED, forever=True)
    push.publish("why-locked", {"type": "channel", "channel": "why-locked"})
    push.ended("why-locked")
    page = why(operator, "u-locked")
    assert "provider_auth_failed" in page
    assert "why-locked" in page
    assert "ACTIVE" in page


def test_dead_letters_are_sent_again(push: PushServer, operator: Operator) -> None:
    token = push.register("again-1", "again")
    unavailable = {"status": 503, "body": {"error": {"status": "UNAVAILABLE"}}}
    push.providers.script(token, unavailable, unavailable)
    push.publish("again", {"type": "channel", "channel": "again"})
    push.ended("again")
    [letter] = [each for each in api(operator, push, "/dead-letters")["items"] if each["publishId"] == "again"]
    page = shown(operator, "/dead-letters")
    assert letter["deadLetterId"][:12] in page
    # The provider is well again.
    submitted(operator, "/dead-letters", "/dead-letters/replay", id=letter["deadLetterId"])
    wait_until(lambda: len([each for each in push.providers.requests if each["token"] == token]) == 3, "the replay")


def test_a_test_send_and_a_device_removed(push: PushServer, operator: Operator) -> None:
    token = push.register("tried-1")
    result = submitted(operator, "/test", status=200, provider="fcm", device_id="tried-1", title="Hi")
    assert "fcm took it" in result.text
    push.providers.script(token, GONE)
    tried = api(operator, push, "/test", "POST", {"provider": "fcm", "deviceId": "tried-1"})
    assert (tried["outcome"], tried["code"]) == ("rejected", "provider_token_invalid")
    assert "tried-1" in shown(operator, "/devices?q=tried-1")
    submitted(operator, "/devices?q=tried-1", "/devices/remove", id="tried-1")
    assert "No device and no client" in shown(operator, "/devices?q=tried-1")


def test_credentials_make_a_provider_ready_without_a_restart(push: PushServer, operator: Operator) -> None:
    before = shown(operator, "/credentials")
    assert re.search(r"apns</th>\s*<td><span class=\"badge bad\">cannot send", before)
    fields = {"provider": "hms", "hmsAppId": "42", "clientSecret": f"{SECRET}-of-hms", "credentialId": "huawei"}
    submitted(operator, "/credentials", "/credentials/store", **fields)
    assert "huawei" in shown(operator, "/credentials")
    submitted(operator, "/credentials", "/credentials/store", status=400, provider="nobody")
    ready = {each["provider"]: each["ready"] for each in api(operator, push, "/credentials")["providers"]}
    assert (ready["fcm"], ready["apns"], ready["wns"]) == (True, False, False)


def test_a_publish_is_cancelled(push: PushServer, operator: Operator) -> None:
    push.register("later-1", "later")
    at = int(time.time() * 1000) + 600_000
    push.publish("later", {"type": "channel", "channel": "later"}, notBeforeMs=at)
    page = f"/{push.app_id}/publishes/later"
    assert "Cancel it" in shown(operator, page)
    submitted(operator, page, f"{page}/cancel")
    assert push.ended("later")["state"] == "cancelled"
