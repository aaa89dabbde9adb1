"""The head of a request over HTTP/1.1: what is always in it, and what a caller may not put there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sockudo.base.version import __version__
from sockudo.outbound.connecting import Address
from sockudo.outbound.ports import ExchangeError

__all__ = ["AGENT", "head_fields"]

AGENT: Final = f"Sockudo/{__version__}"
# Callers do not set where a request ends: what follows would be another one.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# A value that begins a line of its own would be a header that was not meant.
_LINES: Final = re.compile(r"[\r\n\0]")


def head_fields(address: Address, headers: Sequence[tuple[str, str]], length: int) -> list[tuple[str, str]]:
    """The fields for a body of so many bytes; ``headers`` replace ours of the same name, except the length.

    Raises ExchangeError for a header that HTTP does not allow.
    """
    own = {"host": address.host_header, "user-agent": AGENT, "accept": "*/*", "content-length": str(length)}
    for name, value in headers:
        key = name.lower()
        if key in _FRAMING or not _NAME.fullmatch(name) or _LINES.search(value):
            raise ExchangeError("url_invalid")
        own.pop(key, None)
    return [*own.items(), *headers]
