"""How a message changes: the rules that every store applies in its transaction (spec: messages § 3 and 4).

Pure functions over values. A channel's versions are one more stream of the history store, its *log*: there a version
has its delivery serial. A store keeps what `applied` returns: a row of the log, and the message as it reads now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from sockudo.base.message_records import NOTHING, Data, Latest, Mutation, Refusal, Version
from sockudo.base.stream_records import Create

__all__ = [
    "Applied",
    "VersionSerials",
    "aggregated",
    "applied",
    "decode_version",
    "encode_version",
    "keeps_data",
    "later_serial",
    "latest_without",
    "made_by",
    "serial_of_message",
    "valid_serial",
    "with_data",
]

_MS_DIGITS: Final = 20
_MOST_SERIAL: Final = 128
_MOST_NODE: Final = 64


# ---- serials ----


class VersionSerials:
    """Makes serials of versions: texts that sort in the order of time, and that no other node makes."""

    def __init__(self, node: str, time: Callable[[], float]) -> None:
        """``node`` is this process's name, ``time`` the epoch in seconds."""
        self._node = "".join(node.split())[:_MOST_NODE] or "node"
        self._time = time
        self._numbers = count(1)

    def next(self) -> tuple[str, int]:
        """A serial and its time."""
        now_ms = int(self._time() * 1000)
        return f"{now_ms:0{_MS_DIGITS}d}:{self._node}:{next(self._numbers):020d}", now_ms


def later_serial(proposed: str, current: str) -> str:
    """``proposed``, or where that would not sort behind ``current``, the same at the first millisecond that does."""
    if proposed > current:
        return proposed
    return f"{int(current[:_MS_DIGITS]) + 1:0{_MS_DIGITS}d}{proposed[_MS_DIGITS:]}"


def made_by(version: Version, change: Create | Mutation) -> bool:
    """Whether a stored version is the one that was asked for, at the time that was proposed or at a later one."""
    if isinstance(change, Create):
        return version.action == "create" and version.message_serial == change.version.message_serial
    same_message = version.message_serial == change.message_serial
    return same_message and version.version_serial[_MS_DIGITS:] == change.version_serial[_MS_DIGITS:]


def valid_serial(text: str) -> bool:
    """Whether a text can be the serial of a message or a version."""
    return bool(text) and len(text.encode(errors="surrogatepass")) <= _MOST_SERIAL and not any(map(str.isspace, text))


# ---- applying ----


class Applied(NamedTuple):
    """A mutation that was applied: the message as it reads now, and the row of the log."""

    latest: Version
    logged: Version


def keeps_data(mutation: Mutation) -> bool:
    """Whether the version has the whole data and gets it from the one before."""
    return mutation.action != "append" and mutation.data is msgspec.UNSET


def applied(current: Version | None, mutation: Mutation) -> Applied | Refusal:
    """What a mutation makes of a message; None is one that is not there.

    Of a text that is appended to, ``current`` may have the end alone: then ``latest`` has the end of the new one.
    """
    if current is None:
        return "unknown"
    if mutation.owner is not msgspec.UNSET and (mutation.owner is None or current.owner != mutation.owner):
        return "not_owner"
    if mutation.action == "append" and current.data is not None and current.text is None:
        return "not_text"
    changed = replace(
        current,
        action=mutation.action,
        version_serial=later_serial(mutation.version_serial, current.version_serial),
        timestamp_ms=mutation.timestamp_ms,
        name=current.name if isinstance(mutation.name, msgspec.UnsetType) else mutation.name,
        extras=current.extras if isinstance(mutation.extras, msgspec.UnsetType) else mutation.extras,
        client_id=mutation.client_id,
        description=mutation.description,
        metadata=mutation.metadata,
    )
    if isinstance(mutation.data, msgspec.UnsetType):
        return Applied(changed, changed)
    if mutation.action != "append":
        logged = with_data(changed, mutation.data)
    elif 0 < mutation.most_appends <= current.appends:
        return "too_often"
    else:
        logged = _with_fragment(changed, mutation.data if isinstance(mutation.data, str) else "")
    if 0 < mutation.most_bytes < logged.size:
        return "too_long"
    return Applied(aggregated(current, logged), logged)


def with_data(version: Version, data: Data) -> Version:
    """The version with other data."""
    if isinstance(data, str):
        return replace(version, text=data, value=NOTHING, length=len(data), size=_size(data))
    value = NOTHING if data is None else data
    return replace(version, text=None, value=value, length=0, size=len(bytes(value)))


def _with_fragment(before: Version, fragment: str) -> Version:
    """The row of the log of an append."""
    length, size = before.length + len(fragment), before.size + _size(fragment)
    return replace(before, text=fragment, length=length, size=size, appends=before.appends + 1)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def aggregated(before: Version | None, logged: Version) -> Version:
    """A version with its whole data, from the one before it and its row of the log."""
    if logged.action != "append" or before is None or before.text is None:
        return logged
    return replace(logged, text=before.text + (logged.text or ""))


def latest_without(rows: Sequence[Latest], before: Latest) -> Latest:
    """A message without its newest versions, from the rows of its log that stay, newest first.

    They go back to one with the whole data. Where that one is past its time, all that is behind the text which stays
    is cut from ``before``, the message as it was.
    """
    if not rows:
        return before
    newest = rows[0]
    if rows[-1].version.action != "append":
        text: Version | None = None
        for row in reversed(rows):
            text = aggregated(text, row.version)
        return Latest(newest.serial, text or newest.version)
    whole = before.version.text or ""
    return Latest(newest.serial, replace(newest.version, text=whole[: newest.version.length]))


# ---- as they are stored ----

encode_version = msgspec.json.Encoder().encode
decode_version = msgspec.json.Decoder(Version).decode


class _Named(msgspec.Struct):
    message_serial: str | None = None


_decode_named = msgspec.json.Decoder(_Named).decode


def serial_of_message(row: bytes) -> str | None:
    """The serial of the message whose create a row of the history is; None where it is no such row."""
    try:
        return _decode_named(row).message_serial
    except msgspec.DecodeError:
        return None
