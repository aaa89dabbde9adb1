"""How large a filter may be, and its refusal (spec: filters-deltas § 1.6 and 1.7)."""

from __future__ import annotations

from typing import Final

from sockudo import errors

__all__ = [
    "MAX_AST_DEPTH",
    "MAX_AST_NODES",
    "MAX_DOCUMENT",
    "MAX_EVENTS",
    "MAX_EVENT_NAME",
    "MAX_EXPRESSION",
    "MAX_REPEATED_VALUES",
    "MAX_TAG_DEPTH",
    "MAX_TAG_KEY",
    "MAX_TAG_NODES",
    "MAX_TAG_VALUE",
    "MAX_TAG_VALUES",
    "MESSAGE_UNITS",
    "PAST_UNITS",
    "WORK_UNITS",
    "invalid",
    "longer",
]

MAX_EVENTS: Final = 64
"""Independent of the configuration."""

MAX_EVENT_NAME: Final = 256
"""Bytes, independent of the configuration."""

MAX_TAG_NODES: Final = 128
MAX_TAG_DEPTH: Final = 16
"""The root is at depth 1."""

MAX_TAG_KEY: Final = 256
"""Bytes."""

MAX_TAG_VALUE: Final = 1024
"""Bytes, after the conversion to text."""

MAX_TAG_VALUES: Final = 128
"""Different values of one node."""

MAX_REPEATED_VALUES: Final = 512
"""Values of one node, repetitions included: what is looked at before duplicates are removed."""

MAX_EXPRESSION: Final = 4096
"""Bytes."""

MAX_AST_NODES: Final = 256
MAX_AST_DEPTH: Final = 32

MAX_DOCUMENT: Final = 65_536
"""Bytes of JSON of what an expression sees of a message."""

WORK_UNITS: Final = 50_000
"""What one evaluation may cost (spec: filters-deltas § 1.11), about a tenth of a second at worst."""

MESSAGE_UNITS: Final = 100_000
"""What all expressions together may cost for one message where nothing else is configured: about 20 milliseconds."""

PAST_UNITS: Final = 200_000
"""What one expression may cost over all messages of a rewind."""


def invalid(reason: str) -> errors.SockudoError:
    """The refusal of a subscribe for its filter."""
    return errors.FILTER_INVALID(f"Invalid message format: {reason}")


def longer(text: str, limit: int) -> bool:
    """Whether the text has more than ``limit`` bytes; costs no more than a text that has not."""
    if len(text) > limit:
        return True
    # Half a surrogate pair cannot arrive over the wire; counting it is better than failing on it.
    return not text.isascii() and len(text.encode(errors="surrogatepass")) > limit
