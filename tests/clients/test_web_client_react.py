"""The hooks of the client for browsers: React in strict mode, in a DOM of Node, against a started server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clients.line import Line
from clients.node import CLIENTS, Node
from clients.web import BUILT, Site, WebClient, in_node
from sockudo.testing.loop_thread import LoopThread
from support.server import STREAMS, ServerProcess, start_server

_names = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(STREAMS) as running:
        yield running


@pytest.fixture(scope="module")
def react_node() -> Iterator[Node]:
    running = Node("web_harness.mjs", str(BUILT), str(CLIENTS / "react_lab.mjs"))
    yield running
    running.stop()


class Room:
    """Components that one client's React shows."""

    def __init__(self, client: WebClient) -> None:
        self.client = client
        self.name = client.name

    def show(self, *tree: tuple[str, dict[str, Any]]) -> None:
        self.client.run("react.show", {"name": self.name, "client": self.name, "tree": tree})

    def waits_for(self, part: str, **shown: Any) -> None:
        """Waits until a component shows these values."""
        same = "Object.entries(arg[1]).every(([name, value]) => lab.same(react.shown(arg[0], arg[2])?.[name], value))"
        self.client.wait(same, [self.name, shown, part])

    def shown(self, part: str) -> Any:
        return self.client.do("react.shown(...arg)", [self.name, part])

    def text(self) -> str:
        return str(self.do("room.container.textContent"))

    def do(self, code: str) -> Any:
        return self.client.do(f"(async (room) => {code})(rooms[arg])", self.name)

    def sent(self, event: str) -> int:
        """How many such frames the client has sent since the room was made."""
        return int(self.do(f"room.sent.filter((each) => each === 'sockudo:{event}').length"))


@pytest.fixture
def enter(react_node: Node, site: Site, server: ServerProcess) -> Iterator[Callable[..., Room]]:
    opened: list[WebClient] = []

    def enter_one(url: str = server.url, **options: Any) -> Room:
        client = WebClient(in_node(react_node), f"room-{next(_names)}")
        opened.append(client.open(site, url, **options))
        return Room(client)

    yield enter_one
    for client in opened:
        client.do("{ if (rooms[arg]) react.leave(arg); client.disconnect() }", client.name)


def say(server: ServerProcess, channel: str, *numbers: int) -> None:
    for number in numbers:
        server.publish(channel, "said", str(number))


def test_history_goes_on_live(enter: Callable[..., Room], server: ServerProcess, unique: str) -> None:
    say(server, unique, *range(5))
    room = enter()
    room.show(("Chat", {"name": unique, "options": {"limit": 2}}))
    room.waits_for("chat", said=[3, 4], hasMore=True, isLoading=False)
    say(server, unique, 5)
    room.waits_for("chat", said=[3, 4, 5])
    room.do("room.loadMore()")
    room.waits_for("chat", said=[1, 2, 3, 4, 5], hasMore=True)
    room.do("Promise.all([room.loadMore(), room.loadMore()])")
    room.waits_for("chat", said=list(range(6)), hasMore=False, error=None)
    assert room.sent("subscribe") == 1


def test_history_over_breaks_and_gaps(enter: Callable[..., Room], server: ServerProcess, unique: str) -> None:
    loop = LoopThread("line")
    line = Line(loop, server)
    try:
        room = enter(f"http://{line.host}:{line.port}")
        room.show(("Chat", {"name": unique, "options": {"limit": 10}}))
        room.waits_for("chat", said=[], isLoading=False)
        line.cut()
        say(server, unique, 1, 2)
        room.waits_for("chat", said=[1, 2])
        # After a gap the past is asked for again, and what comes meanwhile stands behind it once.
        room.client.do(
            "{ client.channel(arg).emit('gap', { channel: arg, code: 'position_expired', reason: '' }) }", unique
        )
        say(server, unique, 3)
        room.waits_for("chat", said=[1, 2, 3], isLoading=False)
        assert room.sent("channel_history") == 2
    finally:
        line.close()
        loop.close()


def test_history_lets_go_of_the_oldest(enter: Callable[..., Room], server: ServerProcess, unique: str) -> None:
    room = enter()
    room.show(("Chat", {"name": unique, "options": {"most": 3}}))
    room.waits_for("chat", isLoading=False)
    say(server, unique, *range(6))
    room.waits_for("chat", said=[3, 4, 5])


def test_presence(enter: Callable[..., Room], site: Site, unique: str) -> None:
    channel = f"presence-{unique}"
    ana = enter()
    ana.show(("Members", {"name": channel}))
    ana.waits_for("members", members=["ana"], me="ana", count=1, state="subscribed")
    site.user = {"id": "ben"}
    ben = enter()
    ben.show(("Members", {"name": channel}))
    for room, me in ((ana, "ana"), (ben, "ben")):
        room.waits_for("members", members=["ana", "ben"], me=me, count=2)
    # Gone with the last component, and not before: strict mode takes components away and puts them back at once.
    ben.show()
    ana.waits_for("members", members=["ana"], count=1)
    assert (ben.sent("subscribe"), ben.sent("unsubscribe")) == (1, 1)
    assert ben.client.do("client.allChannels().length") == 0


def test_channel_and_its_options(enter: Callable[..., Room], server: ServerProcess, unique: str) -> None:
    room = enter()
    room.client.connected()
    other = f"{unique}-other"
    room.show(("Listener", {"name": unique}), ("Chat", {"name": unique}))
    room.waits_for("listener", state="subscribed")
    say(server, unique, 1)
    room.waits_for("chat", said=[1])
    assert room.sent("subscribe") == 1
    room.show(("Listener", {"name": unique, "options": {"filter": {"events": ["none"]}}}))
    room.client.wait("rooms[arg].sent.filter((each) => each === 'sockudo:subscribe').length === 2", room.name)
    room.show(("Listener", {"name": other}))
    room.waits_for("listener", state="subscribed")
    say(server, other, 2)
    room.client.wait("rooms[arg].heard.length === 2", room.name)
    assert room.do("room.heard") == [1, 2]
    room.client.wait("client.channel(arg) === undefined", unique)
    room.show(("Listener", {"name": None}))
    room.waits_for("listener", state="idle", error=None)


def test_channel_of_the_application_stays(enter: Callable[..., Room], unique: str) -> None:
    room = enter()
    room.client.subscribe(unique)
    room.show(("Listener", {"name": unique}), ("Listener", {"name": f"{unique}-own"}))
    room.waits_for("listener", state="subscribed")
    room.show()
    room.client.wait("client.channel(arg) === undefined", f"{unique}-own")
    assert room.client.do("client.channel(arg).state", unique) == "subscribed"


def test_suspense(enter: Callable[..., Room], server: ServerProcess, unique: str) -> None:
    """It waits for the answer alone, and nothing that comes before the component is there is missed."""
    say(server, unique, 1, 2)
    room = enter(manual=True)
    options = {"suspense": True, "rewind": 10}
    room.show(("Listener", {"name": unique, "options": options}))
    room.client.wait("rooms[arg].container.textContent === 'waiting'", room.name)
    room.client.do("{ client.connect() }")
    room.waits_for("listener", state="subscribed")
    room.client.wait("rooms[arg].heard.length === 2", room.name)
    assert room.do("room.heard") == [1, 2]
    # A new connection suspends nothing: what is shown stays the same element.
    room.do("{ room.was = room.container.querySelector('#listener') }")
    room.client.do("{ client.disconnect() }")
    room.waits_for("listener", state="pending")
    room.client.do("{ client.connect() }")
    room.waits_for("listener", state="subscribed")
    assert room.do("room.was === room.container.querySelector('#listener')")
    assert room.sent("subscribe") == 2


def test_suspense_with_history(enter: Callable[..., Room], server: ServerProcess, unique: str) -> None:
    say(server, unique, 1, 2)
    room = enter(manual=True)
    room.show(("Chat", {"name": unique, "options": {"suspense": True}}))
    room.client.wait("rooms[arg].container.textContent === 'waiting'", room.name)
    room.client.do("{ client.connect() }")
    room.waits_for("chat", said=[1, 2], isLoading=False)
    say(server, unique, 3)
    room.waits_for("chat", said=[1, 2, 3])


def test_refusals(enter: Callable[..., Room], unique: str) -> None:
    """An error of the hook; with suspense one for the boundary."""
    room = enter()
    room.show(("Listener", {"name": f"private-forbidden-{unique}"}))
    room.waits_for("listener", state="refused", error=403)
    other = enter()
    other.show(("Listener", {"name": f"private-forbidden-{unique}", "options": {"suspense": True}}))
    other.client.wait("rooms[arg].container.textContent === 'refused: 403'", other.name)


def test_state_is_the_same_everywhere(enter: Callable[..., Room]) -> None:
    room = enter()
    room.show(("State", {"id": "one"}), ("State", {"id": "two"}))
    same = "['one', 'two'].every((id) => react.shown(arg[0], id) === arg[1])"
    room.client.wait(same, [room.name, "connected"])
    room.client.do("{ client.disconnect() }")
    room.client.wait(same, [room.name, "disconnected"])


def test_text_of_a_server_subscribes_to_nothing(enter: Callable[..., Room], unique: str) -> None:
    room = enter()
    tree = [("Chat", {"name": unique}), ("Members", {"name": unique}), ("State", {})]
    text = room.client.do("react.text(...arg)", [room.name, tree])
    assert "initialized" in text
    assert "isLoading&quot;:true" in text
    assert room.client.do("client.allChannels().length") == 0
