"""A session's frame of life: refusals, limits of frames, the end, and peers that read too slowly."""

from __future__ import annotations

import json

import msgspec
import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.config.apps import Features, Limits, MessageRateLimit
from sockudo.hub import HubOptions
from sockudo.protocol import frames
from sockudo.protocol.formats import V1_JSON
from sockudo.protocol.frames import Frame
from sockudo.protocol.framing import WEBSOCKET, text_frame
from sockudo.protocol.shapes import shape_of
from sockudo.sessions import actions
from support.inside import Client, Node, live_app

V1 = shape_of(V1_JSON, WEBSOCKET)
PING = V1.encode(frames.PING)

LIVELY = Features(enable_client_messages=True)


class TestRefusals:
    @pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b'{"event":1}', b'{"event":"a","event":"b"}'])
    def test_a_broken_frame_costs_an_error_frame_and_nothing_else(self, node: Node, payload: bytes) -> None:
        client = node.connect()
        client.subscribe("news")
        client.frames()
        client.send_raw(payload)
        code, message = client.error()
        assert code == 4000
        assert message.startswith("Invalid message format: Decode failed: ")
        assert not client.session.ended
        assert "news" in client.session.channels

    def test_a_frame_without_an_event(self, node: Node) -> None:
        client = node.connect()
        client.send_raw(b"{}")
        assert client.error() == (4000, "Invalid event name: Event name is required")

    def test_refusals_are_counted_by_their_slug(self, node: Node) -> None:
        client = node.connect()
        for _ in range(2):
            client.send_raw(b"{}")
        client.subscribe("news*")
        assert node.state.traffic.errors == {"event_name_invalid": 2, "wildcard_needs_v2": 1}

    def test_how_the_store_does_is_for_operators(self, node: Node) -> None:
        client = node.connect()
        client.session.refuse(errors.HISTORY_UNAVAILABLE("The history store does not answer: its disk is full"))
        assert client.error() == (4000, errors.HISTORY_UNAVAILABLE.meaning)
        [group] = node.gateway.inspector.problems.groups()
        assert (group.last[0].text or "").endswith("its disk is full")

    def test_what_arrives_is_counted(self, node: Node) -> None:
        client = node.connect()
        client.send_raw(b'{"event":"x"}')
        client.send_raw(b"broken")
        traffic = node.state.traffic
        assert (traffic.messages_received, traffic.bytes_received) == (2, 13 + 6)

    def test_a_defect_costs_one_frame_and_leads_to_the_log(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        def defect(*_: object) -> None:
            raise KeyError("secret detail")

        monkeypatch.setitem(actions.ACTIONS, "pusher:ping", defect)
        client = node.connect()
        with capture_logs() as log:
            client.send("pusher:ping")
        code, message = client.error()
        assert code == 4000
        assert not client.session.ended
        [entry] = [entry for entry in log if entry["log_level"] == "error"]
        assert message == f"Internal server error {entry['reference']}"


class TestWindows:
    def limited(self, *, terminate: bool = False) -> Client:
        every = MessageRateLimit(enabled=True, max_attempts=3, decay_seconds=10, terminate_on_limit=terminate)
        return Node(live_app(limits=Limits(message_rate_limit=every))).connect()

    def test_frames_over_the_limit_are_refused_until_the_window_ends(self) -> None:
        client = self.limited()
        for _ in range(3):
            client.send("pusher:ping")
        assert client.events() == ["pusher:pong"] * 3
        for _ in range(2):
            client.send("pusher:ping")
            assert client.error() == (4301, "Client event rejected due to rate limit")
        client.node.clock.advance(9.9)
        client.send("pusher:ping")
        assert client.error()[0] == 4301
        client.node.clock.advance(0.2)
        client.send("pusher:ping")
        assert client.events() == ["pusher:pong"]

    def test_every_event_counts_unknown_ones_too_but_not_what_is_no_frame(self) -> None:
        client = self.limited()
        for _ in range(5):
            client.send_raw(b"broken")
        client.frames()
        for _ in range(3):
            client.send("unknown")
        assert client.frames() == []
        client.send("unknown")
        assert client.error()[0] == 4301

    def test_where_the_app_wants_it_the_connection_ends(self) -> None:
        client = self.limited(terminate=True)
        for _ in range(4):
            client.send("pusher:pong")
        assert client.error() == (4301, "Connection closed due to client event rate limit")
        assert client.peer.closed == (4301, "Connection closed due to client event rate limit")
        assert client.session.ended

    def test_each_connection_has_its_own_window(self) -> None:
        client = self.limited()
        for _ in range(4):
            client.send("pusher:pong")
        other = client.node.connect()
        other.send("pusher:ping")
        assert other.events() == ["pusher:pong"]

    def test_client_events_have_a_window_of_their_own(self) -> None:
        limits = Limits(max_client_events_per_second=2, decay_seconds=5)
        node = Node(live_app(limits=limits, features=LIVELY))
        client = node.connect()
        client.subscribe("private-a")
        client.frames()
        for _ in range(2):
            client.send("client-a", 1, "private-a")
        assert client.frames() == []
        client.send("client-a", 1, "private-a")
        assert client.error() == (4301, "Client event rejected due to rate limit")
        client.send("pusher:ping")
        assert client.events() == ["pusher:pong"]
        node.clock.advance(5)
        client.send("client-a", 1, "private-a")
        assert client.frames() == []

    def test_too_many_client_events_can_end_the_connection(self) -> None:
        limits = Limits(max_client_events_per_second=1, terminate_on_limit=True)
        client = Node(live_app(limits=limits, features=LIVELY)).connect()
        for _ in range(2):
            client.send("client-a", 1, "private-a")
        assert client.peer.closed == (4301, "Connection closed due to client event rate limit")

    def test_an_app_whose_limits_change_applies_them_to_open_sessions(self) -> None:
        node = Node(live_app(features=LIVELY))
        client = node.connect()
        node.gateway.apply_app(live_app(limits=Limits(max_client_events_per_second=1), features=LIVELY))
        for _ in range(2):
            client.send("client-a", 1, "private-a")
        assert [frame["data"]["message"] for frame in client.frames()][-1] == "Client event rejected due to rate limit"


class TestEnd:
    def test_an_error_frame_then_one_close_and_nothing_after(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("news")
        client.frames()
        client.peer.log.clear()
        client.session.end(errors.TERMINATED())
        client.session.end(errors.SERVER_SHUTDOWN())
        client.session.write(PING)
        node.hub.publish(node.state, Frame("late", "news", "{}"))
        node.settle()
        text = "You got disconnected by the app."
        assert client.peer.log == [V1.encode(frames.error(4009, text)), (4009, text)]

    def test_what_was_said_before_is_heard_before(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("news")
        client.frames()
        client.peer.log.clear()
        node.hub.publish(node.state, Frame("before", "news", "{}"))
        client.session.end(errors.FORCE_RECONNECT())
        assert [type(entry) for entry in client.peer.log] == [bytes, bytes, tuple]
        assert client.events() == ["before", "pusher:error"]

    def test_codes_of_the_framing_have_no_error_frame(self, node: Node) -> None:
        client = node.connect()
        client.session.end(errors.MESSAGE_TOO_BIG("message is larger than 5 bytes"))
        assert client.peer.log == [(1009, "message is larger than 5 bytes")]

    def test_nothing_is_left_of_it(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("news")
        client.subscribe("presence-a", {"user_id": "u"})
        node.state.users.sign_in(client.session, "u", b"{}", ())
        client.session.end(errors.TERMINATED())
        assert node.state.connections == {}
        assert node.state.channels == {}
        assert len(node.state.users) == 0
        assert node.state.traffic.connections_closed == 1
        assert node.state.traffic.errors == {"terminated": 1}

    def test_a_frame_that_is_still_under_way_writes_nothing(self, node: Node) -> None:
        client = node.connect()
        client.session.end(errors.TERMINATED())
        client.peer.log.clear()
        client.send("pusher:ping")
        client.send_raw(b"broken")
        node.settle()
        assert client.peer.log == []

    @pytest.mark.parametrize(
        ("spec", "held"), [(errors.PONG_TIMEOUT, False), (errors.TERMINATED, True), (errors.SERVER_SHUTDOWN, True)]
    )
    def test_a_member_keeps_its_place_for_a_while_unless_the_peer_was_dead(
        self, spec: errors.ErrorSpec, held: bool
    ) -> None:
        node = Node(options=HubOptions(presence_grace=15))
        client = node.connect()
        client.subscribe("presence-a", {"user_id": "u"})
        client.session.end(spec())
        assert ("presence-a" in node.state.channels) is held

    def test_a_member_is_kept_over_a_drain_until_its_time_is_over(self, node: Node) -> None:
        client, other = node.connect(), node.connect()
        for each in (client, other):
            each.subscribe("presence-a", {"user_id": each.socket_id})
        node.hub.kept_over_drain = 5.0
        client.session.end(errors.SERVER_SHUTDOWN())
        other.session.end(errors.TERMINATED())
        presence = node.state.channels["presence-a"].presence
        assert presence is not None
        assert list(presence.infos()) == [client.socket_id]
        assert node.hub.holds.any_missing()
        presence.change_elsewhere("b", {client.socket_id: b"{}"}, ())
        assert not node.hub.holds.any_missing()
        node.clock.advance(4.9)
        node.hub.tick(node.clock.monotonic())
        assert client.socket_id in presence
        node.clock.advance(0.2)
        node.hub.tick(node.clock.monotonic())
        assert client.socket_id not in presence

    def test_leaving_twice_is_leaving_once(self, node: Node) -> None:
        client = node.connect()
        client.session.leave()
        client.session.leave(code=1000)
        client.session.end(errors.TERMINATED())
        assert client.peer.log == []
        assert node.state.traffic.connections_closed == 1

    def test_who_leaves_cleanly_is_gone_at_once(self) -> None:
        node = Node(options=HubOptions(presence_grace=15))
        for clean in (True, False):
            client = node.connect()
            client.subscribe("presence-a", {"user_id": "u"})
            client.session.leave(code=1000 if clean else None)
            assert ("presence-a" in node.state.channels) is not clean


def queue_of(client: Client, **websocket: object) -> None:
    settings = client.node.settings
    client.node.configure(websocket=msgspec.structs.replace(settings.websocket, **websocket))


def say(client: Client, *names: str) -> None:
    """Publishes each in a turn of its own."""
    for name in names:
        client.node.hub.publish(client.node.state, Frame(name, "news", "{}"))
        client.node.settle()


@pytest.fixture
def reader(node: Node) -> Client:
    """A subscriber of "news" that has read everything so far."""
    client = node.connect()
    client.subscribe("news")
    client.frames()
    client.peer.log.clear()
    return client


class TestSlowConsumers:
    SLOW = (4100, "Client buffer full, disconnecting slow consumer")

    def test_nothing_is_counted_while_the_peer_keeps_up(self, reader: Client) -> None:
        queue_of(reader, max_messages=1)
        say(reader, "a", "b", "c")
        assert reader.events() == ["a", "b", "c"]
        assert not reader.session.ended

    def test_over_its_queue_it_is_ended_in_the_next_turn(self, reader: Client) -> None:
        queue_of(reader, max_messages=2)
        reader.session.pause()
        say(reader, "a", "b")
        assert not reader.session.ended
        reader.node.hub.publish(reader.node.state, Frame("c", "news", "{}"))
        reader.node.hub.deliver()
        assert not reader.session.ended
        reader.node.settle()
        assert reader.session.ended
        assert reader.peer.closed == self.SLOW
        assert reader.events() == ["a", "b", "pusher:error"]
        assert reader.peer.log[-2:] == [V1.encode(frames.error(*self.SLOW)), self.SLOW]
        assert reader.node.state.traffic.messages_dropped == 1
        assert reader.node.state.traffic.errors == {"slow_consumer": 1}

    def test_nothing_is_written_between_giving_up_and_the_goodbye(self, reader: Client) -> None:
        queue_of(reader, max_messages=1)
        reader.session.pause()
        for name in ("a", "b"):
            reader.node.hub.publish(reader.node.state, Frame(name, "news", "{}"))
        reader.node.hub.deliver()
        reader.session.resume()
        reader.session.pause()
        reader.send("pusher:ping")
        reader.node.hub.publish(reader.node.state, Frame("c", "news", "{}"))
        reader.node.settle()
        assert reader.events() == ["pusher:error"]
        assert reader.peer.closed == self.SLOW

    def test_frames_joined_in_one_write_count_one_by_one(self, reader: Client) -> None:
        queue_of(reader, max_messages=3)
        reader.session.pause()
        for name in ("a", "b", "c"):
            reader.node.hub.publish(reader.node.state, Frame(name, "news", "{}"))
        reader.node.settle()
        assert reader.events() == ["a", "b", "c"]
        say(reader, "d")
        assert reader.session.ended

    def test_other_subscribers_are_served_meanwhile(self, reader: Client) -> None:
        queue_of(reader, max_messages=1)
        others = [reader.node.connect() for _ in range(3)]
        for other in others:
            other.subscribe("news")
            other.frames()
        reader.session.pause()
        say(reader, "a", "b", "c")
        for other in others:
            assert other.events() == ["a", "b", "c"]
        assert list(reader.node.state.channels["news"].subscribers()) == [other.session for other in others]

    def test_told_not_to_disconnect_the_message_is_dropped(self, reader: Client) -> None:
        queue_of(reader, max_messages=2, disconnect_on_buffer_full=False)
        reader.session.pause()
        say(reader, "a", "b", "c", "d")
        assert reader.events() == ["a", "b"]
        assert not reader.session.ended
        assert reader.node.state.traffic.messages_dropped == 2
        reader.session.resume()
        say(reader, "e")
        assert reader.events() == ["e"]

    def test_a_peer_that_drained_starts_anew(self, reader: Client) -> None:
        queue_of(reader, max_messages=2)
        for _ in range(3):
            reader.session.pause()
            say(reader, "a", "b")
            reader.session.resume()
        assert reader.events() == ["a", "b"] * 3
        assert not reader.session.ended

    def test_bytes_are_counted_where_a_bound_is_set(self, reader: Client) -> None:
        size = len(V1.encode(Frame("a", "news", "{}")))
        queue_of(reader, max_messages=None, max_bytes=2 * size)
        reader.session.pause()
        say(reader, "a", "b")
        assert not reader.session.ended
        say(reader, "c")
        assert reader.peer.closed == self.SLOW

    @pytest.mark.parametrize(("max_bytes", "limit"), [(None, 1000), (10_000_000, 10_000)])
    def test_without_a_number_there_is_still_a_bound(self, reader: Client, max_bytes: int | None, limit: int) -> None:
        queue_of(reader, max_messages=None, max_bytes=max_bytes)
        reader.session.pause()
        for _ in range(limit):
            reader.session.write(PING)
        assert not reader.node.turns
        reader.session.write(PING)
        reader.node.settle()
        assert reader.session.ended

    def test_answers_count_like_events(self, reader: Client) -> None:
        queue_of(reader, max_messages=2)
        reader.session.pause()
        for _ in range(3):
            reader.send("pusher:ping")
        reader.node.settle()
        assert reader.peer.closed == self.SLOW

    def test_a_peer_that_is_gone_before_its_goodbye(self, reader: Client) -> None:
        queue_of(reader, max_messages=0, disconnect_on_buffer_full=True)
        reader.session.pause()
        reader.node.hub.publish(reader.node.state, Frame("a", "news", "{}"))
        reader.node.hub.deliver()
        reader.session.leave()
        reader.node.settle()
        assert reader.peer.log == []
        assert reader.node.state.traffic.connections_closed == 1


def test_frames_from_the_wire_are_acted_on_in_order(node: Node) -> None:
    client = node.connect()
    for channel in ("a", "b", "a"):
        client.subscribe(channel)
    client.send("pusher:unsubscribe", {"channel": "a"})
    client.send("pusher:ping")
    frames = client.frames()
    assert [(frame["event"], frame.get("channel")) for frame in frames] == [
        ("pusher_internal:subscription_succeeded", "a"),
        ("pusher_internal:subscription_succeeded", "b"),
        ("pusher_internal:subscription_succeeded", "a"),
        ("pusher:pong", None),
    ]
    assert list(client.session.channels) == ["b"]


def test_error_frames_hold_an_object_of_code_and_message(node: Node) -> None:
    client = node.connect()
    client.session.refuse(errors.CHANNEL_NAME('a "quoted" é'))
    node.settle()
    expected = {"event": "pusher:error", "data": {"code": 4300, "message": 'a "quoted" é'}}
    assert client.peer.writes == [text_frame(json.dumps(expected, separators=(",", ":"), ensure_ascii=False).encode())]
