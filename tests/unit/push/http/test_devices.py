"""The routes of devices and subscriptions: who may do what, what comes back, what is refused (spec: push § 2)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from sockudo.push.access import Access
from support.edge import Response, request
from support.inside import credentials, live_app
from support.signing import signed_query
from unit.push.nodes import PushNode, device_body

DEVICES = "/deviceRegistrations"
SUBSCRIPTIONS = "/channelSubscriptions"
TOKEN_HASH = sha256(b"planted-token-of-tab-1").hexdigest()
VIEW = {
    "appId": "app",
    "id": "tab-1",
    "clientId": "u-91",
    "formFactor": "tablet",
    "platform": "android",
    "timezone": "Asia/Tokyo",
    "locale": "ja-JP",
    "lastActiveAtMs": 0,
    "pushState": "ACTIVE",
    "pushFailureCount": 0,
    "recipient": {"transportType": "gcm", "provider": "fcm", "tokenHash": TOKEN_HASH},
}


@pytest.fixture
def node() -> PushNode:
    return PushNode()


def refused(reply: Response, status: int, code: str, slug: str) -> str:
    """The text of a refusal, whose status, code and row are checked."""
    text = reply.error
    assert (reply.status, reply.json()["code"]) == (status, code), text
    assert reply.json()["docs"] == f"errors.md#{slug}"
    return text


# ---- registering ----


async def test_a_device_is_registered_with_the_least_and_its_token_is_told_once(node: PushNode) -> None:
    first = await node.ask("POST", DEVICES, device_body())
    assert (first.status, first.headers["content-type"]) == (201, "application/json")
    token = first.json().pop("deviceIdentityToken")
    assert len(token) == 43
    assert first.json() == {
        "change": "inserted", "tokenHash": TOKEN_HASH, "device": VIEW, "deviceIdentityToken": token,
    }  # fmt: skip
    again = await node.ask("POST", DEVICES, device_body(appId="another", deviceSecret="planted"))
    assert (again.status, again.json()) == (201, {"change": "unchanged", "tokenHash": TOKEN_HASH, "device": VIEW})
    changed = await node.ask("POST", DEVICES, device_body(locale="de"))
    assert changed.json() == {"change": "updated", "tokenHash": TOKEN_HASH, "device": {**VIEW, "locale": "de"}}
    stored = await node.store.device("app", "tab-1")
    assert stored is not None
    assert (stored.secret_hash or "").startswith("pbkdf2-sha256$120000$")
    assert token not in (stored.secret_hash or "")


async def test_both_spellings_are_read(node: PushNode) -> None:
    body = {
        "id": "tab-1", "client_id": "u-91", "form_factor": "tablet", "platform": "android", "timezone": "Asia/Tokyo",
        "locale": "ja-JP",
        "push": {"recipient": {"transport_type": "gcm", "registration_token": "planted-token-of-tab-1"}},
    }  # fmt: skip
    assert (await node.ask("POST", DEVICES, body)).json()["device"] == VIEW


async def test_a_client_that_is_not_set_is_shown_as_null(node: PushNode) -> None:
    await node.register(client_id=None)
    assert (await node.ask("GET", f"{DEVICES}/tab-1")).json()["clientId"] is None


@pytest.mark.parametrize("word", ["1", "true", "TRUE", "yes"])
async def test_a_token_is_rotated(node: PushNode, word: str) -> None:
    old = await node.register()
    reply = await node.ask("POST", DEVICES, device_body(), headers={"X-Sockudo-Rotate-Device-Identity-Token": word})
    new = reply.json()["deviceIdentityToken"]
    assert reply.json()["change"] == "updated"
    assert new != old
    told = refused(await node.ask("GET", f"{DEVICES}/tab-1", device=old), 401, "auth_failed", "device_token_wrong")
    assert told == "invalid deviceIdentityToken"
    assert (await node.ask("GET", f"{DEVICES}/tab-1", device=new)).json() == VIEW
    assert "deviceIdentityToken" not in (await node.ask("POST", DEVICES, device_body())).json()


@pytest.mark.parametrize("word", ["0", "no", "True", ""])
async def test_other_words_rotate_nothing(node: PushNode, word: str) -> None:
    token = await node.register()
    headers = {"X-Sockudo-Rotate-Device-Identity-Token": word}
    assert "deviceIdentityToken" not in (await node.ask("POST", DEVICES, device_body(), headers=headers)).json()
    assert (await node.ask("GET", f"{DEVICES}/tab-1", device=token)).status == 200


async def test_a_device_updates_itself_and_keeps_its_token(node: PushNode) -> None:
    token = await node.register()
    headers = {"X-Sockudo-Rotate-Device-Identity-Token": "1"}
    reply = await node.ask("POST", DEVICES, device_body(locale="de"), device=token, headers=headers)
    assert (reply.status, reply.json()["change"], "deviceIdentityToken" in reply.json()) == (201, "updated", False)
    assert (await node.ask("GET", f"{DEVICES}/tab-1", device=token)).json()["locale"] == "de"


async def test_a_device_cannot_register_itself_at_first_nor_for_another(node: PushNode) -> None:
    token = await node.register()
    await node.register("tab-2")
    reply = await node.ask("POST", DEVICES, device_body("ghost"), device=token)
    told = refused(reply, 403, "forbidden", "push_device_unregistered")
    assert told == "device token registration requires an existing device"
    refused(
        await node.ask("POST", DEVICES, device_body("tab-2"), device=token), 401, "auth_failed", "device_token_wrong"
    )
    reply = await node.ask("POST", DEVICES, device_body(), device="")
    assert refused(reply, 401, "auth_failed", "device_token_missing") == "deviceIdentityToken is required"
    assert await node.store.device("app", "ghost") is None


async def test_registering_again_revives_a_device(node: PushNode) -> None:
    failed = {"state": "FAILED", "failureCount": 3, "recipient": device_body()["push"]["recipient"]}
    reply = await node.ask("POST", DEVICES, device_body(push=failed))
    assert (reply.json()["device"]["pushState"], reply.json()["device"]["pushFailureCount"]) == ("FAILED", 3)
    await node.ask("POST", DEVICES, device_body())
    assert (await node.ask("GET", f"{DEVICES}/tab-1")).json()["pushState"] == "ACTIVE"


@pytest.mark.parametrize(
    ("recipient", "kind", "provider", "token"),
    [
        ({"transportType": "apns", "deviceToken": "t"}, "apns", "apns", "t"),
        (
            {"transportType": "web", "endpoint": "https://push.test/x", "p256dh": "p", "auth": "a"},
            "web",
            "webPush",
            "https://push.test/x",
        ),
        ({"transportType": "hms", "registrationToken": "t"}, "hms", "hms", "t"),
        ({"transportType": "wns", "channelUri": "https://wns.test/"}, "wns", "wns", "https://wns.test/"),
        ({"transportType": "realtime", "channel": "t"}, "realtime", "realtime", "t"),
    ],
)
async def test_every_kind_of_recipient(
    node: PushNode, recipient: dict[str, str], kind: str, provider: str, token: str
) -> None:
    reply = await node.ask("POST", DEVICES, device_body(push={"recipient": recipient}))
    assert reply.json()["device"]["recipient"] == {
        "transportType": kind, "provider": provider, "tokenHash": sha256(token.encode()).hexdigest(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status", "slug", "told"),
    [
        ({"timezone": ""}, 400, "invalid_input", "timezone must not be empty"),
        (
            {"id": "__sockudo_client_scope__:x"},
            400,
            "invalid_input",
            "id must not start with __sockudo_client_scope__:",
        ),
        ({"formFactor": "fridge"}, 400, "invalid_input", "formFactor must be one of phone, tablet, desktop, tv, car,"),
        ({"metadata": "x" * 5000}, 400, "invalid_input", "metadata exceeds 4096 bytes"),
        (
            {"push": {"recipient": {"transportType": "smoke"}}},
            400,
            "invalid_input",
            "push.recipient.transportType must",
        ),
        (
            {"push": {"recipient": {"transportType": "web", "endpoint": "http://a.b/", "p256dh": "p", "auth": "a"}}},
            400,
            "provider_token_invalid",
            "endpoint must be an https URL",
        ),
        ({"id": 5}, 422, "wrong_shape", "Wrong shape of the JSON body: field 'id': expected string, got integer"),
    ],
)
async def test_devices_that_are_refused(
    node: PushNode, change: dict[str, Any], status: int, slug: str, told: str
) -> None:
    code = "provider_token_invalid" if slug == "provider_token_invalid" else "invalid_input"
    reply = await node.ask("POST", DEVICES, device_body(**change))
    assert refused(reply, status, code, slug).startswith(told)
    assert await node.store.devices("app", "", 10) == []


async def test_what_is_no_json_comes_before_the_capability(node: PushNode) -> None:
    headers = {"X-Sockudo-Push-Capability": "zzz"}
    refused(await node.ask("POST", DEVICES, b"{", headers=headers), 400, "invalid_input", "malformed_json")
    plain = {"Content-Type": "text/plain", **headers}
    refused(
        await node.ask("POST", DEVICES, device_body(), headers=plain), 415, "invalid_input", "unsupported_media_type"
    )
    reply = await node.ask("POST", DEVICES, device_body(), headers=headers)
    assert refused(reply, 403, "forbidden", "push_capability_unknown") == "unknown push capability requested"
    merge = {"Content-Type": "application/merge-patch+json; charset=utf-8"}
    assert (await node.ask("POST", DEVICES, device_body(), headers=merge)).status == 201


# ---- looking up and deleting ----


async def test_a_device_that_is_not_there(node: PushNode) -> None:
    reply = await node.ask("GET", f"{DEVICES}/none")
    assert refused(reply, 404, "device_not_found", "device_not_found") == "device not found"
    token = await node.register()
    reply = await node.ask("GET", f"{DEVICES}/none", device=token)
    refused(reply, 404, "device_not_found", "device_not_found")
    refused(await node.ask("GET", f"{DEVICES}/none", device=""), 401, "auth_failed", "device_token_missing")


async def test_a_device_deletes_itself_and_a_backend_whatever_it_likes(node: PushNode) -> None:
    token = await node.register()
    await node.register("tab-2")
    await node.subscribe("parcel-1", "tab-1")
    refused(await node.ask("DELETE", f"{DEVICES}/tab-2", device=token), 401, "auth_failed", "device_token_wrong")
    gone = await node.ask("DELETE", f"{DEVICES}/tab-1", device=token)
    assert (gone.status, gone.body) == (204, b"")
    assert (await node.ask("GET", SUBSCRIPTIONS)).json()["items"] == []
    refused(await node.ask("DELETE", f"{DEVICES}/tab-1", device=token), 404, "device_not_found", "device_not_found")
    assert (await node.ask("DELETE", f"{DEVICES}/tab-1")).status == 204
    assert (await node.ask("DELETE", f"{DEVICES}/tab-2")).status == 204
    assert (await node.ask("GET", DEVICES)).json() == {"items": [], "next_cursor": None, "has_more": False}


async def test_all_devices_of_a_client_are_deleted_at_once(node: PushNode) -> None:
    for number in range(3):
        await node.register(f"tab-{number}")
    await node.register("other", client_id="u-92")
    reply = await node.ask("DELETE", DEVICES)
    assert refused(reply, 400, "invalid_input", "invalid_input") == "removeWhere requires clientId"
    refused(await node.ask("DELETE", DEVICES, clientId=""), 400, "invalid_input", "invalid_input")
    reply = await node.ask("DELETE", DEVICES, clientId="u-91")
    assert (reply.status, reply.json()) == (200, {"deleted": 3, "consistency": "eventual"})
    assert (await node.ask("DELETE", DEVICES, clientId="u-91")).json()["deleted"] == 0
    assert [device["id"] for device in await node.walk(DEVICES)] == ["other"]


async def test_ids_with_slashes_and_letters_of_others(node: PushNode) -> None:
    name = "a/b ü?"
    await node.register(name)
    path = "/apps/app/push/deviceRegistrations/a%2Fb%20%C3%BC%3F"
    assert (await node.ask("GET", "", raw_path=path)).json()["id"] == name
    assert (await node.ask("DELETE", "", raw_path=path)).status == 204
    assert await node.store.device("app", name) is None


async def test_one_app_sees_nothing_of_another(node: PushNode) -> None:
    other = live_app("other")
    token = await node.register()
    await node.subscribe("parcel-1", "tab-1")
    for what in (DEVICES, SUBSCRIPTIONS, f"{SUBSCRIPTIONS}/channels"):
        assert (await node.ask("GET", what, app=other)).json()["items"] == []
    refused(await node.ask("GET", f"{DEVICES}/tab-1", app=other), 404, "device_not_found", "device_not_found")
    refused(
        await node.ask("GET", f"{DEVICES}/tab-1", app=other, device=token), 404, "device_not_found", "device_not_found"
    )
    await node.ask("DELETE", f"{DEVICES}/tab-1", app=other)
    await node.ask("DELETE", SUBSCRIPTIONS, app=other, channel="parcel-1")
    assert len(await node.walk(SUBSCRIPTIONS)) == 1


# ---- subscriptions ----


async def test_what_a_subscription_lacks_comes_from_its_device(node: PushNode) -> None:
    await node.register()
    reply = await node.ask("POST", SUBSCRIPTIONS, {"channel": "parcel-1", "device_id": "tab-1"})
    whole = {
        "appId": "app", "channel": "parcel-1", "deviceId": "tab-1", "provider": "fcm", "tokenHash": TOKEN_HASH,
    }  # fmt: skip
    assert (reply.status, reply.json()) == (201, whole)
    told = refused(
        await node.ask("POST", SUBSCRIPTIONS, {"channel": "c", "deviceId": "none"}),
        404,
        "device_not_found",
        "device_not_found",
    )
    assert told == "device not found"


async def test_what_is_given_is_stored_as_it_is(node: PushNode) -> None:
    body = {
        "channel": "parcel-1", "deviceId": "nobody", "clientId": "u", "provider": "webpush", "tokenHash": "h",
        "credentialVersion": 3,
    }  # fmt: skip
    reply = await node.ask("POST", SUBSCRIPTIONS, {**body, "appId": "x"})
    assert (reply.status, reply.json()) == (201, {**body, "appId": "app", "provider": "webPush"})
    await node.ask("POST", SUBSCRIPTIONS, {**body, "tokenHash": "h2"})
    assert [row["tokenHash"] for row in await node.walk(SUBSCRIPTIONS)] == ["h2"]


async def test_a_device_subscribes_itself_alone(node: PushNode) -> None:
    token = await node.register()
    await node.register("tab-2")
    body = {"channel": "parcel-1", "deviceId": "tab-1"}
    assert (await node.ask("POST", SUBSCRIPTIONS, body, device=token)).status == 201
    foreign = {"channel": "parcel-1", "deviceId": "tab-2"}
    refused(await node.ask("POST", SUBSCRIPTIONS, foreign, device=token), 401, "auth_failed", "device_token_wrong")
    unknown = {"channel": "parcel-1", "deviceId": "none", "provider": "fcm", "tokenHash": "h"}
    refused(await node.ask("POST", SUBSCRIPTIONS, unknown, device=token), 404, "device_not_found", "device_not_found")
    refused(await node.ask("POST", SUBSCRIPTIONS, body, device=""), 401, "auth_failed", "device_token_missing")
    assert [row["deviceId"] for row in await node.walk(SUBSCRIPTIONS)] == ["tab-1"]


async def test_a_device_lists_and_deletes_its_own_alone(node: PushNode) -> None:
    token = await node.register()
    await node.register("tab-2")
    for device in ("tab-1", "tab-2"):
        for channel in ("parcel-1", "parcel-2"):
            await node.subscribe(channel, device)
    for method, verb in (("GET", "list"), ("DELETE", "delete")):
        for params in ({}, {"channel": "parcel-1"}):
            reply = await node.ask(method, SUBSCRIPTIONS, device=token, **params)
            told = refused(reply, 403, "forbidden", "push_capability")
            assert told == f"push-subscribe can only {verb} its own device subscriptions"
        reply = await node.ask(method, SUBSCRIPTIONS, device=token, deviceId="tab-2", channel="parcel-1")
        refused(reply, 401, "auth_failed", "device_token_wrong")
        reply = await node.ask(method, SUBSCRIPTIONS, device="", deviceId="tab-1")
        refused(reply, 401, "auth_failed", "device_token_missing")
        reply = await node.ask(method, SUBSCRIPTIONS, device=token, deviceId="none")
        refused(reply, 404, "device_not_found", "device_not_found")
        reply = await node.ask(method, SUBSCRIPTIONS, device="x" * 43, deviceId="tab-1")
        refused(reply, 401, "auth_failed", "device_token_wrong")
    own = (await node.ask("GET", SUBSCRIPTIONS, device=token, deviceId="tab-1")).json()["items"]
    assert [(row["channel"], row["deviceId"]) for row in own] == [("parcel-1", "tab-1"), ("parcel-2", "tab-1")]
    pair = (await node.ask("GET", SUBSCRIPTIONS, device=token, deviceId="tab-1", channel="parcel-1")).json()["items"]
    assert [(row["channel"], row["deviceId"]) for row in pair] == [("parcel-1", "tab-1")]
    gone = await node.ask("DELETE", SUBSCRIPTIONS, device=token, deviceId="tab-1", channel="parcel-1")
    assert (gone.status, gone.json()) == (200, {"deleted": 1})
    left = [(row["channel"], row["deviceId"]) for row in await node.walk(SUBSCRIPTIONS)]
    assert left == [("parcel-1", "tab-2"), ("parcel-2", "tab-1"), ("parcel-2", "tab-2")]


@pytest.mark.parametrize("spelling", ["deviceId", "device_id"])
async def test_a_channel_and_a_device_are_exactly_that_pair_for_backends_too(node: PushNode, spelling: str) -> None:
    for device in ("tab-1", "tab-2"):
        await node.register(device)
        await node.subscribe("parcel-1", device)
        await node.subscribe("parcel-2", device)
    pair = {"channel": "parcel-1", spelling: "tab-2"}
    page = (await node.ask("GET", SUBSCRIPTIONS, **pair)).json()
    assert [(row["channel"], row["deviceId"]) for row in page["items"]] == [("parcel-1", "tab-2")]
    assert page["has_more"] is False
    assert (await node.ask("DELETE", SUBSCRIPTIONS, **pair)).json() == {"deleted": 1}
    assert (await node.ask("DELETE", SUBSCRIPTIONS, **pair)).json() == {"deleted": 0}
    assert len(await node.walk(SUBSCRIPTIONS)) == 3


async def test_deleting_by_channel_by_device_and_by_nothing(node: PushNode) -> None:
    for device in ("tab-1", "tab-2"):
        await node.register(device)
        await node.subscribe("parcel-1", device)
        await node.subscribe("parcel-2", device)
    reply = await node.ask("DELETE", SUBSCRIPTIONS)
    assert refused(reply, 400, "invalid_input", "invalid_input") == "delete requires channel or deviceId"
    # Nobody means everything by nothing.
    for params in ({"channel": ""}, {"deviceId": ""}, {"channel": "", "deviceId": "tab-1"}):
        refused(await node.ask("DELETE", SUBSCRIPTIONS, **params), 400, "invalid_input", "invalid_input")
    assert (await node.ask("DELETE", SUBSCRIPTIONS, channel="parcel-1")).json() == {"deleted": 2}
    assert (await node.ask("DELETE", SUBSCRIPTIONS, deviceId="tab-1")).json() == {"deleted": 1}
    assert (await node.ask("GET", f"{SUBSCRIPTIONS}/channels")).json()["items"] == ["parcel-2"]


# ---- lists ----


async def test_every_row_is_there_once_whatever_order_names_have(node: PushNode) -> None:
    channels = ["chan-1", "chan-11", "chan-1:a", "chan", "chan-", "é"]
    devices = ["tab-1", "tab-11", "11", "1:chan", "ü"]
    for device in devices:
        await node.register(device, client_id=device[:5])
        for channel in channels:
            await node.subscribe(channel, device)
    assert [row["id"] for row in await node.walk(DEVICES)] == sorted(devices, key=str.encode)
    assert await node.walk(f"{SUBSCRIPTIONS}/channels") == sorted(channels, key=str.encode)
    everything = [(row["channel"], row["deviceId"]) for row in await node.walk(SUBSCRIPTIONS)]
    assert sorted(everything) == sorted((channel, device) for channel in channels for device in devices)
    assert everything == sorted(everything, key=lambda pair: (":".join(pair).encode(), pair[0].encode()))
    of_channel = await node.walk(SUBSCRIPTIONS, channel="chan-1")
    assert [row["deviceId"] for row in of_channel] == sorted(devices, key=str.encode)
    of_device = await node.walk(SUBSCRIPTIONS, deviceId="tab-11")
    assert [row["channel"] for row in of_device] == sorted(channels, key=str.encode)
    assert [row["id"] for row in await node.walk(DEVICES, clientId="tab-1")] == ["tab-1", "tab-11"]


async def test_a_cursor_fits_the_list_that_gave_it_out(node: PushNode) -> None:
    for device in ("tab-1", "tab-2"):
        await node.register(device)
        await node.subscribe("parcel-1", device)
        await node.subscribe("parcel-2", device)
    cursor = (await node.ask("GET", DEVICES, limit="1")).json()["next_cursor"]
    of_channel = (await node.ask("GET", SUBSCRIPTIONS, limit="1", channel="parcel-1")).json()["next_cursor"]
    for what, params in (
        (f"{SUBSCRIPTIONS}/channels", {"cursor": cursor}),
        (DEVICES, {"cursor": cursor, "clientId": "u-91"}),
        (SUBSCRIPTIONS, {"cursor": of_channel}),
        (SUBSCRIPTIONS, {"cursor": of_channel, "channel": "parcel-2"}),
        (SUBSCRIPTIONS, {"cursor": of_channel, "deviceId": "parcel-1"}),
    ):
        reply = await node.ask("GET", what, **params)
        assert refused(reply, 400, "invalid_input", "push_cursor") == "cursor belongs to another list"
    reply = await node.ask("GET", DEVICES, app=live_app("other"), cursor=cursor)
    assert refused(reply, 400, "invalid_input", "push_cursor") == "cursor belongs to another app"
    assert refused(await node.ask("GET", DEVICES, cursor="!!"), 400, "invalid_input", "push_cursor") == (
        "cursor decode failed"
    )
    for limit in ("0", "1001", "x"):
        reply = await node.ask("GET", DEVICES, limit=limit)
        assert refused(reply, 400, "invalid_input", "push_limit") == "limit must be between 1 and 1000"


# ---- who asks ----

FOR_BACKENDS: list[tuple[str, str, Any]] = [
    ("GET", DEVICES, None),
    ("DELETE", DEVICES, None),
    ("GET", f"{SUBSCRIPTIONS}/channels", None),
    ("GET", "/credentials", None),
    ("POST", "/credentials/webpush", {"publicKey": "p", "privateKey": "k"}),
    ("GET", "/templates", None),
    ("POST", "/templates", {"templateId": "t", "defaultLocale": "en", "locales": {"en": {"title": "t", "body": "b"}}}),
    ("GET", "/templates/t", None),
    ("DELETE", "/templates/t", None),
]
FOR_DEVICES: list[tuple[str, str, Any]] = [
    ("POST", DEVICES, device_body()),
    ("GET", f"{DEVICES}/tab-1", None),
    ("DELETE", f"{DEVICES}/tab-1", None),
    ("POST", SUBSCRIPTIONS, {"channel": "c", "deviceId": "tab-1"}),
    ("GET", SUBSCRIPTIONS, None),
    ("DELETE", SUBSCRIPTIONS, None),
]


@pytest.mark.parametrize(("method", "what", "body"), FOR_BACKENDS)
async def test_what_devices_may_not(node: PushNode, method: str, what: str, body: Any) -> None:
    token = await node.register()
    reply = await node.ask(method, what, body, device=token)
    assert refused(reply, 403, "forbidden", "push_capability") == "push-admin capability is required"
    # Which capability is asked for comes before whose.
    reply = await node.ask(method, what, body, device="")
    refused(reply, 403, "forbidden", "push_capability")


@pytest.mark.parametrize(("method", "what", "body"), [*FOR_BACKENDS, *FOR_DEVICES])
async def test_every_route_is_signed_and_knows_its_capabilities(
    node: PushNode, method: str, what: str, body: Any
) -> None:
    reply = await node.ask(method, what, body, headers={"x-sockudo-push-capability": "push-root"})
    refused(reply, 403, "forbidden", "push_capability_unknown")
    unsigned = await node.wire().ask(request(method, f"/apps/app/push{what}"))
    assert unsigned.status == 400
    stranger = await node.wire().ask(request(method, f"/apps/app/push{what}?auth_key=nobody"))
    refused(stranger, 401, "auth_failed", "unknown_key")
    path = f"/apps/app/push{what}"
    crossed = signed_query(credentials(live_app("other")), method, path, timestamp=int(node.clock.time()))
    refused(await node.wire().ask(request(method, f"{path}?{crossed}")), 401, "auth_failed", "app_mismatch")
    nowhere = signed_query(credentials(node.app), method, "/apps/nil/push", timestamp=int(node.clock.time()))
    refused(
        await node.wire().ask(request(method, f"/apps/nil/push{what}?{nowhere}")), 404, "app_not_found", "app_not_found"
    )


@pytest.mark.parametrize(("method", "what", "body"), [*FOR_BACKENDS, *FOR_DEVICES])
async def test_body_md5_belongs_to_bodies(node: PushNode, method: str, what: str, body: Any) -> None:
    if method == "POST":
        path = f"/apps/app/push{what}"
        query = signed_query(credentials(node.app), "GET", path, timestamp=int(node.clock.time()))
        head = request("POST", f"{path}?{query}", {"Content-Length": "2", "Content-Type": "application/json"})
        refused(await node.wire().ask(head + b"{}"), 401, "auth_failed", "body_hash_missing")
    else:
        reply = await node.ask(method, what, body_md5="0" * 32)
        refused(reply, 401, "auth_failed", "body_hash_mismatch")


async def test_other_verbs_and_paths(node: PushNode) -> None:
    reply = await node.ask("PUT", DEVICES)
    refused(reply, 405, "method_not_allowed", "method_not_allowed")
    assert set(reply.headers["allow"].split(",")) == {"GET", "HEAD", "POST", "DELETE"}
    refused(await node.ask("POST", f"{SUBSCRIPTIONS}/channels"), 405, "method_not_allowed", "method_not_allowed")
    refused(await node.ask("GET", "/devices"), 404, "not_found", "not_found")
    await node.register()
    head = await node.ask("HEAD", f"{DEVICES}/tab-1")
    assert (head.status, head.body) == (200, b"")
    options = await node.wire().ask(request("OPTIONS", f"/apps/app/push{DEVICES}"))
    assert options.status == 200


async def test_a_token_may_come_as_a_bearer(node: PushNode) -> None:
    token = await node.register()
    ask: Callable[..., Any] = node.ask
    for scheme in ("Bearer", "bearer"):
        reply = await ask("GET", f"{DEVICES}/tab-1", device="", headers={"Authorization": f"{scheme} {token}"})
        assert reply.status == 200
    reply = await ask("GET", f"{DEVICES}/tab-1", device="", headers={"Authorization": f"Basic {token}"})
    assert "Bearer" in refused(reply, 401, "auth_failed", "device_token_missing")
    reply = await ask("GET", f"{DEVICES}/tab-1", device=token, headers={"Authorization": "Basic x"})
    assert reply.status == 200
    # A backend's proxy may add what it likes.
    assert (await ask("GET", f"{DEVICES}/tab-1", headers={"Authorization": "Basic x"})).status == 200
    assert token not in repr(Access(admin=False, token=token))


async def test_apps_whose_ids_are_not_plain_have_no_push() -> None:
    node = PushNode(live_app("a.b"))
    reply = await node.ask("GET", DEVICES)
    assert refused(reply, 400, "invalid_input", "invalid_input").startswith("appId must be 1 to 128 bytes")


async def test_questions_count_as_reads_of_the_app() -> None:
    from sockudo.config.apps import Limits

    node = PushNode(live_app("app", limits=Limits(max_read_requests_per_second=1)))
    assert (await node.ask("GET", DEVICES)).status == 200
    reply = await node.ask("GET", DEVICES)
    refused(reply, 429, "rate_limited", "rate_limited")
    assert (await node.ask("POST", DEVICES, device_body())).status == 201


async def test_before_the_store_is_open(node: PushNode) -> None:
    node.components.push_storage.put(None)
    reply = await node.ask("GET", DEVICES)
    assert refused(reply, 503, "service_unavailable", "service_unavailable") == "The push store is not open yet"
    assert reply.headers["retry-after"] == "1"
