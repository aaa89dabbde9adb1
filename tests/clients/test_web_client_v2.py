"""What protocol V2 adds, in the client for browsers: recovery, rewind, history, filters, deltas, formats, tokens."""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clients.line import Line
from clients.web import Site, WebClient
from sockudo.testing.loop_thread import LoopThread
from support.http_server import Asked
from support.server import DEFAULT_APP, NUMERIC_APP, Reply, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.tokens import TOKEN_APP, token
from support.waiting import PATIENCE

BUFFERED = NUMERIC_APP
"""Its channels keep their last messages in memory."""
BRIEF = Credentials("brief-id", "brief-key", "brief-secret")
"""Its channels keep two messages."""
FORMATS = ("json", "msgpack", "protobuf")
CUTS = int(os.environ.get("SOCKUDO_CUTS", "25"))

_names = itertools.count(1)

pytestmark = pytest.mark.parametrize("web", ["node", "chromium"], indirect=True)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    memory = {"history": {"enabled": False}}
    apps = [
        app_record(DEFAULT_APP),
        app_record(TOKEN_APP),
        app_record(BUFFERED, **memory),
        app_record(BRIEF, **memory, connection_recovery={"enabled": True, "max_buffer_size": 2}),
    ]
    config = {
        "connection_recovery": {"enabled": True, "max_buffer_size": 2000},
        "history": {"enabled": True, "backend": "memory"},
        "presence_history": {"enabled": True},
        "tag_filtering": {"enabled": True},
        "app_manager": {"array": {"apps": apps}},
    }
    with start_server(config) as running:
        yield running


@pytest.fixture
def line(server: ServerProcess) -> Iterator[Line]:
    loop = LoopThread("line")
    opened = Line(loop, server)
    yield opened
    opened.close()
    loop.close()


@pytest.fixture
def connect(web: Callable[[str], WebClient], site: Site, line: Line) -> Callable[..., WebClient]:
    def open_one(app: Credentials = DEFAULT_APP, **options: Any) -> WebClient:
        site.app = app
        client = web(f"v2-{next(_names)}").open(site, f"http://{line.host}:{line.port}", **options)
        client.connected()
        return client

    return open_one


Connect = Callable[..., WebClient]


def say(server: ServerProcess, channel: str, *numbers: int, app: Credentials = DEFAULT_APP, **fields: Any) -> None:
    for number in numbers:
        server.publish(channel, "said", str(number), app=app, **fields)


def away(client: WebClient, line: Line) -> None:
    """Cuts the line, and refuses it for as long as the test wants."""
    line.loop.call(line.proxy.refuse)
    line.cut()
    client.wait("client.connection.state !== 'connected'")


def back(line: Line) -> None:
    line.loop.call(functools.partial(line.proxy.refuse, False))


def outcomes(client: WebClient) -> list[Any]:
    return [[event, data] for at, event, data, _ in client.do("client.heard") if at == ""]


# ---- recovery ----


@pytest.mark.parametrize("wire", FORMATS)
@pytest.mark.parametrize("app", [DEFAULT_APP, BUFFERED], ids=["stored", "buffered"])
def test_what_was_missed_comes_once_and_in_order(
    connect: Connect, server: ServerProcess, line: Line, unique: str, wire: str, app: Credentials
) -> None:
    client = connect(app, format=wire)
    channels = [unique, f"private-{unique}", f"presence-{unique}"]
    for channel in channels:
        client.subscribe(channel)
        say(server, channel, 1, app=app)
        client.waits_for(channel, "said")
    away(client, line)
    for channel in channels:
        say(server, channel, 2, 3, app=app)
    back(line)
    for channel in channels:
        client.waits_for(channel, "recovered")
        say(server, channel, 4, app=app)
        client.waits_for(channel, "said", 4)
        assert client.heard(channel) == [1, 2, 3, 4]
    source = "hot"
    assert sorted(outcomes(client), key=str) == sorted(
        (["recovered", {"channel": channel, "count": 2, "source": source}] for channel in channels), key=str
    )


def test_gap_where_too_much_was_missed(connect: Connect, server: ServerProcess, line: Line, unique: str) -> None:
    client = connect(BRIEF)
    client.subscribe(unique)
    say(server, unique, 1, app=BRIEF)
    client.waits_for(unique, "said")
    away(client, line)
    say(server, unique, 2, 3, 4, 5, app=BRIEF)
    back(line)
    gap = client.waits_for(unique, "gap")
    assert (gap["channel"], gap["code"]) == (unique, "position_expired")
    say(server, unique, 6, app=BRIEF)
    client.waits_for(unique, "said", 2)
    assert client.heard(unique) == [1, 6]
    assert [event for event, _ in outcomes(client)] == ["gap"]


def test_filtered_channel_is_recovered_through_its_filter(
    connect: Connect, server: ServerProcess, line: Line, unique: str
) -> None:
    client = connect()
    client.subscribe(unique, filter={"key": "kind", "cmp": "eq", "val": "good"})
    publish = functools.partial(say, server, unique)
    publish(1, tags={"kind": "good"})
    client.waits_for(unique, "said")
    for turn in range(3):
        away(client, line)
        publish(10 * turn + 2, tags={"kind": "bad"})
        publish(10 * turn + 3, tags={"kind": "good"})
        back(line)
        client.waits_for(unique, "recovered", turn + 1)
    publish(99, tags={"kind": "good"})
    client.waits_for(unique, "said", 5)
    assert client.heard(unique) == [1, 3, 13, 23, 99]


def test_more_channels_than_fit_into_one_resume(
    connect: Connect, server: ServerProcess, line: Line, unique: str
) -> None:
    client = connect(BUFFERED)
    client.do("{ for (let number = 0; number < 1200; number++) client.subscribe(`${arg}-${number}`) }", unique)
    client.wait("client.allChannels().every(({ state }) => state === 'subscribed')")
    away(client, line)
    for number in (0, 700, 1199):
        say(server, f"{unique}-{number}", 1, app=BUFFERED)
    back(line)
    client.wait("client.heard.filter(([, event]) => event === 'recovered').length === 1200")
    counts = {data["channel"]: data["count"] for _, data in outcomes(client) if data["count"]}
    assert counts == {f"{unique}-{number}": 1 for number in (0, 700, 1199)}


def test_recovery_off(connect: Connect, server: ServerProcess, line: Line, unique: str) -> None:
    client = connect(recovery=False)
    client.subscribe(unique)
    say(server, unique, 1)
    client.waits_for(unique, "said")
    away(client, line)
    say(server, unique, 2)
    back(line)
    client.waits_for(unique, "pusher:subscription_succeeded", 2)
    say(server, unique, 3)
    client.waits_for(unique, "said", 2)
    assert client.heard(unique) == [1, 3]
    assert outcomes(client) == []


def test_positions_outlive_the_client(connect: Connect, server: ServerProcess, unique: str) -> None:
    """As those of a page do that is loaded again."""
    store = """{
      const kept = new Map()
      globalThis.kept ??= { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) }
    }"""
    client = connect()
    client.do(store)
    opens = "{ clients[arg[0]] = new Sockudo(client.key, { ...client.config, positions: globalThis.kept }) }"
    heard: list[list[Any]] = []
    for turn in range(3):
        name = f"{client.name}-{turn}"
        client.do(opens, [name])
        subscribe = """new Promise((resolve) => {
          const heard = (clients[arg[0]].heard = [])
          const channel = clients[arg[0]].subscribe(arg[1])
          channel.bind("said", (data) => heard.push(data))
          channel.bind("recovered", ({ count }) => heard.push(["recovered", count]))
          channel.subscribed().then(resolve)
        }).then(() => true)"""
        client.do(subscribe, [name, unique])
        say(server, unique, 10 * turn)
        client.do(f"await lab.until(() => clients[arg].heard.at(-1) === {10 * turn})", name)
        heard.append(client.do("(clients[arg].disconnect(), clients[arg].heard)", name))
        say(server, unique, 10 * turn + 1)
    assert heard == [[0], [1, ["recovered", 1], 10], [11, ["recovered", 1], 20]]


@pytest.mark.parametrize("app", [DEFAULT_APP, BUFFERED], ids=["stored", "buffered"])
def test_cut_at_random_every_message_comes_once(
    connect: Connect, server: ServerProcess, line: Line, unique: str, app: Credentials
) -> None:
    """Wherever the line is cut, in the middle of a frame too, and in whatever format."""
    chance = random.Random(20261)
    clients = [connect(app, format=wire) for wire in FORMATS]
    channels = [unique, f"private-{unique}"]
    for client, channel in itertools.product(clients, channels):
        client.subscribe(channel)
    stop = threading.Event()
    published = dict.fromkeys(channels, 0)

    def publish() -> None:
        for channel in itertools.cycle(channels):
            if stop.wait(0.005):
                return
            published[channel] += 1
            say(server, channel, published[channel], app=app)

    publisher = threading.Thread(target=publish, name="publisher")
    publisher.start()
    try:
        for _ in range(CUTS):
            line.loop.call(functools.partial(line.proxy.cut_after, chance.randrange(200, 12000)))
            clients[0].wait("client.connection.state !== 'connected'")
            line.loop.call(line.proxy.heal)
            for client in clients:
                client.connected()
    finally:
        stop.set()
        publisher.join(PATIENCE)
    for channel in channels:
        say(server, channel, published[channel] + 1, app=app)
        for client in clients:
            client.wait(
                "client.heard.some(([at, , data]) => at === arg[0] && data === arg[1])",
                [channel, published[channel] + 1],
            )
            assert client.heard(channel) == list(range(1, published[channel] + 2))
            assert client.heard(channel, events="gap") == []


# ---- the past ----


def test_rewind(connect: Connect, server: ServerProcess, unique: str) -> None:
    say(server, unique, 1, 2, 3)
    client = connect()
    client.subscribe(unique, rewind=2)
    assert client.waits_for(unique, "pusher:rewind_complete")["historical_count"] == 2
    say(server, unique, 4)
    client.waits_for(unique, "said", 3)
    assert client.heard(unique) == [2, 3, 4]
    assert client.do("client.channel(arg).attach_serial", unique) == 3


def test_rewind_does_not_come_again_after_a_break(
    connect: Connect, server: ServerProcess, line: Line, unique: str
) -> None:
    say(server, unique, 1, 2)
    client = connect()
    client.subscribe(unique, rewind=10)
    client.waits_for(unique, "pusher:rewind_complete")
    away(client, line)
    say(server, unique, 3)
    back(line)
    client.waits_for(unique, "recovered")
    assert client.heard(unique) == [1, 2, 3]


@pytest.mark.parametrize("wire", FORMATS)
def test_history(connect: Connect, server: ServerProcess, unique: str, wire: str) -> None:
    say(server, unique, *range(1, 26))
    client = connect(format=wire)
    client.ask(unique)
    read = """(async () => {
      const read = []
      for await (const { data } of client.channel(arg[0]).history(arg[1])) read.push(data)
      return read
    })()"""
    assert client.do(read, [unique, {"limit": 10}]) == list(range(25, 0, -1))
    assert client.do(read, [unique, {"limit": 7, "direction": "oldest_first", "end_serial": 20}]) == list(range(1, 21))
    refused = "client.channel(arg).history({ limit: 0 }).page().catch((error) => error.code)"
    assert client.do(refused, unique) == 4000
    together = """Promise.all([1, 2, 3, 4].map((limit) => client.channel(arg).history({ limit }).page()))
      .then((pages) => pages.map(({ messages }) => messages.length))"""
    assert client.do(together, unique) == [1, 2, 3, 4]


def test_history_survives_a_break(connect: Connect, server: ServerProcess, line: Line, unique: str) -> None:
    say(server, unique, 1, 2)
    client = connect()
    client.subscribe(unique)
    line.loop.call(line.proxy.stall)
    client.do("{ client.page = client.channel(arg).history().page() }", unique)
    line.cut()
    line.loop.call(line.proxy.heal)
    assert client.do("client.page.then(({ messages }) => messages.length)") == 2


def test_presence_history(connect: Connect, site: Site, server: ServerProcess, unique: str) -> None:
    room = f"presence-{unique}"

    def ask_server(asked: Asked) -> Reply:
        wanted = json.loads(asked.body)
        inner = "presence/history" + ("/snapshot" if wanted["action"] == "snapshot" else "")
        path = f"/apps/{DEFAULT_APP.id}/channels/{wanted['channel']}/{inner}"
        params = {name: str(value) for name, value in wanted["params"].items()}
        return Reply(200, {}, server.signed("GET", path, params=params).body)

    site.answers["/presence"] = ask_server
    client = connect(presenceHistory={"endpoint": f"{site.origin}/presence"})
    client.subscribe(room)
    found = client.do("client.channel(arg).presenceHistory({ limit: 5 })", room)
    assert [(each["event"], each["user_id"]) for each in found["items"]] == [("member_added", "ana")]


# ---- filters, patterns, deltas ----


@pytest.mark.parametrize("wire", FORMATS)
def test_filter(connect: Connect, server: ServerProcess, unique: str, wire: str) -> None:
    client = connect(format=wire)
    client.subscribe(unique, filter={"events": ["said"], "expression": "data.size > `3`"})
    for size in (1, 5):
        server.publish(unique, "said", json.dumps({"size": size}))
        server.publish(unique, "other", json.dumps({"size": size}))
    assert client.waits_for(unique, "said") == {"size": 5}
    client.do("{ client.channel(arg).subscribe({ filter: { key: 'a', cmp: 'ex' } }) }", unique)
    client.waits_for(unique, "pusher:subscription_succeeded", 2)
    server.publish(unique, "said", "6")
    server.publish(unique, "other", "7", tags={"a": "b"})
    assert client.waits_for(unique, "other") == 7
    assert client.heard(unique) == [{"size": 5}, 7]


def test_pattern(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.subscribe(f"{unique}-*")
    server.publish(f"{unique}-one", "said", "1")
    client.waits_for(f"{unique}-*", "said")
    assert client.do("client.heard.find(([, event]) => event === 'said')[3].channel") == f"{unique}-one"


@pytest.mark.parametrize("wire", FORMATS)
@pytest.mark.parametrize("algorithm", ["fossil", "xdelta3"])
def test_deltas(connect: Connect, server: ServerProcess, line: Line, unique: str, wire: str, algorithm: str) -> None:
    client = connect(format=wire, delta=algorithm)
    whole = [{"number": number, "text": f"“{number}” 漢字 🌊 " + "the same every time " * 20} for number in range(30)]
    client.subscribe(unique)
    for each in whole[:20]:
        server.publish(unique, "said", json.dumps(each, ensure_ascii=False))
    client.waits_for(unique, "said", 20)
    line.cut()
    for each in whole[20:]:
        server.publish(unique, "said", json.dumps(each, ensure_ascii=False))
    client.waits_for(unique, "said", 30)
    assert client.heard(unique) == whole
    assert client.do("client.problems.filter(({ code }) => code !== 1006)") == []


def test_deltas_of_one_channel(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.subscribe(unique, delta="fossil")
    whole = [f"{number} " + "the same every time " * 20 for number in range(10)]
    for each in whole:
        server.publish(unique, "said", each)
    client.waits_for(unique, "said", 10)
    assert client.heard(unique) == whole


# ---- tokens ----


def test_token_is_renewed_before_it_ends(connect: Connect, site: Site, server: ServerProcess, unique: str) -> None:
    lasts = iter([4, 4, 3600])
    site.answers["/token"] = lambda _: Reply(200, {}, json.dumps(token(lasts=next(lasts, 3600))).encode())
    client = connect(TOKEN_APP, tokenEndpoint=f"{site.origin}/token")
    client.subscribe(unique)
    client.wait("client.tokens === 3")
    server.publish(unique, "said", "1", app=TOKEN_APP)
    assert client.waits_for(unique, "said") == 1
    assert client.do("client.states.map(([state]) => state)") == ["connected"]


def test_ended_token_is_asked_for_again(connect: Connect, site: Site, line: Line) -> None:
    """One that ended while the machine slept is refused; the next one is not."""
    given = iter([token(), token(now=0), token()])
    site.answers["/token"] = lambda _: Reply(200, {}, json.dumps(next(given)).encode())
    client = connect(TOKEN_APP, tokenEndpoint=f"{site.origin}/token")
    line.cut()
    client.wait("client.tokens === 3 && client.connection.state === 'connected'")
    assert client.do("client.connection.last_error.code") == 4009


def test_token_that_is_refused_for_good(web: Callable[[str], WebClient], site: Site, server: ServerProcess) -> None:
    site.app = TOKEN_APP
    client = web(f"v2-{next(_names)}").open(site, server.url, token="none")
    assert client.do("client.connected().catch((error) => error.code)") == 4009
    assert client.do("client.connection.state") == "disconnected"
