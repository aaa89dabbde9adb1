"""What settings are to the parts of a node that know nothing of settings."""

from __future__ import annotations

from sockudo.config import Settings
from sockudo.hub import HubOptions
from sockudo.protocol.delta import Algorithm, DeltaOptions
from sockudo.publishing.event_api import PublishOptions

__all__ = ["delta_options", "hub_options", "publish_options"]


def hub_options(settings: Settings) -> HubOptions:
    """The hub's: cached events, grace of lost members, tags."""
    return HubOptions(
        cache_ttl=settings.channel_limits.cache_ttl,
        cache_capacity=settings.cache.memory.max_capacity,
        presence_grace=settings.presence.ungraceful_timeout_seconds,
        v2_presence_grace=settings.presence.v2_ungraceful_timeout_seconds,
        show_tags=settings.tag_filtering.enable_tags,
        filter_work=settings.tag_filtering.max_work_per_message,
    )


def delta_options(settings: Settings) -> DeltaOptions:
    """The server's word on delta compression; channels may have their own."""
    deltas = settings.delta_compression
    return DeltaOptions(
        enabled=deltas.enabled,
        algorithm=Algorithm(deltas.algorithm),
        full_message_interval=deltas.full_message_interval,
        min_message_size=deltas.min_message_size,
        max_state_age_secs=deltas.max_state_age_secs,
        max_conflation_states_per_channel=deltas.max_conflation_states_per_channel,
        max_channel_states_per_socket=deltas.max_channel_states_per_socket,
        conflation_key_path=deltas.conflation_key_path,
        omit_delta_algorithm=deltas.omit_delta_algorithm,
    )


def publish_options(settings: Settings) -> PublishOptions:
    """What a publish may ask for."""
    return PublishOptions(
        ephemeral=settings.ephemeral.enabled,
        echo=settings.echo_control.enabled,
        counts=settings.server_role != "api",
    )
