"""The formats a delta can have, by the names that the protocol has for them (spec: filters-deltas § 2.3)."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from sockudo.protocol.delta import fossil, vcdiff

__all__ = ["Algorithm", "encode"]


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
