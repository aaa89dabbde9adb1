"""Sockudo's own Python client on protocol V2, in each of its formats."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sockudo_http_python import Event, MessageExtras, Sockudo, SockudoOptions, TriggerOptions
from sockudo_python import (
    AppendMode,
    ChannelDeltaSettings,
    ChannelHistoryParams,
    ConnectionState,
    DeltaAlgorithm,
    DeltaOptions,
    Filter,
    FilterNode,
    SockudoException,
    SockudoWireFormat,
    SubscriptionRewind,
    TokenAuthData,
)
from sockudo_python.client import PresenceHistoryParams, PresenceSnapshotParams

from clients.backend import AppBackend
from clients.node import MASTER_KEY
from clients.sockudo_client import Listener
from support.server import STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.tokens import TOKEN_APP, token
from support.waiting import until

APP = Credentials("sdk", "sdk-key", "a-secret-that-is-as-long-as-an-hmac-key-should-be")
Listen = Callable[..., Listener]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = {"app_manager": {"array": {"apps": [app_record(APP), app_record(TOKEN_APP)]}}}
    config = {**STREAMS, **apps, "presence_history": {"enabled": True}}
    with start_server(config) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(server: ServerProcess) -> Iterator[Sockudo]:
    options = SockudoOptions(port=server.port, max_retries=1)
    with Sockudo(APP.id, APP.key, APP.secret, MASTER_KEY, options) as found:
        yield found


@pytest.fixture(scope="module")
def backend(sdk: Sockudo) -> Iterator[AppBackend]:
    with AppBackend(sdk) as running:
        yield running


@pytest.fixture(params=list(SockudoWireFormat), ids=lambda wire: wire.value)
def listen(request: pytest.FixtureRequest, server: ServerProcess, backend: AppBackend) -> Listen:
    """A client in each format in its turn, not connected yet."""

    def make(**options: Any) -> Listener:
        return Listener(options.pop("port", server.port), APP.key, backend.origin, wire_format=request.param, **options)

    return make


@pytest.fixture
def listen_json(server: ServerProcess, backend: AppBackend) -> Listen:
    """A client for what does not depend on the format."""
    return lambda **options: Listener(
        options.pop("port", server.port), options.pop("key", APP.key), backend.origin, **options
    )


def say(sdk: Sockudo, channel: str, event: str = "tide", data: Any = "high", **options: Any) -> None:
    result = sdk.trigger(channel, event, data, TriggerOptions(**options))
    assert (result.status_code, result.json()) == (200, {"ok": True}), result


# ---- channels ----


async def test_public_channels(listen: Listen, sdk: Sockudo, unique: str) -> None:
    async with listen() as client:
        await client.join(unique)
        say(
            sdk,
            unique,
            "tide",
            {"metres": 2.4, "at": ["Hönö", None]},
            extras=MessageExtras(headers={"n": 1, "b": True}),
        )
        say(sdk, unique, "wind", "westerly 🌬", tags={"a": "1"})
        assert await client.next(unique, "tide") == {"metres": 2.4, "at": ["Hönö", None]}
        assert await client.next(unique, "wind") == "westerly 🌬"
        assert client.socket_id.replace(".", "").isdigit()


async def test_private_channels_and_client_events(listen: Listen, backend: AppBackend, unique: str) -> None:
    channel = f"private-{unique}"
    async with listen() as one, listen(echo_messages=False) as other:
        await one.join(channel)
        joined = await other.join(channel)
        assert ("/auth", {"socket_id": one.socket_id, "channel_name": channel}) in backend.asked
        assert await joined.trigger("client-typing", {"by": "other", "n": [1, 2.5, None]})
        assert await one.next(channel, "client-typing") == {"by": "other", "n": [1, 2.5, None]}
        assert await one.client.channel(channel).trigger("client-typing", {"by": "one"})
        assert await one.next(channel, "client-typing") == {"by": "one"}
        assert await other.next(channel, "client-typing") == {"by": "one"}
        assert other.messages(channel) == [{"by": "one"}]


async def test_a_refused_signature(listen: Listen, backend: AppBackend, unique: str) -> None:
    async with listen() as client:
        client.open(f"private-forbidden-{unique}")
        refusal = await client.next(f"private-forbidden-{unique}", "sockudo:subscription_error")
        assert refusal["type"] == "AuthError"
        client.client.socket_id = "1.1"
        client.open(f"private-{unique}")
        error = {"code": 4009, "message": "Authentication error: Channel requires authentication"}
        assert await client.next("", "error") == error
        assert client.state is ConnectionState.CONNECTED


async def test_presence_channels(listen: Listen, backend: AppBackend, unique: str) -> None:
    channel = f"presence-{unique}"
    async with listen() as ana:
        here = await ana.join(channel)
        assert (here.members.count, here.members.me.id, here.members.me.info) == (1, "ana", {"name": "Ana"})
        with backend.as_user("ben", user_info={"name": "Ben"}):
            async with listen() as ben:
                there = await ben.join(channel)
                assert there.members.count == 2
                assert there.members.member("ana").info == {"name": "Ana"}
                added = await ana.next(channel, "sockudo:member_added")
                assert (added.id, added.info) == ("ben", {"name": "Ben"})
                assert await there.update({"name": "Ben", "away": True})
                for client in (ana, ben):
                    changed = await client.next(channel, "sockudo:presence_update")
                    assert (changed.id, changed.info) == ("ben", {"name": "Ben", "away": True})
                assert here.members.member("ben").info == {"name": "Ben", "away": True}
                heard: list[Any] = []
                here.bind("client-wave", lambda _, metadata: heard.append(metadata.user_id))
                await there.trigger("client-wave", 1)
                await until(lambda: heard == ["ben"], "the sender's name")
                await ben.client.unsubscribe(channel)
                gone = await ana.next(channel, "sockudo:member_removed")
                assert (gone.id, here.members.count) == ("ben", 1)


async def test_encrypted_channels(listen: Listen, sdk: Sockudo, unique: str) -> None:
    channel = f"private-encrypted-{unique}"
    async with listen() as client:
        await client.join(channel)
        say(sdk, channel, "secret", {"pin": "0042"})
        assert await client.next(channel, "secret") == {"pin": "0042"}
        page = await client.client.channel(channel).channel_history()
        assert "0042" not in page.items[0]["message"]["data"]


async def test_unsubscribing(listen: Listen, sdk: Sockudo, unique: str) -> None:
    async with listen() as client:
        await client.join(unique)
        await client.join(f"{unique}-2")
        await client.client.unsubscribe(unique)
        say(sdk, unique)
        say(sdk, f"{unique}-2", "end-of-test")
        assert await client.settled(f"{unique}-2") == []
        assert client.messages(unique) == []


async def test_cache_channels(listen: Listen, sdk: Sockudo, unique: str) -> None:
    channel = f"cache-{unique}"
    async with listen() as early, listen() as late:
        await early.join(channel)
        assert await early.next(channel, "sockudo:cache_miss") == {}
        say(sdk, channel, "tide", {"n": 1})
        await late.join(channel)
        assert await late.next(channel, "tide") == {"n": 1}


# ---- filters ----

_TAGGED: list[tuple[str, dict[str, str] | None]] = [
    ("a", {"port": "hönö", "metres": "2.5"}),
    ("b", {"port": "öckerö", "metres": "10"}),
    ("c", {"metres": "-1"}),
    ("d", None),
]


@pytest.mark.parametrize(
    ("wanted", "passing"),
    [
        (Filter.eq("port", "hönö"), "a"),
        (Filter.neq("port", "hönö"), "bcd"),
        (Filter.inside("port", ["hönö", "öckerö"]), "ab"),
        (Filter.not_in("port", ["hönö"]), "bcd"),
        (Filter.exists("port"), "ab"),
        (Filter.not_exists("port"), "cd"),
        (Filter.starts_with("port", "ö"), "b"),
        (Filter.ends_with("port", "erö"), "b"),
        (Filter.contains("port", "n"), "a"),
        (Filter.gt("metres", "2.5"), "b"),
        (Filter.gte("metres", "2.5"), "ab"),
        (Filter.lt("metres", "2.5"), "c"),
        (Filter.lte("metres", "2.5"), "ac"),
        (Filter.and_(Filter.exists("port"), Filter.gt("metres", "5")), "b"),
        (Filter.or_(Filter.eq("port", "hönö"), Filter.not_exists("metres")), "ad"),
        (Filter.not_(Filter.exists("port")), "cd"),
    ],
    ids=lambda value: value if isinstance(value, str) else (value.op or value.cmp),
)
async def test_filters_by_tags(
    listen_json: Listen, sdk: Sockudo, unique: str, wanted: FilterNode, passing: str
) -> None:
    async with listen_json() as client:
        await client.join(unique, filter=wanted)
        await client.join(f"{unique}-end")
        for name, tags in _TAGGED:
            say(sdk, unique, "tide", name, tags=tags)
        say(sdk, f"{unique}-end", "end-of-test")
        await client.settled(f"{unique}-end")
        assert "".join(client.messages(unique)) == passing


async def test_filters_by_name_and_expression(listen: Listen, sdk: Sockudo, unique: str) -> None:
    async with listen() as client:
        await client.join(unique, events=["tide", "end-of-test"])
        expression = "event == 'end-of-test' || data.metres > `2`"
        await client.join(f"{unique}-2", expression=expression)
        both = {"filter": Filter.exists("port"), "events": ["tide", "end-of-test"]}
        await client.join(f"{unique}-3", expression={"language": "jmespath", "source": "headers.n == `1`"}, **both)
        for number, event in enumerate(("wind", "tide")):
            say(sdk, unique, event, number)
        for metres in (1, 2, 3):
            say(sdk, f"{unique}-2", "tide", {"metres": metres})
        headers = MessageExtras(headers={"n": 1})
        say(sdk, f"{unique}-3", "tide", "no tag", extras=headers)
        say(sdk, f"{unique}-3", "tide", "no header", tags={"port": "x"})
        say(sdk, f"{unique}-3", "tide", "all", tags={"port": "x"}, extras=headers)
        for channel in (unique, f"{unique}-2", f"{unique}-3"):
            say(sdk, channel, "end-of-test", "", tags={"port": "x"}, extras=headers)
        assert await client.settled(unique) == [1]
        assert await client.settled(f"{unique}-2") == [{"metres": 3}]
        assert await client.settled(f"{unique}-3") == ["all"]


async def test_a_filter_that_cannot_be(listen: Listen, unique: str) -> None:
    async with listen() as client:
        client.open(unique, expression="][")
        error = await client.next("", "error")
        assert error["code"] == 4000
        assert error["message"].startswith("Invalid message format: ")


# ---- the past ----


async def test_rewind(listen: Listen, sdk: Sockudo, unique: str) -> None:
    for number in range(4):
        say(sdk, unique, "tide", number)
    async with listen() as client:
        await client.join(unique, rewind=SubscriptionRewind.count_messages(2))
        done = await client.next(unique, "sockudo:rewind_complete")
        counts = {"historical_count": 2, "live_count": 0, "complete": False}
        assert done == {**counts, "truncated_by_retention": False, "truncated_by_limit": True}
        assert client.messages(unique) == [2, 3]
    async with listen() as client:
        await client.join(unique, rewind=SubscriptionRewind.seconds_back(60))
        assert (await client.next(unique, "sockudo:rewind_complete"))["complete"]
        assert client.messages(unique) == [0, 1, 2, 3]


async def test_history(listen: Listen, sdk: Sockudo, unique: str) -> None:
    for number in range(5):
        say(sdk, unique, "tide", number)
    async with listen() as client:
        channel = await client.join(unique)
        assert channel.attach_serial == 5
        say(sdk, unique, "tide", "after")
        await client.next(unique, "tide")
        page = await channel.history(ChannelHistoryParams(limit=4))
        assert [item["serial"] for item in page.items] == [6, 5, 4, 3]
        assert (page.direction, page.limit, page.has_more) == ("newest_first", 4, True)
        last = await page.next()
        assert [item["message"]["data"] for item in last.items] == ["1", "0"]
        assert not last.has_next()
        with pytest.raises(SockudoException, match="No more pages"):
            await last.next()
        bounded = ChannelHistoryParams(direction="oldest_first", start_serial=2, end_serial=4)
        assert [item["serial"] for item in (await channel.history(bounded)).items] == [2, 3, 4]
        before = await channel.history(ChannelHistoryParams(limit=3, until_attach=True))
        assert [item["serial"] for item in before.items] == [5, 4, 3]
        assert [item["serial"] for item in (await before.next()).items] == [2, 1]
        with pytest.raises(SockudoException, match=r"\(400\).*limit must be greater than 0"):
            await channel.history(ChannelHistoryParams(limit=0))


async def test_presence_history(listen: Listen, backend: AppBackend, unique: str) -> None:
    channel = f"presence-{unique}"
    async with listen() as ana:
        here = await ana.join(channel)
        with backend.as_user("ben", user_info={"name": "Ben"}):
            async with listen() as ben:
                there = await ben.join(channel)
                await there.update({"name": "Ben", "away": True})
                await ana.next(channel, "sockudo:presence_update")
                await ben.client.unsubscribe(channel)
                await ana.next(channel, "sockudo:member_removed")
        page = await here.history(PresenceHistoryParams(direction="oldest_first", limit=3))
        last = await page.next()
        events = [(item.serial, item.event, item.cause, item.user_id) for item in (*page.items, *last.items)]
        assert events == [
            (1, "member_added", "join", "ana"),
            (2, "member_added", "join", "ben"),
            (3, "member_updated", "join", "ben"),
            (4, "member_removed", "disconnect", "ben"),
        ]
        assert page.items[0].connection_id == ana.socket_id
        assert page.items[0].presence_event["user_info"] == {"name": "Ana"}
        assert (page.continuity.retained_events, page.continuity.degraded) == (4, False)
        assert not last.has_next()
        now = await here.snapshot()
        assert [(member.user_id, member.last_event) for member in now.members] == [("ana", "member_added")]
        then = await here.snapshot(PresenceSnapshotParams(at_serial=3))
        assert [(member.user_id, member.last_event) for member in then.members] == [
            ("ana", "member_added"),
            ("ben", "member_updated"),
        ]
        assert (then.member_count, then.snapshot_serial, then.continuity.complete) == (2, 3, True)
        with pytest.raises(SockudoException, match=r"\(400\).*limit must be greater than 0"):
            await here.history(PresenceHistoryParams(limit=0))


# ---- users and tokens ----


async def test_users(listen: Listen, sdk: Sockudo, backend: AppBackend, unique: str) -> None:
    user, friend = f"u-{unique}"[:60], f"f-{unique}"[:60]
    with backend.as_user(user, watchlist=[friend]):
        async with listen() as client:
            await client.client.signin()
            assert (await client.next("watchlist", "offline"))["user_ids"] == [friend]
            await until(lambda: client.client.user.user_id == user, "the acknowledgement")
            server_channel = client.client.user.server_channel
            assert server_channel.name == f"#server-to-user-{user}"
            assert sdk.send_to_user(user, "note", {"for": "you"}).ok
            await until(lambda: ("", "note", {"for": "you"}) in client.heard, "the note")
            backend.user = {"id": friend}
            async with listen() as other:
                await other.client.signin()
                assert (await client.next("watchlist", "online"))["user_ids"] == [friend]
            assert (await client.next("watchlist", "offline"))["user_ids"] == [friend]


async def test_a_token(listen_json: Listen, unique: str) -> None:
    mine = token("ana", {f"{unique}*": ["subscribe"]})
    async with listen_json(key=TOKEN_APP.key, token=mine) as client:
        await client.join(unique)
        client.open("elsewhere")
        error = {
            "code": 4009,
            "message": "Authentication error: Connection is not allowed to subscribe channel 'elsewhere'",
        }
        assert await client.next("", "error") == error


async def test_a_token_is_refreshed_before_it_ends(listen_json: Listen, unique: str) -> None:
    made: list[str] = []

    async def callback() -> TokenAuthData:
        made.append(token("ana", lasts=2 if not made else 3600, jti=f"{unique[-40:]}-{len(made)}"))
        return TokenAuthData(made[-1])

    async with listen_json(key=TOKEN_APP.key, auth_callback=callback) as client:
        success = await client.next("", "sockudo:auth_success")
        assert (success["client_id"], success["jti"]) == ("ana", f"{unique[-40:]}-1")
        assert success["exp"] > time.time() + 3500
        assert len(made) == 2
        await client.join(unique)


async def test_a_token_that_has_ended_is_replaced(listen_json: Listen, unique: str) -> None:
    """The client believes that its token lasts; the server knows better, and says so."""
    made: list[str] = []

    def callback() -> TokenAuthData:
        made.append(token("ana", lasts=1 if not made else 3600))
        return TokenAuthData(made[-1], expires_in=3600.0)

    async with listen_json(key=TOKEN_APP.key, auth_callback=callback) as client:
        assert await client.next("", "sockudo:token_expired") == {"code": 40142, "reason": "expired"}
        assert (await client.next("", "sockudo:auth_success"))["client_id"] == "ana"
        await client.join(unique)


async def test_a_bad_token_ends_the_connection(listen_json: Listen) -> None:
    client = listen_json(key=TOKEN_APP.key, token=token(app=APP))
    await client.client.connect()
    error = await client.next("", "error")
    assert error["code"] == 4009
    assert error["message"].startswith("Authentication error: ")
    await until(lambda: client.state is ConnectionState.DISCONNECTED, "the end")
    await client.client.close()


# ---- deltas ----


@pytest.mark.parametrize("algorithm", list(DeltaAlgorithm), ids=lambda each: each.value)
async def test_messages_come_whole_to_a_client_that_would_lose_deltas(
    listen_json: Listen, sdk: Sockudo, unique: str, algorithm: DeltaAlgorithm
) -> None:
    async with listen_json(delta_compression=DeltaOptions(enabled=True, algorithms=[algorithm])) as client:
        assert (await client.next("", "sockudo:delta_compression_enabled"))["enabled"] is False
        await client.join(unique, delta=ChannelDeltaSettings(enabled=True, algorithm=algorithm))
        for number in range(20):
            say(sdk, unique, "tide", {"number": number, "much": "x" * 300})
        say(sdk, unique, "end-of-test")
        assert [each["number"] for each in await client.settled(unique)] == list(range(20))
        stats = client.client.get_delta_stats()
        assert (stats.delta_messages, stats.errors) == (0, 0)


# ---- the connection ----


async def test_every_parameter_of_its_url_is_accepted(listen: Listen, unique: str) -> None:
    async with listen(append_mode=AppendMode.FULL, append_rollup_window=40, echo_messages=False) as client:
        await client.join(unique)


async def test_on_protocol_v1(listen_json: Listen, sdk: Sockudo, unique: str) -> None:
    async with listen_json(protocol_version=1) as client:
        await client.join(unique)
        say(sdk, unique, "tide", {"n": 1}, tags={"a": "1"})
        assert await client.next(unique, "tide") == {"n": 1}


async def test_a_user_whose_connections_are_ended(
    listen: Listen, sdk: Sockudo, backend: AppBackend, unique: str
) -> None:
    with backend.as_user(f"u-{unique}"[:60]):
        async with listen() as client:
            await client.client.signin()
            await until(lambda: client.client.user.user_id is not None, "the acknowledgement")
            assert sdk.terminate_user_connections(backend.user["id"]).ok
            error = {"code": 4009, "message": "You got disconnected by the app."}
            assert await client.next("", "error") == error
            await until(lambda: client.state is ConnectionState.DISCONNECTED, "the end")


async def test_nothing_is_heard_twice(listen: Listen, sdk: Sockudo, unique: str) -> None:
    """The client drops what it has seen by its id: the server must not give one id to two messages."""
    async with listen() as client:
        await client.join(unique)
        batch = [Event(unique, "tide", number) for number in range(10)]
        assert sdk.trigger_batch(batch).json() == {}
        await asyncio.gather(*(asyncio.to_thread(say, sdk, unique, "wind", number) for number in range(10)))
        say(sdk, unique, "end-of-test")
        heard = await client.settled(unique)
        assert heard[:10] == list(range(10))
        assert sorted(heard[10:]) == list(range(10))
