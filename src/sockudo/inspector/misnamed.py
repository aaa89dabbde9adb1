"""Which channel may have been meant by a message without subscribers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sockudo.hub.app_state import AppState

__all__ = ["similar_channel", "similar_name"]

_PREFIXES: Final = ("private-encrypted-cache-", "private-encrypted-", "private-cache-", "presence-cache-", "cache-")
_KINDS: Final = (*_PREFIXES, "private-", "presence-")


def similar_channel(state: AppState, channel: str) -> str:
    """Why a message on the channel had no subscribers: it is not subscribed to, though perhaps one like it is.

    Only names made of this one by the usual mistakes are tried, so that it costs the same however many channels there
    are.
    """
    name = similar_name(state, channel)
    if name is None:
        return "no connection is subscribed to this channel"
    count = state.subscription_count(name)
    return f"no connection is subscribed to this channel; {count} {'is' if count == 1 else 'are'} to {name}"


def similar_name(state: AppState, channel: str) -> str | None:
    """A channel with subscribers whose name becomes this one by a usual mistake."""
    for name in _spellings(channel):
        if name != channel and state.subscription_count(name):
            return name
    return None


def _spellings(channel: str) -> Iterator[str]:
    bare = next((channel.removeprefix(kind) for kind in _KINDS if channel.startswith(kind)), channel)
    for name in dict.fromkeys((channel, bare)):
        yield from (name, name.lower(), name.strip("-_. "), name.replace("_", "-"), name.replace("-", "_"))
        yield from (name.replace(".", "-"), name.replace("-", "."))
    yield from (f"{kind}{bare}" for kind in _KINDS)
    yield from (f"{kind}{bare.lower()}" for kind in _KINDS)
