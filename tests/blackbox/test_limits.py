"""How often is too often: frames of a connection, requests of an app, requests and upgrades of an address.

Windows are long where their end does not matter, so that no test depends on being quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blackbox.api import LANES, Api, Lane
from support.raw import Answer, Dial, RawConnection, request_bytes
from support.server import ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import Connect, handshake

REFUSED = "Client event rejected due to rate limit"
CLOSED = "Connection closed due to client event rate limit"
EVENT = {"name": "e", "channel": "x", "data": "x"}


def app(name: str, **limits: Any) -> tuple[Credentials, dict[str, Any]]:
    credentials = Credentials(name, f"{name}-key", f"{name}-secret")
    return credentials, app_record(credentials, limits=limits)


EVERY = {"enabled": True, "max_attempts": 3, "decay_seconds": 600}
FRAMES = app("frames", message_rate_limit=EVERY)
FRAMES_CLOSE = app("frames-close", message_rate_limit={**EVERY, "terminate_on_limit": True})
FRAMES_OFF = app("frames-off", message_rate_limit={**EVERY, "enabled": False})
FRAMES_SHORT = app("frames-short", message_rate_limit={"enabled": True, "max_attempts": 1, "decay_seconds": 1})
CLIENT = app("client", max_client_events_per_second=2, decay_seconds=600)
CLIENT_CLOSE = app("client-close", max_client_events_per_second=2, decay_seconds=600, terminate_on_limit=True)
BOTH = app("both", message_rate_limit={**EVERY, "max_attempts": 2}, max_client_events_per_second=1, decay_seconds=600)
BACKENDS = [app(f"backend-{lane}", max_backend_events_per_second=3, max_event_batch_size=100) for lane in LANES]
RETRYING = app("retrying", max_backend_events_per_second=3)
READER = app("reader", max_read_requests_per_second=2)
APPS = (FRAMES, FRAMES_CLOSE, FRAMES_OFF, FRAMES_SHORT, CLIENT, CLIENT_CLOSE, BOTH, *BACKENDS, RETRYING, READER)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server({"app_manager": {"array": {"apps": [record for _, record in APPS]}}}) as running:
        yield running


# ---- frames of one connection ----


def test_every_frame_counts(connect: Connect) -> None:
    client = connect(app=FRAMES[0])
    for event in ("pusher:ping", "anything", "pusher:ping"):
        client.say(event)
    assert [client.event()["event"] for _ in range(2)] == ["pusher:pong"] * 2
    for event in ("pusher:ping", "anything", "client-x", "pusher:subscribe"):
        client.say(event)
        client.refused(4301, REFUSED)
    connect(app=FRAMES[0]).say("pusher:ping")


def test_frames_that_are_malformed_are_told_so_and_not_counted(connect: Connect) -> None:
    """Decoding comes before the count (spec: websocket § 5)."""
    client = connect(app=FRAMES[0])
    for _ in range(5):
        client.say_text("broken")
        assert client.event()["data"]["code"] == 4000
    client.say("pusher:ping")
    assert client.event()["event"] == "pusher:pong"


def test_native_pings_do_not_count(connect: Connect) -> None:
    client = connect(app=FRAMES[0])
    for _ in range(5):
        client.hears_nothing()
    client.say("pusher:ping")
    assert client.event()["event"] == "pusher:pong"


def test_an_app_may_have_it_end_the_connection(connect: Connect) -> None:
    client = connect(app=FRAMES_CLOSE[0])
    for _ in range(4):
        client.say("pusher:pong")
    client.ended(4301, CLOSED)


def test_a_limit_that_is_not_enabled(connect: Connect) -> None:
    client = connect(app=FRAMES_OFF[0])
    for _ in range(10):
        client.say("pusher:ping")
    assert len(client.until_pong()) == 10


def test_the_window_ends(connect: Connect) -> None:
    client = connect(app=FRAMES_SHORT[0])

    def answered() -> bool:
        client.say("pusher:ping")
        return bool(client.event()["event"] == "pusher:pong")

    assert answered()
    wait_until(answered, "the next window")


# ---- client events of one connection ----


def test_client_events_have_a_window_of_their_own(connect: Connect) -> None:
    ana, ben = connect(app=CLIENT[0]), connect(app=CLIENT[0])
    ana.subscribe("private-x")
    ben.subscribe("private-x")
    for number in range(4):
        ana.say("client-x", number, "private-x")
    for _ in range(2):
        ana.refused(4301, REFUSED)
    assert [ben.event()["data"] for _ in range(2)] == [0, 1]
    ana.say("pusher:ping")
    assert ana.event()["event"] == "pusher:pong"
    ben.say("client-x", "mine", "private-x")
    assert ana.event()["data"] == "mine"
    ben.hears_nothing()


def test_refused_client_events_count_too(connect: Connect) -> None:
    client = connect(app=CLIENT[0])
    for _ in range(2):
        client.say("client-x", 1, "public")
        assert client.event()["data"]["message"].startswith("Client event error: ")
    client.say("client-x", 1, "public")
    client.refused(4301, REFUSED)


def test_client_events_may_end_the_connection(connect: Connect) -> None:
    client, other = connect(app=CLIENT_CLOSE[0]), connect(app=CLIENT_CLOSE[0])
    client.subscribe("presence-x", "ana")
    other.subscribe("presence-x", "ben")
    assert client.event()["event"] == "pusher_internal:member_added"
    for number in range(3):
        client.say("client-x", number, "presence-x")
    client.ended(4301, CLOSED)
    assert [other.event()["event"] for _ in range(3)] == ["client-x", "client-x", "pusher_internal:member_removed"]


def test_both_limits_count_a_client_event(connect: Connect) -> None:
    client = connect(app=BOTH[0])
    client.subscribe("private-x")
    client.say("client-x", 1, "private-x")
    client.hears_nothing()
    client.say("client-x", 1, "private-x")
    client.refused(4301, REFUSED)


# ---- an app's backend ----


def limited(answer: Answer, *words: str) -> None:
    assert (answer.status, answer.json()["code"], answer.header("retry-after")) == (429, "rate_limited", "1")
    for word in words:
        assert word in answer.json()["error"]


@pytest.mark.parametrize("lane", LANES, ids=str)
def test_events_of_a_backend(server: ServerProcess, lane: Lane) -> None:
    api = Api(server, lane, BACKENDS[LANES.index(lane)][0])
    statuses = []
    while 429 not in statuses:
        assert len(statuses) < 100, "a hundred publishes were never in one second"
        answer = api.events(EVENT)
        statuses.append(answer.status)
    assert set(statuses) == {200, 429}
    assert len(statuses) > 3
    limited(answer, "More than 3 events in one second", "max_backend_events_per_second")
    wait_until(lambda: api.events(EVENT).status == 200, "the next second")


@pytest.mark.parametrize("lane", LANES, ids=str)
def test_a_batch_counts_its_items(server: ServerProcess, lane: Lane) -> None:
    api = Api(server, lane, BACKENDS[LANES.index(lane)][0])
    limited(api.batch({"batch": [EVENT] * 4}), "A batch of 4 events is over the app's limit of 3 events per second")
    wait_until(lambda: api.batch({"batch": [EVENT] * 3}).status == 200, "a second with room for three events")


def test_a_refused_publish_gives_its_key_back(server: ServerProcess, unique: str) -> None:
    api = Api(server, app=RETRYING[0])
    while api.events(EVENT).status != 429:
        pass
    keyed = {**EVENT, "idempotency_key": unique}
    assert api.events(keyed).status in {200, 429}
    wait_until(lambda: api.events(keyed).status == 200, "the next second")


def test_queries_of_a_backend(server: ServerProcess) -> None:
    api = Api(server, app=READER[0])
    endpoints = ("channels", "channels/x", "channels/presence-x/users")
    statuses: list[int] = []
    while 429 not in statuses:
        assert len(statuses) < 100
        answer = api.get(endpoints[len(statuses) % 3])
        statuses.append(answer.status)
    assert len(statuses) > 2
    limited(answer, "More than 2 queries in one second", "max_read_requests_per_second")
    assert api.events(EVENT).status == 200
    assert api.post("users/u/terminate_connections", {}).status == 200


# ---- an address ----


@pytest.fixture(scope="module")
def strict() -> Iterator[ServerProcess]:
    limiter = {
        "enabled": True,
        "api_rate_limit": {"max_requests": 5, "window_seconds": 600, "trust_hops": 1},
        "websocket_rate_limit": {"max_requests": 3, "window_seconds": 600, "trust_hops": 1},
    }
    with start_server({"rate_limiter": limiter}) as running:
        yield running


def counted(answer: Answer) -> tuple[str | None, str | None, int]:
    reset = answer.header("x-ratelimit-reset")
    assert reset is not None
    return answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining"), int(reset)


@pytest.mark.parametrize(("lane", "address"), [(lane, f"10.0.0.{n}") for n, lane in enumerate(LANES)], ids=str)
def test_requests_of_an_address(strict: ServerProcess, lane: Lane, address: str) -> None:
    """Whatever is answered counts: publishes, refusals, queries, wrong verbs; operators' routes and 404 do not."""
    api = Api(strict, lane)
    headers = {"X-Forwarded-For": address}
    for path in ("/live", "/up", "/nothing"):
        assert api.ask("GET", path, headers=headers).header("x-ratelimit-limit") is None
    assert api.ask("OPTIONS", "/apps/app-id/events", headers=headers).header("x-ratelimit-limit") is None
    answers = [
        api.events(EVENT, headers),
        api.events(b"{", headers),
        api.ask("POST", "/apps/app-id/events", b"{}", headers),
        api.ask("GET", "/apps/app-id/channels?a=1", headers=headers),
        api.ask("PUT", "/apps/app-id/events", headers=headers),
    ]
    assert [answer.status for answer in answers] == [200, 400, 400, 401, 405]
    for remaining, answer in zip((4, 3, 2, 1, 0), answers, strict=True):
        limit, left, reset = counted(answer)
        assert (limit, left) == ("5", str(remaining))
        assert 580 < reset <= 600
    for refused in (api.events(EVENT, headers), api.ask("GET", "/apps/nobody/channels", headers=headers)):
        limit, left, reset = counted(refused)
        assert (refused.status, refused.json()["code"], limit, left) == (429, "rate_limited", "5", "0")
        assert refused.header("retry-after") == str(reset)
        assert refused.header("access-control-allow-origin") == "*"
        setting = "rate_limiter.api_rate_limit.max_requests"
        text = f"More than 5 requests in 600 s from this address ({setting}); try again in {reset} s"
        assert refused.json()["error"] == text
    assert api.events(EVENT, {"X-Forwarded-For": f"10.0.1.{LANES.index(lane)}"}).status == 200


def test_the_address_is_the_one_the_trusted_proxy_saw(strict: ServerProcess) -> None:
    api = Api(strict)
    for number in range(5):
        assert api.events(EVENT, {"X-Forwarded-For": f"192.0.2.{number}, 10.0.2.1"}).status == 200
    assert api.events(EVENT, {"X-Forwarded-For": "192.0.2.77, 10.0.2.1"}).status == 429
    assert api.events(EVENT, {"X-Forwarded-For": "10.0.2.1, 192.0.2.78"}).status == 200


def upgrade(dial: Dial, server: ServerProcess, address: str, **changes: str | None) -> Answer:
    connection: RawConnection = dial(server=server)
    connection.send(handshake("/app/app-key?protocol=7", {"X-Forwarded-For": address, **changes}))
    return connection.answer()


def test_upgrades_of_an_address(strict: ServerProcess, dial: Dial) -> None:
    """They are counted before anything else is looked at, and apart from requests."""
    assert upgrade(dial, strict, "10.0.3.1").status == 101
    broken = {"Sec-WebSocket-Key": None}
    assert upgrade(dial, strict, "10.0.3.1", **broken).status == 400
    assert upgrade(dial, strict, "10.0.3.1").status == 101
    refused = upgrade(dial, strict, "10.0.3.1", **broken)
    limit, left, reset = counted(refused)
    assert (refused.status, refused.json()["code"], limit, left) == (429, "rate_limited", "3", "0")
    assert refused.header("retry-after") == str(reset)
    assert Api(strict).events(EVENT, {"X-Forwarded-For": "10.0.3.1"}).status == 200
    assert upgrade(dial, strict, "10.0.3.2").status == 101


def test_a_header_means_nothing_without_a_trusted_proxy(serve: Callable[..., ServerProcess]) -> None:
    limit = {"max_requests": 1, "window_seconds": 600}
    api = Api(serve({"rate_limiter": {"enabled": True, "api_rate_limit": limit, "websocket_rate_limit": limit}}))
    assert api.events(EVENT, {"X-Forwarded-For": "10.0.0.1", "X-Real-IP": "10.0.0.1"}).status == 200
    assert api.events(EVENT, {"X-Forwarded-For": "10.0.0.2", "X-Real-IP": "10.0.0.2"}).status == 429


def test_the_limits_that_nobody_configured(serve: Callable[..., ServerProcess]) -> None:
    """Failed authentication counts, and upgrades beyond any crowd of clients; right requests do not."""
    api = Api(serve({"rate_limiter": {"enabled": True}}))
    for _ in range(120):
        answer = api.events(EVENT)
        assert (answer.status, answer.header("x-ratelimit-limit")) == (200, None)
    unsigned = [api.ask("GET", "/apps/app-id/channels?auth_key=nobody").status for _ in range(101)]
    assert unsigned == [401] * 100 + [429]
    assert api.events(EVENT).status == 200


def test_refusals_are_counted_in_the_metrics(strict: ServerProcess) -> None:
    api = Api(strict)
    while api.ask("GET", "/apps/x/channels", headers={"X-Forwarded-For": "10.0.9.9"}).status != 429:
        pass
    lines = [line for line in strict.metrics().splitlines() if line.startswith("sockudo_rate_limit_triggered_total{")]
    assert any('limiter_type="api_rate_limit"' in line and 'request_context="http_api"' in line for line in lines)
    assert any('app_id="global"' in line for line in lines)


def test_a_slow_request_does_not_hold_others_up(server: ServerProcess, dial: Dial) -> None:
    slow = dial()
    slow.send(request_bytes("POST", "/apps/app-id/events?a=1", {"Content-Length": "10"})[:-1])
    assert Api(server).ask("GET", "/live").status == 200
