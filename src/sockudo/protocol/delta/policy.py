"""Who gets deltas, in which format, and of which frames (spec: filters-deltas § 2.2 to 2.4).

What clients send is read leniently: an invalid wish is no wish, never an error.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sockudo.protocol.delta.settings import Algorithm, ChannelDelta, DeltaOptions
from sockudo.protocol.frames import Frame

__all__ = [
    "MAX_FRAME",
    "DeltaRequest",
    "choose_algorithm",
    "has_one_base",
    "is_eligible",
    "poisons_bases",
    "read_algorithms",
    "read_request",
    "usable_algorithms",
    "wants_deltas",
]

MAX_FRAME: Final = 1024 * 1024
"""Bytes of JSON text above which a frame is always sent plain (spec: filters-deltas § 4)."""

_NAMES: Final = {
    "fossil": Algorithm.FOSSIL,
    "xdelta3": Algorithm.XDELTA3,
    "vcdiff": Algorithm.XDELTA3,
}
_OFF: Final = frozenset(("disabled", "false", "none"))
_ALL: Final = frozenset(Algorithm)

# By the `client` of the connection URL. Their checksum fails on, or crashes with, what all others accept.
_WITHOUT_FOSSIL: Final = frozenset(("python", "swift"))
_WITH_ONE_BASE: Final = frozenset(("python",))
# The ways by which messages come, formats and patterns, where the library cannot follow (spec: filters-deltas § 2.9).
_CANNOT_FOLLOW: Final = {
    "js": frozenset(("protobuf", "pattern")),
    "flutter": frozenset(("protobuf",)),
    "swift": frozenset(("msgpack", "protobuf")),
    "csharp": frozenset(("msgpack", "protobuf", "pattern")),
}
# By the major version, too: this one decodes a delta and then fails to make an event of it.
_WITHOUT_DELTAS: Final = frozenset((("python", "2"),))

# SDKs keep no base of platform events, and take from a delta nothing but the data: a client event has a sender too.
_NEVER_COMPRESSED: Final = ("sockudo:", "sockudo_internal:", "pusher:", "pusher_internal:", "client-")


class DeltaRequest(NamedTuple):
    """The ``delta`` of a subscription: on or off, and in which format, None for the server's choice."""

    enabled: bool
    algorithm: Algorithm | None = None


def read_request(value: Any) -> DeltaRequest | None:
    """The ``delta`` of the data of a subscribe; None when there is none."""
    if isinstance(value, bool):
        return DeltaRequest(value)
    if isinstance(value, str):
        word = value.lower()
        return DeltaRequest(word not in _OFF, _NAMES.get(word))
    if isinstance(value, dict):
        algorithm = value.get("algorithm")
        return DeltaRequest(
            value.get("enabled") is not False, _NAMES.get(algorithm.lower()) if isinstance(algorithm, str) else None
        )
    return None


def read_algorithms(data: Any) -> frozenset[Algorithm]:
    """The formats that an enabling frame lists in its ``data``; empty when it names none that is known."""
    listed = data.get("algorithms") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        return frozenset()
    return frozenset(_NAMES[name.lower()] for name in listed if isinstance(name, str) and name.lower() in _NAMES)


def usable_algorithms(
    listed: frozenset[Algorithm] = frozenset(),
    client: str | None = None,
    version: str | None = None,
    *,
    wire: str = "json",
    by_pattern: bool = False,
) -> frozenset[Algorithm]:
    """The formats that a connection ``listed`` when it enabled deltas and that its library decodes correctly
    (spec: filters-deltas § 2.9).

    ``client`` and ``version`` are those of the connection URL, ``wire`` is the name of the connection's format. Empty
    where the library cannot follow deltas at all: in this format, or for what comes ``by_pattern``.
    """
    cannot = _CANNOT_FOLLOW.get(client or "", frozenset())
    if (client, (version or "").partition(".")[0]) in _WITHOUT_DELTAS or wire in cannot:
        return frozenset()
    if by_pattern and "pattern" in cannot:
        return frozenset()
    usable = listed or _ALL
    return usable - {Algorithm.FOSSIL} if client in _WITHOUT_FOSSIL else usable


def choose_algorithm(
    options: DeltaOptions,
    channel: ChannelDelta,
    request: DeltaRequest | None = None,
    usable: frozenset[Algorithm] = _ALL,
) -> Algorithm | None:
    """The format for one subscription: what it asks for, else the channel's, else the server's, if usable
    (spec: filters-deltas § 2.3).

    None when nothing is left: no deltas for this one.
    """
    if options.omit_delta_algorithm:
        return options.algorithm if options.algorithm in usable else None
    asked = request.algorithm if request is not None else None
    for algorithm in (asked, channel.algorithm, options.algorithm):
        if algorithm in usable:
            return algorithm
    return next(iter(usable), None)


def wants_deltas(
    options: DeltaOptions,
    channel_name: str,
    channel: ChannelDelta,
    request: DeltaRequest | None,
    *,
    connection_enabled: bool,
) -> bool:
    """Whether a V2 connection gets deltas through this subscription (rules 1 and 3 of spec: filters-deltas § 2.4)."""
    if not options.enabled or not channel.enabled or channel_name.startswith("private-encrypted-"):
        return False
    return connection_enabled if request is None else request.enabled


def has_one_base(client: str | None) -> bool:
    """Whether the library keeps one base for a whole channel, for all values of the conflation key
    (spec: filters-deltas § 2.9)."""
    return client in _WITH_ONE_BASE


def is_eligible(frame: Frame, text: bytes, options: DeltaOptions) -> bool:
    """Whether a frame with the JSON ``text`` may have delta metadata: rules 5, 7, 8 of spec: filters-deltas § 2.4."""
    return (
        options.min_message_size <= len(text) <= MAX_FRAME
        and not frame.event.startswith(_NEVER_COMPRESSED)
        and b"__delta_seq" not in text
        and b"__conflation_key" not in text
    )


def poisons_bases(text: bytes) -> bool:
    """Whether an SDK could take a frame without metadata for a base: the JavaScript one looks into its data, too."""
    return b"__delta_seq" in text
