"""The client for browsers against a started server, in Node and in Chromium: what pages written for pusher-js use."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clients.web import Site, WebClient
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server

_names = itertools.count(1)

pytestmark = pytest.mark.parametrize("web", ["node", "chromium"], indirect=True)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    record = app_record(DEFAULT_APP)
    record["policy"]["features"]["enable_subscription_count"] = True
    apps = [record]
    with start_server({**STREAMS, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


@pytest.fixture
def connect(web: Callable[[str], WebClient], site: Site, server: ServerProcess) -> Callable[..., WebClient]:
    def open_one(**options: Any) -> WebClient:
        client = web(f"client-{next(_names)}").open(site, server.url, **options)
        client.connected()
        return client

    return open_one


def test_public_channel(connect: Callable[..., WebClient], server: ServerProcess, unique: str) -> None:
    client = connect()
    client.subscribe(unique)
    server.publish(unique, "said", json.dumps({"text": "漢字 🌊"}))
    server.publish(unique, "said", "no JSON")
    client.waits_for(unique, "said", 2)
    assert client.heard(unique) == [{"text": "漢字 🌊"}, "no JSON"]
    metadata = client.do("client.heard.find(([at, event]) => event === 'said')[3]")
    assert metadata["serial"] == 1
    assert metadata["channel"] == unique
    assert set(metadata) == {"event", "channel", "data", "message_id", "stream_id", "serial"}


def test_private_and_presence_channels(connect: Callable[..., WebClient], site: Site, unique: str) -> None:
    ana, room, desk = connect(), f"presence-{unique}", f"private-{unique}"
    ana.subscribe(room)
    ana.subscribe(desk)
    site.user = {"id": "ben", "user_info": {"name": "Ben"}}
    ben = connect()
    ben.subscribe(room)
    ben.subscribe(desk)
    assert ana.waits_for(room, "pusher:member_added") == {"id": "ben", "info": {"name": "Ben"}}
    members = (
        "(({ members }) => [members.count, members.me, members.get('ana'), members.get('eve')])(client.channel(arg))"
    )
    assert ben.do(members, room) == [
        2,
        {"id": "ben", "info": {"name": "Ben"}},
        {"id": "ana", "info": {"name": "Ána"}},
        None,
    ]
    assert ben.do("client.channel(arg).trigger('client-typing', {now: 1})", desk) is True
    assert ana.waits_for(desk, "client-typing") == {"now": 1}
    ben.do("client.channel(arg).update({name: 'Benny'})", room)
    assert ana.waits_for(room, "pusher:presence_update") == {"id": "ben", "info": {"name": "Benny"}}
    ben.do("client.unsubscribe(arg)", room)
    assert ana.waits_for(room, "pusher:member_removed") == {"id": "ben", "info": {"name": "Benny"}}
    assert ana.do("client.channel(arg).members.count", room) == 1


def test_refused_channels(connect: Callable[..., WebClient], site: Site, unique: str) -> None:
    client = connect()
    forbidden = f"private-forbidden-{unique}"
    # Refused by the server between channels that it takes.
    for channel in (unique, "no spaces", f"{unique}-2", forbidden, f"private-{unique}"):
        client.ask(channel)
    failed = """client.channel(arg).subscribed().then(
      () => null, (error) => [error.code, error.message, error.entry, client.channel(arg).state])"""
    code, message, entry, state = client.do(failed, "no spaces")
    assert (code, entry, state) == (4300, "channel_name", "refused")
    assert message.startswith("Channel error: ")
    assert client.do(failed, forbidden)[0] == 403
    for channel in (unique, f"{unique}-2", f"private-{unique}"):
        assert client.do("client.channel(arg).subscribed().then(() => true)", channel)
    assert client.heard(forbidden, events="pusher:subscription_error")[0]["status"] == 403


def test_backend_that_fails_for_a_moment_is_asked_again(
    connect: Callable[..., WebClient], site: Site, unique: str
) -> None:
    client = connect()
    site.failing = 1
    client.ask(f"private-{unique}")
    client.waits_for(f"private-{unique}", "pusher:subscription_succeeded")
    assert client.heard(f"private-{unique}", events="pusher:subscription_error")[0]["status"] == 503


def test_channels_authorized_together(connect: Callable[..., WebClient], site: Site, unique: str) -> None:
    client = connect(authorize={"batch": True})
    site.asked.clear()
    for kind, number in itertools.product(("private", "presence"), range(250)):
        client.ask(f"{kind}-{unique}-{number}")
    client.ask(f"private-forbidden-{unique}")
    client.wait("client.allChannels().filter(({ state }) => state === 'subscribed').length === 500")
    client.wait("client.channel(arg).state === 'refused'", f"private-forbidden-{unique}")


def test_many_channels_are_one_burst(connect: Callable[..., WebClient], site: Site, unique: str) -> None:
    client = connect(authorize={"batch": True})
    site.asked.clear()
    subscribe = "{ for (let number = 0; number < 500; number++) client.subscribe(`private-${arg}-${number}`) }"
    client.do(subscribe, unique)
    client.wait("client.allChannels().every(({ state }) => state === 'subscribed')")
    assert len(site.asked) <= 5
    assert sum(len(form["channel_names[]"]) for form in site.asked) == 500


def test_user(connect: Callable[..., WebClient], site: Site, server: ServerProcess) -> None:
    site.user = {"id": "ben", "watchlist": ["ana"]}
    ben = connect()
    assert ben.do("client.signin()")["id"] == "ben"
    site.user = {"id": "ana"}
    ana = connect()
    assert ana.do("client.signin()")["id"] == "ana"
    assert ben.waits_for("watchlist", "online")["user_ids"] == ["ana"]
    server.publish("#server-to-user-ben", "invitation", '{"from":"Ana"}')
    assert ben.waits_for("user", "invitation") == {"from": "Ana"}
    assert ana.heard("user") == []


def test_names_of_events(connect: Callable[..., WebClient], unique: str) -> None:
    """System events have the names of pusher-js; the server's own prefix means the same."""
    client = connect()
    bound = """new Promise((resolve) => {
      const told = []
      const channel = client.subscribe(arg)
      channel.bind("pusher:subscription_succeeded", () => told.push("pusher"))
      channel.bind("sockudo:subscription_succeeded", () => told.push("sockudo"))
      channel.bind("pusher:subscription_count", () => resolve(told))
    })"""
    assert client.do(bound, unique) == ["pusher", "sockudo"]
    assert client.do("client.channel(arg).subscription_count", unique) == 1


def test_bindings(connect: Callable[..., WebClient], server: ServerProcess, unique: str) -> None:
    client = connect()
    client.subscribe(unique)
    bind = """{
      const channel = client.channel(arg)
      client.told = []
      const first = () => client.told.push("first")
      channel.bind("said", first)
      channel.bind("said", function () { client.told.push(this.word) }, { word: "context" })
      channel.bind("said", () => { channel.unbind("said", first); client.told.push("unbinds") })
      channel.bind("said", () => { throw new Error("a mistake of the page") })
      client.bind("said", () => client.told.push("client"))
    }"""
    client.do(bind, unique)
    server.publish(unique, "said", "1")
    server.publish(unique, "said", "2")
    client.waits_for(unique, "said", 2)
    assert client.do("client.told") == ["first", "context", "unbinds", "client", "context", "unbinds", "client"]


def test_publish_is_acknowledged(connect: Callable[..., WebClient], unique: str) -> None:
    client = connect()
    client.ask(f"private-{unique}")
    client.ask(unique)
    publish = (
        "client.channel(arg).publish('client-said', 1).then(() => 'taken', (error) => [error.code, error.message])"
    )
    assert client.do(publish, f"private-{unique}") == "taken"
    code, message = client.do(publish, unique)
    assert code == 4301
    assert message.startswith("Client event error: ")
    assert client.waits_for(f"private-{unique}", "client-said") == 1


def test_echo_off(connect: Callable[..., WebClient], unique: str) -> None:
    client, other, channel = connect(echo=False), connect(), f"private-{unique}"
    client.subscribe(channel)
    other.subscribe(channel)
    client.do("client.channel(arg).publish('client-said', 1)", channel)
    other.do("client.channel(arg).publish('client-said', 2)", channel)
    client.waits_for(channel, "client-said")
    other.waits_for(channel, "client-said", 2)
    assert client.heard(channel) == [2]
    assert other.heard(channel) == [1, 2]


@pytest.mark.parametrize("cached", [True, False], ids=["event", "miss"])
def test_cache_channel(connect: Callable[..., WebClient], server: ServerProcess, unique: str, cached: bool) -> None:
    channel = f"cache-{unique}"
    if cached:
        server.publish(channel, "rate", "2")
    client = connect()
    client.subscribe(channel)
    if cached:
        assert client.waits_for(channel, "rate") == 2
    else:
        client.waits_for(channel, "pusher:cache_miss")


def test_state_explains_itself(connect: Callable[..., WebClient], site: Site, server: ServerProcess) -> None:
    site.user = {"id": f"user-{next(_names)}"}
    client = connect()
    client.do("client.signin()")
    reply = server.signed("POST", f"/apps/{server.app.id}/users/{site.user['id']}/terminate_connections", body={})
    assert reply.status == 200
    client.wait("client.connection.state === 'disconnected'")
    error = {"code": 4009, "message": "You got disconnected by the app."}
    assert client.do("client.states.at(-1)") == ["disconnected", error, "terminated"]
    assert client.do("client.connection.last_error.docs") == "errors.md#terminated"


def test_unknown_app(web: Callable[[str], WebClient], site: Site, server: ServerProcess) -> None:
    client = web(f"client-{next(_names)}").open(site, server.url, key="no-app")
    assert client.do("client.connected().catch((error) => [error.code, error.entry])") == [4001, "unknown_app"]
    assert client.do("client.connection.state") == "disconnected"
