"""What the name of a channel or an event may be, and what a channel's name determines about it.

Channel types and the rules for names are those of spec: websocket § 6.1 and 6.2; http-api § 4. While an app configures
no namespaces, ``:`` is a character like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn, Protocol

from sockudo import errors

__all__ = [
    "CHANNEL_KINDS",
    "CHANNEL_PREFIXES",
    "META",
    "META_PREFIX",
    "USER_CHANNEL_PREFIX",
    "WILDCARD",
    "ChannelKind",
    "NamespaceRules",
    "channel_kind",
    "check_channel_name",
    "check_event_name",
    "check_pattern",
    "is_meta",
    "is_wildcard",
    "namespace_of",
    "user_of",
    "users_of",
]


class NamespaceRules(Protocol):
    """The rules of an app's namespace for names (spec: websocket § 6.2)."""

    @property
    def name(self) -> str: ...
    @property
    def channel_name_pattern(self) -> str | None: ...
    @property
    def max_channel_name_length(self) -> int | None: ...
    @property
    def allow_user_limited_channels(self) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class ChannelKind:
    """What the prefix of a channel's name decides (spec: websocket § 6.1).

    ``label`` names the kind in metrics. ``protected`` channels need a signature; ``client_events``: whether
    subscribers may send events; ``user`` marks the channel of one signed-in user.
    """

    label: str
    protected: bool = False
    presence: bool = False
    cache: bool = False
    encrypted: bool = False
    client_events: bool = False
    user: bool = False


USER_CHANNEL_PREFIX: Final = "#server-to-user-"
META_PREFIX: Final = "[meta]"

_PUBLIC: Final = ChannelKind("public")

# Longest first: the first prefix that fits is the channel's.
_KINDS: Final[dict[str, ChannelKind]] = {
    "private-encrypted-cache-": ChannelKind("private-encrypted-cache", protected=True, cache=True, encrypted=True),
    "private-encrypted-": ChannelKind("private-encrypted", protected=True, encrypted=True),
    "private-cache-": ChannelKind("private-cache", protected=True, cache=True),
    "private-": ChannelKind("private", protected=True, client_events=True),
    "presence-cache-": ChannelKind("presence-cache", protected=True, presence=True, cache=True),
    "presence-": ChannelKind("presence", protected=True, presence=True, client_events=True),
    "cache-": ChannelKind("cache", cache=True),
    USER_CHANNEL_PREFIX: ChannelKind("server-to-user", user=True),
}

META: Final = ChannelKind("meta")
"""A channel with the events about another one, ``[meta]{channel}`` (spec: websocket § 6.8)."""

WILDCARD: Final = ChannelKind("wildcard")
"""A pattern for several public channels (spec: websocket § 6.7)."""

CHANNEL_KINDS: Final = (_PUBLIC, *_KINDS.values(), META, WILDCARD)
"""Every kind there is."""

CHANNEL_PREFIXES: Final = tuple(_KINDS)
"""Every beginning of a name that makes a channel more than a public one, the longest first."""

_PREFIX: Final = re.compile("|".join(_KINDS))

# A name that needs no second look, unless it is a bare prefix.
_ORDINARY: Final = re.compile(r"[A-Za-z0-9_\-=@,;.:]+")
_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_\-=@,;.:#]")
_PATTERN: Final = re.compile(r"[A-Za-z0-9_\-=@.:*]+")
_USER_ID: Final = re.compile(r"[A-Za-z0-9_\-=@.]+")

# How much of a name a refusal repeats where no limit has cut it before.
_SHOWN: Final = 200

_ESCAPES: Final = {"\t": "\\t", "\r": "\\r", "\n": "\\n", "\0": "\\0", "'": "\\'", "\\": "\\\\"}


def channel_kind(name: str) -> ChannelKind:
    """The kind of the channel. Prefixes are case-sensitive: ``Private-x`` is public."""
    if not name.startswith(CHANNEL_PREFIXES):
        return _PUBLIC
    found = _PREFIX.match(name)
    return _KINDS[found.group()] if found else _PUBLIC


def user_of(channel: str) -> str | None:
    """The user id of a ``#server-to-user-{id}`` channel; None for every other channel."""
    return (channel[len(USER_CHANNEL_PREFIX) :] or None) if channel.startswith(USER_CHANNEL_PREFIX) else None


def users_of(channel: str) -> frozenset[str] | None:
    """The users that a user-limited channel (``ns:room#alice,bob``) is for; None for every other channel."""
    if "#" not in channel or channel.startswith("#"):
        return None
    return frozenset(_logical(channel).partition("#")[2].split(","))


def is_wildcard(name: str) -> bool:
    """Whether the name is a pattern for several channels, which protocol V1 does not know (spec: websocket § 6.7)."""
    return "*" in name


def is_meta(name: str) -> bool:
    """Whether the name asks for the events about another channel, which V1 does not know (spec: websocket § 6.8)."""
    return name.startswith(META_PREFIX)


def namespace_of(channel: str) -> str | None:
    """What stands before the first ``:`` of the logical name, whether an app has such a namespace or not.

    None when there is no ``:``, and for the channel of one user.
    """
    name, colon, _ = _logical(channel).partition("#")[0].partition(":")
    return name if colon else None


def check_channel_name(
    name: str, *, max_length: int, namespaces: Mapping[str, NamespaceRules], for_v1: bool = False
) -> None:
    """Raises `errors.CHANNEL_NAME` unless the app may have a channel of this name.

    ``max_length`` counts bytes, 0 means unlimited; a namespace's own limit outranks it. ``namespaces`` are the app's,
    by name. ``for_v1`` also refuses user-limited channels (``ns:room#alice,bob``), since the user of a V1
    connection is not checked against the list.
    """
    ordinary = len(name) <= max_length and _ORDINARY.fullmatch(name) and name not in _KINDS
    if not ordinary or (namespaces and ":" in name):
        _check_closely(name, max_length, namespaces, for_v1)


def check_pattern(pattern: str, *, max_length: int) -> None:
    """Raises `errors.CHANNEL_NAME` unless the pattern may be subscribed to (spec: websocket § 6.7)."""

    def refuse(why: str) -> NoReturn:
        raise errors.CHANNEL_NAME(f"Channel error: Wildcard subscription '{_shown(pattern)}' {why}")

    if max_length and _size(pattern) > max_length:
        raise errors.CHANNEL_NAME(f"Channel error: Channel name too long. Max length is {max_length}")
    if pattern.count("*") != 1:
        refuse("must contain exactly one '*'")
    if pattern.startswith(("private-", "presence-")):
        refuse("is only supported for public channels")
    if "#" in pattern:
        refuse("cannot use user-limited syntax")
    if not _PATTERN.fullmatch(pattern):
        refuse("contains invalid characters")


def check_event_name(name: str, max_length: int) -> None:
    """Raises `errors.LIMIT_EXCEEDED` when an event name is over ``max_length`` bytes; 0 means unlimited."""
    if max_length and len(name) * 4 > max_length and _size(name) > max_length:
        raise errors.LIMIT_EXCEEDED(f"Event name '{_shown(name)}' exceeds maximum length of {max_length}")


def _check_closely(name: str, max_length: int, namespaces: Mapping[str, NamespaceRules], for_v1: bool) -> None:
    if not name:
        raise errors.CHANNEL_NAME("Channel name must not be empty")
    logical = _logical(name)
    base, limited, users = logical.partition("#")
    namespace = _namespace(base, namespaces)
    limit = (namespace.max_channel_name_length if namespace else None) or max_length
    if limit and _size(name) > limit:
        raise errors.CHANNEL_NAME(f"Channel name too long. Max length is {limit}")
    if forbidden := dict.fromkeys(_FORBIDDEN.findall(name)):
        listed = ", ".join(_quoted(character) for character in list(forbidden)[:_SHOWN])
        raise errors.CHANNEL_NAME(
            f"Channel name contains invalid characters: '{_shown(name)}' (invalid chars: [{listed}])"
        )
    if not logical.strip("#") or name == USER_CHANNEL_PREFIX or (namespace and base == f"{namespace.name}:"):
        raise errors.CHANNEL_NAME(f"Channel name is incomplete: '{_shown(name)}' has nothing after its prefix")
    # Nothing before the `#`: the channel of one user, not one limited to some.
    if limited and base:
        _check_user_limit(name, users, namespace, for_v1)
    if namespace and namespace.channel_name_pattern is not None and not _search(namespace.channel_name_pattern, base):
        raise errors.CHANNEL_NAME(f"Channel '{_shown(name)}' does not match namespace '{namespace.name}' pattern")


def _check_user_limit(name: str, users: str, namespace: NamespaceRules | None, for_v1: bool) -> None:
    if namespace is None or not namespace.allow_user_limited_channels:
        raise errors.CHANNEL_NAME(
            f"Channel '{_shown(name)}' uses user-limited syntax but the namespace does not allow it"
        )
    if "#" in users:
        raise errors.CHANNEL_NAME(f"Channel '{_shown(name)}' contains multiple user limit separators")
    for user_id in users.split(","):
        if not user_id:
            raise errors.CHANNEL_NAME(f"Channel '{_shown(name)}' contains an empty user id in its user limit segment")
        if not _USER_ID.fullmatch(user_id):
            raise errors.CHANNEL_NAME(f"Channel '{_shown(name)}' contains an invalid user id in its user limit segment")
    if for_v1:
        raise errors.CHANNEL_NAME(f"Channel '{_shown(name)}' is limited to some users, which needs protocol V2")


def _logical(name: str) -> str:
    found = _PREFIX.match(name)
    return name[found.end() :] if found and found.group() != USER_CHANNEL_PREFIX else name


def _namespace(base: str, namespaces: Mapping[str, NamespaceRules]) -> NamespaceRules | None:
    if not namespaces or ":" not in base:
        return None
    name = base.partition(":")[0]
    namespace = namespaces.get(name)
    if namespace is None:
        raise errors.CHANNEL_NAME(f"Unknown channel namespace '{_shown(name)}'")
    return namespace


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _search(pattern: str, text: str) -> bool:
    return _pattern(pattern).search(text) is not None


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _quoted(character: str) -> str:
    if character in _ESCAPES:
        return f"'{_ESCAPES[character]}'"
    return f"'{character}'" if character.isprintable() else f"'\\u{{{ord(character):x}}}'"
