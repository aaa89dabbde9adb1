"""What a connection may do on which channels, at every place where that is asked (spec: websocket § 14.2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blackbox.recovery import place, resume
from support.server import STREAMS, ServerProcess, app_record, start_server
from support.signing import user_auth
from support.tokens import TOKEN_APP, token
from support.websocket import Connect, WebSocket

Grant = Callable[..., WebSocket]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server({**STREAMS, "app_manager": {"array": {"apps": [app_record(TOKEN_APP)]}}}) as running:
        yield running


@pytest.fixture
def by_token(connect: Connect) -> Grant:
    """A connection to which a token grants, by operation, patterns of channels."""

    def open_one(client_id: str = "ana", **granted: list[str]) -> WebSocket:
        capability: dict[str, list[str]] = {}
        for operation, patterns in granted.items():
            for pattern in patterns:
                capability.setdefault(pattern, []).append(operation)
        return connect(app=TOKEN_APP, protocol=2, params=f"token={token(client_id, capability)}")

    return open_one


@pytest.fixture
def by_sign_in(connect: Connect) -> Grant:
    """The same by what a user signs in with."""

    def open_one(client_id: str = "ana", **granted: list[str]) -> WebSocket:
        client = connect(app=TOKEN_APP, protocol=2)
        client.sign_in(client_id, capabilities=granted)
        return client

    return open_one


@pytest.fixture(params=["by_token", "by_sign_in"])
def grant(request: pytest.FixtureRequest) -> Grant:
    found: Grant = request.getfixturevalue(request.param)
    return found


def denied(client: WebSocket, operation: str, channel: str) -> None:
    client.refused(4009, f"Authentication error: Connection is not allowed to {operation} channel '{channel}'")


# ---- the places ----


@pytest.mark.parametrize("prefix", ["", "private-", "cache-", "private-encrypted-"])
def test_subscribing(grant: Grant, server: ServerProcess, unique: str, prefix: str) -> None:
    client = grant(subscribe=[f"{prefix}{unique}"], history=[])
    channel, other = f"{prefix}{unique}", f"{prefix}{unique}-2"
    client.subscribe(channel)
    client.until_pong()
    client.say("sockudo:subscribe", client.subscription(other))
    denied(client, "subscribe", other)
    server.publish(other, "tide", "high", app=TOKEN_APP)
    client.hears_nothing()


def test_a_capability_is_no_signature(grant: Grant, unique: str) -> None:
    client = grant(subscribe=["*"], presence=["*"])
    client.say("sockudo:subscribe", {"channel": f"private-{unique}"})
    client.refused(4009, "Authentication error: Authentication signature required for this channel")
    client.say("sockudo:subscribe", {"channel": f"private-{unique}", "auth": "tokens-key:x"})
    client.refused(4009, "Authentication error: Channel requires authentication")


def test_presence_takes_two(grant: Grant, unique: str) -> None:
    both, one, other = f"presence-{unique}-1", f"presence-{unique}-2", f"presence-{unique}-3"
    client = grant(subscribe=[both, one], presence=[both, other])
    client.subscribe(both, "ana")
    client.say("sockudo:subscribe", client.subscription(one, "ana"))
    denied(client, "presence", one)
    client.say("sockudo:subscribe", client.subscription(other, "ana"))
    denied(client, "subscribe", other)


def test_a_presence_update(connect: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    client = connect(app=TOKEN_APP, protocol=2, params=f"token={token('ana', {channel: ['subscribe', 'presence']})}")
    client.subscribe(channel, "ana")
    client.say("sockudo:presence_update", {"channel": channel, "data": {"n": 1}})
    assert client.event()["event"] == "sockudo_internal:presence_update"
    client.say("sockudo:auth", {"token": token("ana", {channel: ["subscribe"]})})
    assert client.event()["event"] == "sockudo:auth_success"
    error = client.event()
    assert (error["channel"], error["data"]["code"]) == (channel, 4009)
    assert "is not allowed to presence channel" in error["data"]["message"]
    client.say("sockudo:presence_update", {"channel": channel, "data": {"n": 2}})
    assert "subscribe first" in client.event()["data"]["message"]


def test_client_events(grant: Grant, unique: str) -> None:
    channel, other = f"private-{unique}", f"private-{unique}-2"
    client = grant(subscribe=["*"], publish=[channel])
    for name in (channel, other):
        client.subscribe(name)
    client.say("client-a", 1, other)
    denied(client, "publish", other)
    client.say("client-a", 1, channel)
    assert client.event()["event"] == "client-a"


def test_a_rewind(grant: Grant, server: ServerProcess, unique: str) -> None:
    server.publish(unique, "tide", "high", app=TOKEN_APP)
    server.publish(f"{unique}-2", "tide", "high", app=TOKEN_APP)
    client = grant(subscribe=["*"], history=[unique])
    client.say("sockudo:subscribe", {"channel": f"{unique}-2", "rewind": 1})
    denied(client, "history", f"{unique}-2")
    client.subscribe(f"{unique}-2")
    client.subscribe(unique, rewind=1)
    assert client.event()["data"] == "high"
    assert client.event()["event"] == "sockudo:rewind_complete"


def test_a_channels_history(grant: Grant, server: ServerProcess, unique: str) -> None:
    client = grant(subscribe=["*"], history=[unique])
    for channel in (unique, f"{unique}-2"):
        server.publish(channel, "tide", "high", app=TOKEN_APP)
        client.subscribe(channel)
    client.say("sockudo:channel_history", {"channel": f"{unique}-2"})
    error = client.event()
    assert (error["channel"], error["data"]["code"]) == (f"{unique}-2", 4009)
    client.say("sockudo:channel_history", {"channel": unique})
    assert len(client.event()["data"]["items"]) == 1


def test_a_resume(grant: Grant, server: ServerProcess, unique: str) -> None:
    """What was missed is told without `history`: it would have been heard."""
    allowed, other = f"{unique}-1", f"{unique}-2"
    reader = grant(subscribe=["*"])
    places = {channel: place(reader.subscribe(channel)) for channel in (allowed, other)}
    for channel in places:
        server.publish(channel, "tide", channel, app=TOKEN_APP)
    answer = resume(grant(subscribe=[allowed], history=[]), **places)
    assert answer.data == [allowed]
    assert answer.reasons() == {other: ("continuity_unverifiable", "channel_not_authorized")}


def test_a_metachannel_takes_the_rights_of_its_channel(grant: Grant, unique: str) -> None:
    client = grant(subscribe=[unique])
    client.subscribe(f"[meta]{unique}")
    client.say("sockudo:subscribe", {"channel": f"[meta]{unique}-2"})
    denied(client, "subscribe", f"{unique}-2")


@pytest.mark.parametrize(
    ("granted", "asked", "fits"),
    [
        ("{}*", "{}*", True),
        ("{}*", "{}-a*", True),
        ("{}-a", "{}*", False),
        ("{}-a*", "{}*", False),
        ("*", "*", True),
    ],
)
def test_a_pattern_is_asked_for_by_its_text(grant: Grant, unique: str, granted: str, asked: str, fits: bool) -> None:
    client = grant(subscribe=[granted.format(unique)])
    client.say("sockudo:subscribe", {"channel": asked.format(unique)})
    if fits:
        client.joined(asked.format(unique))
    else:
        denied(client, "subscribe", asked.format(unique))


def test_raw_annotations_are_never_given(grant: Grant, unique: str) -> None:
    """This server has none, whatever is granted."""
    client = grant(subscribe=["*"], annotation_subscribe=["*"])
    client.say("sockudo:subscribe", {"channel": unique, "modes": ["ANNOTATION_SUBSCRIBE"]})
    client.refused(4300, "Channel error: Annotations are not enabled for this channel")


# ---- patterns ----


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("{}-a", ["{}-a"], ["{}-ab", "{}-A", "{}-"]),
        ("{}-a*", ["{}-a", "{}-ab", "{}-a-b"], ["{}-b"]),
        ("*-{}", ["a-{}", "-{}"], ["a-{}b", "{}"]),
        ("a*{}-z", ["a{}-z", "ab{}-z"], ["a{}-zz", "b{}-z"]),
        ("a{}a*a", ["a{}aa", "a{}axa"], ["a{}a"]),
        ("*", ["{}", "x{}"], []),
    ],
)
def test_patterns(grant: Grant, unique: str, pattern: str, fitting: list[str], others: list[str]) -> None:
    mark = unique[-30:]
    client = grant(subscribe=[pattern.format(mark)])
    for channel in fitting:
        client.subscribe(channel.format(mark))
    for channel in others:
        client.say("sockudo:subscribe", {"channel": channel.format(mark)})
        denied(client, "subscribe", channel.format(mark))


# ---- what is not said ----


def test_a_token_grants_what_it_names_and_nothing_else(by_token: Grant, unique: str) -> None:
    client = by_token(publish=["*"])
    client.say("sockudo:subscribe", {"channel": unique})
    denied(client, "subscribe", unique)
    empty = by_token()
    empty.say("sockudo:subscribe", {"channel": unique})
    denied(empty, "subscribe", unique)


def test_a_sign_in_limits_what_it_names_and_nothing_else(by_sign_in: Grant, unique: str) -> None:
    channel = f"private-{unique}"
    client = by_sign_in(publish=[], nonsense=["*"])
    client.subscribe(channel, rewind=1)
    assert client.event()["event"] == "sockudo:rewind_complete"
    client.say("client-a", 1, channel)
    denied(client, "publish", channel)
    free = by_sign_in()
    free.subscribe(channel)
    free.say("client-a", 1, channel)
    assert free.event()["event"] == "client-a"


def test_a_sign_in_without_capabilities_frees_again(by_sign_in: Grant, unique: str) -> None:
    client = by_sign_in(subscribe=[])
    client.say("sockudo:subscribe", {"channel": unique})
    denied(client, "subscribe", unique)
    client.sign_in("ana")
    client.subscribe(unique)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "they must be an object"),
        ("all", "they must be an object"),
        ({"subscribe": "all"}, "'subscribe' must be an array of strings"),
        ({"history": [1]}, "'history' must be an array of strings"),
    ],
)
def test_capabilities_that_cannot_be_read(connect: Connect, unique: str, value: Any, why: str) -> None:
    client = connect(app=TOKEN_APP, protocol=2)
    user_data = json.dumps({"id": "ana", "capabilities": value})
    client.say("sockudo:signin", {"auth": user_auth(TOKEN_APP, client.socket_id, user_data), "user_data": user_data})
    client.refused(4009, f"Authentication error: Invalid capabilities in user_data: {why}")
    client.subscribe(unique)


def test_v1_has_no_capabilities(connect: Connect, unique: str) -> None:
    client = connect(app=TOKEN_APP)
    client.sign_in("ana", capabilities={"subscribe": []})
    client.subscribe(unique)


def test_users_of_tokens_get_into_channels_for_them(by_token: Grant, unique: str) -> None:
    client = by_token(unique, subscribe=["*"])
    client.subscribe(f"#server-to-user-{unique}")
