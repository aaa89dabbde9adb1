"""``POST /push/test``: one notification past the queue, and what the provider said."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.jobs.memory import MemoryJobQueue
from sockudo.push.delivery import Readiness, Sent
from sockudo.push.messages import PUSH_QUEUE
from sockudo.push.records import OutcomeError
from sockudo.push.service import Push
from unit.push.desk import FakeProvider
from unit.push.nodes import PushNode, push_settings

TOKEN = "planted-token-of-tab-1"


class Node(PushNode):
    """FCM can send; Web Push is on and lacks its key."""

    def __init__(self) -> None:
        super().__init__()
        self.fcm = FakeProvider()

        async def ready(_: str) -> Any:
            return {"fcm": Readiness(True, "stored"), "webPush": Readiness(False, None, "VAPID_PRIVATE_KEY is not set")}

        providers = {"fcm": self.fcm, "webPush": FakeProvider()}
        options = push_settings(providers=["fcm", "webPush"])
        self.components.push = Push(
            self.store,
            MemoryJobQueue(PUSH_QUEUE),
            self.clock,
            ready,
            self.rules,
            options,
            providers=providers,  # type: ignore[arg-type]
        )


@pytest.fixture
def node() -> Node:
    return Node()


async def test_a_device(node: Node) -> None:
    await node.register("tab-1")
    reply = await node.ask("POST", "/test", {"provider": "fcm", "deviceId": "tab-1", "payload": {"title": "Hi"}})
    assert reply.status == 200
    assert reply.json() == {
        "provider": "fcm",
        "outcome": "accepted",
        "tookMs": 0,
        "source": "stored",
        "deviceId": "tab-1",
        "providerMessageId": "message-1",
    }
    [(app_id, payload, recipient)] = node.fcm.sent
    assert (app_id, recipient.token) == ("app", TOKEN)
    assert payload["message"]["notification"] == {"title": "Hi", "body": None, "image": None}


async def test_a_refusal_is_an_answer_and_changes_nothing(node: Node) -> None:
    await node.register("tab-1")
    error = OutcomeError(kind="invalid_token", failure_class="device_terminal", reason="UNREGISTERED")
    node.fcm.answer = Sent("rejected", error=error)
    recipient = {"transport_type": "gcm", "registration_token": TOKEN}
    reply = await node.ask("POST", "/test", {"provider": "fcm", "recipient": recipient})
    assert reply.status == 200
    said = reply.json()
    assert said["error"] == {"class": "invalid_token", "failureClass": "device_terminal", "reason": "UNREGISTERED"}
    assert said["code"] == "provider_token_invalid"
    assert "register it again" in said["remedy"]
    assert TOKEN not in str(said)
    assert await node.store.device("app", "tab-1") is not None


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        ({"provider": "fcm"}, 400, "invalid_input", "deviceId or recipient"),
        ({"provider": "fcm", "deviceId": "ghost"}, 404, "device_not_found", "ghost"),
        ({"provider": "webpush", "deviceId": "tab-1"}, 400, "invalid_input", "belongs to fcm, not to webpush"),
        ({"provider": "realtime", "deviceId": "tab-1"}, 400, "invalid_input", "provider must be one of"),
        ({"provider": "fcm", "deviceId": "tab-1", "payload": {"title": "x" * 300}}, 400, "invalid_input", "title"),
        (
            {"provider": "wns", "recipient": {"transportType": "wns", "channelUri": "http://10.0.0.1"}},
            400,
            "provider_token_invalid",
            "channelUri",
        ),
        (
            {
                "provider": "webpush",
                "recipient": {"transportType": "web", "endpoint": "https://p.test/1", "p256dh": "p", "auth": "a"},
            },
            503,
            "credential_missing",
            "VAPID_PRIVATE_KEY is not set",
        ),
        (
            {"provider": "hms", "recipient": {"transportType": "hms", "registrationToken": "t"}},
            503,
            "credential_missing",
            "push.hms_enabled is off",
        ),
    ],
)
async def test_what_cannot_be_tried(node: Node, body: dict[str, Any], status: int, code: str, words: str) -> None:
    await node.register("tab-1")
    reply = await node.ask("POST", "/test", body)
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert words in reply.json()["error"]
    assert node.fcm.sent == []


async def test_not_by_a_device_and_not_while_push_is_off(node: Node) -> None:
    token = await node.register("tab-1")
    reply = await node.ask("POST", "/test", {"provider": "fcm", "deviceId": "tab-1"}, device=token)
    assert reply.status == 403
    node.components.push = None
    assert (await node.ask("POST", "/test", {"provider": "fcm", "deviceId": "tab-1"})).status == 503
