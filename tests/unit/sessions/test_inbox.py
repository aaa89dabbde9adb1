"""Frames behind one that waits: their order in every protocol, their bound, and what the end gives up."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.config.apps import Features
from sockudo.protocol.formats import V1_JSON, V2_JSON, Format
from sockudo.protocol.inbound import InboundFrame
from sockudo.sessions import actions
from sockudo.sessions.context import SessionContext
from support.inside import Client, Node, live_app
from support.waiting import settle


class Hook:
    """An action that waits for something outside, as a backend's answer is."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.problem: Exception | None = None
        self.started = 0

    def __call__(self, session: SessionContext, frame: InboundFrame) -> None:
        session.wait_for(self.ask(session))

    async def ask(self, session: SessionContext) -> None:
        self.started += 1
        await self.answered.wait()
        if self.problem is not None:
            raise self.problem
        session.refuse(errors.CLIENT_EVENT(f"answer {self.started}"))


@pytest.fixture
def node() -> Node:
    return Node(live_app(features=Features(enable_client_messages=True)))


@pytest.fixture
async def hook(monkeypatch: pytest.MonkeyPatch) -> Hook:
    hook = Hook()
    monkeypatch.setitem(actions.ACTIONS, "pusher:signin", hook)
    return hook


@pytest.fixture(params=[V1_JSON, V2_JSON], ids=["V1", "V2"])
def client(request: pytest.FixtureRequest, node: Node) -> Client:
    shape: Format = request.param
    return node.connect(shape=shape, echo=False)


def said(client: Client) -> list[str]:
    """Each frame by its event without the prefix, an error by its text."""
    frames = client.frames()
    return [each["data"]["message"] if "error" in each["event"] else each["event"].split(":")[-1] for each in frames]


async def test_later_frames_wait_and_keep_their_order(client: Client, hook: Hook) -> None:
    listener = client.node.connect()
    listener.subscribe("private-a")
    listener.frames()
    client.send("pusher:signin")
    client.subscribe("private-a")
    client.send("client-moved", 1, "private-a")
    client.send("pusher:unsubscribe", {"channel": "private-a"})
    client.send("client-moved", 2, "private-a")
    client.send("pusher:ping")
    await settle()
    assert said(client) == []
    assert "private-a" not in client.session.channels
    hook.answered.set()
    await settle()
    refused = "Client event error: Socket {} is not subscribed to channel private-a"
    expected = ["answer 1", "subscription_succeeded", refused.format(client.socket_id), "pong"]
    assert said(client) == expected
    assert [frame["data"] for frame in listener.frames()] == [1]


async def test_one_frame_is_worked_on_at_a_time(client: Client, hook: Hook) -> None:
    for _ in range(2):
        client.send("pusher:signin")
        client.send("pusher:ping")
    await settle()
    assert hook.started == 1
    hook.answered.set()
    await settle()
    assert said(client) == ["answer 1", "pong", "answer 2", "pong"]


async def test_a_session_has_an_inbox_only_while_a_frame_waits(client: Client, hook: Hook) -> None:
    assert client.session.inbox is None
    client.send("pusher:signin")
    assert client.session.inbox is not None
    hook.answered.set()
    await settle()
    assert client.session.inbox is None
    client.send("pusher:ping")
    assert said(client) == ["answer 1", "pong"]


async def test_other_sessions_do_not_wait(client: Client, hook: Hook) -> None:
    client.send("pusher:signin")
    other = client.node.connect()
    other.send("pusher:ping")
    assert said(other) == ["pong"]


async def test_a_refusal_goes_to_the_client_and_the_next_frame_has_its_turn(client: Client, hook: Hook) -> None:
    hook.problem = errors.SIGNIN_REFUSED("Authentication error: not today")
    client.send("pusher:signin")
    client.send("pusher:ping")
    hook.answered.set()
    await settle()
    assert said(client) == ["Authentication error: not today", "pong"]


async def test_a_defect_costs_the_frame_that_waited_and_leads_to_the_log(client: Client, hook: Hook) -> None:
    hook.problem = KeyError("secret detail")
    client.send("pusher:signin")
    client.send("pusher:ping")
    hook.answered.set()
    with capture_logs() as log:
        await settle()
    [entry] = [entry for entry in log if entry["log_level"] == "error"]
    assert entry["exc_info"] is hook.problem
    assert said(client) == [f"Internal server error {entry['reference']}", "pong"]


async def test_what_ends_the_session_gives_up_what_waits(client: Client, hook: Hook) -> None:
    client.send("pusher:signin")
    client.subscribe("private-a")
    await settle()
    client.session.leave()
    hook.answered.set()
    await settle()
    assert client.frames() == []
    assert client.node.state.channels == {}
    assert client.session.inbox is None


async def test_a_frame_that_ends_the_session_is_the_last(client: Client, hook: Hook) -> None:
    hook.problem = errors.TERMINATED()
    client.send("pusher:signin")
    client.subscribe("private-a")
    hook.answered.set()
    await settle()
    assert client.session.ended
    assert client.node.state.channels == {}


async def test_work_is_closed_when_the_session_ends_before_its_first_step(client: Client) -> None:
    """A coroutine that is dropped without having run is a warning in the log."""
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    coroutine = work()
    client.session.wait_for(coroutine)
    client.session.leave()
    await settle()
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert not done.is_set()
    assert client.session.inbox is None


@pytest.mark.parametrize(("size", "kept"), [(20, 1000), (60_000, 17), (2_000_000, 1)])
async def test_what_waits_has_a_bound_in_messages_and_in_bytes(
    client: Client, hook: Hook, size: int, kept: int
) -> None:
    """A client that goes on sending while a store hangs: one was kept for up to a thousand of the largest messages."""
    client.send("pusher:signin")
    message = b'{"event":"x","data":"%b"}' % (b"y" * size)
    for _ in range(kept):
        client.send_raw(message)
        assert not client.session.ended
    client.send_raw(message)
    assert client.session.ended
    assert client.peer.closed == (4100, "Over capacity: too many messages wait for the history store")
    assert client.node.state.traffic.errors == {"over_capacity": 1}


async def test_messages_that_have_waited_make_room_for_others(client: Client, hook: Hook) -> None:
    for _ in range(3):
        hook.answered.clear()
        client.send("pusher:signin")
        for number in range(15):
            client.send("pusher:ping", "y" * 60_000 if number else None)
        hook.answered.set()
        await settle()
        assert said(client)[1:] == ["pong"] * 15
    assert not client.session.ended


async def test_a_session_that_has_ended_waits_for_nothing(client: Client, hook: Hook) -> None:
    client.session.leave()
    coroutine = hook.ask(client.session)
    client.session.wait_for(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert client.session.inbox is None
