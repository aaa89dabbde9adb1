"""Sockudo's own HTTP SDK for Python: publishes of push, from a backend to what a phone's provider is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sockudo_http_python import Result, Sockudo, SockudoError, SockudoOptions

from support.push_ground import Ground, PushServer, ground
from support.server import DEFAULT_APP
from support.waiting import wait_until


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("push")) as made:
        yield made


@pytest.fixture(scope="module")
def server(place: Ground) -> Iterator[PushServer]:
    with place.server() as running:
        running.register("phone-1", "parcels")
        running.register("phone-2", "parcels")
        yield running


@pytest.fixture
def sdk(server: PushServer) -> Iterator[Sockudo]:
    options = SockudoOptions(port=server.server.port, retry_base_delay=0.01)
    with Sockudo(DEFAULT_APP.id, DEFAULT_APP.key, DEFAULT_APP.secret, None, options) as made:
        yield made


def body(result: Result, code: int = 200) -> Any:
    assert result.status_code == code, result
    return json.loads(result.message)


def request(publish_id: str, title: str = "Shipped", **fields: Any) -> dict[str, Any]:
    recipients = [{"type": "channel", "channel": "parcels"}]
    return {"publishId": publish_id, "recipients": recipients, "payload": {"title": title}, **fields}


def ended(sdk: Sockudo, publish_id: str) -> Any:
    status: dict[str, Any] = {}

    def is_over() -> bool:
        nonlocal status
        status = body(sdk.get_publish_status(publish_id))
        return status["state"] not in ("queued", "planning", "dispatching")

    wait_until(is_over, f"the end of {publish_id}")
    return status


def titles(place: Ground) -> list[str]:
    return [json.loads(each.body)["message"]["notification"]["title"] for each in place.requests]


def test_a_publish_reaches_its_devices(sdk: Sockudo, place: Ground) -> None:
    accepted = body(sdk.publish_push(request("sdk-1", "One")), 202)
    assert (accepted["publishId"], accepted["publish_id"], accepted["status"]) == ("sdk-1", "sdk-1", "accepted")
    assert accepted["expectedRecipients"] == 2
    status = ended(sdk, "sdk-1")
    assert (status["state"], status["counters"]["succeeded"]) == ("succeeded", 2)
    assert titles(place).count("One") == 2
    shown = next(each["payload"] for each in accepted["renderedPayloads"] if each["provider"] == "fcm")
    sent = next(each for each in place.requests if json.loads(each.body)["message"]["notification"]["title"] == "One")
    message = json.loads(sent.body)["message"]
    assert message["notification"]["title"] == shown["message"]["notification"]["title"]
    assert message["token"].startswith("planted-token-phone-")


def test_the_same_publish_again_is_no_other(sdk: Sockudo, place: Ground) -> None:
    body(sdk.publish_push(request("sdk-2", "Two")), 202)
    ended(sdk, "sdk-2")
    again = body(sdk.publish_push_direct(request("sdk-2", "Another")), 202)
    assert (again["publishId"], again["status"]) == ("sdk-2", "succeeded")
    assert titles(place).count("Two") == 2
    assert "Another" not in titles(place)


def test_a_batch(sdk: Sockudo, place: Ground) -> None:
    items = body(sdk.publish_push_batch([request("sdk-3", "Three"), request("sdk-4", "Four")]), 202)["items"]
    assert [item["publishId"] for item in items] == ["sdk-3", "sdk-4"]
    assert {ended(sdk, name)["state"] for name in ("sdk-3", "sdk-4")} == {"succeeded"}


def test_later_and_not_at_all(sdk: Sockudo, place: Ground) -> None:
    with pytest.raises(SockudoError):
        sdk.schedule_push(request("sdk-5"))
    soon = int(time.time() * 1000) + 800
    body(sdk.schedule_push(request("sdk-5", "Later", notBeforeMs=soon)), 202)
    body(sdk.schedule_push(request("sdk-6", "Never", notBeforeMs=soon)), 202)
    assert sdk.cancel_scheduled_push("sdk-6").status_code == 204
    assert ended(sdk, "sdk-5")["state"] == "succeeded"
    assert ended(sdk, "sdk-6")["state"] == "cancelled"
    assert titles(place).count("Later") == 2
    assert "Never" not in titles(place)


def test_refusals(sdk: Sockudo) -> None:
    assert body(sdk.get_publish_status("nobody-knows"), 404)["code"] == "publish_not_found"
    missing = [{"type": "device", "deviceId": "nobody"}]
    assert body(sdk.publish_push({"recipients": missing, "payload": {"title": "x"}}), 404)["code"] == "device_not_found"
    now = int(time.time() * 1000)
    past = sdk.publish_push(request("sdk-7", expiresAtMs=now - 1000))
    assert body(past, 400)["code"] == "scheduled_push_invalid"


def test_a_report_of_a_delivery(sdk: Sockudo, server: PushServer) -> None:
    body(sdk.publish_push(request("sdk-8")), 202)
    ended(sdk, "sdk-8")
    result = {
        "appId": DEFAULT_APP.id,
        "publishId": "sdk-8",
        "provider": "fcm",
        "batchId": "shown",
        "deviceId": "phone-1",
        "outcome": "accepted",
        "attempt": 1,
    }
    event = {"publishId": "sdk-8", "eventId": "e-1", "occurredAtMs": int(time.time() * 1000), "result": result}
    assert body(sdk.post_push_delivery_status(event), 202)["eventId"] == "e-1"
    deliveries = server.done("GET", "/publish/sdk-8/deliveries")["items"]
    assert [item["deviceId"] for item in deliveries].count("phone-1") == 2
