"""Ports for servers that have to know theirs before they start."""

from __future__ import annotations

import itertools
import os
import socket
from typing import Final

__all__ = ["free_port"]

_FIRST: Final = 10_100
_COUNT: Final = 21_900
"""Below those that the system gives to whoever does not mind: one of these may be anybody's a moment later, and who
asks for a server there is answered by another one. Above 10080, which browsers refuse to ask."""

# Processes of a run that begin at different places do not meet.
_NUMBERS = itertools.count(os.getpid() * 211)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that this process has not named before."""
    for number in itertools.islice(_NUMBERS, _COUNT):
        port = _FIRST + number % _COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("every port is taken")
