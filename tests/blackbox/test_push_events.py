"""Events that are notifications, too, on a running server; and what endpoints hear of push (spec: push § 9)."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from support.endpoint import WebhookEndpoint
from support.push_ground import ground
from support.server import DEFAULT_APP, app_record, start_server
from support.waiting import wait_until
from support.websocket import WebSocket

RULES = {"push_rules": [{"channel_pattern": "parcel-*", "event_filter": ["shipped"]}]}
DATA = {"title": "planted-title", "body": "planted-body", "no": 8841}
EVENTS = f"/apps/{DEFAULT_APP.id}/events"


def test_events_reach_sockets_and_devices(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.fcm_server(RULES) as push, WebSocket(push.server) as client:
        client.greeting()
        client.subscribe("parcel-1")
        push.register("device-0", "parcel-1")
        own = {"title": "planted-own", "templateData": {"planted": "value"}}
        event = {"name": "shipped", "data": json.dumps(DATA), "channel": "parcel-1", "extras": {"push": own}}
        reply = push.server.signed("POST", EVENTS, body=event)
        assert (reply.status, reply.text) == (200, '{"ok":true}')
        said = client.event()
        assert said == {"event": "shipped", "channel": "parcel-1", "data": json.dumps(DATA)}
        wait_until(lambda: len(place.requests) == 2, "both notifications")
        publishes = push.done("GET", "/publishes")["items"]
        assert len(publishes) == 2
        for publish in publishes:
            assert push.ended(publish["publishId"])["state"] == "succeeded"
        sent = sorted(json.loads(request.body)["message"]["notification"]["title"] for request in place.requests)
        assert sent == ["planted-own", "planted-title"]
        assert "planted" not in push.server.log
        assert "planted" not in push.server.metrics()


def test_without_a_provider_what_should_be_pushed_is_not_said() -> None:
    with start_server(RULES) as server, WebSocket(server) as client:
        client.greeting()
        client.subscribe("parcel-1")
        event: dict[str, Any] = {"name": "tide", "data": "1", "channel": "parcel-1", "extras": {"push": {"title": "x"}}}
        reply = server.signed("POST", EVENTS, body=event)
        assert reply.status == 503
        assert reply.json()["error"] == "push admission unavailable: push providers are disabled"
        reply = server.signed("POST", EVENTS, body={"name": "shipped", "data": {"title": "x"}, "channel": "parcel-1"})
        assert reply.status == 400
        assert reply.json()["error"] == "push rule for 'parcel-*': the event's data must have a string 'body'"
        # The rule's own failure is only logged: nobody waits for it.
        assert (
            server.signed("POST", EVENTS, body={"name": "shipped", "data": DATA, "channel": "parcel-1"}).status == 200
        )
        assert client.event()["event"] == "shipped"
        wait_until(lambda: "a notification of a rule is not sent" in server.log, "the log line")
        assert "planted" not in server.log


def test_endpoints_hear_of_a_publish_that_reached_nobody(tmp_path: Path) -> None:
    with ground(tmp_path) as place, WebhookEndpoint() as endpoint:
        hook = {"url": endpoint.url, "event_types": ["push.publish_failed"]}
        config = {
            "push": {"webhooks_enabled": True},
            "webhooks": {"allow_private_addresses": True},
            "app_manager": {"array": {"apps": [app_record(DEFAULT_APP, webhooks=[hook])]}},
        }
        with place.fcm_server(config) as push:
            push.publish("nobody", {"type": "channel", "channel": "empty"})
            assert push.ended("nobody")["state"] == "failed"
            endpoint.waits_for(bool)
            [event] = endpoint.taken()
            told = (event["name"], event["publish_id"], event["code"])
            assert told == ("push.publish_failed", "nobody", "no_recipients")


def test_rules_change_with_a_reload_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.fcm_server(RULES) as push:
        server = push.server
        path = server.folder / "config.json"
        config = json.loads(path.read_text())
        push.register("device-0", "letter-1")

        def reload(rules: list[dict[str, Any]], says: str) -> None:
            before = server.log.count(says)
            path.write_text(json.dumps({**config, "push_rules": rules}))
            server.send_signal(signal.SIGHUP)
            wait_until(lambda: server.log.count(says) > before, says)

        def notified(event: str, channel: str) -> bool:
            """Whether a rule took the event; one that did would refuse it without texts."""
            reply = server.signed("POST", EVENTS, body={"name": event, "data": {}, "channel": channel})
            assert reply.status in (200, 400), reply.text
            return reply.status == 400

        assert notified("shipped", "parcel-1")
        reload([{"channel_pattern": "letter-*", "event_filter": ["posted"]}], "configuration reloaded")
        assert "need a restart" not in server.log
        assert (notified("shipped", "parcel-1"), notified("posted", "letter-1")) == (False, True)
        body = {"name": "posted", "data": json.dumps(DATA), "channel": "letter-1"}
        assert server.signed("POST", EVENTS, body=body).status == 200
        wait_until(lambda: len(place.requests) == 1, "the notification of the new rule")

        bad = [{"channel_pattern": "*-parcel", "event_filter": ["shipped"]}]
        reload(bad, "the configuration was not reloaded; nothing changed")
        assert "push_rules[0]: channel_pattern = '*-parcel' may have one '*', at its end" in server.log
        assert (notified("shipped", "parcel-1"), notified("posted", "letter-1")) == (False, True)
        reload([], "configuration reloaded")
        assert not notified("posted", "letter-1")
