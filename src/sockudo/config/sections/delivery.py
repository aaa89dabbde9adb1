"""What protocol V2 does with a message on its way (spec: filters-deltas § 1.8, 2.10; platform § 1.3).

Sections ``ephemeral echo_control event_name_filtering tag_filtering delta_compression``.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from sockudo.config.keys import Key

__all__ = ["DeltaCompression", "EchoControl", "Ephemeral", "EventNameFiltering", "TagFiltering"]


class Ephemeral(msgspec.Struct, frozen=True):
    """Messages that ask not to be kept."""

    enabled: Annotated[
        bool, Key("`extras.ephemeral` is honoured; false: it is taken off", env="EPHEMERAL_ENABLED", reload=True)
    ] = True


class EchoControl(msgspec.Struct, frozen=True):
    """Whether protocol V2 clients hear what they send."""

    enabled: Annotated[bool, Key("Connections and messages may choose", env="ECHO_CONTROL_ENABLED", reload=True)] = True
    default_echo_messages: Annotated[
        bool,
        Key(
            "What holds for a connection that chose nothing: its messages come back to it",
            env="ECHO_CONTROL_DEFAULT_ECHO_MESSAGES",
            reload=True,
        ),
    ] = True


class EventNameFiltering(msgspec.Struct, frozen=True):
    """Subscriptions to some events of a channel only."""

    enabled: Annotated[
        bool, Key("`events` of a filter is honoured", env="EVENT_NAME_FILTERING_ENABLED", reload=True)
    ] = True
    max_events_per_filter: Annotated[
        int, Key("Event names in one filter", env="EVENT_NAME_FILTERING_MAX_EVENTS_PER_FILTER", low=1, reload=True)
    ] = 50
    max_event_name_length: Annotated[
        int,
        Key(
            "Longest of these names",
            env="EVENT_NAME_FILTERING_MAX_EVENT_NAME_LENGTH",
            unit="characters",
            low=1,
            reload=True,
        ),
    ] = 200


class TagFiltering(msgspec.Struct, frozen=True):
    """Subscriptions to messages with some tags only, or to those an expression picks."""

    enabled: Annotated[
        bool, Key("`tags` and `expression` of a filter are honoured", env="TAG_FILTERING_ENABLED", reload=True)
    ] = False
    enable_tags: Annotated[bool, Key("Messages carry their tags to subscribers", reload=True)] = True
    max_work_per_message: Annotated[
        int,
        Key(
            "Work of all expressions together on one message, in steps of an evaluation; 100000 take about 20 ms. "
            "Subscriptions whose expression gets no more do not get the message",
            env="TAG_FILTERING_MAX_WORK_PER_MESSAGE",
            low=1000,
            high=100_000_000,
            reload=True,
        ),
    ] = 100_000


class DeltaCompression(msgspec.Struct, frozen=True):
    """Messages sent as the difference from the one before, to protocol V2 clients that ask for it."""

    enabled: Annotated[bool, Key("Clients may ask for differences")] = True
    algorithm: Annotated[
        str, Key("How differences are made where no algorithm was chosen", choices=("fossil", "xdelta3"))
    ] = "fossil"
    full_message_interval: Annotated[
        int, Key("Differences in a row before a whole message; 0 = whole messages only")
    ] = 10
    min_message_size: Annotated[int, Key("Smaller messages are always sent whole", unit="bytes")] = 100
    max_state_age_secs: Annotated[int, Key("Age after which a message is no base any more", unit="s", low=1)] = 300
    max_channel_states_per_socket: Annotated[int, Key("Channels of one connection that bases are kept for", low=1)] = (
        100
    )
    max_conflation_states_per_channel: Annotated[
        int | None, Key("Conflation keys of one channel and connection; none is refused when `mode` is `production`")
    ] = 100
    conflation_key_path: Annotated[
        str | None, Key("Where a message has its conflation key, like `data.symbol`; none = it has none")
    ] = None
    omit_delta_algorithm: Annotated[
        bool, Key("Differences do not name their algorithm; everybody then gets the one of `algorithm`")
    ] = False
