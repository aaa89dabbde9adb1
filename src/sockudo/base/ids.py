"""Identifiers that the server makes up."""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["app_credentials", "app_secret", "derived_id", "socket_id", "unique_id"]

_SOCKET_ID_LIMIT: Final = 10_000_000_000

_AT_ONCE: Final = 64
_drawn: list[str] = []
_drawn_numbers: list[int] = []
# Two processes must not go on with the same ones.
os.register_at_fork(after_in_child=_drawn.clear)
os.register_at_fork(after_in_child=_drawn_numbers.clear)


def socket_id() -> str:
    """A new ``socket_id``: two decimal integers in 0…10,000,000,000 (spec: websocket § 3).

    Drawn from the system's entropy, for many at a time, since channel signatures are made for it and must not be
    foreseeable. Of 64 bits each, the remainder favours no number noticeably.
    """
    if not _drawn_numbers:
        _drawn_numbers.extend(struct.unpack(f"{2 * _AT_ONCE}Q", os.urandom(16 * _AT_ONCE)))
    first, second = _drawn_numbers.pop(), _drawn_numbers.pop()
    return f"{first % (_SOCKET_ID_LIMIT + 1)}.{second % (_SOCKET_ID_LIMIT + 1)}"


def unique_id() -> str:
    """A random UUID version 4, as text.

    Messages get one each, so their random bits are drawn for many at a time.
    """
    if not _drawn:
        _drawn.extend(_draw(_AT_ONCE))
    return _drawn.pop()


def derived_id(key: bytes, *parts: str) -> str:
    """An id of the form of `unique_id` that the parts always have under this key, and that nothing else ever has.

    ``key`` has up to 64 bytes, random ones: without it the id can neither be foreseen nor be taken apart.
    """
    digest = hashlib.blake2b(digest_size=16, key=key)
    for part in parts:
        data = part.encode(errors="surrogatepass")
        digest.update(len(data).to_bytes(4) + data)
    return _uuid(digest.hexdigest())


def _draw(count: int) -> Iterator[str]:
    digits = os.urandom(16 * count).hex()
    for start in range(0, len(digits), 32):
        yield _uuid(digits[start : start + 32])


def _uuid(text: str) -> str:
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def app_credentials() -> tuple[str, str, str]:
    """Random id, key and secret of a new app."""
    return str(100_000 + secrets.randbelow(900_000)), secrets.token_hex(10), app_secret()


def app_secret() -> str:
    """A random secret of an app: 24 bytes as hex (spec: platform § 8.1)."""
    return secrets.token_hex(24)
