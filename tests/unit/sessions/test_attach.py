"""What a subscribe leaves behind: the place of the channel is told, and nothing is kept once the connection is gone."""

from __future__ import annotations

import msgspec

from sockudo.apps.resolve import Defaults
from sockudo.config import Settings
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from support.inside import Client, Node, live_app
from support.waiting import settle


def recovering() -> Node:
    settings = Settings()
    on = msgspec.structs.replace(settings.connection_recovery, enabled=True)
    settings = msgspec.structs.replace(settings, connection_recovery=on)
    return Node(live_app(defaults=Defaults.from_settings(settings)), settings=settings)


def place(client: Client, channel: str) -> dict[str, object]:
    client.send("sockudo:subscribe", {"channel": channel})
    [frame] = client.frames()
    return {"stream_id": frame["stream_id"], "serial": frame["serial"]}


def test_names_that_nothing_was_published_to_keep_nothing() -> None:
    node = recovering()
    client = node.connect(shape=V2_JSON)
    places = [place(client, f"c{number}") for number in range(100)]
    assert {each["serial"] for each in places} == {0}
    for number in range(100):
        client.send("sockudo:unsubscribe", {"channel": f"c{number}"})
    assert len(node.state.replay) == 0
    assert node.state.channels == {}
    assert [place(client, f"c{number}") for number in range(100)] == places
    client.session.leave()
    assert len(node.state.replay) == 0
    assert node.state.channels == {}


async def test_who_was_there_before_the_first_message_gets_it_after_a_cut() -> None:
    node = recovering()
    first = node.connect(shape=V2_JSON)
    start = place(first, "news")
    first.session.leave()
    frame = Frame("said", "news", '"a"')
    node.state.replay.number(frame, 100, node.clock.monotonic())
    assert {"stream_id": frame.stream_id, "serial": frame.serial} == {**start, "serial": 1}
    again = node.connect(shape=V2_JSON)
    again.send("sockudo:resume", {"channel_positions": {"news": start}})
    await settle()
    events = [each["event"] for each in again.frames()]
    assert events == ["said", "sockudo:resume_success"]
