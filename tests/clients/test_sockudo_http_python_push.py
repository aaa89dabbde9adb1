"""Sockudo's own HTTP SDK for Python: devices, subscriptions and credentials of push, as its users call it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sockudo_http_python import PushCursorParams, PushSubscriptionParams, Result, Sockudo, SockudoOptions

from support.push_accounts import service_account
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    config = {
        "app_manager": {"array": {"apps": [app_record(DEFAULT_APP)]}},
        "push": {"credential_encryption_key": "planted-key"},
    }
    with start_server(config) as running:
        yield running


@pytest.fixture
def sdk(server: ServerProcess) -> Iterator[Sockudo]:
    options = SockudoOptions(port=server.port, retry_base_delay=0.01)
    app = DEFAULT_APP
    with Sockudo(app.id, app.key, app.secret, None, options) as made:
        yield made
        for client_id in ("u-91", "u-92"):
            made.remove_device_registrations_by_client(client_id)


def device(device_id: str, client_id: str = "u-91", **changes: Any) -> dict[str, Any]:
    recipient = {"transportType": "gcm", "registrationToken": f"planted-token-{device_id}"}
    return {
        "id": device_id,
        "clientId": client_id,
        "formFactor": "phone",
        "platform": "android",
        "timezone": "Europe/Vienna",
        "locale": "de-AT",
        "push": {"recipient": recipient},
        **changes,
    }


def body(result: Result, code: int = 200) -> Any:
    """What was answered, once its status has been checked."""
    assert result.status_code == code, result
    assert "planted" not in str(result.message)
    return json.loads(result.message)


def test_devices_come_and_go(sdk: Sockudo) -> None:
    made = body(sdk.activate_device(device("phone-1")), 201)
    token = made["deviceIdentityToken"]
    assert made["change"] == "inserted"
    assert body(sdk.create_device_activation(device("phone-1")), 201)["change"] == "unchanged"
    updated = body(sdk.update_device_registration(device("phone-1", locale="fr"), token), 201)
    assert (updated["change"], updated["device"]["locale"]) == ("updated", "fr")
    assert body(sdk.get_device_registration("phone-1"))["recipient"]["provider"] == "fcm"
    assert body(sdk.get_device_registration("phone-1", token))["locale"] == "fr"
    rotated = body(sdk.activate_device(device("phone-1"), True), 201)["deviceIdentityToken"]
    assert body(sdk.get_device_registration("phone-1", token), 401)["code"] == "auth_failed"
    assert sdk.delete_device_registration("phone-1", rotated).status_code == 204
    assert body(sdk.get_device_registration("phone-1"), 404)["code"] == "device_not_found"
    assert sdk.delete_device_registration("phone-1").status_code == 204


def test_every_page_of_devices(sdk: Sockudo) -> None:
    names = ["a/1", "phone-1", "phone-11", "ü"]
    for name in names:
        body(sdk.activate_device(device(name)), 201)
    found: list[str] = []
    cursor = None
    while True:
        page = body(sdk.list_device_registrations(PushCursorParams(limit=1, cursor=cursor)))
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert found == names
    assert body(sdk.get_device_registration("a/1"))["id"] == "a/1"
    assert body(sdk.remove_device_registrations_by_client("u-91")) == {"deleted": 4, "consistency": "eventual"}


def test_subscriptions(sdk: Sockudo) -> None:
    tokens = {name: body(sdk.activate_device(device(name)), 201)["deviceIdentityToken"] for name in ("d-1", "d-2")}
    for name in tokens:
        for channel in ("parcel-1", "parcel-2"):
            body(sdk.upsert_channel_push_subscription({"channel": channel, "deviceId": name}), 201)
    own = {"channel": "mine", "deviceId": "d-1"}
    assert body(sdk.upsert_channel_push_subscription(own, tokens["d-1"]), 201)["provider"] == "fcm"
    assert body(sdk.upsert_channel_push_subscription(own, tokens["d-2"]), 401)["code"] == "auth_failed"
    channels = body(sdk.list_channel_push_subscription_channels())
    assert channels["items"] == ["mine", "parcel-1", "parcel-2"]
    of_channel = body(sdk.list_channel_push_subscriptions(PushSubscriptionParams(channel="parcel-1")))
    assert [item["deviceId"] for item in of_channel["items"]] == ["d-1", "d-2"]
    mine = body(sdk.list_channel_push_subscriptions(PushSubscriptionParams(device_id="d-1"), tokens["d-1"]))
    assert [item["channel"] for item in mine["items"]] == ["mine", "parcel-1", "parcel-2"]
    pair = PushSubscriptionParams(channel="parcel-1", device_id="d-1")
    assert body(sdk.delete_channel_push_subscriptions(pair)) == {"deleted": 1}
    assert len(body(sdk.list_channel_push_subscriptions())["items"]) == 4


def test_credentials(sdk: Sockudo) -> None:
    shown = {"app_id": DEFAULT_APP.id, "credential_id": "fcm", "provider": "fcm", "version": 1}
    account = json.loads(service_account("https://oauth.test/token"))
    credential = {"serviceAccountJson": {**account, "note": "planted"}}
    assert body(sdk.put_push_credential("fcm", credential), 201) == shown
    assert body(sdk.list_push_credentials())["items"] == [shown]
    assert body(sdk.put_push_credential("webpush", {"publicKey": "p"}), 422)["code"] == "invalid_input"
    broken = {"serviceAccountJson": {**account, "private_key": "planted"}, "credentialId": "broken"}
    assert body(sdk.put_push_credential("fcm", broken), 400)["code"] == "credential_invalid"
    assert body(sdk.list_push_credentials())["items"] == [shown]


def test_nothing_planted_is_in_the_log(server: ServerProcess) -> None:
    assert "planted" not in server.log
