"""No secret, token or endpoint in any answer, log, metric, trace or page; and who is removed, and who never is
(spec: push § 4, 8 and 13.1)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from sockudo.testing import ProviderAnswer
from support.operators import PASSWORD, Operator
from support.push_accounts import service_account
from support.push_ground import Ground, PushServer, ground
from support.traces import Collector
from support.waiting import wait_until

PLANTED = "planted"
"""In everything that nobody may see."""

REPEATING = {
    "error": {"status": "INVALID_ARGUMENT", "message": f"bad request for {PLANTED}-token-of-the-answer"},
    "reason": f"https://{PLANTED}.example.com/endpoint",
}
ANSWERS = [
    ProviderAnswer(400, {"content-type": "application/json"}, json.dumps(REPEATING).encode()),
    ProviderAnswer(401, body=f"{PLANTED}-key-in-an-answer".encode()),
    ProviderAnswer(429, {"retry-after": "1"}, f"{PLANTED}".encode()),
    ProviderAnswer(503, body=json.dumps(REPEATING).encode()),
    ProviderAnswer(410, body=json.dumps(REPEATING).encode()),
    ProviderAnswer(broken="cut"),
    ProviderAnswer(broken="garbage"),
    ProviderAnswer(302, {"location": f"https://{PLANTED}.example.com/"}),
    ProviderAnswer(),
]
GONE = ProviderAnswer(404, body=b'{"error":{"details":[{"errorCode":"UNREGISTERED"}]}}')
"""What FCM says of a dead token."""

ROUTES = (
    "/deviceRegistrations",
    "/channelSubscriptions",
    "/channelSubscriptions/channels",
    "/credentials",
    "/publishes",
    "/scheduled",
    "/deadLetters",
)


def planted(number: int) -> str:
    return f"{PLANTED}-token-{number}"


def body_of(device: str, recipient: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": device,
        "formFactor": "phone",
        "platform": "android",
        "timezone": "UTC",
        "locale": "en",
        "metadata": {"note": f"{PLANTED}-metadata"},
        "push": {"recipient": recipient},
    }


def fill(place: Ground, server: PushServer) -> list[str]:
    """Devices of every kind, with every trouble at their providers; the answers that the backend got meanwhile."""
    told = []
    account = json.loads(service_account(f"{place.mock.url}/oauth/{PLANTED}"))
    account["client_email"] = f"{PLANTED}@harbour.test"
    told.append(server.ask("POST", "/credentials/fcm", {"serviceAccountJson": account}).text)
    told.append(server.ask("POST", "/credentials/hms", {"hmsAppId": "1", "clientSecret": f"{PLANTED}-hms"}).text)
    for number, answer in enumerate(ANSWERS):
        name = f"{PLANTED}-browser-{number}"
        recipients: dict[str, dict[str, Any]] = {
            f"android-{number}": {"transportType": "gcm", "registrationToken": planted(number)},
            f"apple-{number}": {"transportType": "apns", "deviceToken": f"{PLANTED}-apple-{number}"},
            f"browser-{number}": place.mock.browser(name).recipient(place.mock.endpoint_of(name)),
        }
        for token in (planted(number), f"{PLANTED}-apple-{number}", name):
            place.script(token, answer, forever=True)
        for device, recipient in recipients.items():
            reply = server.ask("POST", "/deviceRegistrations", body_of(device, recipient))
            token = reply.json()["deviceIdentityToken"]
            # The one answer that holds a secret, which is told once.
            told.append(reply.text.replace(token, ""))
            told.append(server.ask("POST", "/channelSubscriptions", {"channel": "news", "deviceId": device}).text)
    return told


def publish(server: PushServer, publish_id: str, **fields: Any) -> str:
    payload = {"title": f"{PLANTED}-title", "body": f"{PLANTED}-body", "templateData": {"x": f"{PLANTED}-data"}}
    body = {"publishId": publish_id, "recipients": [{"type": "channel", "channel": "news"}], "payload": payload}
    reply = server.ask("POST", "/publish", {**body, **fields})
    # What is shown of the payload is what the caller has just sent.
    found = reply.json() if reply.status < 300 else {"renderedPayloads": [], "text": reply.text}
    found.pop("renderedPayloads")
    return json.dumps(found)


def refusals(server: PushServer) -> list[str]:
    """Requests that are refused, each with a secret where it should not be repeated from."""
    endpoint = {"transportType": "web", "endpoint": f"http://10.0.0.1/{PLANTED}", "p256dh": "x", "auth": "y"}
    bodies: list[tuple[str, Any]] = [
        ("/deviceRegistrations", body_of("refused", endpoint)),
        ("/deviceRegistrations", body_of("refused", {"transportType": PLANTED})),
        ("/deviceRegistrations", body_of("refused", {"transportType": "gcm", "registrationToken": [PLANTED]})),
        ("/credentials/fcm", {"serviceAccountJson": f"{PLANTED} is no JSON"}),
        ("/credentials/webpush", {"publicKey": PLANTED, "privateKey": f"{PLANTED}-key"}),
        ("/credentials/apns", {"pem": f"{PLANTED} is no PEM"}),
    ]
    return [server.ask("POST", path, body).text for path, body in bodies]


def everything(server: PushServer, publishes: list[str]) -> dict[str, str]:
    """All that can be read of a server, by where it stands."""
    found = {path: server.ask("GET", path).text for path in ROUTES}
    for who in ("android-0", "android-4", "apple-2", "browser-1", *publishes):
        reasons = server.ask("GET", "/why", params={"who": who, "thorough": "true"})
        assert reasons.status == 200, reasons.text
        found[f"why {who}"] = reasons.text
    for name in publishes:
        for part in ("status", "deliveries"):
            found[f"{name}/{part}"] = server.ask("GET", f"/publish/{name}/{part}").text
    found["metrics"] = server.server.metrics()
    operator = Operator(server.server)
    app = server.app_id
    for view in ("", "/devices", "/dead-letters", "/credentials", "/test", "/why?q=android-0"):
        found[f"page {view}"] = operator.page(f"/dashboard/push{view}").source
    for name in publishes:
        found[f"page {name}"] = operator.page(f"/dashboard/push/{app}/publishes/{name}").source
        found[f"api {name}"] = json.dumps(operator.api("GET", f"/push/{app}/publishes/{name}"))
    for view in ("publishes", "devices", "dead-letters", "credentials"):
        found[f"api {view}"] = json.dumps(operator.api("GET", f"/push/{app}/{view}"))
    found["log"] = server.server.log
    return found


def replayed(server: PushServer) -> list[str]:
    letters = server.done("GET", "/deadLetters")["items"]
    assert letters
    return [server.ask("POST", f"/deadLetters/{letter['deadLetterId']}/replay").text for letter in letters[:20]]


def test_nothing_planted_comes_out_anywhere(tmp_path: Path) -> None:
    config = {"dashboard": {"password": PASSWORD}, "log_level": "debug"}
    with Collector() as collector, ground(tmp_path) as place:
        place.environ = collector.environment
        # Two attempts, and what asks to wait is not waited for longer than a second.
        with place.server(config, retry={"initial_backoff_ms": 50, "max_attempts": 2}) as server:
            told = fill(place, server)
            told += [publish(server, "all"), publish(server, "later", notBeforeMs=int(time.time() * 1000) + 60_000)]
            bad = {"type": "recipient", "recipient": {"transportType": "web", "endpoint": f"http://{PLANTED}@x/"}}
            told.append(publish(server, "refused", recipients=[bad]))
            status = server.ended("all")
            told += replayed(server)
            told += refusals(server)
            wait_until(lambda: "all" in server.server.log, "a line about it in the log")
            found = everything(server, ["all", "later"])
        found["log after the end"] = server_log = server.server.log if server.server.folder.exists() else found["log"]
        traces = b"".join(collector.bodies)
    assert status["state"] == "partiallySucceeded"
    assert server_log
    assert b"send push batch" in traces
    assert PLANTED.encode() not in traces
    leaks = [name for name, text in found.items() if PLANTED in text]
    assert leaks == [], "\n".join(line for name in leaks for line in found[name].splitlines() if PLANTED in line)[:2000]
    assert [text for text in told if PLANTED in text] == []


def test_who_is_removed_and_who_never_is(tmp_path: Path) -> None:
    """Of all that providers say only that a token is dead removes anybody, and just its device."""
    with ground(tmp_path) as place, place.server(retry={"initial_backoff_ms": 50, "max_attempts": 2}) as server:
        fill(place, server)
        # Two more devices at the address of a client that has a dead one.
        server.register("android-dead", "news", client_id="u-1")
        server.register("android-alive", "news", client_id="u-1")
        place.script("planted-token-android-dead", GONE, forever=True)
        before = devices(server)
        publish(server, "all")
        assert server.ended("all")["state"] == "partiallySucceeded"
        gone = before - devices(server)
        subscribed = {item["deviceId"] for item in server.done("GET", "/channelSubscriptions")["items"]}
        assert subscribed == devices(server)
        dead = ANSWERS.index(next(answer for answer in ANSWERS if answer.status == 410))
        # FCM itself says it in words of its own.
        assert gone == {f"apple-{dead}", f"browser-{dead}", "android-dead"}
        # And those that are dead are not asked again.
        asked = place.sends
        publish(server, "again")
        server.ended("again")
        assert place.sends["planted-token-android-dead"] == asked["planted-token-android-dead"] == 1


def devices(server: PushServer) -> set[str]:
    return {item["id"] for item in server.done("GET", "/deviceRegistrations")["items"]}
