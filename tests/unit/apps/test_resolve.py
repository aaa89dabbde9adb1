"""A record becomes the app of the hot path: own limits first, the server's defaults after."""

from __future__ import annotations

import pytest

from sockudo.apps.policies import HistoryPolicy, RecoveryPolicy, StreamPolicy
from sockudo.apps.resolve import Defaults, resolve
from sockudo.base.stream_records import Retention
from sockudo.config.apps import (
    App,
    Channels,
    ConnectionRecovery,
    Features,
    History,
    Idempotency,
    Limits,
    MessageRateLimit,
    Namespace,
    Policy,
)
from sockudo.config.schema import build
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


def test_nothing_of_streams_unless_asked_for() -> None:
    live = resolve(app_with(), Defaults())
    assert (live.streams, live.recovery, live.delta_channels, live.v1_recovery) == (None, None, {}, False)


def test_streams_deltas_and_recovery_on_v1() -> None:
    channels = Channels(channel_delta_compression={"p*": "fossil"}, v1_recovery=True)
    record = app_with(channels=channels, connection_recovery=ConnectionRecovery(enabled=True, max_buffer_size=3))
    live = resolve(record, Defaults())
    assert live.recovery == RecoveryPolicy(120.0, 3)
    assert live.streams is not None
    assert live.streams.of("news") == StreamPolicy(recovery=live.recovery)
    assert live.delta_channels == {"p*": "fossil"}
    assert live.v1_recovery is True


def test_the_servers_values_for_streams_hold() -> None:
    settings = build({"history.enabled": True, "history.max_messages_per_channel": 5})
    defaults = Defaults.from_settings(settings)
    live = resolve(app_with(), defaults)
    assert live.streams is not None
    assert live.streams.of("news").history == HistoryPolicy(True, Retention(86_400_000, 5, None))
    assert resolve(app_with(history=History(enabled=False)), defaults).streams is None


def test_values_that_concern_no_policy_change_no_app() -> None:
    """A reload of these leaves every app as it is."""
    settings = build({"history.max_page_size": 7, "history.purge_batch_size": 8, "presence_history.max_page_size": 9})
    assert Defaults.from_settings(settings) == Defaults()


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
