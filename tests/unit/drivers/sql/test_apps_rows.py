"""Rows of the table of apps, as PostgreSQL, MySQL and older versions leave them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sockudo import errors
from sockudo.config.apps import (
    App,
    Channels,
    ConnectionRecovery,
    Features,
    History,
    Idempotency,
    Limits,
    MessageRateLimit,
    Policy,
)
from sockudo.drivers.sql.apps_rows import app_of, check_room, row_of
from sockudo.drivers.sql.apps_schema import READ

POLICY = Policy(
    limits=Limits(max_connections=250, max_event_payload_in_kb=3, message_rate_limit=MessageRateLimit(enabled=True)),
    features=Features(enable_client_messages=True, enable_watchlist_events=False),
    channels=Channels(allowed_origins=("https://shop.test",), channel_delta_compression={"news-*": "fossil"}),
    webhooks=({"url": "https://hooks.shop.test/in", "event_types": ["channel_occupied"]},),
    idempotency=Idempotency(ttl_seconds=30),
    connection_recovery=ConnectionRecovery(enabled=True),
    history=History(enabled=True),
)


def a_row(**columns: Any) -> Any:
    return {**dict.fromkeys(READ), "id": "shop", "key": "k", "secret": "s3cr3t", "enabled": True, **columns}


def test_every_column_is_written() -> None:
    row = row_of(App("shop", "k", "s3cr3t", True, POLICY))
    policy = json.loads(row.pop("policy"))
    assert policy["history"] == {"enabled": True}
    assert policy["limits"]["message_rate_limit"]["enabled"] is True
    assert row == {
        "id": "shop",
        "key": "k",
        "secret": "s3cr3t",
        "enabled": True,
        "previous_secret": None,
        "max_connections": 250,
        "max_client_events_per_second": 0,
        "max_backend_events_per_second": None,
        "max_read_requests_per_second": None,
        "max_presence_members_per_channel": None,
        "max_presence_member_size_in_kb": None,
        "max_channel_name_length": None,
        "max_event_channels_at_once": None,
        "max_event_name_length": None,
        "max_event_payload_in_kb": 3,
        "max_event_batch_size": None,
        "enable_client_messages": True,
        "enable_user_authentication": None,
        "enable_watchlist_events": False,
        "webhooks": '[{"event_types":["channel_occupied"],"url":"https://hooks.shop.test/in"}]',
        "allowed_origins": '["https://shop.test"]',
        "channel_delta_compression": '{"news-*":"fossil"}',
        "idempotency": '{"ttl_seconds":30}',
        "connection_recovery": '{"enabled":true}',
    }
    assert {*row, "policy"} == set(READ)


def test_a_flat_column_holds_what_it_can() -> None:
    """Limits reach 2³² - 1, INTEGER columns of PostgreSQL half of it."""
    app = App("shop", "k", "s", True, Policy(limits=Limits(max_connections=2**32 - 1, max_event_batch_size=2**31 - 1)))
    row = row_of(app)
    assert (row["max_connections"], row["max_event_batch_size"]) == (2**31 - 1, 2**31 - 1)
    assert app_of(a_row(**row)) == app


@pytest.mark.parametrize("parsed", [False, True], ids=["text", "parsed"])
def test_the_policy_wins_over_flat_columns(parsed: bool) -> None:
    written = row_of(App("shop", "k", "s3cr3t", False, POLICY))
    policy = json.loads(written["policy"]) if parsed else written["policy"]
    row = a_row(enabled=False, policy=policy, max_connections=7, enable_client_messages=False, webhooks="[]")
    assert app_of(row) == App("shop", "k", "s3cr3t", False, POLICY)


@pytest.mark.parametrize("nothing", [None, "null"], ids=["null", "null in JSON"])
@pytest.mark.parametrize("parsed", [False, True], ids=["text", "parsed"])
@pytest.mark.parametrize(("yes", "no"), [(True, False), (1, 0)], ids=["booleans", "numbers"])
def test_flat_columns_make_the_policy_when_there_is_none(nothing: object, parsed: bool, yes: Any, no: Any) -> None:
    def document(value: object) -> object:
        return value if parsed else json.dumps(value)

    row = a_row(
        enabled=yes,
        policy=nothing,
        max_connections=250,
        max_client_events_per_second=0,
        max_event_payload_in_kb=3,
        enable_client_messages=yes,
        enable_watchlist_events=no,
        webhooks=document([{"url": "https://hooks.shop.test/in", "event_types": ["channel_occupied"]}]),
        allowed_origins=document(["https://shop.test"]),
        channel_delta_compression=document({"news-*": "fossil"}),
        idempotency=document({"ttl_seconds": 30}),
        connection_recovery=document({"enabled": True}),
    )
    flat = Policy(
        limits=Limits(max_connections=250, max_event_payload_in_kb=3),
        features=POLICY.features,
        channels=POLICY.channels,
        webhooks=POLICY.webhooks,
        idempotency=POLICY.idempotency,
        connection_recovery=POLICY.connection_recovery,
    )
    assert app_of(row) == App("shop", "k", "s3cr3t", True, flat)


@pytest.mark.parametrize(("stored", "enabled"), [(None, True), (0, False), (1, True), (b"1", None), (2, None)])
def test_enabled(stored: object, enabled: bool | None) -> None:
    """NULL is the column's default; what is no boolean is refused rather than guessed at."""
    row = a_row(enabled=stored)
    if enabled is not None:
        assert app_of(row).enabled is enabled
        return
    with pytest.raises(errors.SockudoError, match="enabled"):
        app_of(row)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"policy": "[]"}, "policy is not an object"),
        ({"policy": "{"}, "truncated"),
        ({"policy": '{"tomorrow": true}'}, "tomorrow"),
        ({"max_connections": -1}, "max_connections = -1"),
        ({"allowed_origins": '["*.*.test"]'}, "allowed_origins"),
        ({"secret": None}, "secret is missing"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(columns: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.SockudoError) as caught:
        app_of(a_row(**columns))
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert caught.value.text.startswith("The record of app 'shop' cannot be read: ")
    assert words in caught.value.text
    assert "s3cr3t" not in caught.value.text


@pytest.mark.parametrize("field", ["id", "key", "secret"])
def test_there_is_room_for_255_characters(field: str) -> None:
    values = {"id": "shop", "key": "k", "secret": "s", field: "ä" * 255}
    check_room(App(**values), "postgresql")
    with pytest.raises(errors.SockudoError, match=f"its {field} has more than 255 characters") as caught:
        check_room(App(**{**values, field: "ä" * 256}), "postgresql")
    assert caught.value.spec is errors.INVALID_INPUT


def test_keys_in_mysql_are_ascii() -> None:
    app = App("shöp", "ké", "secrét")
    check_room(app, "postgresql")
    check_room(App("shöp", "k", "secrét"), "mysql")
    with pytest.raises(errors.SockudoError) as caught:
        check_room(app, "mysql")
    assert caught.value.spec is errors.INVALID_INPUT
    assert caught.value.text == "App 'shöp' cannot be kept in MySQL: its key has characters outside ASCII"
