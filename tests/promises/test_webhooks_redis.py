"""Webhooks that wait in Redis: whichever server accepted them, some server delivers them."""

from __future__ import annotations

import signal
from typing import Any

from support.endpoint import WebhookEndpoint
from support.redis import PASSWORD, RedisProcess
from support.server import DEFAULT_APP, app_record, start_server
from support.waiting import wait_until
from support.websocket import WebSocket


def config(endpoint: WebhookEndpoint, redis: RedisProcess, prefix: str, timeout_ms: int = 5000) -> dict[str, Any]:
    hook = {"url": endpoint.url, "event_types": ["channel_occupied"]}
    return {
        "app_manager": {"array": {"apps": [app_record(DEFAULT_APP, webhooks=[hook])]}},
        "webhooks": {"allow_private_addresses": True, "retry": {"initial_backoff_ms": 50, "max_backoff_ms": 200}},
        "queue": {"driver": "redis", "redis": {"prefix": prefix, "response_timeout_ms": timeout_ms}},
        "database": {"redis": {"port": redis.port, "password": PASSWORD}},
    }


def channels(endpoint: WebhookEndpoint) -> set[str]:
    return {event["channel"] for event in endpoint.taken()}


def waiting(redis: RedisProcess, prefix: str) -> int:
    with redis.client() as client:
        keys = list(client.scan_iter(f"{prefix}:v2:{{webhook}}:listed:waiting:*"))
        return sum(client.zcard(key) for key in keys)


def test_what_a_killed_server_accepted_another_delivers(redis: RedisProcess, unique: str) -> None:
    with WebhookEndpoint(status=503) as endpoint:
        settings = config(endpoint, redis, unique)
        with start_server(settings):
            first = start_server(settings)
            try:
                with WebSocket(first) as client:
                    client.greeting()
                    for number in range(100):
                        client.say("pusher:subscribe", {"channel": f"room-{number}"})
                    client.until_pong()
                    wait_until(lambda: waiting(redis, unique) > 0, "the first deliveries in the queue")
                    for number in range(100, 200):
                        client.say("pusher:subscribe", {"channel": f"room-{number}"})
                    client.until_pong()
                    wait_until(lambda: waiting(redis, unique) == 200, "every event in the queue")
                    first.send_signal(signal.SIGKILL)
                    assert first.wait() == -signal.SIGKILL
            finally:
                first.close()
            endpoint.status = 200
            # What it was just sending is taken over when its lease ends.
            wait_until(lambda: len(channels(endpoint)) == 200, "all of them at the endpoint", timeout=60)
        wait_until(lambda: waiting(redis, unique) == 0, "the queue to know that all of them arrived")


def test_events_wait_for_a_redis_that_does_not_answer(redis: RedisProcess, unique: str) -> None:
    with (
        WebhookEndpoint() as endpoint,
        start_server(config(endpoint, redis, unique, timeout_ms=200)) as server,
        WebSocket(server) as client,
    ):
        client.greeting()
        client.subscribe("before")
        endpoint.waits_for(bool)
        with redis.frozen():
            client.subscribe("during")
            wait_until(lambda: "the webhook queue does not answer" in server.log, "the line about it in the log")
            assert channels(endpoint) == {"before"}
        wait_until(lambda: channels(endpoint) == {"before", "during"}, "what happened meanwhile")
        wait_until(lambda: waiting(redis, unique) == 0, "the queue to know that all of them arrived")
        assert PASSWORD not in server.log
