"""What a connection may do on which channels (spec: websocket § 14.2).

Capabilities come with a token or with a sign-in, never with both. Both ways end in one form: for each operation, the
patterns of the channels it is granted on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sockudo import errors

__all__ = ["NO_CAPABILITIES", "Capabilities", "CapabilityError", "Operation", "check"]


class Operation(StrEnum):
    """What can be granted, as sign-ins spell it; tokens may write hyphens for underscores."""

    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    HISTORY = "history"
    PRESENCE = "presence"
    ANNOTATION_SUBSCRIBE = "annotation_subscribe"
    ANNOTATION_PUBLISH = "annotation_publish"
    ANNOTATION_DELETE_OWN = "annotation_delete_own"
    ANNOTATION_DELETE_ANY = "annotation_delete_any"
    MESSAGE_UPDATE_OWN = "message_update_own"
    MESSAGE_UPDATE_ANY = "message_update_any"
    MESSAGE_DELETE_OWN = "message_delete_own"
    MESSAGE_DELETE_ANY = "message_delete_any"
    MESSAGE_APPEND_OWN = "message_append_own"
    MESSAGE_APPEND_ANY = "message_append_any"
    PUSH_ADMIN = "push_admin"
    PUSH_SUBSCRIBE = "push_subscribe"

    @property
    def hyphenated(self) -> str:
        """The name with hyphens, as texts have it."""
        return self.value.replace("_", "-")


_BASE: Final = frozenset({Operation.SUBSCRIBE, Operation.PUBLISH, Operation.HISTORY, Operation.PRESENCE})
_BY_NAME: Final = {name: operation for operation in Operation for name in (operation.value, operation.hyphenated)}

_MAX_PATTERNS: Final = 100
# What a text may repeat of an unknown name.
_WORD: Final = re.compile(r"[a-z][a-z_-]{0,39}")

_ACTIONS: Final = {Operation.ANNOTATION_SUBSCRIBE: "receive raw annotations for"}


class CapabilityError(ValueError):
    """A claim that grants nothing because it cannot be read; its text is the reason, with a word of it at most."""


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The channels of one operation: whole names, and what a name begins and ends with where one ``*`` stands."""

    names: frozenset[str]
    affixes: tuple[tuple[str, str], ...]

    def match(self, channel: str) -> bool:
        if channel in self.names:
            return True
        for prefix, suffix in self.affixes:
            # No part of the name counts for both.
            if len(channel) >= len(prefix) + len(suffix) and channel.startswith(prefix) and channel.endswith(suffix):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one connection is granted. Immutable; made by `from_token` and `from_user_data`.

    Without a token the four base operations are allowed unless a sign-in names their channels; everything else needs
    a grant always.
    """

    _granted: Mapping[Operation, _Patterns] = field(default_factory=dict)
    _base_allowed: bool = True

    @classmethod
    def from_token(cls, claim: object) -> Capabilities:
        """Reads ``x-sockudo-capability``, an object of patterns to arrays of operations. What is not granted is denied.

        Raises `CapabilityError` for any other shape, an operation that does not exist, more than 100 patterns, an
        empty pattern, and one with several ``*``.
        """
        if not isinstance(claim, dict):
            raise CapabilityError("x-sockudo-capability must be a JSON object or object string")
        if len(claim) > _MAX_PATTERNS:
            raise CapabilityError(f"x-sockudo-capability exceeds {_MAX_PATTERNS} patterns")
        granted: dict[Operation, dict[str, None]] = {}
        for pattern, names in claim.items():
            if not pattern:
                raise CapabilityError("capability patterns must not be empty")
            if pattern.count("*") > 1:
                raise CapabilityError("capability patterns must not have more than one '*'")
            if not isinstance(names, list):
                raise CapabilityError("x-sockudo-capability must map channel patterns to operations")
            for name in names:
                granted.setdefault(_operation(name), {})[pattern] = None
        return cls({operation: _patterns(patterns) for operation, patterns in granted.items()}, _base_allowed=False)

    @classmethod
    def from_user_data(cls, value: object) -> Capabilities:
        """Reads ``capabilities`` of a sign-in's user data, an object of operations to arrays of patterns.

        Operations that do not exist are ignored, null is the same as absent, and a pattern with several ``*`` matches
        nothing. Raises errors.CAPABILITIES_INVALID for a wrong type.
        """
        if value is None:
            return NO_CAPABILITIES
        if not isinstance(value, dict):
            raise _invalid("they must be an object")
        granted = {}
        for operation in Operation:
            patterns = value.get(operation.value)
            if patterns is None:
                continue
            if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
                raise _invalid(f"'{operation}' must be an array of strings")
            granted[operation] = _patterns(dict.fromkeys(patterns))
        return cls(granted)

    def allows(self, operation: Operation, channel: str) -> bool:
        """Whether the operation is allowed on the channel, or on a wildcard subscription, taken as text
        (spec: websocket § 14.2)."""
        patterns = self._granted.get(operation)
        if patterns is None:
            return self._base_allowed and operation in _BASE
        return patterns.match(channel)


NO_CAPABILITIES: Final = Capabilities()
"""Of a connection with neither token nor sign-in, or a sign-in that names none: the base operations, everywhere."""


def check(capabilities: Capabilities, operation: Operation, channel: str) -> None:
    """Raises errors.CAPABILITY_DENIED unless the operation is allowed on the channel.

    Presence takes two checks, of `Operation.SUBSCRIBE` and `Operation.PRESENCE`, in this order; so do raw annotations.
    """
    if not capabilities.allows(operation, channel):
        action = _ACTIONS.get(operation, operation.hyphenated)
        raise errors.CAPABILITY_DENIED(
            f"Authentication error: Connection is not allowed to {action} channel '{channel}'"
        )


def _operation(name: object) -> Operation:
    if not isinstance(name, str):
        raise CapabilityError("x-sockudo-capability must map channel patterns to operations")
    operation = _BY_NAME.get(name)
    if operation is None:
        quoted = f" '{name}'" if _WORD.fullmatch(name) else ""
        raise CapabilityError(f"unsupported capability operation{quoted}")
    return operation


def _patterns(patterns: Iterable[str]) -> _Patterns:
    names, affixes = set(), []
    for pattern in patterns:
        prefix, star, suffix = pattern.partition("*")
        if not star:
            names.add(pattern)
        elif "*" not in suffix:
            affixes.append((prefix, suffix))
    return _Patterns(frozenset(names), tuple(affixes))


def _invalid(detail: str) -> errors.SockudoError:
    return errors.CAPABILITIES_INVALID(f"Authentication error: Invalid capabilities in user_data: {detail}")
