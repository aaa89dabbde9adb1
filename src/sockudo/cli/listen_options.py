"""The options of ``sockudo listen`` that only protocol V2 has, checked against each other and put into its terms."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from sockudo.cli.filters import read_filter
from sockudo.cli.moments import read_seconds
from sockudo.cli.outcome import ExitCode, fail

__all__ = ["Delta", "Format", "Since", "V2Options", "Wishes", "read_options"]

_SINCE: Final = re.compile(r"([0-9]{1,19})(?:@(\S+))?")


class Format(StrEnum):
    """How frames are written."""

    JSON = "json"
    MSGPACK = "msgpack"
    PROTOBUF = "protobuf"


class Delta(StrEnum):
    """How differences are written; the protocol calls ``vcdiff`` by its other name."""

    FOSSIL = "fossil"
    VCDIFF = "vcdiff"
    XDELTA3 = "xdelta3"


@dataclass(frozen=True, slots=True)
class Since:
    """The last event that was seen; without a ``stream_id``, of the stream that there is now."""

    serial: int
    stream_id: str | None = None


@dataclass(frozen=True, slots=True)
class V2Options:
    """What a listener on protocol V2 asks for. ``rewind`` and ``filter`` are as in the data of a subscribe."""

    format: Literal["json", "msgpack", "protobuf"] = "json"
    token: str | None = None
    filter: Mapping[str, Any] | None = None
    rewind: int | Mapping[str, int] | None = None
    since: Since | None = None
    delta: Literal["fossil", "xdelta3"] | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options as they were given."""

    format: Format | None = None
    token: str | None = None
    filters: Sequence[str] = ()
    events: Sequence[str] = ()
    rewind: str | None = None
    since: str | None = None
    delta: Delta | None = None

    def names(self) -> list[str]:
        """The options that were given, as they are written."""
        given = {
            "--format": self.format,
            "--token": self.token,
            "--filter": self.filters,
            "--event": self.events,
            "--rewind": self.rewind,
            "--since": self.since,
            "--delta": self.delta,
        }
        return [name for name, value in given.items() if value]


def read_options(protocol: int, wishes: Wishes, channels: Sequence[str]) -> V2Options | None:
    """The options in terms of the protocol, None on V1. Ends the command for what does not go together."""
    names = wishes.names()
    if protocol == 1:
        if names:
            fail(f"{names[0]} is not known to protocol 1.", ExitCode.USAGE, "Add --protocol 2.")
        return None
    wire = wishes.format or Format.JSON
    if wishes.rewind is not None and wishes.since is not None:
        fail("--rewind and --since exclude each other.", ExitCode.USAGE)
    patterns = [name for name in channels if "*" in name]
    for option in ("--rewind", "--since"):
        if option in names and patterns:
            fail(f"{option} needs the name of a channel; {patterns[0]} is a pattern.", ExitCode.USAGE)
    if wishes.since is not None and len(set(channels)) > 1:
        fail("--since is for one channel: every channel has serials of its own.", ExitCode.USAGE)
    return V2Options(
        wire.value,
        _token(wishes.token),
        read_filter(wishes.filters, wishes.events),
        None if wishes.rewind is None else _rewind(wishes.rewind),
        None if wishes.since is None else _since(wishes.since),
        None if wishes.delta is None else "fossil" if wishes.delta is Delta.FOSSIL else "xdelta3",
    )


def _rewind(text: str) -> int | dict[str, int]:
    seconds = read_seconds(text)
    if seconds:
        return {"seconds": seconds}
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        remedy = "Use a number of events, or a time such as 90s, 5m, 2h."
        fail(f"--rewind: '{text}' cannot be read.", ExitCode.USAGE, remedy)
    return int(text)


def _since(text: str) -> Since:
    found = _SINCE.fullmatch(text)
    if found is None:
        fail(
            f"--since: '{text}' cannot be read.",
            ExitCode.USAGE,
            "Use the serial of the last event you have, or SERIAL@STREAM.",
        )
    return Since(int(found[1]), found[2])


def _token(text: str | None) -> str | None:
    return sys.stdin.buffer.readline().decode("latin-1").strip() if text == "-" else text
