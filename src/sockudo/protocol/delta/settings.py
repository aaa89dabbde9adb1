"""What the operator decides about deltas: for the server and, by pattern, for the channels of an app
(spec: filters-deltas § 2.10).

The values come from a configuration that has been checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sockudo.protocol.delta import fossil, vcdiff

__all__ = ["INHERITED", "Algorithm", "ChannelDelta", "ChannelDeltas", "DeltaOptions", "encode"]


class Algorithm(StrEnum):
    """The value is what frames say. VCDIFF goes by the name of its best-known encoder."""

    FOSSIL = "fossil"
    XDELTA3 = "xdelta3"


_ENCODERS: Final[dict[Algorithm, Callable[[bytes, bytes], bytes]]] = {
    Algorithm.FOSSIL: fossil.encode,
    Algorithm.XDELTA3: vcdiff.encode,
}


def encode(algorithm: Algorithm, base: bytes, target: bytes) -> bytes:
    """The delta that turns ``base``, or anything that begins like it up to its last byte, into ``target``."""
    return _ENCODERS[algorithm](base, target)


@dataclass(frozen=True, slots=True)
class DeltaOptions:
    """The section ``[delta_compression]``. Sizes are bytes, ages seconds.

    ``max_conflation_states_per_channel`` None means that nothing bounds the conflation keys of a channel.
    """

    enabled: bool = True
    algorithm: Algorithm = Algorithm.FOSSIL
    full_message_interval: int = 10
    min_message_size: int = 100
    max_state_age_secs: float = 300
    max_conflation_states_per_channel: int | None = 100
    max_channel_states_per_socket: int = 100
    conflation_key_path: str | None = None
    omit_delta_algorithm: bool = False


@dataclass(frozen=True, slots=True)
class ChannelDelta:
    """An app's settings of deltas on a channel; None stands for the server's options.

    ``enable_tags`` None means that the channel has no settings of its own, so that the server's tag filtering decides
    whether messages carry their tags (spec: filters-deltas § 1.10).
    """

    enabled: bool = True
    algorithm: Algorithm | None = None
    conflation_key: str | None = None
    max_conflation_keys: int | None = None
    enable_tags: bool | None = None


INHERITED: Final = ChannelDelta()
"""A channel without settings of the app."""

_DISABLED: Final = ChannelDelta(enabled=False)


class ChannelDeltas:
    """The map ``channel_delta_compression`` of an app, from patterns to words or objects.

    A pattern is a name, or text with one ``*`` for any text. An exact name beats patterns, then the longest text before
    the star wins, then the longest pattern, then the one that sorts first.
    """

    __slots__ = ("_exact", "_patterns")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._exact = {name: _read(value) for name, value in raw.items() if "*" not in name}
        patterns = [(*name.partition("*")[::2], _read(value)) for name, value in raw.items() if "*" in name]
        patterns.sort(key=lambda found: (-len(found[0]), -len(found[1]), found[0], found[1]))
        self._patterns = patterns

    def of(self, channel: str) -> ChannelDelta:
        """The settings of a channel; `INHERITED` when no pattern fits."""
        exact = self._exact.get(channel)
        if exact is not None:
            return exact
        for start, end, settings in self._patterns:
            if len(channel) >= len(start) + len(end) and channel.startswith(start) and channel.endswith(end):
                return settings
        return INHERITED


def _read(value: Any) -> ChannelDelta:
    if value == "inherit":
        return INHERITED
    if value == "disabled":
        return _DISABLED
    fields: Mapping[str, Any] = {"algorithm": value} if isinstance(value, str) else value
    return ChannelDelta(
        enabled=fields.get("enabled", True),
        algorithm=Algorithm(fields.get("algorithm", Algorithm.FOSSIL)),
        conflation_key=fields.get("conflation_key"),
        max_conflation_keys=fields.get("max_conflation_keys"),
        enable_tags=fields.get("enable_tags", True),
    )
