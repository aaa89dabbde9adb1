"""What was said to a user is shown to that user alone, whatever way the past is asked for (spec: history § 10.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from blackbox.recovery import place, resume
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.websocket import Connect, WebSocket

NOT_AUTHORIZED = ("continuity_unverifiable", "channel_not_authorized")


@pytest.fixture(scope="module", params=["stored", "in memory"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    record = app_record(DEFAULT_APP, channels={"v1_recovery": True}, history={"enabled": request.param == "stored"})
    with start_server({**STREAMS, "app_manager": {"array": {"apps": [record]}}}) as running:
        yield running


def first_place(connect_v2: Connect, server: ServerProcess, user: str) -> dict[str, object]:
    """Says something to a user, who hears it; the place before that."""
    owner = connect_v2()
    owner.sign_in(user)
    server.publish(f"#server-to-user-{user}", "note", "for you alone")
    seen = place(owner.event())
    return {"stream_id": seen["stream_id"], "serial": seen["serial"] - 1}


@pytest.mark.parametrize("other", [None, "eve"], ids=["nobody", "somebody else"])
def test_a_subscriber_who_is_not_the_user_cannot_resume(
    connect_v2: Connect, server: ServerProcess, unique: str, other: str | None
) -> None:
    start = first_place(connect_v2, server, unique)
    channel = f"#server-to-user-{unique}"
    client = connect_v2()
    if other is not None:
        client.sign_in(other)
    # The acknowledgement does not even say how much there is.
    assert client.subscribe(channel) == {
        "event": "sockudo_internal:subscription_succeeded",
        "channel": channel,
        "data": "{}",
    }
    answer = resume(client, **{channel: start})
    assert answer.replayed == []
    assert answer.reasons() == {channel: NOT_AUTHORIZED}


def test_nor_on_protocol_v1(connect: Connect, connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    start = first_place(connect_v2, server, unique)
    channel = f"#server-to-user-{unique}"
    client = connect()
    assert client.subscribe(channel) == {
        "event": "pusher_internal:subscription_succeeded",
        "channel": channel,
        "data": "{}",
    }
    client.say("pusher:resume", {"channel_positions": {channel: start}})
    refused, answer = client.event(), client.event()
    assert refused["event"] == "pusher:resume_failed"
    assert answer["event"] == "pusher:resume_success"
    assert json.loads(answer["data"])["recovered"] == []


def test_the_past_cannot_be_asked_for(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    first_place(connect_v2, server, unique)
    channel = f"#server-to-user-{unique}"
    client: WebSocket = connect_v2()
    refusal = {"code": 4009, "message": f"Authentication error: Channel '{channel}' shows its past to its user alone"}
    client.say("sockudo:subscribe", {"channel": channel, "rewind": 5})
    assert client.event()["data"] == refusal
    client.subscribe(channel)
    client.say("sockudo:channel_history", {"channel": channel})
    assert client.event()["data"] == refusal


def test_the_user_gets_it(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    start = first_place(connect_v2, server, unique)
    channel = f"#server-to-user-{unique}"
    client = connect_v2()
    client.sign_in(unique)
    assert "serial" in client.subscribe(channel)
    assert resume(client, **{channel: start}).data == ["for you alone"]
