"""Channel kinds and the rules for names (spec: websocket § 6.1 and 6.2; http-api § 4)."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.config.apps import Namespace
from sockudo.protocol.names import (
    CHANNEL_KINDS,
    channel_kind,
    check_channel_name,
    check_event_name,
    is_meta,
    is_wildcard,
    namespace_of,
    user_of,
)

ALLOWED = string.ascii_letters + string.digits + "_-=@,;.:#"
PREFIXES = [
    "private-",
    "private-encrypted-",
    "private-cache-",
    "private-encrypted-cache-",
    "presence-",
    "presence-cache-",
    "cache-",
]
NAMESPACES = {
    namespace.name: namespace
    for namespace in (
        Namespace("chat", allow_user_limited_channels=True),
        Namespace("plain"),
        Namespace("short", max_channel_name_length=10),
        Namespace("long", max_channel_name_length=300),
        Namespace("pat", channel_name_pattern="^pat:[a-z]+$"),
    )
}


def check(
    name: str, *, max_length: int = 200, namespaces: dict[str, Namespace] | None = None, for_v1: bool = False
) -> None:
    check_channel_name(name, max_length=max_length, namespaces=namespaces or {}, for_v1=for_v1)


def refused(
    text: str,
    name: str,
    *,
    max_length: int = 200,
    namespaces: dict[str, Namespace] | None = None,
    for_v1: bool = False,
) -> None:
    with pytest.raises(errors.SockudoError, match=f"^{re.escape(text)}") as caught:
        check(name, max_length=max_length, namespaces=namespaces, for_v1=for_v1)
    assert caught.value.spec is errors.CHANNEL_NAME


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("chat:room", "chat"),
        ("chat:room:2", "chat"),
        ("private-chat:room", "chat"),
        ("presence-cache-chat:room", "chat"),
        ("private-encrypted-cache-chat:room", "chat"),
        ("chat:room#ana,bob", "chat"),
        ("room#a:b", None),
        ("room", None),
        ("presence-room", None),
        (":room", ""),
        ("#server-to-user-a:b", None),
        ("[meta]chat:room", "[meta]chat"),
    ],
)
def test_the_namespace_of_a_channel(name: str, namespace: str | None) -> None:
    assert namespace_of(name) == namespace


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "label", "flags"),
        [
            ("news", "public", set()),
            ("private-a", "private", {"protected", "client_events"}),
            ("private-encrypted-a", "private-encrypted", {"protected", "encrypted"}),
            ("presence-a", "presence", {"protected", "presence", "client_events"}),
            ("cache-a", "cache", {"cache"}),
            ("private-cache-a", "private-cache", {"protected", "cache"}),
            ("private-encrypted-cache-a", "private-encrypted-cache", {"protected", "cache", "encrypted"}),
            ("presence-cache-a", "presence-cache", {"protected", "presence", "cache"}),
            ("#server-to-user-7", "server-to-user", {"user"}),
            ("Private-a", "public", set()),
            ("private", "public", set()),
            ("privateencrypted-a", "public", set()),
            ("a-private-b", "public", set()),
            ("my-cache-a", "public", set()),
            ("private-my-cache-a", "private", {"protected", "client_events"}),
            ("private-presence-a", "private", {"protected", "client_events"}),
            ("presence-encrypted-a", "presence", {"protected", "presence", "client_events"}),
            ("cache-private-a", "cache", {"cache"}),
            ("private-#server-to-user-7", "private", {"protected", "client_events"}),
            ("", "public", set()),
        ],
    )
    def test_by_prefix(self, name: str, label: str, flags: set[str]) -> None:
        kind = channel_kind(name)
        assert kind.label == label
        names = ("protected", "presence", "cache", "encrypted", "client_events", "user")
        assert {flag for flag in names if getattr(kind, flag)} == flags
        assert kind in CHANNEL_KINDS

    def test_labels_are_distinct(self) -> None:
        assert len({kind.label for kind in CHANNEL_KINDS}) == len(CHANNEL_KINDS) == 11

    @given(st.text())
    def test_private_and_presence_are_always_protected(self, name: str) -> None:
        assert channel_kind(f"private-{name}").protected
        assert channel_kind(f"presence-{name}").protected
        assert channel_kind(f"presence-{name}").presence

    def test_user_of(self) -> None:
        assert user_of("#server-to-user-u7") == "u7"
        assert user_of("#server-to-user-a#b") == "a#b"
        for other in ("#server-to-user-", "#server-to-user", "server-to-user-u7", "private-#server-to-user-u7", ""):
            assert user_of(other) is None

    def test_names_of_protocol_v2(self) -> None:
        assert [is_wildcard(name) for name in ("a*", "*", "[meta]a*", "a", "")] == [True, True, True, False, False]
        assert [is_meta(name) for name in ("[meta]a", "[meta]", "a[meta]", "[Meta]a", "")] == [
            True,
            True,
            False,
            False,
            False,
        ]


class TestCharacters:
    @pytest.mark.parametrize("prefix", ["", *PREFIXES, "#server-to-user-"])
    def test_every_prefix(self, prefix: str) -> None:
        for for_v1 in (True, False):
            check(f"{prefix}room", for_v1=for_v1)
            check(f"{prefix}room_-=@,;.:1", for_v1=for_v1)

    def test_every_ascii_character(self) -> None:
        for code in range(128):
            name = f"a{chr(code)}"
            if chr(code) in ALLOWED and chr(code) != "#":
                check(name)
            elif chr(code) == "#":
                refused("Channel 'a#' uses user-limited syntax", name)
            else:
                refused("Channel name contains invalid characters: ", name)

    @pytest.mark.parametrize(
        ("name", "listed"),
        [
            ("bad name!", "[' ', '!']"),
            ("prévu", "['é']"),
            ("a\nb", r"['\n']"),
            ("a'\\b", r"['\'', '\\']"),
            ("a\0\t\r", r"['\0', '\t', '\r']"),
            ("a\x7f\u200b", r"['\u{7f}', '\u{200b}']"),
            ("a b c", "[' ']"),
            ("[meta]x", "['[', ']']"),
            ("news-*", "['*']"),
            ("a/b", "['/']"),
            ("news\n", r"['\n']"),
            ("#server-to-user-a b", "[' ']"),
            ("private-", None),
        ],
    )
    def test_refusal_lists_them(self, name: str, listed: str | None) -> None:
        if listed is None:
            refused("Channel name is incomplete", name)
        else:
            refused(f"Channel name contains invalid characters: '{name}' (invalid chars: {listed})", name)


class TestLength:
    @pytest.mark.parametrize("limit", [164, 165, 200])
    @pytest.mark.parametrize("prefix", ["", "private-", "#server-to-user-"])
    def test_limit_of_the_app(self, limit: int, prefix: str) -> None:
        at_limit = prefix + "a" * (limit - len(prefix))
        check(at_limit, max_length=limit)
        refused(f"Channel name too long. Max length is {limit}", at_limit + "a", max_length=limit)

    def test_counts_bytes(self) -> None:
        refused("Channel name too long. Max length is 200", "é" * 101)
        refused("Channel name contains invalid characters", "é" * 100)

    def test_comes_before_characters(self) -> None:
        refused("Channel name too long", " " * 201)

    def test_zero_is_unlimited(self) -> None:
        check("a" * 5000, max_length=0)
        check("chat:" + "a" * 5000, max_length=0, namespaces=NAMESPACES)

    def test_refusal_of_an_unlimited_name_stays_short(self) -> None:
        with pytest.raises(errors.SockudoError) as caught:
            check("é" * 100_000, max_length=0)
        assert len(caught.value.text) < 400

    def test_limit_of_the_namespace(self) -> None:
        check("short:1234", namespaces=NAMESPACES)
        refused("Channel name too long. Max length is 10", "short:12345", namespaces=NAMESPACES)
        check("long:" + "a" * 295, namespaces=NAMESPACES)
        refused("Channel name too long. Max length is 300", "long:" + "a" * 296, namespaces=NAMESPACES)


class TestIncompleteNames:
    @pytest.mark.parametrize("for_v1", [True, False])
    def test_refused(self, for_v1: bool) -> None:
        refused("Channel name must not be empty", "", for_v1=for_v1)
        for name in [*PREFIXES, "#", "##", "###", "private-#", "#server-to-user-"]:
            refused(f"Channel name is incomplete: '{name}'", name, for_v1=for_v1)

    @pytest.mark.parametrize("name", ["chat:", "private-chat:", "presence-cache-chat:", "chat:#alice"])
    def test_nothing_after_the_namespace(self, name: str) -> None:
        refused(f"Channel name is incomplete: '{name}'", name, namespaces=NAMESPACES)

    @pytest.mark.parametrize("name", ["private", "privat-", "private-private-", "cache", "#a", "#server-to-user"])
    def test_close_to_it(self, name: str) -> None:
        check(name)


class TestNamespaces:
    @pytest.mark.parametrize("name", ["market:btc", ":", "a:", ":a", "private-a:b:c"])
    def test_colon_is_ordinary_without_namespaces(self, name: str) -> None:
        check(name)
        check(name, for_v1=True)

    @pytest.mark.parametrize("prefix", ["", *PREFIXES])
    def test_must_be_configured(self, prefix: str) -> None:
        check(f"{prefix}chat:room", namespaces=NAMESPACES)
        check(f"{prefix}chat:room:two", namespaces=NAMESPACES)
        check(f"{prefix}room", namespaces=NAMESPACES)
        refused("Unknown channel namespace 'market'", f"{prefix}market:btc", namespaces=NAMESPACES)
        refused("Unknown channel namespace ''", f"{prefix}:btc", namespaces=NAMESPACES)

    def test_unknown_one_comes_first(self) -> None:
        refused("Unknown channel namespace 'a b'", "a b:" + "é" * 300, namespaces=NAMESPACES)

    def test_colon_in_a_user_id_is_none(self) -> None:
        check("#server-to-user-a:b", namespaces=NAMESPACES)

    def test_pattern(self) -> None:
        check("pat:abc", namespaces=NAMESPACES)
        check("private-pat:abc", namespaces=NAMESPACES)
        refused("Channel 'pat:ABC' does not match namespace 'pat' pattern", "pat:ABC", namespaces=NAMESPACES)


class TestUserLimitedNames:
    @pytest.mark.parametrize("name", ["chat:room#alice", "chat:room#alice,b=o@b.c-_", "private-chat:room#a"])
    def test_where_the_namespace_allows_them(self, name: str) -> None:
        check(name, namespaces=NAMESPACES)
        refused(f"Channel '{name}' is limited to some users", name, namespaces=NAMESPACES, for_v1=True)

    @pytest.mark.parametrize("name", ["a#b", "plain:room#alice", "private-a#b", "room#"])
    def test_elsewhere(self, name: str) -> None:
        text = f"Channel '{name}' uses user-limited syntax but the namespace does not allow it"
        for for_v1 in (True, False):
            refused(text, name, namespaces=NAMESPACES, for_v1=for_v1)
        if ":" not in name:
            refused(text, name)

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("chat:room#a#b", "contains multiple user limit separators"),
            ("chat:room#", "contains an empty user id in its user limit segment"),
            ("chat:room#a,,b", "contains an empty user id in its user limit segment"),
            ("chat:room#a,", "contains an empty user id in its user limit segment"),
            ("chat:room#a;b", "contains an invalid user id in its user limit segment"),
            ("chat:room#a:b", "contains an invalid user id in its user limit segment"),
        ],
    )
    def test_malformed(self, name: str, text: str) -> None:
        refused(f"Channel '{name}' {text}", name, namespaces=NAMESPACES)


class TestEventNames:
    @pytest.mark.parametrize("name", ["", "e", "e" * 200, "é" * 100, "client-x y"])
    def test_within_the_limit(self, name: str) -> None:
        check_event_name(name, 200)

    @pytest.mark.parametrize("name", ["e" * 201, "é" * 101])
    def test_over_the_limit(self, name: str) -> None:
        with pytest.raises(errors.SockudoError) as caught:
            check_event_name(name, 200)
        assert caught.value.spec is errors.LIMIT_EXCEEDED
        shown = name if len(name) <= 200 else "e" * 200 + "…"
        assert caught.value.text == f"Event name '{shown}' exceeds maximum length of 200"

    def test_zero_is_unlimited(self) -> None:
        check_event_name("e" * 5000, 0)


@given(
    name=st.text()
    | st.text(ALLOWED)
    | st.tuples(st.sampled_from([*PREFIXES, "chat:", "pat:", "#"]), st.text(ALLOWED)).map("".join),
    max_length=st.integers(0, 12),
    for_v1=st.booleans(),
    namespaces=st.sampled_from([{}, NAMESPACES]),
)
def test_any_name_is_accepted_or_refused(
    name: str, max_length: int, for_v1: bool, namespaces: dict[str, Namespace]
) -> None:
    refusal = None
    try:
        check(name, max_length=max_length, namespaces=namespaces, for_v1=for_v1)
    except errors.SockudoError as error:
        refusal = error
    if refusal is not None:
        assert refusal.spec is errors.CHANNEL_NAME
        return
    assert set(name) <= set(ALLOWED)
    assert name not in {"", "#", "##", "#server-to-user-", *PREFIXES}
    # A user-limited name over a socket would let in who is not on its list.
    assert not (for_v1 and "#" in name and channel_kind(name).label == "public" and not name.startswith("#"))
