"""What is wrong with a JSON text, in words of our own: syntax, nesting, lone surrogates, encoding.

Every function takes the text as it arrived, valid or not, and answers with a byte position or None. One pass each,
for any text.
"""

from __future__ import annotations

import re
from array import array
from itertools import accumulate
from typing import Final

import msgspec

__all__ = ["MAX_NESTING", "STRING", "lone_surrogate", "not_utf8", "syntax_problem", "too_deep"]

MAX_NESTING: Final = 128
"""Objects and arrays within each other, over WebSocket and HTTP (spec: websocket § 1.2)."""

# A string that never ends runs to the end of the text: looking for it costs one pass, for every text.
STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
"""A pattern for one string, quotes included; compile it with ``re.DOTALL``."""

_BYTE: Final = re.compile(r"byte ([0-9]+)")
_SPACE: Final = b" \t\r\n"
_decode_raw: Final = msgspec.json.Decoder(msgspec.Raw).decode
_STRINGS: Final = re.compile(STRING, re.DOTALL)
_BRACKETS: Final = re.compile(STRING + rb"|[{}\[\]]", re.DOTALL)
_WELL_FORMED_PAIR: Final = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPES: Final = re.compile(rb"\\(?:" + _WELL_FORMED_PAIR + rb"|(u[dD][89a-fA-F])|.)", re.DOTALL)

_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"{}[]")
# Opening adds one level; 255 read as a signed byte takes one away.
_STEPS: Final = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")
_LEVELS: Final = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}


def too_deep(text: bytes) -> int | None:
    """Where the text opens more than `MAX_NESTING` levels."""
    if text.count(b"[") + text.count(b"{") <= MAX_NESTING:
        return None
    steps = _STRINGS.sub(b"", text).translate(_STEPS, _NOT_BRACKETS)
    if max(accumulate(array("b", steps)), default=0) <= MAX_NESTING:
        return None
    depth = 0
    for mark in _BRACKETS.finditer(text):
        depth += _LEVELS.get(mark[0], 0)
        if depth > MAX_NESTING:
            return mark.start()
    return None


def lone_surrogate(text: bytes) -> int | None:
    """Where an escape stands for half a character."""
    return next((escape.start() for escape in _ESCAPES.finditer(text) if escape[1]), None)


def not_utf8(text: bytes) -> int | None:
    """Where the text stops being UTF-8. The decoder looks only at the strings that it returns."""
    if text.isascii():
        return None
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def syntax_problem(problem: msgspec.DecodeError, body: bytes) -> tuple[str, int]:
    """What is wrong with a text that is not JSON, and at which byte."""
    found = _BYTE.search(str(problem))
    if found is None:
        # A lone surrogate shortly before the end is also reported as a missing end.
        lone = lone_surrogate(body)
        return ("unexpected end", len(body)) if lone is None else ("lone surrogate", lone)
    at = min(int(found[1]), len(body))
    # What follows a whole value may be reported one byte late.
    for end in (at - 1, at):
        if end > 0 and _is_whole(body[:end]):
            rest = body[end:]
            return "trailing characters", end + len(rest) - len(rest.lstrip(_SPACE))
    here, before = body[at : at + 1], body[:at].rstrip(_SPACE)
    if here in (b"}", b"]") and before.endswith(b","):
        return "trailing comma", at
    return ("number out of range" if here.isdigit() or here == b"-" else "invalid character"), at


def _is_whole(body: bytes) -> bool:
    try:
        _decode_raw(body)
    except msgspec.DecodeError:
        return False
    return True
