"""Publishes that are repeated: once per channel, whichever key says that they are the same, at the same time, after a
restart, and for as long as keys last (spec: http-api § 9)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from blackbox.api import LANES, Api, Lane
from blackbox.timed import TimedServer
from support.raw import Answer, assert_error
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, WebSocket

HOT_APP = Credentials("hot", "hot-key", "hot-secret")
PLAIN_APP = Credentials("plain", "plain-key", "plain-secret")
KEYLESS_APP = Credentials("keyless", "keyless-key", "keyless-secret")
BRIEF_APP = Credentials("brief", "brief-key", "brief-secret")

CONFLICT = "The idempotency key was already used with a different payload; make a new key for each new event"

Keyed = Callable[[str], dict[str, Any]]

WAYS: dict[str, Keyed] = {
    "body": lambda key: {"idempotency_key": key},
    "message": lambda key: {"message_id": key},
    "extras": lambda key: {"extras": {"idempotencyKey": key}},
    "alias": lambda key: {"extras": {"idempotency_key": key, "headers": {"n": 1}}},
}


def records() -> list[Event]:
    nothing = {"enabled": False}
    return [
        app_record(DEFAULT_APP),
        app_record(HOT_APP, history=nothing),
        app_record(PLAIN_APP, history=nothing, connection_recovery=nothing),
        app_record(KEYLESS_APP, idempotency=nothing),
        app_record(BRIEF_APP, idempotency={"enabled": True, "ttl_seconds": 10}),
    ]


CONFIG = {**STREAMS, "history": {"enabled": True, "backend": "sqlite"}, "app_manager": {"array": {"apps": records()}}}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(CONFIG) as running:
        yield running


@pytest.fixture(params=[DEFAULT_APP, HOT_APP, PLAIN_APP], ids=lambda app: app.id)
def app(request: pytest.FixtureRequest) -> Credentials:
    found: Credentials = request.param
    return found


@pytest.fixture(params=WAYS)
def keyed(request: pytest.FixtureRequest) -> Keyed:
    """A way to say that a message is the same."""
    return WAYS[request.param]


def event(channel: str, data: str = "1", **fields: Any) -> Event:
    return {"name": "tide", "channel": channel, "data": data, **fields}


def done(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.json()


def conflict(answer: Answer) -> None:
    assert_error(answer, 409, "idempotency_conflict", CONFLICT)


def heard(client: WebSocket) -> list[str]:
    return [each["data"] for each in client.until_pong()]


# ---- the same again ----


@pytest.mark.parametrize("lane", LANES[:2], ids=str)
def test_the_same_key_says_it_once(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, keyed: Keyed, lane: Lane
) -> None:
    channel, key = unique[-60:], unique[-50:]
    client, api = connect_v2(app=app), Api(server, lane, app)
    client.subscribe(channel)
    bodies = {api.events(event(channel, **keyed(key), info="subscription_count")).body for _ in range(3)}
    assert len(bodies) == 1 or "message_id" not in keyed(key)
    conflict(api.events(event(channel, "2", **keyed(key))))
    conflict(api.events(event(channel, **{"tags": {"a": "1"}, **keyed(key)})))
    done(api.events(event(channel, "3", **keyed(f"{key}-2"))))
    found = client.until_pong()
    assert [each["data"] for each in found] == ["1", "3"]
    if app is not PLAIN_APP:
        # What was not said took no number.
        assert [each["serial"] for each in found] == [1, 2]
    for each in found:
        assert "idempotency_key" not in each
        assert set(each.get("extras", {})) <= {"headers"}


def test_a_message_id_is_the_acknowledgement(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    channel, key = unique[-60:], unique[-50:]
    client, api = connect_v2(app=app), Api(server, app=app)
    client.subscribe(channel)
    for _ in range(2):
        reply = done(api.events(event(channel, message_id=key)))
        assert reply == {"channels": {channel: {"acknowledgement_id": key}}}
    assert [each["message_id"] for each in client.until_pong()] == [key]


def test_each_channel_hears_it_once(connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials) -> None:
    """The first of several requests may have reached some channels only."""
    names = [f"{unique[-60:]}-{number}" for number in range(3)]
    client, api = connect_v2(app=app), Api(server, app=app)
    for name in names:
        client.subscribe(name)
    for channels in (names[:1], names[:2], names, names[1:]):
        done(api.events({"name": "tide", "channels": channels, "data": "1", "message_id": unique[-50:]}))
    assert sorted(each["channel"] for each in client.until_pong()) == names


def test_a_request_that_failed_in_part_may_be_repeated(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    name = unique[-60:]
    client, api = connect_v2(app=app), Api(server, app=app)
    client.subscribe(name)
    body = {"name": "tide", "channels": [name, "bad name"], "data": "1", "idempotency_key": unique[-50:]}
    for _ in range(3):
        assert api.events(body).status == 400
    assert client.event()["data"] == "1"
    client.hears_nothing()


def test_one_channel_twice_in_a_request(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    name = unique[-60:]
    client, api = connect_v2(app=app), Api(server, app=app)
    client.subscribe(name)
    body: Event = {"name": "tide", "channels": [name, name], "data": "1"}
    done(api.events({**body, "message_id": unique[-50:]}))
    assert heard(client) == ["1"]
    done(api.events(body))
    assert heard(client) == ["1", "1"]


def test_who_is_left_out_does_not_matter(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, keyed: Keyed
) -> None:
    name = unique[-60:]
    client, author, api = connect_v2(app=app), connect_v2(app=app), Api(server, app=app)
    for each in (client, author):
        each.subscribe(name)
    done(api.events(event(name, **keyed(unique[-50:]), socket_id=author.socket_id)))
    done(api.events(event(name, **keyed(unique[-50:]))))
    assert heard(client) == ["1"]
    assert heard(author) == []


def test_ephemeral_messages_have_keys_too(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    name = unique[-60:]
    client, api = connect_v2(app=app), Api(server, app=app)
    client.subscribe(name)
    for _ in range(2):
        done(api.events(event(name, message_id=unique[-50:], extras={"ephemeral": True})))
    assert heard(client) == ["1"]


def test_a_key_of_the_message_comes_before_that_of_the_request(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    name, key = unique[-60:], unique[-50:]
    client, api = connect_v2(app=app), Api(server, app=app)
    client.subscribe(name)
    for number in range(3):
        done(api.events(event(name, message_id=key, idempotency_key=f"{key}-{number}")))
    conflict(api.events(event(name, "2", message_id=key, idempotency_key=f"{key}-9")))
    # A request that was refused gave its key back.
    done(api.events(event(name, "3", idempotency_key=f"{key}-9")))
    assert heard(client) == ["1", "3"]


def test_items_of_a_batch(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, keyed: Keyed
) -> None:
    name, key = unique[-60:], unique[-40:]
    client, api = connect_v2(app=app), Api(server, app=app)
    client.subscribe(name)
    batch = {"batch": [event(name, str(n), **keyed(f"{key}-{n}")) for n in (1, 2, 1, 3)]}
    for _ in range(2):
        done(api.batch(batch))
    other = {"batch": [event(name, "4"), event(name, "other", **keyed(f"{key}-2"))]}
    answer = api.batch(other)
    assert (answer.status, answer.json()["code"]) == (409, "idempotency_conflict")
    # Those before it in the batch may still be on their way to the store.
    assert [client.event()["data"] for _ in range(4)] == ["1", "2", "3", "4"]
    client.hears_nothing()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"message_id": ""}, "idempotency key must not be empty"),
        ({"message_id": "ü" * 65}, "idempotency key exceeds 128 bytes"),
        ({"extras": {"idempotencyKey": ""}}, "idempotency key must not be empty"),
        ({"extras": {"idempotency_key": "x" * 129}}, "idempotency key exceeds 128 bytes"),
    ],
)
def test_keys_that_are_refused(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, fields: Event, text: str
) -> None:
    client = connect_v2(app=app)
    client.subscribe(unique)
    assert_error(Api(server, app=app).events(event(unique, **fields)), 400, "invalid_input", text)
    client.hears_nothing()


def test_an_app_may_switch_keys_off(connect_v2: Connect, server: ServerProcess, unique: str, keyed: Keyed) -> None:
    client, api = connect_v2(app=KEYLESS_APP), Api(server, app=KEYLESS_APP)
    client.subscribe(unique)
    for data in ("1", "1", "2"):
        done(api.events(event(unique, data, **keyed("k"))))
    assert heard(client) == ["1", "1", "2"]


# ---- at the same time ----


def test_a_batch_promises_no_more_than_another_request_does(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    """Its items may be under way in another request: they are waited for, not just left out."""
    name = unique[-60:]
    client, api = connect_v2(app=app), Api(server, app=app)
    client.subscribe(name)
    items = [event(name, str(number), idempotency_key=f"{unique[-40:]}-{number}") for number in range(10)]
    answers: list[Answer] = []
    start = threading.Barrier(5)

    def publish(reply: Callable[[], Answer]) -> None:
        start.wait()
        answers.append(reply())

    requests = [lambda: api.batch({"batch": items})] * 3 + [lambda: api.events(items[-1])] * 2
    threads = [threading.Thread(target=publish, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.status for each in answers} == {200}
    assert sorted(heard(client), key=int) == [str(number) for number in range(10)]


def test_many_at_once(connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, keyed: Keyed) -> None:
    """Whoever repeats a request that is still under way gets its answer, not a refusal."""
    name = unique[-60:]
    client, api = connect_v2(app=app), Api(server, app=app)
    client.subscribe(name)
    for round_number in range(3):
        answers: list[Answer] = []
        start = threading.Barrier(12)

        def publish(
            number: int = round_number, barrier: threading.Barrier = start, found: list[Answer] = answers
        ) -> None:
            barrier.wait()
            found.append(api.events(event(name, str(number), **keyed(f"{unique[-40:]}-{number}"))))

        threads = [threading.Thread(target=publish) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {(each.status, each.body) for each in answers} == {(200, answers[0].body)}
    assert heard(client) == ["0", "1", "2"]


def test_other_content_at_the_same_time(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, keyed: Keyed
) -> None:
    name = unique[-60:]
    client, api = connect_v2(app=app), Api(server, app=app)
    client.subscribe(name)
    answers: dict[str, Answer] = {}
    start = threading.Barrier(8)

    def publish(data: str) -> None:
        start.wait()
        answers[data] = api.events(event(name, data, **keyed(unique[-40:])))

    threads = [threading.Thread(target=publish, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [data for data, answer in answers.items() if answer.status == 200]
    assert {answer.status for data, answer in answers.items() if data != winner} == {409}
    assert heard(client) == [winner]


# ---- after a restart ----


def _say_three(api: Api, way: str) -> None:
    """One message alone, one in a batch, one to two channels; each under a key."""
    keyed = WAYS[way]
    done(api.events(event(way, **keyed(f"{way}-1"))))
    done(api.batch({"batch": [event(way, "2", **keyed(f"{way}-2"))]}))
    done(api.events({"name": "tide", "channels": [way, f"{way}-more"], "data": "3", **keyed(f"{way}-3")}))


def test_a_durable_channel_remembers() -> None:
    with ExitStack() as opened:
        first = opened.enter_context(start_server(CONFIG))
        for way in WAYS:
            _say_three(Api(first), way)
        first.terminate()
        data = {"SOCKUDO_DATA_DIR": str(first.folder / "data")}
        api = Api(opened.enter_context(start_server(CONFIG, env=data)))
        for way, keyed in WAYS.items():
            conflict(api.events(event(way, "other", **keyed(f"{way}-2"))))
            _say_three(api, way)
            done(api.events(event(way, "4", **keyed(f"{way}-4"))))
            for channel, due in ((way, ["1", "2", "3", "4"]), (f"{way}-more", ["3"])):
                page = done(api.get(f"channels/{channel}/history", {"direction": "oldest_first"}))
                assert [item["message"]["data"] for item in page["items"]] == due
                assert [item["serial"] for item in page["items"]] == list(range(1, len(due) + 1))


# ---- how long ----


@pytest.mark.parametrize("app", [DEFAULT_APP, HOT_APP, PLAIN_APP, BRIEF_APP], ids=lambda app: app.id)
@pytest.mark.parametrize("way", WAYS)
def test_keys_last_their_time(app: Credentials, way: str) -> None:
    lasts = 10 if app is BRIEF_APP else 120
    quiet = {"websocket": {"auto_ping": False, "idle_timeout": 0}}
    with TimedServer({**STREAMS, **quiet, "app_manager": {"array": {"apps": records()}}}) as server:
        client = server.connect(app=app)
        client.subscribe("news")

        def said(data: str) -> Answer:
            body = event("news", data, **WAYS[way]("k"))
            return Api(server, app=app).post("events", body, timestamp=int(server.clock.time()))

        done(said("1"))
        server.advance(lasts - 1)
        done(said("1"))
        assert said("2").status == 409
        server.advance(2)
        done(said("2"))
        assert heard(client) == ["1", "2"]
