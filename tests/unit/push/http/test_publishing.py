"""The routes that publish notifications and tell what became of them (spec: push § 2.4, 2.5, 7.7)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sockudo import errors
from sockudo.config.apps import Limits
from sockudo.config.sections.push import PushBackpressure, PushQuotas
from sockudo.edge.lane import Lane, LaneEntry
from sockudo.edge.replies import Reply, error_reply
from sockudo.push.delivery import Batch, DeliveryJob, Readiness
from sockudo.push.messages import Retry, retry_message
from sockudo.push.recipients import FcmRecipient
from support.edge import Response
from support.inside import live_app
from support.push_stores import a_letter, an_event
from unit.push.nodes import PublishNode

TO_CHANNEL = [{"type": "channel", "channel": "parcel-1"}]
BODY: dict[str, Any] = {"recipients": TO_CHANNEL, "payload": {"title": "Shipped"}}


@pytest.fixture
def node() -> PublishNode:
    return PublishNode()


def error(reply: Response) -> tuple[int, str, str]:
    told = reply.json()
    assert told["error"] == reply.error
    return reply.status, told["code"], told["error"]


async def publish(node: PublishNode, **fields: Any) -> Any:
    reply = await node.ask("POST", "/publish", {**BODY, **fields})
    assert reply.status == 202, reply.body
    return reply.json()


# ---- publishing ----


async def test_a_publish_is_accepted_and_shown_in_every_shape(node: PublishNode) -> None:
    await node.register("tab-1")
    await node.subscribe("parcel-1", "tab-1")
    reply = await node.ask("POST", "/publish", {**BODY, "publishId": "ship"})
    assert reply.status == 202
    assert reply.headers["content-type"] == "application/json"
    assert "x-sockudo-forced-async" not in reply.headers
    answer = reply.json()
    previews = answer.pop("renderedPayloads")
    assert answer == {
        "publishId": "ship",
        "publish_id": "ship",
        "status": "accepted",
        "expectedRecipients": 1,
        "fanoutRegime": "fastPath",
    }
    assert [preview["provider"] for preview in previews] == ["fcm", "apns", "webPush", "hms", "wns", "realtime"]
    assert previews[5] == {
        "provider": "realtime",
        "payload": {"notification": {"title": "Shipped", "body": None, "image": None}, "data": None},
        "usedOverride": False,
    }


async def test_both_spellings_of_a_publish(node: PublishNode) -> None:
    await node.register("tab-1")
    for number, body in enumerate(
        (
            {
                "publish_id": "p0",
                "recipients": [{"type": "device", "device_id": "tab-1"}, {"type": "client", "client_id": "u-91"}],
                "payload": {"title": "t", "template_data": {"a": 1}, "collapse_key": "k"},
                "provider_overrides": [{"provider": "webpush", "payload": {"x": 1}}],
                "not_before_ms": node.now_ms + 1000,
                "expires_at_ms": node.now_ms + 2000,
            },
            {
                "publishId": "p1",
                "recipients": [{"type": "device", "deviceId": "tab-1"}, {"type": "client", "clientId": "u-91"}],
                "payload": {"title": "t", "templateData": {"a": 1}, "collapseKey": "k"},
                "providerOverrides": [{"provider": "webPush", "payload": {"x": 1}}],
                "notBeforeMs": node.now_ms + 1000,
                "expiresAtMs": node.now_ms + 2000,
            },
        )
    ):
        reply = await node.ask("POST", "/publish", body)
        assert (reply.status, reply.json()["expectedRecipients"]) == (202, 2)
        assert reply.json()["renderedPayloads"][2] == {"provider": "webPush", "payload": {"x": 1}, "usedOverride": True}
        assert reply.json()["publishId"] == f"p{number}"
    first, second = await node.store.intents("app", "", 10)
    assert replace(first, publish_id="p1", accepted_at_ms=second.accepted_at_ms) == second


async def test_an_idempotency_key_is_the_id_where_there_is_none(node: PublishNode) -> None:
    assert (await publish(node, idempotency_key="key-1"))["publishId"] == "key-1"
    assert (await publish(node, idempotencyKey="key-2", publishId="own"))["publishId"] == "own"


async def test_the_same_publish_thrice_is_one(node: PublishNode) -> None:
    """Scenario 13."""
    answers = [
        await publish(node, publishId="ship"),
        await publish(node, publishId="ship"),
        await publish(node, publishId="ship", payload={"title": "Other"}),
    ]
    assert {(answer["publishId"], answer["status"]) for answer in answers} == {("ship", "accepted")}
    assert [intent.payload.title for intent in await node.store.intents("app", "", 10)] == ["Shipped"]
    replies = await asyncio.gather(*(node.ask("POST", "/publish", {**BODY, "publishId": "p"}) for _ in range(10)))
    assert {reply.status for reply in replies} == {202}
    assert len(await node.store.intents("app", "", 10)) == 2


@pytest.mark.parametrize(("body", "params"), [({"sync": True}, {}), ({}, {"mode": "sync"})])
async def test_whoever_wants_to_wait_is_told_that_nobody_does(
    node: PublishNode, body: dict[str, Any], params: dict[str, str]
) -> None:
    reply = await node.ask("POST", "/publish", {**BODY, **body}, **params)
    assert reply.status == 202
    assert reply.headers["x-sockudo-forced-async"] == "publish-api-is-async"


@pytest.mark.parametrize(
    ("body", "headers", "params"),
    [
        ({**BODY, "publishId": "ship"}, {}, {}),
        ({**BODY, "publishId": "ship", "sync": True}, {}, {}),
        ({**BODY, "publishId": "ship"}, {}, {"mode": "sync"}),
        ({**BODY, "publishId": "ship"}, {"X-Sockudo-Push-Capability": "push-admin"}, {}),
        ({**BODY, "publishId": "ship"}, {"X-Sockudo-Push-Capability": "push-subscribe"}, {}),
        (
            {**BODY, "publishId": "ship"},
            {"X-Sockudo-Push-Capability": "push-subscribe", "Authorization": "Basic x"},
            {},
        ),
        ({**BODY, "publishId": "ship"}, {"X-Sockudo-Push-Capability": "zzz"}, {}),
        ({**BODY, "publishId": "ship"}, {"X-Sockudo-Push-Quota-Override": "1"}, {}),
        ({**BODY, "publishId": "ship"}, {"Content-Type": "text/plain"}, {}),
        ({**BODY, "publishId": "ship", "expiresAtMs": 1}, {}, {}),
        ({**BODY, "recipients": [{"type": "device", "deviceId": "ghost"}]}, {}, {}),
        ({**BODY, "payload": {"templateData": {"x": "y" * 4200}}}, {}, {}),
        (b"{", {}, {}),
        ([], {}, {}),
    ],
)
async def test_the_express_lane_answers_what_the_route_does(
    body: Any, headers: dict[str, str], params: dict[str, str]
) -> None:
    replies = []
    for way in ({}, {"Upgrade": "h2c", "Connection": "Upgrade"}):
        node = PublishNode(quotas=PushQuotas(fanout_max=0))
        await node.register("tab-1")
        await node.subscribe("parcel-1", "tab-1")
        reply = await node.ask("POST", "/publish", body, headers=headers | way, **params)
        kept = [replace(intent, accepted_at_ms=0) for intent in await node.store.intents("app", "", 10)]
        told = {name: value for name, value in reply.headers.items() if name != "date"}
        replies.append((reply.status, told, reply.body, kept, dict(node.gateway.refused_requests)))
        assert not node.edge.state.tasks
    assert replies[0] == replies[1]


async def test_a_traced_publish_takes_the_way_that_is_traced(
    node: PublishNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tracer:
        def headers(self) -> tuple[tuple[str, str], ...]:
            return (("traceparent", "active"),)

    taken: list[object] = []

    def draining(*parts: object) -> Reply:
        taken.append(parts)
        return error_reply(errors.DRAINING())

    entry = LaneEntry(lambda: True, draining)
    monkeypatch.setattr(node.edge, "lane", Lane({"push/publish": entry}))
    assert (await node.ask("POST", "/publish", BODY)).status == errors.DRAINING.status
    assert len(taken) == 1
    node.edge.tracer = node.push.tracer = Tracer()  # type: ignore[assignment]
    await publish(node, publishId="ship")
    intent = await node.store.intent("app", "ship")
    assert intent is not None
    assert intent.trace == (("traceparent", "active"),)
    assert len(taken) == 1


async def test_a_batch_ends_with_its_first_refusal_and_keeps_what_came_before(node: PublishNode) -> None:
    assert (await node.ask("POST", "/batch/publish", [])).json() == {"items": []}
    items = [{**BODY, "publishId": name} for name in ("one", "two")]
    reply = await node.ask("POST", "/batch/publish", items)
    assert reply.status == 202
    assert [item["publishId"] for item in reply.json()["items"]] == ["one", "two"]
    bad = {**BODY, "payload": {"title": "t" * 257}}
    reply = await node.ask("POST", "/batch/publish", [{**BODY, "publishId": "three"}, bad, {**BODY, "publishId": "x"}])
    assert error(reply) == (400, "invalid_input", "title exceeds 256 bytes")
    assert {intent.publish_id for intent in await node.store.intents("app", "", 10)} == {"one", "two", "three"}
    reply = await node.ask("POST", "/batch/publish", BODY)
    assert reply.status == 422


# ---- the documented failures ----


async def test_a_device_that_does_not_exist(node: PublishNode) -> None:
    reply = await node.ask("POST", "/publish", {**BODY, "recipients": [{"type": "device", "deviceId": "ghost"}]})
    assert error(reply) == (404, "device_not_found", "device 'ghost' is not registered")
    await node.register("tab-1")
    targets = [{"type": "device", "deviceId": name} for name in ("ghost", "tab-1")]
    answer = await publish(node, recipients=targets, publishId="ship")
    assert (answer["expectedRecipients"], answer["missing"]) == (1, ["device:ghost"])
    status = (await node.ask("GET", "/publish/ship/status")).json()
    assert status["missing"] == ["device:ghost"]


async def test_an_address_that_cannot_be_asked(node: PublishNode) -> None:
    recipient = {"transportType": "web", "endpoint": "https://10.0.0.1/planted", "p256dh": "p", "auth": "a"}
    reply = await node.ask("POST", "/publish", {**BODY, "recipients": [{"type": "recipient", "recipient": recipient}]})
    assert error(reply) == (400, "provider_token_invalid", "endpoint must not have a local or private host")


async def test_credentials_that_are_missing() -> None:
    """Scenario 17."""
    node = PublishNode(providers=frozenset())
    reply = await node.ask("POST", "/publish", BODY)
    assert error(reply) == (503, "service_unavailable", "push admission unavailable: push providers are disabled")
    node = PublishNode()
    node.ready = {"apns": Readiness(True), "fcm": Readiness(False, None, "set FCM_SERVICE_ACCOUNT_JSON")}
    recipient = {"transportType": "gcm", "registrationToken": "planted-token"}
    reply = await node.ask("POST", "/publish", {**BODY, "recipients": [{"type": "recipient", "recipient": recipient}]})
    assert error(reply) == (
        503,
        "credential_missing",
        "push admission unavailable: provider credentials are not ready (fcm: set FCM_SERVICE_ACCOUNT_JSON)",
    )
    node.components.push = None
    reply = await node.ask("POST", "/publish", BODY)
    assert error(reply) == (503, "service_unavailable", "push admission unavailable: push providers are disabled")


@pytest.mark.parametrize("path", ["/publish/nope/status", "/publish/nope/deliveries"])
async def test_a_publish_that_does_not_exist(node: PublishNode, path: str) -> None:
    status, code, text = error(await node.ask("GET", path))
    assert (status, code) == (404, "publish_not_found")
    assert text == "publish status not found: this app has no push publish 'nope'"


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ({"expiresAtMs": 1}, "expiresAtMs is in the past: 1, and now is "),
        ({"notBeforeMs": "soon"}, "notBeforeMs must be a Unix time in whole milliseconds"),
        ({"notBeforeMs": 1.5}, "notBeforeMs must be a Unix time in whole milliseconds"),
        ({"expires_at_ms": -1}, "expiresAtMs must be a Unix time in whole milliseconds"),
        ({"notBeforeMs": True}, "notBeforeMs must be a Unix time in whole milliseconds"),
        ({"notBeforeMs": 4_000_000_000_000, "expiresAtMs": 4_000_000_000_000}, "expiresAtMs (4000000000000) must be "),
    ],
)
async def test_times_that_cannot_be_kept(node: PublishNode, times: dict[str, Any], text: str) -> None:
    for path in ("/publish", "/scheduled"):
        status, code, told = error(await node.ask("POST", path, {**BODY, **times}))
        assert (status, code) == (400, "scheduled_push_invalid")
        assert told.startswith(text)


async def test_a_provider_that_would_not_take_it(node: PublishNode) -> None:
    """Scenario 16: 413 with who, how much and how much at most."""
    payload = {"title": "t", "templateData": {"x": "y" * 4192}}
    status, code, text = error(await node.ask("POST", "/publish", {**BODY, "payload": payload}))
    assert (status, code) == (413, "push_payload_too_large")
    assert text.startswith("fcm payload exceeds 4096 bytes: it has 4")
    status, code, text = error(await node.ask("POST", "/publish", {**BODY, "payload": {"body": "y" * 5000}}))
    assert (status, code) == (413, "push_payload_too_large")
    assert "body exceeds 4096 bytes" in text
    assert text.endswith("it has 5000")
    overrides = [{"provider": "fcm", "payload": {"message": {"data": "y" * 5000}}}]
    status, code, text = error(await node.ask("POST", "/publish", {**BODY, "providerOverrides": overrides}))
    assert (status, code) == (413, "push_payload_too_large")
    assert text.startswith("fcm override exceeds 4096 bytes: it has 50")
    payload = {"title": "t", "templateData": {"x": "y" * 8192}}
    assert (await node.ask("POST", "/publish", {**BODY, "payload": payload})).status == 400


async def test_own_limits_say_when_to_come_back() -> None:
    node = PublishNode(acceptance_rps=1)
    await publish(node)
    reply = await node.ask("POST", "/publish", BODY)
    assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (429, "rate_limited", "1")
    node = PublishNode(backpressure=PushBackpressure(always=True, retry_after_seconds=9))
    reply = await node.ask("POST", "/publish", BODY)
    assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (429, "rate_limited", "9")


async def test_quotas_and_who_may_go_over_them() -> None:
    """Scenario 18."""
    node = PublishNode(quotas=PushQuotas(fanout_max=0))
    await node.register("tab-1")
    await node.subscribe("parcel-1", "tab-1")
    for _ in range(2):
        assert (await publish(node, publishId="ship"))["status"] == "quota_exceeded"
    assert await node.store.intents("app", "", 10) == []
    status = (await node.ask("GET", "/publish/ship/status")).json()
    assert (status["state"], status["code"]) == ("quota_exceeded", "quota_exceeded")
    assert status["errorReason"] == "fanout_max exceeded: 1 recipients, at most 0"
    headers = {"X-Sockudo-Push-Quota-Override": "please"}
    reply = await node.ask("POST", "/publish", {**BODY, "publishId": "more"}, headers=headers)
    assert reply.json()["status"] == "accepted"
    assert len(await node.store.intents("app", "", 10)) == 1


async def test_templates_that_do_not_fit(node: PublishNode) -> None:
    """Scenario 14."""
    texts = {"title": "Shipped {{ data.no }}", "body": "b"}
    template = {"templateId": "shipped", "defaultLocale": "en", "locales": {"en": texts}}
    assert (await node.ask("POST", "/templates", template)).status == 201
    reply = await node.ask("POST", "/publish", {**BODY, "publishId": "p", "payload": {"templateId": "shipped"}})
    assert error(reply) == (
        400,
        "invalid_input",
        "invalid template substitution: placeholder key is missing (title: data.no)",
    )
    reply = await node.ask("POST", "/publish", {**BODY, "publishId": "p", "payload": {"templateId": "nope"}})
    assert error(reply) == (400, "invalid_input", "push template nope not found")
    assert await node.store.status("app", "p") is None


async def test_a_template_that_changes_later_changes_nothing(node: PublishNode) -> None:
    """Scenario 15."""
    for title in ("Old {{ data.no }}", "New"):
        template = {"templateId": "x", "defaultLocale": "en", "locales": {"en": {"title": title, "body": "b"}}}
        assert (await node.ask("POST", "/templates", template)).status == 201
        if title != "New":
            payload = {"templateId": "x", "templateData": {"no": 7}}
            await publish(node, publishId="ship", payload=payload, notBeforeMs=node.now_ms + 60_000)
    intent = await node.store.intent("app", "ship")
    assert intent is not None
    assert intent.payload.title == "Old {{ data.no }}"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 400),
        ({"payload": {"title": "x"}}, 400),
        ({"recipients": [], "payload": {"title": "x"}}, 400),
        ({"recipients": TO_CHANNEL}, 422),
        ({"recipients": TO_CHANNEL, "payload": "x"}, 422),
        ({"recipients": [{"type": "client"}], "payload": {}}, 400),
        ({"recipients": TO_CHANNEL * 1025, "payload": {}}, 400),
        ([], 422),
    ],
)
async def test_bodies_that_cannot_be_read(node: PublishNode, body: Any, status: int) -> None:
    reply = await node.ask("POST", "/publish", body)
    assert (reply.status, reply.json()["code"]) == (status, "invalid_input")


async def test_only_json_is_read(node: PublishNode) -> None:
    reply = await node.ask("POST", "/publish", BODY, headers={"Content-Type": "text/plain"})
    assert reply.status == 415


# ---- who may ----


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/publish", BODY),
        ("POST", "/batch/publish", [BODY]),
        ("POST", "/scheduled", BODY),
        ("GET", "/scheduled", None),
        ("DELETE", "/scheduled/x", None),
        ("GET", "/publish/x/status", None),
        ("GET", "/publish/x/deliveries", None),
        ("GET", "/publishes", None),
        ("GET", "/why", None),
        ("GET", "/deadLetters", None),
        ("POST", "/deadLetters/x/replay", b""),
        (
            "POST",
            "/deliveryStatus",
            {
                "publishId": "p",
                "eventId": "e",
                "occurredAtMs": 1,
                "result": {"provider": "fcm", "batchId": "b", "outcome": "accepted"},
            },
        ),
    ],
)
async def test_none_of_it_is_for_devices(node: PublishNode, method: str, path: str, body: Any) -> None:
    reply = await node.ask(method, path, body, device="some-token")
    assert error(reply) == (403, "forbidden", "push-admin capability is required")
    reply = await node.ask(method, path, body, headers={"X-Sockudo-Push-Capability": "zzz"})
    assert error(reply) == (403, "forbidden", "unknown push capability requested")


# ---- scheduled ----


async def test_a_publish_for_later_waits_is_listed_and_can_be_stopped(node: PublishNode) -> None:
    reply = await node.ask("POST", "/scheduled", BODY)
    assert error(reply) == (400, "scheduled_push_invalid", "a scheduled push requires notBeforeMs")
    due = node.now_ms + 60_000
    for name in ("one", "two", "three"):
        reply = await node.ask("POST", "/scheduled", {**BODY, "publishId": name, "notBeforeMs": due})
        assert (reply.status, reply.json()["status"]) == (202, "accepted")
        node.clock.advance(0.01)
    await publish(node, publishId="now")
    assert [row["publishId"] for row in await node.walk("/scheduled")] == ["three", "two", "one"]
    for _ in range(2):
        reply = await node.ask("DELETE", "/scheduled/two")
        assert (reply.status, reply.body) == (204, b"")
    assert (await node.ask("DELETE", "/scheduled/nobody")).status == 204
    rows = (await node.ask("GET", "/scheduled")).json()["items"]
    assert [(row["publishId"], row["notBeforeMs"], row["state"]) for row in rows] == [
        ("three", due, "queued"),
        ("one", due, "queued"),
    ]
    assert (await node.ask("GET", "/publish/two/status")).json()["state"] == "cancelled"
    assert (await node.ask("DELETE", "/scheduled/now")).status == 204
    assert (await node.ask("GET", "/publish/now/status")).json()["state"] == "queued"


# ---- what became of it ----


async def test_publishes_are_listed_newest_first_and_by_state(node: PublishNode) -> None:
    for name in ("one", "two", "three"):
        await publish(node, publishId=name)
        node.clock.advance(0.01)
    await node.ask("POST", "/scheduled", {**BODY, "publishId": "later", "notBeforeMs": node.now_ms + 60_000})
    await node.ask("DELETE", "/scheduled/later")
    assert [row["publishId"] for row in await node.walk("/publishes")] == ["later", "three", "two", "one"]
    assert [row["publishId"] for row in await node.walk("/publishes", state="queued")] == ["three", "two", "one"]
    rows = (await node.ask("GET", "/publishes", state="cancelled")).json()["items"]
    assert [row["publishId"] for row in rows] == ["later"]
    assert (await node.ask("GET", "/publishes", state="done")).status == 400
    page = (await node.ask("GET", "/publishes", limit="1", state="queued")).json()
    reply = await node.ask("GET", "/publishes", cursor=page["next_cursor"])
    assert reply.json()["error"] == "cursor belongs to another list"


async def test_single_deliveries_by_device(node: PublishNode) -> None:
    await publish(node, publishId="ship")
    events = []
    for number, device_id in enumerate(("a", "b", "a")):
        event = an_event(f"e{number}", node.now_ms + number)
        events.append(replace(event, result=replace(event.result, device_id=device_id)))
    await node.store.append_events(events)
    rows = await node.walk("/publish/ship/deliveries")
    assert [(row["deviceId"], row["outcome"]) for row in rows] == [
        ("a", "accepted"),
        ("b", "accepted"),
        ("a", "accepted"),
    ]
    assert [row["eventId"] for row in await node.walk("/publish/ship/deliveries", deviceId="a")] == ["e0", "e2"]
    reply = await node.ask("GET", "/publish/ship/deliveries", device_id="b")
    assert [row["eventId"] for row in reply.json()["items"]] == ["e1"]


async def test_dead_letters_are_listed_filtered_and_replayed(node: PublishNode) -> None:
    """Scenario 26."""
    batch = Batch(
        app_id="app",
        publish_id="ship",
        provider="webPush",
        batch_id="fast-batch-webPush-1",
        payload=msgspec.Raw(b'{"planted":1}'),
        jobs=[DeliveryJob(FcmRecipient("planted-token"), "phone")],
        attempt=5,
    )
    held = retry_message(Retry(batch=batch, reason="quota", due_at_ms=1)).body
    await node.store.append_dead_letters(
        [
            a_letter("marker", 1000, payload=None),
            a_letter("kept", 2000, provider="webPush", payload=held),
            a_letter("late", 3000, payload=None, provider=None),
        ]
    )
    assert [row["deadLetterId"] for row in await node.walk("/deadLetters")] == ["marker", "kept", "late"]
    for spelling in ("webpush", "webPush", "web_push"):
        rows = (await node.ask("GET", "/deadLetters", provider=spelling)).json()["items"]
        assert [row["deadLetterId"] for row in rows] == ["kept"]
    for params, found in (
        ({"sinceMs": "2000"}, ["kept", "late"]),
        ({"untilMs": "2000"}, ["marker", "kept"]),
        ({"since_ms": "2000", "until_ms": "2000"}, ["kept"]),
    ):
        rows = (await node.ask("GET", "/deadLetters", **params)).json()["items"]
        assert [row["deadLetterId"] for row in rows] == found
    for params in (
        {"provider": "pigeon"},
        {"provider": "realtime"},
        {"sinceMs": "x"},
        {"sinceMs": "2", "untilMs": "1"},
    ):
        reply = await node.ask("GET", "/deadLetters", **params)
        assert (reply.status, reply.json()["code"]) == (400, "invalid_input")
    reply = await node.ask("POST", "/deadLetters/kept/replay", b"")
    assert reply.status == 202
    answer = reply.json()
    assert (answer["deadLetterId"], answer["replayed"]) == ("kept", True)
    leases = await node.queue.lease("delivery_jobs_webpush", 10, node.now_ms, node.now_ms + 1000)
    assert [lease.job.key for lease in leases] == [answer["messageId"]]
    assert "planted" not in reply.body.decode()
    reply = await node.ask("POST", "/deadLetters/marker/replay", b"")
    assert error(reply) == (400, "invalid_input", "dead-letter does not retain an original queue payload")
    status, code, _ = error(await node.ask("POST", "/deadLetters/nope/replay", b""))
    assert (status, code) == (404, "dead_letter_not_found")


async def test_a_report_of_a_delivery_is_echoed_and_kept(node: PublishNode) -> None:
    await publish(node, publishId="ship")
    result = {"provider": "fcm", "batchId": "b", "deviceId": "phone", "outcome": "accepted", "attempt": 2}
    body = {"publishId": "ship", "eventId": "e1", "occurredAtMs": 1000, "result": result}
    reply = await node.ask("POST", "/deliveryStatus", body)
    assert reply.status == 202
    assert reply.json() == {**body, "result": {"appId": "app", "publishId": "ship", **result}}
    [row] = (await node.ask("GET", "/publish/ship/deliveries")).json()["items"]
    assert (row["deviceId"], row["eventId"], row["attempt"]) == ("phone", "e1", 2)


async def test_why_somebody_got_nothing(node: PublishNode) -> None:
    await node.register("tab-1")
    await publish(node, publishId="ship")
    reply = await node.ask("GET", "/why", who="tab-1")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    told = reply.json()
    assert (told["who"], told["of"], told["delivered"]) == ("tab-1", "device", False)
    assert [each["channels"] for each in told["devices"]] == [[]]
    assert "planted-token" not in reply.body.decode()
    assert told["refused"] == []
    assert "went to the channel parcel-1" in told["findings"][-1]["text"]
    await node.ask("POST", "/publish", {**BODY, "recipients": [{"type": "device", "deviceId": "ghost"}]})
    for name in ("publishId", "publish_id"):
        told = (await node.ask("GET", "/why", who="tab-1", thorough="true", **{name: "ship"})).json()
        assert (told["lookedAt"], told["complete"]) == (1, True)
    assert [(each["code"], each["count"]) for each in told["refused"]] == [("device_not_found", 1)]


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({}, 400, "invalid_input"),
        ({"who": ""}, 400, "invalid_input"),
        ({"who": "x" * 256}, 400, "invalid_input"),
        ({"who": "tab-1", "thorough": "maybe"}, 400, "invalid_input"),
        ({"who": "tab-1", "publishId": "nope"}, 404, "publish_not_found"),
    ],
)
async def test_why_cannot_be_asked(node: PublishNode, params: dict[str, str], status: int, code: str) -> None:
    found, told, _ = error(await node.ask("GET", "/why", **params))
    assert (found, told) == (status, code)


async def test_questions_count_as_reads_of_the_app() -> None:
    node = PublishNode(live_app("app", limits=Limits(max_read_requests_per_second=1)))
    assert (await node.ask("GET", "/publishes")).status == 200
    assert (await node.ask("GET", "/publishes")).status == 429
    assert (await node.ask("GET", "/why", who="tab-1")).status == 429
    assert (await node.ask("POST", "/publish", BODY)).status == 202


async def test_while_push_is_off_what_is_kept_can_still_be_asked_for(node: PublishNode) -> None:
    await publish(node, publishId="ship")
    await node.store.append_dead_letters([a_letter("kept", 2000), a_letter("marker", 3000, payload=None)])
    node.components.push = None
    assert (await node.ask("GET", "/publish/ship/status")).json()["state"] == "queued"
    assert [row["publishId"] for row in await node.walk("/publishes")] == ["ship"]
    assert (await node.ask("GET", "/why", who="ship")).json()["of"] == "publish"
    assert [row["deadLetterId"] for row in await node.walk("/deadLetters")] == ["kept", "marker"]
    assert (await node.ask("DELETE", "/scheduled/nope")).status == 204
    assert (await node.ask("POST", "/batch/publish", [])).json() == {"items": []}
    assert (await node.ask("POST", "/publish", {**BODY, "recipients": []})).status == 400
    for path, body in (("/publish", BODY), ("/deadLetters/kept/replay", b"")):
        reply = await node.ask("POST", path, body)
        assert error(reply) == (503, "service_unavailable", "push admission unavailable: push providers are disabled")
    assert (await node.ask("POST", "/deadLetters/marker/replay", b"")).status == 400


async def test_apps_do_not_see_each_other(node: PublishNode) -> None:
    await publish(node, publishId="ship")
    other = node.apps.by_id("other")
    assert (await node.ask("GET", "/publish/ship/status", app=other)).status == 404
    assert (await node.ask("GET", "/publishes", app=other)).json()["items"] == []
    assert (await node.ask("GET", "/why", app=other, who="ship")).json()["of"] is None
    await node.ask("DELETE", "/scheduled/ship", app=other)
    assert json.loads((await node.ask("GET", "/publish/ship/status")).body)["state"] == "queued"
