"""Publishing: in which order it is checked, who hears it, what is answered, and what a repeated key does."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar
from uuid import UUID

import pytest

from sockudo import errors
from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.ports import Counters
from sockudo.config.apps import Channels, Idempotency, Limits, Namespace
from sockudo.errors import SockudoError
from sockudo.hub.streams.versions import VersionSerials
from sockudo.limits.idempotency import IdempotencyKeys
from sockudo.publishing import OK, EventApi, Publisher
from sockudo.publishing.answers import Answer
from sockudo.publishing.nodes import OtherNodes
from support.clusters import DelayedCounters
from support.inside import Client, Node, live_app


class Backend:
    """An app's backend on one node."""

    def __init__(self, node: Node, counters: Counters | None = None) -> None:
        self.node = node
        self.counters = InProcessCounters()
        self.keys = IdempotencyKeys(counters or self.counters, 16)
        publisher = Publisher(
            node.hub,
            self.keys,
            node.clock,
            node.components.history,
            node.inspector.doubts,
            OtherNodes(node.bus, node.membership, node.topics, node.hub),
            node.entries,
            node.shared,
            node.caches,
            lambda _: None,
            VersionSerials("node", node.clock.time),
        )
        self.api = EventApi(publisher, self.keys, node.rates, node.clock, node.inspector.doubts, node.cluster_directory)

    def events(self, body: Any = None, key: str | None = None, **fields: Any) -> bytes:
        text = json.dumps(fields if body is None else body).encode()
        node = self.node
        answer = self.api.publish(node.app, node.state, text, key, node.clock.monotonic())
        assert isinstance(answer, bytes)
        return answer

    def batch(self, *items: dict[str, Any], key: str | None = None) -> bytes:
        text = json.dumps({"batch": items}).encode()
        node = self.node
        answer = self.api.publish_batch(node.app, node.state, text, key, node.clock.monotonic())
        assert isinstance(answer, bytes)
        return answer

    def refusal(self, body: Any = None, key: str | None = None, **fields: Any) -> SockudoError:
        with pytest.raises(SockudoError) as caught:
            self.events(body, key, **fields)
        return caught.value

    def batch_refusal(self, *items: dict[str, Any], key: str | None = None) -> SockudoError:
        with pytest.raises(SockudoError) as caught:
            self.batch(*items, key=key)
        return caught.value


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def backend(node: Node) -> Backend:
    return Backend(node)


def listener(node: Node, *channels: str) -> Client:
    client = node.connect()
    for channel in channels:
        node.hub.subscribe(client.session, channel)
    return client


def heard(client: Client) -> list[tuple[str, str]]:
    return [(frame["event"], frame["channel"]) for frame in client.frames()]


class TestOrderOfChecks:
    """Each body breaks one rule after another; repairing the first shows the next (spec: http-api § 5.2)."""

    def test_of_one_event(self) -> None:
        limits = Limits(
            max_event_name_length=5,
            max_event_payload_in_kb=1,
            max_event_channels_at_once=2,
            max_channel_name_length=8,
            max_backend_events_per_second=100,
        )
        backend = Backend(Node(live_app(limits=limits)))
        body: dict[str, Any] = {"data": "x" * 1025, "channels": ["a b", "b", "c"], "idempotency_key": "k" * 17}
        assert backend.refusal(body).text == "Idempotency key exceeds maximum length of 16 characters"
        body["idempotency_key"] = ""
        assert backend.refusal(body).text == "Idempotency key must not be empty"
        body["idempotency_key"] = "key"
        assert backend.refusal(body).text == "Event name is required"
        body["name"] = "ai-input"
        refusal = backend.refusal(body)
        assert refusal.spec is errors.LIMIT_EXCEEDED
        assert refusal.text == "Event name 'ai-input' exceeds maximum length of 5"
        body["name"] = "n"
        refusal = backend.refusal(body)
        assert refusal.spec is errors.EVENT_TOO_LARGE
        assert refusal.text == "Event payload size (1025 bytes) for event 'n' exceeds limit (1KB)"
        body["data"] = "x" * 1024
        refusal = backend.refusal(body)
        assert refusal.spec is errors.LIMIT_EXCEEDED
        assert refusal.text == "Number of channels (3) exceeds limit (2)"
        body["channels"] = ["a b", "b"]
        assert backend.refusal(body).spec is errors.CHANNEL_NAME
        body["channels"] = ["a", "b"]
        assert backend.events(body) is OK

    def test_the_rate_comes_after_the_key_and_before_the_event(self) -> None:
        backend = Backend(Node(live_app(limits=Limits(max_backend_events_per_second=1))))
        backend.events(name="a", channel="b", idempotency_key="k")
        assert backend.refusal(channel="b").spec is errors.RATE_LIMITED
        assert backend.refusal(channel="b", idempotency_key="").spec is errors.INVALID_INPUT
        assert backend.events(name="a", channel="b", idempotency_key="k") is OK

    @pytest.mark.parametrize("fields", [{}, {"channels": []}, {"channels": [], "channel": "a"}, {"channel": None}])
    def test_no_channel(self, backend: Backend, fields: dict[str, Any]) -> None:
        refusal = backend.refusal(name="a", **fields)
        assert refusal.spec is errors.MISSING_CHANNEL
        assert refusal.text == "Request must contain 'channels' (list) or 'channel' (string)"

    def test_an_empty_event_name_is_a_name(self, backend: Backend) -> None:
        assert backend.events(name="", channel="a") is OK

    def test_sizes_are_bytes_of_what_is_delivered(self) -> None:
        backend = Backend(Node(live_app(limits=Limits(max_event_payload_in_kb=1))))
        assert backend.events(name="a", channel="b", data="é" * 512) is OK
        assert backend.refusal(name="a", channel="b", data="é" * 513).spec is errors.EVENT_TOO_LARGE
        assert backend.refusal(name="a", channel="b", data=["é" * 511]).text.startswith("Event payload size (1026 ")

    def test_zero_means_no_limit(self) -> None:
        limits = Limits(
            max_event_name_length=0,
            max_event_payload_in_kb=0,
            max_event_channels_at_once=0,
            max_channel_name_length=0,
            max_event_batch_size=0,
        )
        backend = Backend(Node(live_app(limits=limits)))
        channels = ["c" * 1000, *(f"c{index}" for index in range(200))]
        assert backend.events(name="n" * 1000, channels=channels, data="x" * 200_000) is OK
        assert backend.batch(*[{"name": "a", "channel": "b"}] * 50) == b"{}"

    @pytest.mark.parametrize(
        "event", [{"name": "ai-output"}, {"name": "ai-turn-end"}, {"name": "a", "extras": {"ai": {}}}]
    )
    def test_ai_events_need_channels_of_their_own(self, backend: Backend, event: dict[str, Any]) -> None:
        refusal = backend.refusal(channel="news", **event)
        assert refusal.spec is errors.AI_EVENT_NOT_PERMITTED
        assert "news" in refusal.text
        assert refusal.body()["ai_code"] == 104003

    def test_names_that_only_resemble_ai_events(self, backend: Backend) -> None:
        assert backend.events(name="ai-", channel="a") is OK
        assert backend.events(name="AI-input", channel="a", extras={"headers": {"ai": "x"}}) is OK

    def test_namespaces_of_the_app_hold(self) -> None:
        app = live_app(channels=Channels(channel_namespaces=(Namespace("room", channel_name_pattern="^room:[0-9]+$"),)))
        backend = Backend(Node(app))
        assert backend.events(name="a", channel="room:1") is OK
        assert backend.refusal(name="a", channel="room:x").spec is errors.CHANNEL_NAME
        assert "Unknown channel namespace" in backend.refusal(name="a", channel="hall:1").text


class TestDelivery:
    def test_channel_or_channels(self, node: Node, backend: Backend) -> None:
        client = listener(node, "one", "two", "three")
        backend.events(name="e", channels=["one", "two"], channel="three")
        backend.events(name="f", channels=None, channel="three")
        assert heard(client) == [("e", "one"), ("e", "two"), ("f", "three")]

    def test_data_is_always_a_string(self, node: Node, backend: Backend) -> None:
        client = listener(node, "one")
        for data in ("text", {"a": [1, None]}, None):
            backend.events(name="e", channel="one", data=data)
        backend.events(name="e", channel="one")
        assert [frame["data"] for frame in client.frames()] == ["text", '{"a":[1,null]}', "null", "null"]

    def test_nothing_else_of_the_event_is_delivered(self, node: Node, backend: Backend) -> None:
        client = listener(node, "one")
        backend.events(
            name="e",
            channel="one",
            data="d",
            tags={"a": "b"},
            delta=False,
            message_id="m",
            extras={"headers": {"x": 1}},
        )
        assert client.frames() == [{"event": "e", "channel": "one", "data": "d"}]

    def test_a_channel_named_twice_hears_it_twice(self, node: Node, backend: Backend) -> None:
        client = listener(node, "one")
        reply = backend.events(name="e", channels=["one", "one"], info="subscription_count")
        assert heard(client) == [("e", "one"), ("e", "one")]
        assert list(json.loads(reply)["channels"]) == ["one"]

    def test_one_bad_channel_does_not_stop_the_others(self, node: Node, backend: Backend) -> None:
        client = listener(node, "one", "two")
        refusal = backend.refusal(name="e", channels=["one", "bad name", "", "two"])
        assert refusal.spec is errors.CHANNEL_NAME
        assert "'bad name'" in refusal.text
        assert heard(client) == [("e", "one"), ("e", "two")]

    @pytest.mark.parametrize("channels", [["news"], ["news", "more"]])
    def test_the_excluded_connection_hears_nothing(self, node: Node, backend: Backend, channels: list[str]) -> None:
        sender, other = listener(node, *channels), listener(node, *channels)
        backend.events(name="e", channels=channels, socket_id=sender.socket_id)
        assert heard(sender) == []
        assert heard(other) == [("e", channel) for channel in channels]

    @pytest.mark.parametrize("socket_id", ["1.2", "", "nonsense", "😀"])
    def test_an_unknown_socket_id_excludes_nobody(self, node: Node, backend: Backend, socket_id: str) -> None:
        client = listener(node, "news")
        assert backend.events(name="e", channel="news", socket_id=socket_id) is OK
        assert heard(client) == [("e", "news")]

    def test_a_connection_of_another_app_cannot_be_excluded(self) -> None:
        other = live_app("other")
        node = Node(live_app(), other)
        client, stranger = listener(node, "news"), node.connect(other)
        node.hub.subscribe(stranger.session, "news")
        Backend(node).events(name="e", channel="news", socket_id=stranger.socket_id)
        assert heard(client) == [("e", "news")]
        assert heard(stranger) == []

    def test_user_channels_reach_the_signed_in_not_the_subscribed(self, node: Node, backend: Backend) -> None:
        signed_in, excluded = node.connect(), node.connect()
        subscribed = listener(node, "#server-to-user-u")
        for client in (signed_in, excluded):
            node.state.users.sign_in(client.session, "u", b"{}", ())
        backend.events(name="e", channels=["#server-to-user-u", "news"], socket_id=excluded.socket_id)
        assert heard(signed_in) == [("e", "#server-to-user-u")]
        assert heard(excluded) == []
        assert heard(subscribed) == []

    def test_a_user_nobody_is_signed_in_as(self, backend: Backend) -> None:
        assert backend.events(name="e", channel="#server-to-user-u") is OK
        assert backend.refusal(name="e", channel="#server-to-user-").spec is errors.CHANNEL_NAME

    def test_channels_without_subscribers_are_not_made(self, node: Node, backend: Backend) -> None:
        backend.events(name="e", channels=["one", "presence-two"], info="user_count,subscription_count")
        assert node.state.channels == {}


class TestCache:
    @pytest.mark.parametrize("channel", ["cache-a", "private-cache-a", "presence-cache-a", "private-encrypted-cache-a"])
    def test_the_last_event_is_kept(self, node: Node, backend: Backend, channel: str) -> None:
        for data in ("first", {"second": 2}):
            backend.events(name="e", channel=channel, data=data)
        cached = node.state.cache.get(channel, node.clock.monotonic())
        assert cached is not None
        assert cached.text == b'{"event":"e","channel":"%b","data":"{\\"second\\":2}"}' % channel.encode()
        assert cached.expires_at == node.clock.monotonic() + 3600

    @pytest.mark.parametrize("channel", ["news", "my-cache-a", "private-a", "presence-a"])
    def test_other_channels_keep_nothing(self, node: Node, backend: Backend, channel: str) -> None:
        backend.events(name="e", channel=channel)
        assert len(node.state.cache) == 0

    def test_a_refused_event_is_not_kept(self, node: Node, backend: Backend) -> None:
        backend.refusal(name="ai-input", channel="cache-a")
        backend.refusal(name="e", channel="cache-a b")
        assert len(node.state.cache) == 0


class TestReplies:
    def test_a_plain_publish(self, backend: Backend) -> None:
        assert backend.events(name="e", channel="a") is OK
        assert backend.events(name="e", channels=["a", "b"], info=None) is OK

    @pytest.mark.parametrize("info", ["", " ", "zzz", ","])
    def test_any_info_asks_for_an_acknowledgement(self, backend: Backend, info: str) -> None:
        reply = json.loads(backend.events(name="e", channels=["a", "b"], info=info))
        assert list(reply) == ["channels"]
        assert list(reply["channels"]) == ["a", "b"]
        ids = [entry.pop("acknowledgement_id") for entry in reply["channels"].values()]
        assert [UUID(text).version for text in ids] == [4, 4]
        assert ids[0] != ids[1]
        assert list(reply["channels"].values()) == [{}, {}]

    def test_a_message_id_is_the_acknowledgement(self, backend: Backend) -> None:
        reply = json.loads(backend.events(name="e", channels=["a", "b"], message_id="m-1"))
        assert reply == {"channels": {"a": {"acknowledgement_id": "m-1"}, "b": {"acknowledgement_id": "m-1"}}}

    def test_counts_are_those_after_the_publish(self, node: Node, backend: Backend) -> None:
        listener(node, "a")
        listener(node, "a")
        for user in ("u", "u", "v"):
            node.hub.join(node.connect().session, "presence-a", user, b"{}")
        reply = json.loads(
            backend.events(
                name="e",
                channels=["a", "presence-a", "presence-b", "b"],
                info=" user_count , subscription_count,zzz",
                message_id="m",
            )
        )
        for entry in reply["channels"].values():
            assert entry.pop("acknowledgement_id") == "m"
        assert reply["channels"] == {
            "a": {"subscription_count": 2},
            "presence-a": {"user_count": 2, "subscription_count": 3},
            "presence-b": {"user_count": 0, "subscription_count": 0},
            "b": {"subscription_count": 0},
        }


class TestBatch:
    def test_items_one_after_another(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a", "b")
        items = [{"name": "1", "channel": "a"}, {"name": "2", "channels": ["b", "a"]}, {"name": "3", "channel": "a"}]
        assert backend.batch(*items) == b"{}"
        assert heard(client) == [("1", "a"), ("2", "a"), ("3", "a"), ("2", "b")]

    def test_an_empty_batch(self, backend: Backend) -> None:
        assert backend.batch() == b"{}"

    def test_entries_only_for_items_that_asked(self, node: Node, backend: Backend) -> None:
        listener(node, "a")
        reply = json.loads(
            backend.batch(
                {"name": "e", "channel": "a", "info": "subscription_count", "message_id": "m"},
                {"name": "e", "channel": "a"},
                {"name": "e", "channels": ["b", "a"], "info": "subscription_count", "message_id": "n"},
            )
        )
        assert reply == {
            "batch": [
                {"acknowledgement_id": "m", "subscription_count": 1},
                {},
                {"acknowledgement_id": "n", "subscription_count": 0},
            ]
        }

    def test_the_size_is_limited(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        refusal = backend.batch_refusal(*[{"name": "e", "channel": "a"}] * 11)
        assert refusal.spec is errors.LIMIT_EXCEEDED
        assert refusal.text == "Batch size (11) exceeds limit (10)"
        assert heard(client) == []

    def test_the_first_failure_ends_it_and_is_named(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        refusal = backend.batch_refusal(
            {"name": "1", "channel": "a"}, {"name": "2", "channel": "b c"}, {"name": "3", "channel": "a"}
        )
        assert refusal.spec is errors.CHANNEL_NAME
        assert refusal.text.endswith("(item 1 of the batch)")
        assert heard(client) == [("1", "a")]

    def test_every_key_is_checked_before_anything_is_said(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        refusal = backend.batch_refusal(
            {"name": "1", "channel": "a"}, {"name": "2", "channel": "a", "idempotency_key": ""}
        )
        assert refusal.text == "Idempotency key must not be empty (item 1 of the batch)"
        assert heard(client) == []

    def test_a_rate_limit_is_for_the_whole(self) -> None:
        node = Node(live_app(limits=Limits(max_backend_events_per_second=2)))
        backend, client = Backend(node), listener(node, "a")
        refusal = backend.batch_refusal(*[{"name": "e", "channel": "a"}] * 3)
        assert refusal.spec is errors.RATE_LIMITED
        assert refusal.retry_after == 1
        assert heard(client) == []
        assert backend.batch(*[{"name": "e", "channel": "a"}] * 2) == b"{}"


class TestIdempotency:
    EVENT: ClassVar[dict[str, Any]] = {"name": "e", "channel": "a", "data": "d"}

    def test_a_repeated_key_is_answered_from_memory(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        first = backend.events(**self.EVENT, info="", idempotency_key="k")
        assert backend.events(**self.EVENT, info="", idempotency_key="k") == first
        assert heard(client) == [("e", "a")]
        traffic = node.state.traffic
        assert (traffic.idempotent_publishes, traffic.idempotent_repeats) == (2, 1)

    def test_the_plain_reply_stays_the_same_object(self, backend: Backend) -> None:
        assert backend.events(self.EVENT, key="k") is OK
        assert backend.events(self.EVENT, key="k") is OK

    def test_the_body_outranks_the_header(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        backend.events(**self.EVENT, idempotency_key="in body", key="in header")
        backend.events(self.EVENT, key="in body")
        backend.events(self.EVENT, key="in header")
        assert len(heard(client)) == 2

    def test_an_empty_key_in_the_body_is_not_passed_over(self, backend: Backend) -> None:
        assert backend.refusal(**self.EVENT, idempotency_key="", key="fine").spec is errors.INVALID_INPUT
        assert backend.refusal(self.EVENT, key="").text == "Idempotency key must not be empty"

    @pytest.mark.parametrize(
        "change",
        [{"name": "x"}, {"data": "x"}, {"channel": "x"}, {"channels": ["a"]}, {"tags": {}}, {"message_id": "m"}],
    )
    def test_other_content_under_the_same_key(self, node: Node, backend: Backend, change: dict[str, Any]) -> None:
        client = listener(node, "a", "x")
        backend.events(self.EVENT, key="k")
        assert backend.refusal(self.EVENT | change, key="k").spec is errors.IDEMPOTENCY_CONFLICT
        assert len(heard(client)) == 1

    @pytest.mark.parametrize("change", [{"socket_id": "1.1"}, {"info": ""}, {"idempotency_key": "k"}, {"other": 1}])
    def test_what_does_not_belong_to_the_content(self, backend: Backend, change: dict[str, Any]) -> None:
        assert backend.events(self.EVENT, key="k") is OK
        assert backend.events(self.EVENT | change, key="k") is OK

    def test_a_key_ends_with_its_time(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        backend.events(self.EVENT, key="k")
        node.clock.advance(119.9)
        backend.events(self.EVENT, key="k")
        assert len(heard(client)) == 1
        node.clock.advance(0.2)
        backend.events(self.EVENT | {"data": "other"}, key="k")
        assert len(heard(client)) == 1

    def test_a_refused_publish_gives_the_key_back(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        assert backend.refusal({"name": "e", "channels": ["a", "a b"]}, key="k").spec is errors.CHANNEL_NAME
        assert backend.events(self.EVENT, key="k") is OK
        assert len(heard(client)) == 2

    def test_a_rate_limited_publish_gives_the_key_back(self) -> None:
        node = Node(live_app(limits=Limits(max_backend_events_per_second=1)))
        backend = Backend(node)
        backend.events(self.EVENT, key="1")
        assert backend.refusal(self.EVENT, key="2").spec is errors.RATE_LIMITED
        node.clock.advance(1)
        assert backend.events(self.EVENT, key="2") is OK

    def test_a_defect_gives_the_key_back(self, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(backend.node.hub, "publish", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                backend.events(self.EVENT, key="k")
        assert backend.events(self.EVENT, key="k") is OK

    def test_a_key_whose_publish_is_under_way(self, backend: Backend) -> None:
        first = backend.events(self.EVENT, key="probe")
        assert first is OK
        [record] = backend.counters._finished.values()
        claim = backend.counters.claim(("app", "event", "k"), record.mark, 120, backend.node.clock.monotonic())
        assert not isinstance(claim, (str, bytes))
        refusal = backend.refusal(self.EVENT, key="k")
        assert refusal.spec is errors.IDEMPOTENCY_RUNNING
        assert refusal.retry_after == 1
        with pytest.raises(SockudoError) as refused:
            backend.batch(self.EVENT | {"idempotency_key": "k", "info": ""})
        assert refused.value.spec is errors.IDEMPOTENCY_RUNNING
        claim.release()
        assert backend.events(self.EVENT, key="k") is OK

    def test_switched_off_keys_are_ignored_whatever_they_are(self) -> None:
        node = Node(live_app(idempotency=Idempotency(enabled=False)))
        backend, client = Backend(node), listener(node, "a")
        for _ in range(2):
            backend.events(self.EVENT, key="k")
            backend.events(**self.EVENT, idempotency_key="")
            backend.batch(self.EVENT | {"idempotency_key": "k" * 500}, key="")
        assert len(heard(client)) == 6
        assert len(backend.counters) == 0

    async def test_claims_that_are_decided_elsewhere_are_waited_for(self) -> None:
        node = Node()
        backend, client = Backend(node, DelayedCounters()), listener(node, "a")

        async def answer(asked: Answer) -> bytes:
            assert isinstance(asked, asyncio.Future)
            return await asked

        def events(key: str, **fields: Any) -> Answer:
            text = json.dumps(self.EVENT | fields).encode()
            return backend.api.publish(node.app, node.state, text, key, node.clock.monotonic())

        first, repeat = events("k"), events("k")
        assert await answer(first) is OK
        with pytest.raises(SockudoError) as refused:
            await answer(events("k", data="other"))
        assert refused.value.spec is errors.IDEMPOTENCY_CONFLICT
        assert await answer(repeat) == await answer(events("k")) == OK
        items = json.dumps({"batch": [self.EVENT | {"idempotency_key": key} for key in ("k", "m", "m")]}).encode()
        for _ in range(2):
            batch = backend.api.publish_batch(node.app, node.state, items, "b", node.clock.monotonic())
            assert await answer(batch) == b"{}"
        assert len(heard(client)) == 2

    async def test_a_message_whose_key_is_claimed_elsewhere_is_published_once(self) -> None:
        node = Node()
        backend, client = Backend(node, DelayedCounters()), listener(node, "a")
        text = json.dumps(self.EVENT | {"message_id": "m-1"}).encode()
        answers = [backend.api.publish(node.app, node.state, text, None, node.clock.monotonic()) for _ in range(2)]
        for answer in answers:
            assert isinstance(answer, asyncio.Future)
            assert b"acknowledgement_id" in await answer
        assert len(heard(client)) == 1

    def test_the_app_decides_how_long(self) -> None:
        node = Node(live_app(idempotency=Idempotency(ttl_seconds=5)))
        backend, client = Backend(node), listener(node, "a")
        backend.events(self.EVENT, key="k")
        node.clock.advance(5.1)
        backend.events(self.EVENT, key="k")
        assert len(heard(client)) == 2


class TestIdempotentBatches:
    ITEM: ClassVar[dict[str, Any]] = {"name": "e", "channel": "a"}

    def test_a_whole_batch_is_repeated_from_memory(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        first = backend.batch(self.ITEM | {"info": ""}, self.ITEM, key="k")
        assert backend.batch(self.ITEM | {"info": ""}, self.ITEM, key="k") == first
        assert len(heard(client)) == 2
        assert backend.batch_refusal(self.ITEM, key="k").spec is errors.IDEMPOTENCY_CONFLICT

    def test_keys_of_batches_are_a_space_of_their_own(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        backend.batch(self.ITEM, key="k")
        backend.events(self.ITEM, key="k")
        assert len(heard(client)) == 2

    def test_an_item_is_published_once(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        keyed = self.ITEM | {"idempotency_key": "k", "message_id": "m"}
        assert backend.batch(keyed, keyed) == b'{"batch":[{"acknowledgement_id":"m"},{}]}'
        assert backend.batch(keyed) == b'{"batch":[{}]}'
        assert len(heard(client)) == 1

    def test_an_item_and_an_event_share_their_keys(self, node: Node, backend: Backend) -> None:
        client = listener(node, "a")
        backend.batch(self.ITEM | {"idempotency_key": "k"})
        assert backend.events(self.ITEM, key="k") is OK
        backend.events(self.ITEM, key="l")
        backend.batch(self.ITEM | {"idempotency_key": "l"})
        assert len(heard(client)) == 2

    def test_a_failed_item_can_be_tried_again_and_the_others_are_not_said_twice(
        self, node: Node, backend: Backend
    ) -> None:
        client = listener(node, "a")
        items = [self.ITEM | {"idempotency_key": str(number)} for number in range(3)]
        bad = items[1] | {"channel": "a b"}
        assert backend.batch_refusal(items[0], bad, items[2], key="k").spec is errors.CHANNEL_NAME
        assert len(heard(client)) == 1
        assert backend.batch(*items, key="k") == b"{}"
        assert len(heard(client)) == 2

    def test_an_items_key_with_other_content(self, backend: Backend) -> None:
        refusal = backend.batch_refusal(
            self.ITEM | {"idempotency_key": "k"}, self.ITEM | {"idempotency_key": "k", "data": "other"}
        )
        assert refusal.spec is errors.IDEMPOTENCY_CONFLICT
        assert refusal.text.endswith("(item 1 of the batch)")

    def test_the_hint_to_wait_survives_the_naming_of_the_item(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise errors.SERVICE_UNAVAILABLE("not now", retry_after=7)

        monkeypatch.setattr(backend.node.hub, "publish", refuse)
        refusal = backend.batch_refusal(self.ITEM)
        assert (refusal.retry_after, refusal.text) == (7, "not now (item 0 of the batch)")
