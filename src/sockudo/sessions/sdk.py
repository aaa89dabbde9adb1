"""Which library a client came with, as its URL says."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

__all__ = ["Sdk", "sdk"]


class Sdk(NamedTuple):
    """The parameters ``client`` and ``version`` of the connection's URL; empty where the client gave none."""

    name: str = ""
    version: str = ""


@lru_cache(maxsize=256)
def sdk(name: str, version: str) -> Sdk:
    """The same object for all connections that say the same: nearly all say one of a few things."""
    return Sdk(name, version)
