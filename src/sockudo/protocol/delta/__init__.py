"""Delta compression of protocol V2 (spec: filters-deltas § 2 and 3): frames sent as the difference from the one before.

The caller keeps one `DeltaNode`, one `ChannelDeltas` per app, one `DeltaChannel` per channel with subscribers of deltas
on, and one `DeltaTrack` for the connections there that have the same filter and get the same format.
"""

from sockudo.protocol.delta.channel import DeltaChannel
from sockudo.protocol.delta.frames import reduced_text
from sockudo.protocol.delta.node import DeltaNode
from sockudo.protocol.delta.policy import (
    DeltaRequest,
    choose_algorithm,
    has_one_base,
    read_algorithms,
    read_request,
    usable_algorithms,
    wants_deltas,
)
from sockudo.protocol.delta.settings import INHERITED, Algorithm, ChannelDelta, ChannelDeltas, DeltaOptions
from sockudo.protocol.delta.track import DeltaPayloads, DeltaTrack

__all__ = [
    "INHERITED",
    "Algorithm",
    "ChannelDelta",
    "ChannelDeltas",
    "DeltaChannel",
    "DeltaNode",
    "DeltaOptions",
    "DeltaPayloads",
    "DeltaRequest",
    "DeltaTrack",
    "choose_algorithm",
    "has_one_base",
    "read_algorithms",
    "read_request",
    "reduced_text",
    "usable_algorithms",
    "wants_deltas",
]
