"""The dashboard's pages about push: what they show, what they lead to, and what they never say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from sockudo.jobs.ports import Job
from sockudo.push.delivery import Sent
from sockudo.push.records import Counters, OutcomeError, Target
from support.desk import Desk, Visitor
from support.push_accounts import apns_p12, vapid_key, vapid_public_key
from support.push_stores import a_letter
from unit.push.desk import SECRET, PushDesk

DEAD = OutcomeError(kind="invalid_token", failure_class="device_terminal", reason="Unregistered")
THROTTLED = OutcomeError(kind="quota", failure_class="provider_quota", reason="QUOTA_EXCEEDED")


@pytest.fixture
def desk() -> PushDesk:
    return PushDesk()


@pytest.fixture
async def visitor(desk: PushDesk) -> Visitor:
    return await desk.visitor()


async def text(visitor: Visitor, target: str, status: int = 200) -> str:
    reply = await visitor.get(target)
    assert reply.status == status, reply.text
    assert SECRET not in reply.text
    return reply.text


PAGES = ["", "/devices", "/dead-letters", "/credentials", "/test", "/why", "/why?q=phone"]


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_while_push_is_off(path: str) -> None:
    visitor = await Desk().visitor()
    assert "Push is off on this server" in await text(visitor, f"/dashboard/push{path}")


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_with_nothing_to_show(visitor: Visitor, path: str) -> None:
    shown = await text(visitor, f"/dashboard/push{path}")
    assert "Push is off" not in shown
    assert 'aria-current="page"' in shown


async def test_publishes_with_their_funnel(desk: PushDesk, visitor: Visitor) -> None:
    await desk.publish("first", count=2)
    await desk.outcome("first", "phone")
    await desk.outcome("first", "tab", "retry_scheduled", THROTTLED)
    shown = await text(visitor, "/dashboard/push")
    assert 'hx-trigger="every 2s"' in shown
    assert "being sent" in shown
    part = (await visitor.get("/dashboard/push", **{"hx-request": "true"})).text
    assert "<html" not in part
    assert part.strip().startswith('<section class="card" id="publishes"')
    await desk.outcome("first", "tab", attempt=2)
    shown = await text(visitor, "/dashboard/push")
    assert "every 2s" not in shown
    assert "sent to everybody" in shown


async def test_publishes_of_a_state_and_a_page_at_a_time(desk: PushDesk, visitor: Visitor) -> None:
    for number in range(60):
        await desk.publish(f"p-{number:02}", state="queued" if number else "quota_exceeded")
    first = await text(visitor, "/dashboard/push")
    assert "p-59" in first
    assert "p-09" not in first
    after = first.partition("after=")[2].partition('"')[0]
    second = await text(visitor, f"/dashboard/push?app_id={desk.app_id}&after={after}")
    assert "p-09" in second
    assert "p-10" not in second
    only = await text(visitor, "/dashboard/push?state=quota_exceeded")
    assert "p-00" in only
    assert "p-01" not in only
    await text(visitor, "/dashboard/push?state=nonsense", 400)


async def test_one_publish_says_what_failed_and_what_to_do(desk: PushDesk, visitor: Visitor) -> None:
    await desk.publish("ship", count=2, missing=["device:ghost"])
    await desk.outcome("ship", "phone", "rejected", DEAD)
    await desk.outcome("ship", "tab")
    page = f"/dashboard/push/{desk.app_id}/publishes/ship"
    shown = await text(visitor, page)
    for words in ("sent to some", "invalid_token", "Unregistered", "device:ghost", "Take the endpoint or token afresh"):
        assert words in shown
    assert f"/dashboard/push/why?app_id={desk.app_id}&amp;q=phone" in shown
    alone = await text(visitor, f"{page}?device_id=tab")
    assert "q=phone" not in alone
    assert "q=tab" in alone
    assert "No outcome of this device" in await text(visitor, f"{page}?device_id=nobody")
    await text(visitor, f"/dashboard/push/{desk.app_id}/publishes/nothing", 404)
    await text(visitor, "/dashboard/push/nobody/publishes/ship", 404)


async def test_one_publish_moves_by_itself(desk: PushDesk, visitor: Visitor) -> None:
    await desk.publish("ship", count=2)
    await desk.outcome("ship", "phone", "rejected", DEAD)
    page = f"/dashboard/push/{desk.app_id}/publishes/ship"
    part = (await visitor.get(page, **{"hx-request": "true"})).text.strip()
    assert part.startswith(f'<div class="stack" id="live" hx-get="{page}" hx-trigger="every 2s"')
    assert "invalid_token" in part
    assert "Deliveries" not in part
    await desk.outcome("ship", "tab")
    assert "every 2s" not in (await visitor.get(page, **{"hx-request": "true"})).text


async def test_a_publish_that_waits_for_credentials_says_so(desk: PushDesk, visitor: Visitor) -> None:
    await desk.publish("ship", count=2)
    await desk.outcome("ship", "tab")
    page = f"/dashboard/push/{desk.app_id}/publishes/ship"
    assert "cannot send now" not in await text(visitor, page)
    await desk.push.queue.put([Job("delivery_jobs_apns", "k", desk.app_id, b"{}")], desk.now)
    desk.clock.advance(1)
    assert "apns cannot send now: APNS_TOPIC is not set" in await text(visitor, page)
    await desk.outcome("ship", "phone")
    assert "cannot send now" not in await text(visitor, page)


async def test_a_publish_whose_time_has_not_come_is_cancelled(desk: PushDesk, visitor: Visitor) -> None:
    await desk.publish("later", not_before_ms=desk.now + 60_000)
    page = f"/dashboard/push/{desk.app_id}/publishes/later"
    assert "Cancel it" in await text(visitor, page)
    refused = await visitor.post(f"{page}/cancel")
    assert refused.status == 403
    reply = await visitor.post(f"{page}/cancel", csrf_token=visitor.csrf)
    assert (reply.status, reply.headers["location"]) == (303, page)
    shown = await text(visitor, page)
    assert "cancelled before it was sent" in shown
    assert "It is cancelled" in shown
    assert "Cancel it" not in shown


async def test_devices_are_found_and_removed(desk: PushDesk, visitor: Visitor) -> None:
    await desk.device("phone", "news", client_id="u-91")
    await desk.device("tab", state="FAILED", failure_count=3)
    shown = await text(visitor, "/dashboard/push/devices")
    assert "FAILED" in shown
    assert "3 failures" in shown
    found = await text(visitor, "/dashboard/push/devices?q=u-91")
    assert "q=phone" in found
    assert "q=tab" not in found
    assert "q=tab" in await text(visitor, "/dashboard/push/devices?q=tab")
    assert "No device and no client" in await text(visitor, "/dashboard/push/devices?q=x")
    sent = {"csrf_token": visitor.csrf, "app_id": desk.app_id, "id": "phone"}
    assert (await visitor.post("/dashboard/push/devices/remove", **sent)).status == 303
    assert await desk.store.device(desk.app_id, "phone") is None
    assert await desk.store.subscriptions(desk.app_id, device_id="phone", after="", limit=5) == []


async def test_dead_letters_are_sent_again(desk: PushDesk, visitor: Visitor) -> None:
    marker = a_letter("m" * 64, desk.now, app_id=desk.app_id, payload=None, reason="invalid_payload")
    kept = a_letter("k" * 64, desk.now, app_id=desk.app_id)
    await desk.store.append_dead_letters([marker, kept])
    shown = await text(visitor, "/dashboard/push/dead-letters")
    assert "only a note" in shown
    assert "invalid_payload" in shown
    assert "There are no dead letters" in await text(visitor, "/dashboard/push/dead-letters?provider=wns")
    sent = {"csrf_token": visitor.csrf, "app_id": desk.app_id}
    refused = await visitor.post("/dashboard/push/dead-letters/replay", **sent, id=marker.dead_letter_id)
    assert refused.status == 400
    unknown = await visitor.post("/dashboard/push/dead-letters/replay", **sent, id="x")
    assert unknown.status == 404


async def test_credentials_are_stored_and_never_shown(desk: PushDesk, visitor: Visitor) -> None:
    shown = await text(visitor, "/dashboard/push/credentials")
    for words in ("stored credential fcm", "APNS_TOPIC is not set", "push.wns_enabled is off", "PUSH_WNS_ENABLED"):
        assert words in shown
    sent = {"csrf_token": visitor.csrf, "app_id": desk.app_id, "provider": "webpush", "publicKey": "public-part"}
    bad = await visitor.post("/dashboard/push/credentials/store", **sent)
    assert bad.status in (400, 422)
    assert "privateKey" in bad.text
    assert "public-part" not in bad.text
    bad = await visitor.post("/dashboard/push/credentials/store", **sent, privateKey=SECRET)
    assert bad.status == 400
    assert "privateKey is no P-256 private key of 32 bytes in base64url" in bad.text
    assert SECRET not in bad.text
    assert await desk.store.credentials(desk.app_id, "", 10) == []
    pair = {"publicKey": vapid_public_key(), "privateKey": vapid_key(), "credentialId": "pair-1"}
    good = await visitor.post("/dashboard/push/credentials/store", **{**sent, **pair})
    assert good.status == 303
    shown = await text(visitor, "/dashboard/push/credentials")
    assert "pair-1" in shown
    stored = await desk.store.credential(desk.app_id, "pair-1")
    assert stored is not None
    assert vapid_key() not in str(stored.material)


async def test_a_certificate_of_apns_is_stored_from_its_p12(desk: PushDesk, visitor: Visitor) -> None:
    shown = await text(visitor, "/dashboard/push/credentials")
    assert 'data-fills="p12" data-encoding="base64"' in shown
    sent = {"csrf_token": visitor.csrf, "app_id": desk.app_id, "provider": "apns", "teamId": "", "pem": ""}
    now = datetime.fromtimestamp(desk.clock.time(), UTC)
    p12 = apns_p12(SECRET, now + timedelta(days=1))
    for password, told in (("", "p12 is protected by a passphrase"), ("other", "p12 has another passphrase than")):
        bad = await visitor.post("/dashboard/push/credentials/store", **sent, p12=p12, p12Password=password)
        assert bad.status == 400
        assert told in bad.text
        assert p12 not in bad.text
    good = await visitor.post("/dashboard/push/credentials/store", **sent, p12=p12, p12Password=SECRET)
    assert good.status == 303
    stored = await desk.store.credential(desk.app_id, "apns")
    assert stored is not None
    assert set(stored.material) == {"p12", "p12Password"}
    assert SECRET not in str(stored.material)
    over = apns_p12(SECRET, now - timedelta(days=1))
    late = await visitor.post("/dashboard/push/credentials/store", **sent, p12=over, p12Password=SECRET)
    assert late.status == 400
    assert f"the certificate in p12 expired on {now - timedelta(days=1):%Y-%m-%d}" in late.text


async def test_a_test_send_says_what_the_provider_answered(desk: PushDesk, visitor: Visitor) -> None:
    await desk.device("phone")
    sent = {"csrf_token": visitor.csrf, "app_id": desk.app_id, "provider": "fcm", "title": "Hello", "body": "there"}
    good = await visitor.post("/dashboard/push/test", **sent, device_id="phone", token="")
    assert good.status == 200
    assert "fcm took it" in good.text
    [(app_id, payload, recipient)] = desk.fcm.sent
    assert (app_id, payload["message"]["notification"]["title"]) == (desk.app_id, "Hello")
    assert recipient.token == f"{SECRET}-phone"
    desk.fcm.answer = Sent("rejected", error=DEAD)
    bad = await visitor.post("/dashboard/push/test", **sent, device_id="", token="another-token")
    assert bad.status == 200
    for words in ("fcm refused it", "invalid_token", "Unregistered", "Take the endpoint or token afresh"):
        assert words in bad.text
    assert "another-token" not in bad.text
    assert await desk.store.device(desk.app_id, "phone") is not None


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"provider": "fcm", "device_id": "ghost"}, 404, "ghost"),
        ({"provider": "apns", "token": "t"}, 503, "APNS_TOPIC is not set"),
        ({"provider": "wns", "token": "http://10.0.0.1/x"}, 400, "channelUri"),
        ({"provider": "webpush", "token": "not json"}, 400, "JSON of a browser"),
        ({"provider": "fcm"}, 400, "deviceId or recipient"),
        ({"provider": "nobody", "token": "t"}, 400, "provider must be one of"),
    ],
)
async def test_a_test_send_that_cannot_be(
    desk: PushDesk, visitor: Visitor, fields: dict[str, str], status: int, words: str
) -> None:
    reply = await visitor.post("/dashboard/push/test", csrf_token=visitor.csrf, app_id=desk.app_id, **fields)
    assert reply.status == status, reply.text
    assert words in reply.text
    assert "What to do:" in reply.text
    assert desk.fcm.sent == []


async def test_why_somebody_got_nothing_stands_on_one_page(desk: PushDesk, visitor: Visitor) -> None:
    await desk.device("phone", "news", client_id="u-91")
    await desk.publish("ship")
    await desk.outcome("ship", "phone", "rejected", replace(DEAD, kind="auth_failure", reason=None))
    shown = await text(visitor, "/dashboard/push/why?q=u-91")
    for words in ("fcm refused it", "auth_failure", "Store the right credentials", "news", "ACTIVE", "ship"):
        assert words in shown
    assert "/dashboard/errors/provider_auth_failed" in shown
    one = await text(visitor, "/dashboard/push/why?q=phone&publish_id=ship")
    assert "fcm refused it" in one
    await text(visitor, "/dashboard/push/why?q=phone&publish_id=nothing", 404)


async def test_markup_is_text_on_every_page(desk: PushDesk, visitor: Visitor) -> None:
    markup = "<img src=x onerror=alert(1)>"
    await desk.device(markup, markup, client_id=markup)
    await desk.publish(markup, Target(type="channel", channel=markup), missing=[f"client:{markup}"])
    await desk.outcome(markup, markup, "rejected", replace(DEAD, reason=markup, kind=markup))
    letter = a_letter("k" * 64, desk.now, markup, app_id=desk.app_id, reason=markup)
    await desk.store.append_dead_letters([letter])
    name = quote(markup, safe="")
    for path in ("", "/devices", "/dead-letters", f"/why?q={name}", f"/{desk.app_id}/publishes/{name}"):
        shown = await text(visitor, f"/dashboard/push{path}")
        assert markup not in shown, path
        assert "&lt;img" in shown, path


async def test_the_api_says_and_does_the_same(desk: PushDesk, visitor: Visitor) -> None:
    await desk.device("phone", "news", client_id="u-91")
    await desk.publish("ship", counters=Counters(planned=1))
    await desk.outcome("ship")
    base = f"/dashboard/api/v1/push/{desk.app_id}"

    async def get(path: str) -> Any:
        reply = await visitor.get(f"{base}{path}")
        assert reply.status == 200, reply.text
        assert SECRET not in reply.text
        return reply.json()

    assert (await visitor.get("/dashboard/api/v1/push")).json()["providers"][0]["provider"] == "fcm"
    [listed] = (await get("/publishes"))["items"]
    assert (listed["publishId"], listed["funnel"]["succeeded"], listed["state"]) == ("ship", 1, "succeeded")
    assert (await get("/publishes/ship"))["active"] is False
    assert [each["deviceId"] for each in (await get("/publishes/ship/deliveries"))["items"]] == ["phone"]
    assert [each["id"] for each in (await get("/devices"))["items"]] == ["phone"]
    assert (await get("/dead-letters")) == {"items": [], "after": None, "has_more": False}
    assert {each["provider"]: each["ready"] for each in (await get("/credentials"))["providers"]} == {
        "fcm": True,
        "apns": False,
        "webpush": False,
        "hms": False,
        "wns": False,
    }
    why = await get("/why?q=phone")
    assert why["publishes"][0]["reached"] is True
    assert why["refused"] == []

    headers = {"cookie": visitor.cookie, "x-csrf-token": visitor.csrf, "content-type": "application/json"}

    async def post(path: str, body: bytes = b"{}", method: str = "POST") -> Any:
        reply = await desk.ask(method, f"{base}{path}", headers, body)
        return reply.status, reply.json()

    assert await post("/publishes/ship/cancel") == (200, {"cancelled": False})
    assert (await post("/dead-letters/x/replay"))[0] == 404
    status, tried = await post("/test", b'{"provider": "fcm", "deviceId": "phone"}')
    assert (status, tried["outcome"], tried["source"]) == (200, "accepted", "stored credential fcm")
    status, stored = await post("/credentials/hms", b'{"hmsAppId": "1", "clientSecret": "planted-token"}')
    assert (status, stored["provider"]) == (200, "hms")
    assert await post("/devices/phone", b"", "DELETE") == (200, {"removed": True})
    assert (await get("/devices"))["items"] == []
