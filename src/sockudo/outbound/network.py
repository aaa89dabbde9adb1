"""Connections for the HTTP engine: to a name's addresses, each of them checked before anything is sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

import httpcore

from sockudo.outbound.addresses import is_public
from sockudo.outbound.resolver import Resolver

__all__ = ["AddressRefusedError", "CheckedNetwork", "NameError_"]

# Head start of an address before the next one is tried beside it (RFC 8305).
_HEAD_START: Final = 0.25
_MOST_ADDRESSES: Final = 8


class AddressRefusedError(Exception):
    """The name leads to addresses that must not be called, and to no other."""


class NameError_(Exception):  # noqa: N801, N818
    """The name leads nowhere."""
