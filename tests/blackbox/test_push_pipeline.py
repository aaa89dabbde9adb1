"""Push in real processes: killed, stopped, without their database; FCM is a stand-in (spec: push § 7.8, 13)."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

from sockudo.testing.push_answers import ProviderAnswer
from support.ports import free_port
from support.push_ground import ground, numbers, seeded, tokens
from support.waiting import wait_until
from support.websocket import WebSocket

_COUNT = 80
_GONE = b'{"error":{"status":"NOT_FOUND","details":[{"errorCode":"UNREGISTERED"}]}}'


def test_a_publish_reaches_its_devices_and_says_so(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.fcm_server() as push:
        sent = [push.register(f"device-{number}", "news") for number in range(3)]
        place.script(sent[1], ProviderAnswer(404, body=_GONE))
        place.script(sent[2], ProviderAnswer(429, headers={"retry-after": "1"}))
        push.publish("first")
        status = push.ended("first")
        assert status["state"] == "partiallySucceeded"
        assert status["counters"] == numbers(3, dispatched=3, succeeded=2, failed=1, retryScheduled=1, retryAttempted=1)
        assert status["code"] == "provider_token_invalid"
        assert place.sends == {sent[0]: 1, sent[1]: 1, sent[2]: 2}
        left = push.done("GET", "/deviceRegistrations")["items"]
        assert [device["id"] for device in left] == ["device-0", "device-2"]
        metrics = push.server.metrics()
        assert 'sockudo_push_dispatched_total{app="app-id",' in metrics
        assert "token-" not in metrics


def test_a_notification_may_go_to_a_channel_of_this_server(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.fcm_server() as push, WebSocket(push.server) as client:
        client.greeting()
        client.subscribe("room")
        recipient = {"transportType": "realtime", "channel": "room"}
        body = {"recipients": [{"type": "recipient", "recipient": recipient}], "payload": {"title": "Hello"}}
        answer = push.done("POST", "/publish", body)
        event = client.event()
        assert (event["event"], event["channel"]) == ("push", "room")
        assert json.loads(event["data"])["notification"]["title"] == "Hello"
        status = push.ended(answer["publishId"])
        assert status["counters"] == numbers(1, dispatched=1, succeeded=1)


def test_kills_at_random_moments_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    dice = random.Random(11)
    kills = 0
    seeded(tmp_path, tokens(_COUNT), channel="news")
    with ground(tmp_path, delay=0.05) as place:
        with place.fcm_server() as push:
            push.publish("killed")
            # Right after the answer.
            push.server.send_signal(signal.SIGKILL)
            kills += 1
            assert push.server.wait() == -signal.SIGKILL
        for _ in range(4):
            with place.fcm_server(PUSH_DISPATCH_MAX_OUTBOUND_REQUESTS="8") as push:
                before = sum(place.sends.values())
                wait_until(lambda before=before: sum(place.sends.values()) > before, "sends", timeout=40)
                dice_wait = dice.randrange(1, 60)
                wait_until(
                    lambda before=before, more=dice_wait: (
                        sum(place.sends.values()) > before + more or push.status("killed")["state"] == "succeeded"
                    ),
                    "some more sends",
                )
                push.server.send_signal(signal.SIGKILL)
                kills += 1
                assert push.server.wait() == -signal.SIGKILL
        with place.fcm_server() as push:
            status = push.ended("killed", timeout=60)
        assert status["state"] == "succeeded"
        assert status["counters"] == numbers(_COUNT, dispatched=_COUNT, succeeded=_COUNT)
        assert set(place.sends) == {each.token for each in tokens(_COUNT)}
        assert max(place.sends.values()) <= 1 + kills


def test_a_stop_ends_what_is_under_way_and_the_next_process_goes_on(tmp_path: Path) -> None:
    seeded(tmp_path, tokens(_COUNT), channel="news")
    with ground(tmp_path, delay=0.2) as place:
        with place.fcm_server(PUSH_DISPATCH_MAX_OUTBOUND_REQUESTS="8") as push:
            push.publish("stopped")
            wait_until(lambda: place.sends.total() > 20, "sends")
            assert push.server.terminate() == 0
        assert place.sends.total() < _COUNT
        with place.fcm_server() as push:
            status = push.ended("stopped", timeout=20)
        assert status["counters"] == numbers(_COUNT, dispatched=_COUNT, succeeded=_COUNT)
        assert set(place.sends.values()) == {1}


def test_nothing_is_opened_for_push_that_nobody_uses(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.fcm_server(PUSH_FCM_ENABLED="false") as push:
        assert push.server.request("GET", "/up").status == 200
        assert not list(tmp_path.glob("push*"))
        push.register("device-0", "news")
        assert list(tmp_path.glob("push.sqlite3"))
        assert not list(tmp_path.glob("push-queue*"))
        reply = push.server.signed(
            "POST",
            "/apps/app-id/push/publish",
            body={"recipients": [{"type": "channel", "channel": "news"}], "payload": {"title": "x"}},
        )
        assert (reply.status, reply.json()["code"]) == (503, "service_unavailable")


def test_a_database_that_is_away_stops_push_and_nothing_else(tmp_path: Path) -> None:
    config = {
        "push": {"storage_driver": "postgres", "queue_driver": "postgres"},
        "database": {"postgres": {"host": "127.0.0.1", "port": free_port()}},
    }
    with ground(tmp_path) as place, place.fcm_server(config) as push:
        assert push.server.publish("room", "event", "x").status == 200
        reply = push.server.signed("GET", "/apps/app-id/push/deviceRegistrations")
        assert (reply.status, reply.json()["code"]) == (503, "service_unavailable")
        reply = push.server.signed("GET", "/apps/app-id/push/publishes")
        assert reply.status == 503
