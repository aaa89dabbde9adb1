"""What protocol V2 does with a message on its way (spec: filters-deltas § 1.8, 2.10; platform § 1.3).

Sections ``ephemeral echo_control event_name_filtering tag_filtering delta_compression``.
"""

from __future__ import annotations

from sockudo.config.keys import Section, setting

__all__ = ["DeltaCompression", "EchoControl", "Ephemeral", "EventNameFiltering", "TagFiltering"]


class Ephemeral(Section, frozen=True):
    """Messages that ask not to be kept."""

    enabled: bool = setting(True, "`extras.ephemeral` is honoured; false: it is taken off", reload=True)


class EchoControl(Section, frozen=True):
    """Whether protocol V2 clients hear what they send."""

    enabled: bool = setting(True, "Connections and messages may choose", reload=True)
    default_echo_messages: bool = setting(
        True, "What holds for a connection that chose nothing: its messages come back to it", reload=True
    )


class EventNameFiltering(Section, frozen=True):
    """Subscriptions to some events of a channel only."""

    enabled: bool = setting(True, "`events` of a filter is honoured", reload=True)
    max_events_per_filter: int = setting(50, "Event names in one filter", low=1, reload=True)
    max_event_name_length: int = setting(200, "Longest of these names", unit="characters", low=1, reload=True)


class TagFiltering(Section, frozen=True):
    """Subscriptions to messages with some tags only, or to those an expression picks."""

    enabled: bool = setting(False, "`tags` and `expression` of a filter are honoured", reload=True)
    enable_tags: bool = setting(True, "Messages carry their tags to subscribers", env="", reload=True)
    max_work_per_message: int = setting(
        100_000,
        "Work of all expressions together on one message, in steps of an evaluation; 100000 take about 20 ms. "
        "Subscriptions whose expression gets no more do not get the message",
        low=1000,
        high=100_000_000,
        reload=True,
    )


class DeltaCompression(Section, frozen=True):
    """Messages sent as the difference from the one before, to protocol V2 clients that ask for it."""

    enabled: bool = setting(True, "Clients may ask for differences", env="")
    algorithm: str = setting(
        "fossil", "How differences are made where no algorithm was chosen", env="", choices=("fossil", "xdelta3")
    )
    full_message_interval: int = setting(
        10, "Differences in a row before a whole message; 0 = whole messages only", env=""
    )
    min_message_size: int = setting(100, "Smaller messages are always sent whole", env="", unit="bytes")
    max_state_age_secs: int = setting(300, "Age after which a message is no base any more", env="", unit="s", low=1)
    max_channel_states_per_socket: int = setting(
        100, "Channels of one connection that bases are kept for", env="", low=1
    )
    max_conflation_states_per_channel: int | None = setting(
        100, "Conflation keys of one channel and connection; none is refused when `mode` is `production`", env=""
    )
    conflation_key_path: str | None = setting(
        None, "Where a message has its conflation key, like `data.symbol`; none = it has none", env=""
    )
    omit_delta_algorithm: bool = setting(
        False, "Differences do not name their algorithm; everybody then gets the one of `algorithm`", env=""
    )
