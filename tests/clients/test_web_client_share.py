"""One connection for all tabs of an origin: several pages of one profile in headless Chromium."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from clients.tabs import Tab, expect_connections, leader
from clients.web import Site
from support.server import DEFAULT_APP, STREAMS, Reply, ServerProcess, app_record, start_server
from support.tokens import TOKEN_APP, token
from support.waiting import PATIENCE, wait_until

_names = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [app_record(DEFAULT_APP), app_record(TOKEN_APP)]
    config = {
        **STREAMS,
        # Members who are not lost but leave are gone long before.
        "presence": {"v2_ungraceful_timeout_seconds": 300},
        "app_manager": {"array": {"apps": apps}},
    }
    with start_server(config) as running:
        yield running


@pytest.fixture
def tab(profile: BrowserContext, site: Site, server: ServerProcess) -> Callable[..., Tab]:
    def open_one(url: str = server.url, **options: Any) -> Tab:
        opened = Tab(profile.new_page(), site, url, **options)
        opened.connected()
        return opened

    return open_one


def say(server: ServerProcess, channel: str, *numbers: int, **fields: Any) -> None:
    for number in numbers:
        server.publish(channel, "said", str(number), **fields)


def subscribed(server: ServerProcess) -> list[str]:
    channels: list[str] = list(server.signed("GET", f"/apps/{server.app.id}/channels").json()["channels"])
    return channels


def test_ten_tabs_are_one_connection(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    tabs = [tab() for _ in range(10)]
    for each in tabs:
        each.subscribe(unique)
    expect_connections(server, 1)
    assert len({each.do("client.connection.socket_id") for each in tabs}) == 1
    say(server, unique, 1, 2, 3)
    for each in tabs:
        each.waits_for(unique, "said", 3)
        assert each.heard(unique) == [1, 2, 3]


def test_each_tab_gets_what_it_asked_for(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    one, other, both, pattern = f"{unique}-one", f"{unique}-other", f"{unique}-both", f"{unique}-*"
    first, second, third = tab(), tab(), tab()
    for client, channels in ((first, (one, both)), (second, (other, both)), (third, (pattern,))):
        client.note_frames()
        for channel in channels:
            client.subscribe(channel)
    for channel in (one, other, both):
        say(server, channel, 1)
    for client, channel in ((first, both), (second, both)):
        client.waits_for(channel, "said")
    third.wait("client.heard.filter(([, event]) => event === 'said').length === 3")
    assert first.frames("said") == [[one, "1"], [both, "1"]]
    assert second.frames("said") == [[other, "1"], [both, "1"]]
    assert third.frames("said") == [[one, "1"], [other, "1"], [both, "1"]]
    second.do("client.unsubscribe(arg)", both)
    say(server, both, 2)
    first.waits_for(both, "said", 2)
    say(server, other, 2)
    second.waits_for(other, "said", 2)
    assert second.heard(both) == [1]
    first.do("client.unsubscribe(arg)", one)
    wait_until(lambda: one not in subscribed(server), "nobody on the channel")
    assert both in subscribed(server)
    expect_connections(server, 1)


def test_the_past_is_for_the_tab_that_asked(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    """A rewind, or what a tab missed while it was reloaded, while other tabs are on the channel."""
    first, second = tab(), tab(positions="session")
    for client in (first, second):
        client.subscribe(unique)
    say(server, unique, 1, 2)
    second.waits_for(unique, "said", 2)
    first.note_frames()
    second.page.goto("about:blank")
    say(server, unique, 3, 4)
    second.load()
    second.connected()
    second.note_frames()
    second.subscribe(unique)
    assert second.waits_for(unique, "recovered") == {"channel": unique, "count": 2, "source": "hot"}
    third = tab()
    third.note_frames()
    third.subscribe(unique, rewind=3)
    third.waits_for(unique, "pusher:rewind_complete")
    say(server, unique, 5)
    for client, heard in ((first, [1, 2, 3, 4, 5]), (second, [3, 4, 5]), (third, [2, 3, 4, 5])):
        client.wait("client.heard.some(([, , data]) => data === arg)", 5)
        assert client.heard(unique) == heard
    assert first.frames("said") == [[unique, str(number)] for number in (3, 4, 5)]
    assert second.frames("said") == [[unique, str(number)] for number in (3, 4, 5)]
    assert third.frames("said") == [[unique, str(number)] for number in (2, 3, 4, 5)]
    past = """(async () => {
      const told = []
      for await (const { data } of client.channel(arg).history({ until_attach: true })) told.push(data)
      return told
    })()"""
    assert [first.do(past, unique), third.do(past, unique)] == [[], [4, 3, 2, 1]]


def test_place_that_is_gone(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    """The gap is told to the tab that has it, and its rewind is done."""
    first, second = tab(), tab()
    first.note_frames()
    first.subscribe(unique)
    say(server, unique, 1, 2)
    first.waits_for(unique, "said", 2)
    second.subscribe(unique, position={"stream_id": "another", "serial": 1}, rewind=2)
    assert second.waits_for(unique, "gap")["code"] == "stream_reset"
    second.waits_for(unique, "pusher:rewind_complete")
    say(server, unique, 3)
    for client in (first, second):
        client.waits_for(unique, "said", 3)
        assert client.heard(unique) == [1, 2, 3]
    assert first.frames("sockudo:resume_failed") == []


def test_members(tab: Callable[..., Tab], site: Site, server: ServerProcess, unique: str) -> None:
    """All tabs of a user are one member; a tab that is another member has a connection of its own."""
    room = f"presence-{unique}"
    first, second = tab(), tab()
    first.subscribe(room)
    second.subscribe(room)
    count = "client.channel(arg).members.count"
    assert [first.do(count, room), second.do(count, room)] == [1, 1]
    site.user = {"id": "ben", "user_info": {"name": "Ben"}}
    third = tab()
    third.subscribe(room)
    assert third.do("client.channel(arg).members.me.id", room) == "ben"
    for client in (first, second):
        assert client.waits_for(room, "pusher:member_added") == {"id": "ben", "info": {"name": "Ben"}}
        assert client.do("client.channel(arg).members.me.id", room) == "ana"
    expect_connections(server, 2)
    third.close()
    for client in (first, second):
        client.waits_for(room, "pusher:member_removed")
    first.do("client.unsubscribe(arg)", room)
    assert second.do(count, room) == 1
    assert room in subscribed(server)


def test_each_tab_is_signed_for(tab: Callable[..., Tab], site: Site, server: ServerProcess, unique: str) -> None:
    first, second = tab(), tab(authEndpoint=f"{site.origin}/elsewhere")
    private, secret = f"private-{unique}", f"private-encrypted-{unique}"
    site.answers["/elsewhere"] = lambda _: Reply(403, {}, b"")
    for channel in (private, secret):
        first.subscribe(channel)
        second.ask(channel)
        assert second.waits_for(channel, "pusher:subscription_error")["status"] == 403
    forged = json.dumps({"auth": "app-key:0000", "shared_secret": "AAAA"}).encode()
    site.answers["/elsewhere"] = lambda _: Reply(200, {"Content-Type": "application/json"}, forged)
    third = tab(authEndpoint=f"{site.origin}/elsewhere")
    third.ask(private)
    assert third.waits_for(private, "pusher:subscription_error")["status"] == 4009
    say(server, private, 1)
    first.waits_for(private, "said")
    assert second.heard(private) == third.heard(private) == []
    expect_connections(server, 1)


def test_user(tab: Callable[..., Tab], site: Site, server: ServerProcess, unique: str) -> None:
    """What is for the user goes to tabs that signed in; another user has a connection of its own."""
    ana, eve = f"ana-{unique}", f"eve-{unique}"
    site.user = {"id": ana, "watchlist": [eve]}
    first, second, stranger = tab(), tab(), tab()
    for client in (first, second):
        assert client.do("client.signin()")["id"] == ana
    for client in (first, second):
        assert client.waits_for("watchlist", "offline")["user_ids"] == [eve]
    site.user = {"id": eve}
    third = tab()
    assert (
        third.do("client.signin().catch(() => client.connected().then(() => client.user.signinDonePromise))")["id"]
        == eve
    )
    for client in (first, second):
        assert client.waits_for("watchlist", "online")["user_ids"] == [eve]
        assert len(client.heard("watchlist", events="offline")) == 1
    server.publish(f"#server-to-user-{ana}", "invitation", "1")
    for client in (first, second):
        assert client.waits_for("user", "invitation") == 1
    assert stranger.heard("user") == third.heard("user") == []
    expect_connections(server, 2)


def test_client_events(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    channel = f"private-{unique}"
    loud, quiet, other = tab(), tab(echo=False), tab()
    for client in (loud, quiet, other):
        client.subscribe(channel)
    quiet.do("client.channel(arg).publish('client-said', {from: 'quiet'})", channel)
    loud.do("client.channel(arg).publish('client-said', {from: 'loud'})", channel)
    for client in (loud, other):
        client.waits_for(channel, "client-said", 2)
        assert client.heard(channel) == [{"from": "quiet"}, {"from": "loud"}]
    quiet.waits_for(channel, "client-said")
    assert quiet.heard(channel) == [{"from": "loud"}]
    refused = "client.channel(arg).publish('client-said', 1).catch((error) => [error.code, error.message])"
    loud.subscribe(unique)
    assert loud.do(refused, unique)[0] == 4301
    assert [other.do("client.problems"), quiet.do("client.problems")] == [[], []]
    expect_connections(server, 1)


def test_filters(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    """Tabs with the same filter share; one with another has a connection of its own."""

    def of(desk: str) -> dict[str, Any]:
        return {"key": "desk", "cmp": "eq", "val": desk}

    first, second = tab(), tab()
    for client in (first, second):
        client.subscribe(unique, filter=of("fx"))
    expect_connections(server, 1)
    third = tab()
    third.subscribe(unique, filter=of("rates"))
    expect_connections(server, 2)
    for number, desk in enumerate(("fx", "rates", "fx", "rates")):
        say(server, unique, number, tags={"desk": desk})
    for client, heard in ((first, [0, 2]), (second, [0, 2]), (third, [1, 3])):
        client.waits_for(unique, "said", 2)
        assert client.heard(unique) == heard


@pytest.mark.parametrize("wire", ["msgpack", "protobuf"])
def test_formats_and_deltas(tab: Callable[..., Tab], server: ServerProcess, unique: str, wire: str) -> None:
    first = tab(format=wire, delta="fossil")
    first.subscribe(unique)
    texts = [json.dumps({"text": "word " * 100, "number": number}) for number in range(5)]
    for text in texts[:3]:
        server.publish(unique, "said", text)
    first.waits_for(unique, "said", 3)
    second = tab(format=wire, delta="fossil")
    second.subscribe(unique)
    for text in texts[3:]:
        server.publish(unique, "said", text)
    for client, count in ((first, 5), (second, 2)):
        client.waits_for(unique, "said", count)
        assert client.heard(unique) == [json.loads(text) for text in texts[-count:]]
    expect_connections(server, 1)


def test_tokens_of_other_rights_are_not_shared(
    tab: Callable[..., Tab], site: Site, server: ServerProcess, unique: str
) -> None:
    def of(*channels: str) -> str:
        return token(capability={channel: ["subscribe"] for channel in channels})

    site.app = TOKEN_APP
    first, second, third = tab(token=of("*")), tab(token=of("*")), tab(token=of("nothing"))
    for client in (first, second):
        client.subscribe(unique)
    third.ask(unique)
    assert third.waits_for(unique, "pusher:subscription_error")["status"] == 4009
    assert len({client.do("client.connection.socket_id") for client in (first, second, third)}) == 2


def test_server_that_ends_the_connection_ends_it_for_all(
    tab: Callable[..., Tab], site: Site, server: ServerProcess, unique: str
) -> None:
    site.user = {"id": unique}
    tabs = [tab() for _ in range(3)]
    tabs[1].do("client.signin()")
    assert server.signed("POST", f"/apps/{server.app.id}/users/{unique}/terminate_connections", body={}).status == 200
    for each in tabs:
        each.wait("client.connection.state === 'disconnected'")
        assert each.do("client.connection.last_error.entry") == "terminated"


def test_without_locks(profile: BrowserContext, tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    """As on a page without HTTPS: each tab has its own connection."""
    profile.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
    first, second = tab(), tab()
    for client in (first, second):
        client.subscribe(unique)
    say(server, unique, 1)
    for client in (first, second):
        assert client.waits_for(unique, "said") == 1
    expect_connections(server, 2)


def test_leader_ends(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    """However it ends, the others go on where they were."""
    tabs = [tab() for _ in range(5)]
    for each in tabs:
        each.subscribe(unique)
    said = 0
    for end in (Tab.close_page, Tab.crash, Tab.freeze, Tab.do_disconnect):
        say(server, unique, said)
        gone = leader(tabs)
        tabs.remove(gone)
        end(gone)
        say(server, unique, said + 1)
        said += 2
        for each in tabs:
            each.wait("client.heard.some(([, , data]) => data === arg)", said - 1)
        expect_connections(server, 1)
    for each in tabs:
        assert each.heard(unique) == list(range(said))


def test_page_that_was_frozen(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    tabs = [tab() for _ in range(3)]
    for each in tabs:
        each.subscribe(unique)
    frozen = leader(tabs)
    frozen.freeze()
    say(server, unique, 1, 2)
    for each in tabs:
        if each is not frozen:
            each.waits_for(unique, "said", 2)
    frozen.thaw()
    frozen.waits_for(unique, "recovered")
    assert frozen.heard(unique) == [1, 2]
    expect_connections(server, 1)


def heard_both(tab: Tab, channel: str) -> bool:
    return tab.heard(channel) == [1, 2]


def test_leader_that_hangs(tab: Callable[..., Tab], server: ServerProcess, unique: str) -> None:
    """Its lock is taken away; when it goes on, it takes part as any other."""
    tabs = [tab() for _ in range(3)]
    for each in tabs:
        each.subscribe(unique)
    stuck = leader(tabs)
    stuck.hang()
    say(server, unique, 1, 2)
    # That it is gone is noticed after some ten seconds.
    others = [each for each in tabs if each is not stuck]
    for each in others:
        wait_until(functools.partial(heard_both, each, unique), "what was said meanwhile", timeout=3 * PATIENCE)
    stuck.thaw()
    expect_connections(server, 1)
    say(server, unique, 3)
    for each in tabs:
        each.waits_for(unique, "said", 3)
        assert each.heard(unique) == [1, 2, 3]
