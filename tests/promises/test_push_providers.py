"""A provider in trouble delays only its own, and in the end everything is sent or has expired (spec: push § 7.3)."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sockudo.push.recipients import ApnsRecipient
from sockudo.testing import ProviderAnswer
from support.push_ground import OVER, PushServer, ground, seeded, tokens
from support.server import NUMERIC_APP
from support.waiting import wait_until
from support.websocket import WebSocket

TROUBLES = {
    "throttles": ProviderAnswer(429, {"retry-after": "1"}),
    "hangs": ProviderAnswer(broken="hang"),
    "cuts": ProviderAnswer(broken="cut"),
    "cuts within an answer": ProviderAnswer(200, body=b"{" * 100, broken="cut_within"),
    "talks nonsense": ProviderAnswer(broken="garbage"),
    "is down": ProviderAnswer(503),
}
UNANSWERED = 10.0
"""Seconds that a provider is waited for: what has nothing to do with the trouble is done before, on a busy machine."""


def publish(server: PushServer, publish_id: str, *, app: Any = None, channel: str = "news", **fields: Any) -> None:
    app_id = server.app_id if app is None else app.id
    recipients = [{"type": "channel", "channel": channel}]
    body = {"publishId": publish_id, "recipients": recipients, "payload": {"title": "Shipped"}, **fields}
    reply = server.server.signed("POST", f"/apps/{app_id}/push/publish", body=body, app=app)
    assert reply.status == 202, reply.text


def ended(server: PushServer, publish_id: str, *, app: Any = None, timeout: float = 60.0) -> Any:
    app_id = server.app_id if app is None else app.id

    def look() -> Any:
        reply = server.server.signed("GET", f"/apps/{app_id}/push/publish/{publish_id}/status", app=app)
        status = reply.json()
        return status if status["state"] in OVER else None

    return wait_until(look, f"the end of {publish_id}", timeout=timeout)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_only_its_own_is_delayed(trouble: str, tmp_path: Path) -> None:
    # Each time that a provider does not answer takes ten seconds.
    count = 20 if trouble == "hangs" else 60
    with ground(tmp_path) as place:
        seeded(tmp_path, tokens(count), channel="news")
        apples = [ApnsRecipient(f"apple-{number}") for number in range(50)]
        seeded(tmp_path, apples, channel="apples", app=NUMERIC_APP, name="apple")
        seeded(tmp_path, tokens(50, "neighbour"), channel="news", app=NUMERIC_APP)
        for each in tokens(count):
            place.script(each.token, TROUBLES[trouble], ProviderAnswer())
        with place.server() as server, WebSocket(server.server) as client:
            client.greeting()
            client.subscribe("live")
            publish(server, "in-trouble")
            wait_until(lambda: place.sends, "the first sends into trouble")
            started = time.monotonic()
            # The same provider for another app, another provider, and people who are on line.
            publish(server, "neighbours", app=NUMERIC_APP)
            publish(server, "apples", app=NUMERIC_APP, channel="apples")
            live = sorted(_live(server, client, number) for number in range(50))
            for name in ("neighbours", "apples"):
                counters = ended(server, name, app=NUMERIC_APP)["counters"]
                assert (counters["succeeded"], counters["retryScheduled"]) == (50, 0)
            assert time.monotonic() - started < UNANSWERED
            # One may have had to wait for its turn on the machine, but not all.
            assert live[25] < 0.5
            status = ended(server, "in-trouble", timeout=90)
        sends = place.sends
    assert status["state"] == "succeeded", status
    assert status["counters"]["succeeded"] == status["counters"]["planned"] == count
    # Whoever says that it has taken one, and then loses its voice, has taken it.
    each_got = 1 if trouble == "cuts within an answer" else 2
    assert Counter(sends[each.token] for each in tokens(count)) == {each_got: count}


def _live(server: PushServer, client: WebSocket, number: int) -> float:
    """Seconds until an event is at its subscriber."""
    began = time.monotonic()
    server.server.publish("live", "tide", json.dumps({"n": number}))
    assert client.event()["event"] == "tide"
    return time.monotonic() - began


def test_what_waits_takes_no_memory_and_is_sent_or_expires(tmp_path: Path) -> None:
    """Nobody is there for a while, as if for an hour: 10,000 notifications wait, a third of which expire.

    In the long mode they are 30,000.
    """
    devices, publishes = 300 if "SOCKUDO_EXAMPLES" in os.environ else 100, 100
    with ground(tmp_path) as place:
        seeded(tmp_path, tokens(devices), channel="news")
        place.use_profile("throttle")
        with place.server(retry={"initial_backoff_ms": 100, "max_attempts": 100}) as server:
            publish(server, "first")
            wait_until(lambda: place.sends, "the first sends")
            before = resident(server)
            for number in range(publishes):
                expires = int(time.time() * 1000) + 5000
                publish(server, f"all-{number}", **({"expiresAtMs": expires} if number % 3 == 0 else {}))
            wait_until(lambda: time.time() * 1000 > expires + 1000, "what expires")
            grown = resident(server) - before
            assert len(place.requests) < 1000
            place.use_profile("ok")
            statuses = [ended(server, f"all-{number}") for number in range(publishes)]
            assert ended(server, "first")["state"] == "succeeded"
        sends = place.sends
    assert grown < devices * publishes * 2048, grown
    assert {each["state"] for each in statuses[::3]} == {"expired"}
    assert all(each["counters"]["expired"] == devices for each in statuses[::3])
    sent = [each for number, each in enumerate(statuses) if number % 3]
    assert {each["state"] for each in sent} == {"succeeded"}
    assert set(sends) == {each.token for each in tokens(devices)}
    # What was tried while nobody was there came on top.
    assert min(sends.values()) >= len(sent) + 1


def resident(server: PushServer) -> int:
    pages = Path(f"/proc/{server.server.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096
