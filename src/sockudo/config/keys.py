"""How a configuration key is declared: once, beside its type and default.

Every key is a field of a frozen struct, annotated with a `Key`::

    port: Annotated[int, Key("Port of HTTP and WebSocket", env="PORT", low=0, high=65_535)] = 6001

The loader, ``sockudo config check``, ``sockudo config show`` and the reference page read the declaration; nothing about
a key is said anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["U32", "Key"]

U32 = 4_294_967_295


class Key(msgspec.Struct, frozen=True):
    """What a key means and which values it takes.

    ``env`` holds the environment names in order of preference, separated by spaces. ``unit`` is for people ("s", "KB").
    ``low`` and ``high`` bound numbers, both included. ``choices`` are the values of a driver or mode; ``aliases`` maps
    other spellings to one of them, and ``elsewhere`` lists values of existing configurations that this version does
    not support. ``check`` returns what is wrong with a value of the right type, or None. ``reload`` says that
    SIGHUP applies a change without a restart. ``default_text`` stands in the reference for a default that is made up.
    ``secret`` values are never shown. ``keeps_zero`` says that 0 is a number also where None is possible. A list with a
    ``default_port`` is one of servers: each a text, ``host:port`` or an address, or a table of ``host`` and ``port``.
    """

    meaning: str
    env: str = ""
    unit: str = ""
    low: int = 0
    high: int = U32
    choices: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    elsewhere: tuple[str, ...] = ()
    check: Callable[[Any], str | None] | None = None
    reload: bool = False
    default_text: str = ""
    secret: bool = False
    keeps_zero: bool = False
    default_port: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The environment names, the preferred one first."""
        return tuple(self.env.split())
