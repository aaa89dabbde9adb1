"""How a configuration key is declared: once, with its type and default.

Every key is a field of a `Section`, whose default is a `setting`::

    port: int = setting(6001, "Port of HTTP and WebSocket", low=0, high=65_535)

The loader, ``sockudo config check``, ``sockudo config show`` and the reference page read the declaration; nothing about
a key is declared anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

__all__ = ["U32", "Key", "Section", "keys_of", "setting"]

U32 = 4_294_967_295

T = TypeVar("T")


class Key(msgspec.Struct, frozen=True):
    """What a key means and which values it takes.

    ``env`` holds the environment names in order of preference, separated by spaces; None is the name made of its path,
    such as ``SSL_CERT_PATH`` of ``ssl.cert_path``, and an empty text is none. ``unit`` is for people ("s", "KB").
    ``low`` and ``high`` bound numbers, both included. ``choices`` are the values of a driver or mode; ``aliases`` maps
    other spellings to one of them, and ``elsewhere`` lists values of existing configurations that this version does
    not support. ``check`` returns what is wrong with a value of the right type, or None. ``reload`` says that
    SIGHUP applies a change without a restart. ``default_text`` stands in the reference for a default that is made up.
    ``secret`` values are never shown. ``keeps_zero`` says that 0 is a number also where None is possible. A list with a
    ``default_port`` is one of servers: each a text, ``host:port`` or an address, or a table of ``host`` and ``port``.
    """

    meaning: str
    env: str | None = None
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
        return tuple((self.env or "").split())


class _Setting(NamedTuple):
    default: Any
    key: Key


def setting(default: T, meaning: str, **key: Any) -> T:
    """The default of a field of a `Section`, with the `Key` that ``meaning`` and the other arguments make."""
    return cast("T", _Setting(default, Key(meaning, **key)))


_KEYS: dict[type, dict[str, Key]] = {}


class _WithKeys(msgspec.StructMeta):
    """Parts defaults and keys: the struct that is made knows defaults alone."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        declared = {field: value for field, value in namespace.items() if isinstance(value, _Setting)}
        defaults = {field: value.default for field, value in declared.items()}
        made = super().__new__(cls, name, bases, {**namespace, **defaults}, **options)
        _KEYS[made] = {field: value.key for field, value in declared.items()}
        return made


class Section(msgspec.Struct, metaclass=_WithKeys, frozen=True):
    """A section of the configuration: its fields are keys, or sections below it."""


def keys_of(section: type) -> Mapping[str, Key]:
    """The declarations of a section by field, those of the sections that it extends included; empty for others."""
    return {field: key for struct in reversed(section.__mro__) for field, key in _KEYS.get(struct, {}).items()}
