"""Who wants to hear of what, under which name, and how it is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.webhooks.endpoints import Retry, app_endpoints
from unit.webhooks.parts import endpoints_of

OCCUPIED = ["channel_occupied"]


def wants(condition: dict[str, Any], *channels: str) -> list[str]:
    [endpoint] = endpoints_of({"event_types": OCCUPIED, "filter": condition}).endpoints
    return [channel for channel in channels if endpoint.wants("channel_occupied", channel)]


def test_only_events_that_are_listed() -> None:
    [endpoint] = endpoints_of({"event_types": ["channel_occupied", "member_added", "of_the_future"]}).endpoints
    names = ("channel_occupied", "member_added", "channel_vacated", "client_event", "of_the_future")
    assert [name for name in names if endpoint.wants(name, "room")] == [
        "channel_occupied",
        "member_added",
        "of_the_future",
    ]


def test_an_empty_list_is_nothing() -> None:
    endpoints = endpoints_of({"event_types": []})
    assert not endpoints.endpoints[0].wants("channel_occupied", "room")
    assert endpoints.events == frozenset()


def test_prefix_and_suffix() -> None:
    channels = ("chat-1", "chat-x-end", "my-chat-end", "end", "chat-end")
    assert wants({"channel_prefix": "chat-"}, *channels) == ["chat-1", "chat-x-end", "chat-end"]
    assert wants({"channel_suffix": "-end"}, *channels) == ["chat-x-end", "my-chat-end", "chat-end"]
    assert wants({"channel_prefix": "chat-", "channel_suffix": "-end"}, *channels) == ["chat-x-end", "chat-end"]
    assert wants({"channel_prefix": ""}, *channels) == list(channels)


def test_pattern_is_searched_anywhere() -> None:
    channels = ("room-1", "room-22", "hall-3", "private-room-4")
    assert wants({"channel_pattern": "room-[0-9]$"}, *channels) == ["room-1", "private-room-4"]
    assert wants({"channel_pattern": "^room"}, *channels) == ["room-1", "room-22"]


def test_namespaces() -> None:
    channels = ("chat:1", "private-chat:2", "news:1", "chat", "presence-news:2")
    chat = wants({"channel_namespace": "chat"}, *channels)
    assert "chat:1" in chat
    assert "news:1" not in chat
    assert "chat" not in chat
    assert wants({"channel_namespaces": ["chat", "news"]}, *channels) == [
        *(channel for channel in channels if channel in chat or "news" in channel)
    ]
    assert wants({"channel_namespaces": []}, *channels) == []
    assert wants({"channel_namespace": "chat", "channel_namespaces": ["news"]}, *channels) == []


def test_no_filter_is_everything() -> None:
    assert wants({}, "room", "private-room", "") == ["room", "private-room", ""]


def ids(*entries: dict[str, Any]) -> list[str]:
    return [endpoint.id for endpoint in endpoints_of(*entries).endpoints]


def test_an_id_stays_when_only_how_it_is_called_changes() -> None:
    plain = {"url": "http://a.test/", "event_types": ["a", "b"], "filter": {"channel_prefix": "x"}}
    changed = {
        **plain,
        "event_types": ["b", "a"],
        "headers": {"X-New": "1"},
        "retry": {"max_attempts": 1},
        "request_timeout_ms": 5,
    }
    assert ids(plain) == ids(changed)
    # It is the name under which deliveries wait in files: a change would lose them.
    assert ids(plain) == ["badb49850dad"]


def test_an_id_changes_with_what_is_told_to_whom() -> None:
    plain = {"url": "http://a.test/", "event_types": ["a"]}
    others = (
        {**plain, "url": "http://a.test/other"},
        {**plain, "event_types": ["a", "b"]},
        {**plain, "filter": {"channel_prefix": "x"}},
        {**plain, "filter": {"channel_suffix": "x"}},
    )
    assert len(set(ids(plain, *others))) == 5


def test_the_place_in_the_list_does_not_matter() -> None:
    one, two = {"url": "http://a.test/"}, {"url": "http://b.test/"}
    assert ids(one, two) == ids(two, one)[::-1]


def test_the_same_target_twice_is_two_endpoints() -> None:
    entry = {"url": "http://a.test/"}
    endpoints = endpoints_of(entry, entry, entry)
    first, second, third = (endpoint.id for endpoint in endpoints.endpoints)
    assert (second, third) == (f"{first}-2", f"{first}-3")
    assert set(endpoints.by_id) == {first, second, third}


def test_what_any_of_them_wants() -> None:
    endpoints = endpoints_of({"event_types": ["a", "b"]}, {"event_types": ["b", "c"]})
    assert endpoints.events == {"a", "b", "c"}


def test_what_cannot_be_used_is_named_and_leaves_the_others() -> None:
    good = {"url": "http://a.test/", "event_types": []}
    entries = [{"url": "nonsense", "event_types": []}, good, {"lambda_function": "f", "event_types": []}]
    made = app_endpoints("app", entries, Retry(), 10_000)
    assert [endpoint.url for endpoint in made.endpoints] == ["http://a.test/"]
    assert [reason.partition(" ")[0] for reason in made.ignored] == ["policy.webhooks[0]", "policy.webhooks[2]"]
    assert "Lambda" in made.ignored[1]


def test_own_values_go_before_those_of_the_server() -> None:
    servers = Retry(enabled=False, max_attempts=3, max_elapsed_time_ms=7, initial_backoff_ms=8, max_backoff_ms=9)
    own = {"enabled": True, "max_backoff_ms": 90}
    [plain, special] = endpoints_of({}, {"retry": own, "request_timeout_ms": 1500}, retry=servers).endpoints
    assert plain.retry == servers
    assert plain.timeout == 10.0
    assert special.retry == Retry(
        enabled=True, max_attempts=3, max_elapsed_time_ms=7, initial_backoff_ms=8, max_backoff_ms=90
    )
    assert special.timeout == 1.5


def test_pauses_double_up_to_the_longest() -> None:
    retry = Retry(initial_backoff_ms=500, max_backoff_ms=3000)
    assert [retry.pause_ms(attempts) for attempts in (1, 2, 3, 4, 5, 1000)] == [500, 1000, 2000, 3000, 3000, 3000]


@pytest.mark.parametrize("name", ["X-One", "x-two"])
def test_headers_are_kept_as_they_are(name: str) -> None:
    [endpoint] = endpoints_of({"headers": {name: "v"}}).endpoints
    assert endpoint.headers == ((name, "v"),)
