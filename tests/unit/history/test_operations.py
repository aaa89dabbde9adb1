"""What an operator must confirm before anything is deleted (spec: http-api § 11.3)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.history import Purge, Reset

RESET = {"confirm_channel": "news", "confirm_operation": "reset", "reason": "bad import"}
PURGE = {"confirm_channel": "news", "confirm_operation": "purge", "reason": "retention", "mode": "all"}


def read(kind: Any, body: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(body), type=kind)


@pytest.mark.parametrize(
    ("kind", "body", "changes", "text"),
    [
        (Reset, RESET, {"confirm_channel": "new"}, "confirm_channel must exactly match the channel path"),
        (Reset, RESET, {"confirm_operation": "purge"}, "confirm_operation must be 'reset'"),
        (Reset, RESET, {"reason": ""}, "reason must not be empty"),
        (Reset, RESET, {"reason": " \t"}, "reason must not be empty"),
        (Purge, PURGE, {"confirm_channel": "News"}, "confirm_channel must exactly match the channel path"),
        (Purge, PURGE, {"confirm_operation": "reset"}, "confirm_operation must be 'purge'"),
        (Purge, PURGE, {"reason": " "}, "reason must not be empty"),
        (Purge, PURGE, {"before_serial": 4}, "Purge mode 'all' does not accept bounds"),
        (Purge, PURGE, {"before_time_ms": 4}, "Purge mode 'all' does not accept bounds"),
        (Purge, PURGE, {"mode": "before_serial"}, "Purge mode 'before_serial' requires before_serial only"),
        (
            Purge,
            PURGE,
            {"mode": "before_serial", "before_serial": 1, "before_time_ms": 1},
            "Purge mode 'before_serial' requires before_serial only",
        ),
        (
            Purge,
            PURGE,
            {"mode": "before_time_ms", "before_serial": 4},
            "Purge mode 'before_time_ms' requires before_time_ms only",
        ),
    ],
)
def test_what_does_not_match_is_refused(kind: Any, body: dict[str, Any], changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SockudoError) as refused:
        read(kind, body | changes).check("news")
    assert refused.value.spec is errors.INVALID_INPUT
    assert refused.value.text == text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Reset, RESET),
        (Reset, RESET | {"requested_by": "ops", "unknown": 1}),
        (Purge, PURGE),
        (Purge, PURGE | {"before_serial": None}),
        (Purge, PURGE | {"mode": "before_serial", "before_serial": 0}),
        (Purge, PURGE | {"mode": "before_time_ms", "before_time_ms": -5}),
    ],
)
def test_what_matches_is_taken(kind: Any, body: dict[str, Any]) -> None:
    read(kind, body).check("news")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Reset, {name: value for name, value in RESET.items() if name != "reason"}),
        (Reset, RESET | {"requested_by": 5}),
        (Purge, {name: value for name, value in PURGE.items() if name != "mode"}),
        (Purge, PURGE | {"mode": "zzz"}),
        (Purge, PURGE | {"mode": "before_serial", "before_serial": "3"}),
        (Purge, PURGE | {"mode": "before_serial", "before_serial": -1}),
        (Purge, PURGE | {"mode": "before_serial", "before_serial": 2**63}),
    ],
)
def test_what_has_the_wrong_shape_cannot_be_read(kind: Any, body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(kind, body)
