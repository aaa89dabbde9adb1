"""A record becomes the app of the hot path: own limits first, the server's defaults after."""

from __future__ import annotations

import pytest

from sockudo.apps.resolve import Defaults, resolve
from sockudo.config.apps import (
    App,
    Channels,
    Features,
    Idempotency,
    Limits,
    MessageRateLimit,
    Namespace,
    Policy,
)
from sockudo.config.settings import Settings

# Attribute of the live limits, field of the record, attribute of the defaults.
WITH_DEFAULT = [
    ("max_channel_name_length", "max_channel_name_length", "max_channel_name_length"),
    ("max_event_name_length", "max_event_name_length", "max_event_name_length"),
    ("max_channels_at_once", "max_event_channels_at_once", "max_channels_at_once"),
    ("max_event_payload_kb", "max_event_payload_in_kb", "max_event_payload_kb"),
    ("max_batch_size", "max_event_batch_size", "max_batch_size"),
    ("max_presence_members", "max_presence_members_per_channel", "max_presence_members"),
    ("max_presence_member_kb", "max_presence_member_size_in_kb", "max_presence_member_kb"),
]


def app_with(**policy: object) -> App:
    return App("shop", "k-shop", "s-shop", True, Policy(**policy))  # type: ignore[arg-type]


def test_defaults_are_those_of_the_settings() -> None:
    assert Defaults.from_settings(Settings()) == Defaults()


@pytest.mark.parametrize(("live", "field", "default"), WITH_DEFAULT)
def test_a_limit_left_out_is_the_servers(live: str, field: str, default: str) -> None:
    defaults = Defaults(**{default: 77})
    assert getattr(resolve(app_with(), defaults).limits, live) == 77
    assert getattr(resolve(app_with(limits=Limits(**{field: 5})), defaults).limits, live) == 5


@pytest.mark.parametrize(("live", "field", "default"), WITH_DEFAULT)
def test_zero_is_a_limit_that_was_set(live: str, field: str, default: str) -> None:
    assert getattr(resolve(app_with(limits=Limits(**{field: 0})), Defaults(**{default: 77})).limits, live) == 0


def test_rates_without_a_value_are_unlimited() -> None:
    limits = resolve(app_with(), Defaults()).limits
    assert limits.max_connections == 0
    assert limits.max_client_events_per_second == 0
    assert limits.max_backend_events_per_second == 0
    assert limits.max_read_requests_per_second == 0


def test_limits_that_have_no_default_are_taken_over() -> None:
    own = Limits(
        max_connections=3,
        max_client_events_per_second=4,
        decay_seconds=5,
        terminate_on_limit=True,
        max_backend_events_per_second=6,
        max_read_requests_per_second=7,
    )
    limits = resolve(app_with(limits=own), Defaults()).limits
    assert limits.max_connections == 3
    assert limits.max_client_events_per_second == 4
    assert limits.client_event_window_seconds == 5
    assert limits.terminate_on_limit is True
    assert limits.max_backend_events_per_second == 6
    assert limits.max_read_requests_per_second == 7


@pytest.mark.parametrize("enabled", [True, False])
def test_the_frame_limit_is_there_only_when_enabled(enabled: bool) -> None:
    own = MessageRateLimit(enabled=enabled, max_attempts=9)
    limits = resolve(app_with(limits=Limits(message_rate_limit=own)), Defaults()).limits
    assert limits.message_rate_limit == (own if enabled else None)


@pytest.mark.parametrize(
    ("own", "enabled", "ttl"),
    [
        (Idempotency(), True, 120),
        (Idempotency(enabled=False), False, 120),
        (Idempotency(ttl_seconds=9), True, 9),
    ],
)
def test_idempotency(own: Idempotency, enabled: bool, ttl: int) -> None:
    live = resolve(app_with(idempotency=own), Defaults())
    assert (live.idempotency_enabled, live.idempotency_ttl) == (enabled, ttl)


def test_idempotency_can_be_on_where_the_server_has_it_off() -> None:
    live = resolve(app_with(idempotency=Idempotency(enabled=True)), Defaults(idempotency_enabled=False))
    assert live.idempotency_enabled is True


def test_identity_features_and_namespaces() -> None:
    features = Features(enable_client_messages=True)
    chat = Namespace("chat", max_channel_name_length=20)
    record = app_with(features=features, channels=Channels(channel_namespaces=(chat, Namespace("news"))))
    live = resolve(record, Defaults())
    assert (live.id, live.key, live.enabled) == ("shop", "k-shop", True)
    assert live.record is record
    assert live.features is features
    assert set(live.namespaces) == {"chat", "news"}
    assert live.namespaces["chat"] is chat


def test_origins() -> None:
    anything = resolve(app_with(), Defaults())
    assert anything.origin_allowed(None)
    assert anything.origin_allowed("https://elsewhere.test")
    strict = resolve(app_with(channels=Channels(allowed_origins=("https://shop.test",))), Defaults())
    assert strict.origin_allowed("https://shop.test")
    assert not strict.origin_allowed("https://elsewhere.test")
    assert not strict.origin_allowed(None)


def test_the_secret_stays_out_of_the_representation() -> None:
    assert "s-shop" not in repr(resolve(app_with(), Defaults()))
