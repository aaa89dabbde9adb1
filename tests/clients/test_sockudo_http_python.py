"""Sockudo's own HTTP SDK for Python: publishing, questions and what an operator does, as its users call it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sockudo_http_python import (
    AsyncSockudo,
    ChannelParams,
    ChannelsParams,
    Config,
    Event,
    HistoryParams,
    MessageExtras,
    PresenceHistoryParams,
    PresenceSnapshotParams,
    PresenceUser,
    Result,
    Sockudo,
    SockudoOptions,
    Status,
    TriggerOptions,
)

from clients.node import MASTER_KEY
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import WebSocket

PLAIN_APP = Credentials("plain", "plain-key", "plain-secret")
NAMED_APP = Credentials("named", "named-key", "named-secret")
LIMITED_APP = Credentials("limited", "limited-key", "limited-secret")

ODD_NAMES = ["room:a", "room:a#ana,ben", "a-b_c=d@e,f;g.h", "#server-to-user-ana@x=1"]

Open = Callable[..., WebSocket]
MakeSdk = Callable[..., Sockudo]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    namespaces = [{"name": "room", "allow_user_limited_channels": True}]
    apps = [
        app_record(DEFAULT_APP),
        app_record(
            PLAIN_APP,
            history={"enabled": False},
            connection_recovery={"enabled": False},
            presence_history={"enabled": False},
        ),
        app_record(NAMED_APP, channels={"channel_namespaces": namespaces}),
        app_record(LIMITED_APP, limits={"max_event_batch_size": 2, "max_event_payload_in_kb": 1}),
    ]
    config = {**STREAMS, "presence_history": {"enabled": True}, "app_manager": {"array": {"apps": apps}}}
    with start_server(config) as running:
        yield running


@pytest.fixture
def make_sdk(server: ServerProcess) -> Iterator[MakeSdk]:
    with ExitStack() as opened:

        def make(app: Credentials = DEFAULT_APP, secret: str | None = None, **options: Any) -> Sockudo:
            chosen = SockudoOptions(port=server.port, retry_base_delay=0.01, **options)
            return opened.enter_context(Sockudo(app.id, app.key, secret or app.secret, MASTER_KEY, chosen))

        yield make


@pytest.fixture
def sdk(make_sdk: MakeSdk) -> Sockudo:
    return make_sdk()


@pytest.fixture
def listen(server: ServerProcess) -> Iterator[Open]:
    """A greeted connection, on protocol V2 unless the test says otherwise."""
    with ExitStack() as opened:
        yield lambda **fields: opened.enter_context(WebSocket(server, **{"protocol": 2, **fields})).greeting()


def done(result: Result) -> Any:
    assert (result.status, result.status_code) == (Status.SUCCESS, 200), result
    return result.json()


def refused(result: Result, status: Status, status_code: int, code: str) -> str:
    """The text of the error; the SDK keeps the body as it came."""
    assert (result.status, result.status_code) == (status, status_code), result
    body = result.json()
    assert (body["code"], body["status"]) == (code, status_code)
    text: str = body["error"]
    return text


# ---- publishing ----


@pytest.mark.parametrize("data", ["text", {"a": [1, None, 2.5]}, [1], 7, None, True, "Öresund 🌊"])
def test_data_arrives_as_text(sdk: Sockudo, listen: Open, unique: str, data: Any) -> None:
    client = listen()
    client.subscribe(unique)
    assert done(sdk.trigger(unique, "tide", data)) == {"ok": True}
    found = client.event()
    due = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    assert (found["event"], found["channel"], found["data"]) == ("tide", unique, due)


def test_all_that_goes_with_a_message(sdk: Sockudo, listen: Open, unique: str) -> None:
    author, reader = listen(), listen()
    for client in (author, reader):
        client.subscribe(unique)
    extras = MessageExtras({"n": 1, "b": False, "s": "x"}, ephemeral=False, idempotency_key="inner", echo=True)
    options = TriggerOptions(author.socket_id, ["subscription_count", "user_count"], f"k-{unique}", extras, {"b": "2"})
    reply = done(sdk.trigger(unique, "tide", 1, options))
    (entry,) = reply["channels"].values()
    assert set(entry) == {"acknowledgement_id", "subscription_count"}
    assert entry["subscription_count"] == 2
    found = reader.event()
    assert found["tags"] == {"b": "2"}
    assert found["extras"] == {"headers": {"n": 1, "b": False, "s": "x"}, "ephemeral": False, "echo": True}
    assert "idempotency_key" not in found
    author.hears_nothing()
    assert done(sdk.trigger(unique, "tide", 1, options)) == reply
    reader.hears_nothing()


def test_ephemeral_messages_are_not_kept(sdk: Sockudo, listen: Open, unique: str) -> None:
    client = listen()
    client.subscribe(unique)
    done(sdk.trigger(unique, "tide", 1, TriggerOptions(extras=MessageExtras(ephemeral=True))))
    assert "serial" not in client.event()
    assert done(sdk.get_channel_history(unique))["items"] == []


def test_several_channels(sdk: Sockudo, listen: Open, unique: str) -> None:
    client = listen()
    names = [f"{unique}-{number}" for number in range(100)]
    for name in names[:3]:
        client.subscribe(name)
    assert done(sdk.trigger(names, "tide", 1)) == {"ok": True}
    assert [client.event()["channel"] for _ in range(3)] == names[:3]


def test_batches(sdk: Sockudo, listen: Open, unique: str) -> None:
    client = listen()
    client.subscribe(unique)
    assert done(sdk.trigger_batch([])) == {}
    first = [Event(unique, "a", 1, tags={"n": "1"}), Event(None, "b", {"n": 2}, channels=[unique, f"{unique}-2"])]
    assert done(sdk.trigger_batch(first)) == {}
    second = [Event(unique, "c", 3, info="subscription_count"), Event(unique, "d", 4, socket_id=client.socket_id)]
    reply = done(sdk.trigger_batch(second))["batch"]
    assert [each.get("subscription_count") for each in reply] == [1, None]
    assert [(each["event"], each["data"]) for each in client.until_pong()] == [("a", "1"), ("b", '{"n":2}'), ("c", "3")]


def test_events_for_a_user(sdk: Sockudo, listen: Open, unique: str) -> None:
    for protocol in (2, 7):
        client = listen(protocol=protocol)
        client.sign_in(unique[:60])
        done(sdk.send_to_user(unique[:60], "note", {"for": "you"}, TriggerOptions(tags={"a": "1"})))
        found = client.event()
        assert (found["event"], found["data"]) == ("note", '{"for":"you"}')


def test_encrypted_channels(sdk: Sockudo, listen: Open, unique: str) -> None:
    channel = f"private-encrypted-{unique}"
    client = listen()
    client.subscribe(channel)
    done(sdk.trigger(channel, "secret", {"pin": "0042"}))
    data = json.loads(client.event()["data"])
    assert set(data) == {"nonce", "ciphertext"}
    (item,) = done(sdk.get_channel_history(channel))["items"]
    assert json.loads(item["message"]["data"]) == data


@pytest.mark.parametrize("channel", ODD_NAMES)
def test_names_that_have_to_be_encoded_in_a_path(make_sdk: MakeSdk, channel: str) -> None:
    sdk = make_sdk(NAMED_APP)
    done(sdk.trigger(channel, "tide", 1))
    assert done(sdk.get_channel(channel)) == {"occupied": False}
    (item,) = done(sdk.get_channel_history(channel))["items"]
    assert item["message"]["channel"] == channel
    assert done(sdk.purge_channel_history(channel, "all", "test"))["purged_messages"] == 1
    assert done(sdk.reset_channel_history(channel, "test"))["channel"] == channel


# ---- idempotency ----


def test_a_key_of_the_caller(sdk: Sockudo, listen: Open, unique: str) -> None:
    client = listen()
    client.subscribe(unique)
    key = TriggerOptions(idempotency_key=f"k-{unique}")
    assert [done(sdk.trigger(unique, "tide", 1, key)) for _ in range(3)] == [{"ok": True}] * 3
    text = refused(sdk.trigger(unique, "tide", 2, key), Status.CLIENT_ERROR, 409, "idempotency_conflict")
    assert "different payload" in text
    assert [each["data"] for each in client.until_pong()] == ["1"]


@pytest.mark.parametrize("automatic", [True, False])
def test_keys_that_the_sdk_makes(make_sdk: MakeSdk, listen: Open, unique: str, automatic: bool) -> None:
    sdk = make_sdk(auto_idempotency=automatic)
    client = listen()
    client.subscribe(unique)
    options = None if automatic else TriggerOptions(idempotency_key=True)
    for _ in range(3):
        done(sdk.trigger(unique, "tide", "same", options))
    for _ in range(2):
        done(sdk.trigger_batch([Event(unique, "tide", "same"), Event(unique, "tide", "same")]))
    assert [each["data"] for each in client.until_pong()] == ["same"] * 7


def test_keys_in_a_batch(sdk: Sockudo, listen: Open, unique: str) -> None:
    client = listen()
    client.subscribe(unique)
    batch = [Event(unique, "tide", n, idempotency_key=f"{unique}-{n}", info="subscription_count") for n in (1, 2, 1)]
    reply = done(sdk.trigger_batch(batch))["batch"]
    assert [bool(each) for each in reply] == [True, True, False]
    assert done(sdk.trigger_batch(batch))["batch"] == [{}, {}, {}]
    key = TriggerOptions(idempotency_key=f"{unique}-1", info="subscription_count")
    assert isinstance(done(sdk.trigger(unique, "tide", 1, key)), dict)
    assert [each["data"] for each in client.until_pong()] == ["1", "2"]


# ---- questions ----


def test_channels_and_users(sdk: Sockudo, listen: Open, unique: str) -> None:
    channel = f"presence-{unique}"
    for user in ("ana", "ana", "ben"):
        listen().subscribe(channel, user)
    counts = {"subscription_count": 3, "user_count": 2}
    assert done(sdk.list_channels(ChannelsParams(channel, ["user_count", "subscription_count"])))["channels"] == {
        channel: counts
    }
    assert done(sdk.list_channels(ChannelsParams(channel)))["channels"] == {channel: {}}
    assert channel in done(sdk.list_channels())["channels"]
    assert done(sdk.get_channel(channel, ChannelParams("user_count,subscription_count"))) == {
        "occupied": True,
        **counts,
    }
    assert {each["id"] for each in done(sdk.get_channel_users(channel))["users"]} == {"ana", "ben"}
    assert done(sdk.get(f"/channels/{channel}")) == {"occupied": True}
    refused(sdk.get_channel_users(unique), Status.CLIENT_ERROR, 400, "invalid_input")


@pytest.mark.parametrize(
    ("ask", "code", "text"),
    [
        ("terminate_user_connections", 4009, "You got disconnected by the app."),
        ("force_reconnect_user", 4200, "Force reconnect requested by the app."),
    ],
)
def test_ending_a_users_connections(sdk: Sockudo, listen: Open, unique: str, ask: str, code: int, text: str) -> None:
    user = f"ana@{unique[:50]},2"
    client = listen()
    client.sign_in(user)
    assert done(getattr(sdk, ask)(user)) == {"ok": True}
    client.ended(code, text)


# ---- the past ----


def test_pages(sdk: Sockudo, unique: str) -> None:
    for number in range(1, 6):
        done(sdk.trigger(unique, "tide", number))
    page = done(sdk.get_channel_history(unique, HistoryParams(limit=2)))
    serials = [item["serial"] for item in page["items"]]
    while page["next_cursor"]:
        page = done(sdk.get_channel_history(unique, HistoryParams(limit=2, cursor=page["next_cursor"])))
        serials += [item["serial"] for item in page["items"]]
    assert serials == [5, 4, 3, 2, 1]
    first, last = page["items"][0]["published_at_ms"] - 60_000, page["items"][0]["published_at_ms"] + 60_000
    bounds = HistoryParams(100, "oldest_first", None, 2, 4, first, last)
    found = done(sdk.get_channel_history(unique, bounds))
    assert [(item["serial"], item["message"]["data"]) for item in found["items"]] == [(2, "2"), (3, "3"), (4, "4")]
    assert found["bounds"] == {"start_serial": 2, "end_serial": 4, "start_time_ms": first, "end_time_ms": last}
    backwards = HistoryParams(start_serial=4, end_serial=2)
    text = refused(sdk.get_channel_history(unique, backwards), Status.CLIENT_ERROR, 400, "invalid_input")
    assert text == "start_serial must be less than or equal to end_serial"


def test_what_an_operator_does(sdk: Sockudo, unique: str) -> None:
    for number in range(4):
        done(sdk.trigger(unique, "tide", number))
    state = done(sdk.get_channel_history_state(unique))
    assert (state["channel"], state["stream"]["next_serial"]) == (unique, 5)
    assert state["stream"]["retained"]["retained_messages"] == 4
    purged = done(sdk.purge_channel_history(unique, "before_serial", "old", "ops@pier", before_serial=3))
    assert (purged["purged_messages"], purged["requested_by"], purged["before_serial"]) == (2, "ops@pier", 3)
    at_ms = done(sdk.get_channel_history(unique))["items"][0]["published_at_ms"] + 1
    purged = done(sdk.purge_channel_history(unique, "before_time_ms", "old", before_time_ms=at_ms))
    assert (purged["purged_messages"], purged["stream"]["next_serial"]) == (2, 5)
    done(sdk.trigger(unique, "tide", 5))
    reset = done(sdk.reset_channel_history(unique, "bad import", "ops@pier"))
    assert (reset["ok"], reset["operation"], reset["purged_messages"]) == (True, "reset", 1)
    assert reset["previous_stream_id"] == state["stream"]["stream_id"] != reset["new_stream_id"]
    assert done(sdk.get_channel_history_state(unique))["stream"]["next_serial"] == 1
    text = refused(sdk.purge_channel_history(unique, "before_serial", "x"), Status.CLIENT_ERROR, 400, "invalid_input")
    assert text == "Purge mode 'before_serial' requires before_serial only"
    refused(sdk.purge_channel_history(unique, "some", "x"), Status.CLIENT_ERROR, 422, "invalid_input")
    text = refused(sdk.reset_channel_history(unique, " "), Status.CLIENT_ERROR, 400, "invalid_input")
    assert text == "reason must not be empty"


def test_the_past_of_a_presence_channel(sdk: Sockudo, listen: Open, unique: str) -> None:
    channel = f"presence-{unique}"
    clients = [listen() for _ in range(2)]
    for client, user in zip(clients, ("ana", "ben"), strict=True):
        client.subscribe(channel, user, {"name": user})
    clients[1].say("sockudo:unsubscribe", {"channel": channel})
    clients[1].until_pong()
    page = done(sdk.get_channel_presence_history(channel, PresenceHistoryParams(2, "oldest_first")))
    assert [(item["event"], item["user_id"]) for item in page["items"]] == [
        ("member_added", "ana"),
        ("member_added", "ben"),
    ]
    params = PresenceHistoryParams(direction="oldest_first", cursor=page["next_cursor"])
    (last,) = done(sdk.get_channel_presence_history(channel, params))["items"]
    assert (last["event"], last["cause"], last["presence_event"]["user_id"]) == ("member_removed", "disconnect", "ben")
    then = done(sdk.get_channel_presence_snapshot(channel, PresenceSnapshotParams(at_serial=2)))
    assert [member["user_id"] for member in then["members"]] == ["ana", "ben"]
    at_ms = PresenceSnapshotParams(at_time_ms=last["published_at_ms"] + 1000)
    assert done(sdk.get_channel_presence_snapshot(channel, at_ms))["member_count"] == 1
    state = done(sdk.get_channel_presence_history_state(channel))["stream"]
    assert (state["next_serial"], state["retained"]["retained_events"]) == (4, 3)
    reset = done(sdk.reset_channel_presence_history(channel, "test", "ops@pier"))
    assert (reset["purged_events"], reset["previous_stream_id"]) == (3, state["stream_id"])
    assert done(sdk.get_channel_presence_history(channel))["items"] == []
    refused(sdk.get_channel_presence_history(unique), Status.CLIENT_ERROR, 400, "invalid_input")


def test_where_nothing_is_kept(make_sdk: MakeSdk) -> None:
    """The SDK reads 403 as a refusal of its credentials."""
    sdk = make_sdk(PLAIN_APP)
    for result in (
        sdk.get_channel_history("news"),
        sdk.get_channel_history_state("news"),
        sdk.reset_channel_history("news", "x"),
        sdk.purge_channel_history("news", "all", "x"),
    ):
        text = refused(result, Status.AUTHENTICATION_ERROR, 403, "feature_disabled")
        assert text == "Durable history is disabled by policy for channel 'news'"
    for result in (
        sdk.get_channel_presence_history("presence-a"),
        sdk.get_channel_presence_history_state("presence-a"),
        sdk.reset_channel_presence_history("presence-a", "x"),
        sdk.get_channel_presence_snapshot("presence-a"),
    ):
        text = refused(result, Status.AUTHENTICATION_ERROR, 403, "feature_disabled")
        assert text == "Presence history is disabled by policy for channel 'presence-a'"


# ---- signatures ----


def test_signatures_for_clients(sdk: Sockudo, listen: Open, unique: str) -> None:
    client = listen()
    for channel in (f"private-{unique}", f"private-encrypted-{unique}", f"presence-{unique}"):
        member = PresenceUser("ana", {"name": "Ana"}) if channel.startswith("presence-") else None
        signed = json.loads(sdk.authenticate(client.socket_id, channel, member))
        client.say("sockudo:subscribe", {"channel": channel, **signed})
        client.joined(channel)
    user = json.loads(sdk.authenticate_user(client.socket_id, {"id": unique[:60], "user_info": {"name": "Ana"}}))
    client.say("sockudo:signin", user)
    assert client.event()["event"] == "sockudo:signin_success"


def test_wrong_credentials(make_sdk: MakeSdk, server: ServerProcess) -> None:
    for sdk in (make_sdk(secret="wrong"), make_sdk(Credentials("app-id", "nobody", "x"))):
        for result in (sdk.trigger("news", "tide", 1), sdk.list_channels(), sdk.get_channel_history("news")):
            refused(result, Status.AUTHENTICATION_ERROR, 401, "auth_failed")
    unknown = make_sdk(Credentials("nowhere", DEFAULT_APP.key, DEFAULT_APP.secret))
    refused(unknown.trigger("news", "tide", 1), Status.CLIENT_ERROR, 404, "app_not_found")


def test_limits(make_sdk: MakeSdk) -> None:
    sdk = make_sdk(LIMITED_APP)
    refused(sdk.trigger("news", "tide", "x" * 1025), Status.CLIENT_ERROR, 413, "payload_too_large")
    refused(sdk.trigger_batch([Event("news", "tide", 1)] * 3), Status.CLIENT_ERROR, 400, "limit_exceeded")
    refused(sdk.trigger("bad name", "tide", 1), Status.CLIENT_ERROR, 400, "invalid_input")


# ---- other ways to make one ----


def test_from_a_url_and_from_a_configuration(server: ServerProcess) -> None:
    url = f"http://{DEFAULT_APP.key}:{DEFAULT_APP.secret}@127.0.0.1:{server.port}/apps/{DEFAULT_APP.id}"
    config = Config(DEFAULT_APP.id, DEFAULT_APP.key, DEFAULT_APP.secret, port=server.port, http2=False)
    for sdk in (Sockudo.from_url(url), Sockudo(config)):
        with sdk:
            assert done(sdk.trigger("news", "tide", 1)) == {"ok": True}


async def test_the_asynchronous_one(server: ServerProcess, listen: Open, unique: str) -> None:
    client = listen()
    client.subscribe(unique)
    client.sign_in(unique[:60])
    options = SockudoOptions(port=server.port)
    async with AsyncSockudo(DEFAULT_APP.id, DEFAULT_APP.key, DEFAULT_APP.secret, MASTER_KEY, options) as sdk:
        assert done(await sdk.trigger(unique, "tide", {"n": 1}, TriggerOptions(tags={"a": "1"}))) == {"ok": True}
        assert client.event()["data"] == '{"n":1}'
        assert done(await sdk.trigger_batch([Event(unique, "tide", 2)])) == {}
        assert done(await sdk.send_to_user(unique[:60], "note", 3)) == {"ok": True}
        assert [client.event()["data"] for _ in range(2)] == ["2", "3"]
        assert done(await sdk.get_channel(unique)) == {"occupied": True}
        page = done(await sdk.get_channel_history(unique, HistoryParams(direction="oldest_first")))
        assert [item["message"]["data"] for item in page["items"]] == ['{"n":1}', "2"]
        assert done(await sdk.get_channel_history_state(unique))["stream"]["next_serial"] == 3
        assert done(await sdk.purge_channel_history(unique, "all", "test"))["purged_messages"] == 2
        assert done(await sdk.reset_channel_history(unique, "test"))["ok"]
        assert done(await sdk.terminate_user_connections(unique[:60])) == {"ok": True}
        client.ended(4009, "You got disconnected by the app.")
