"""Identifiers that the server makes up."""

from __future__ import annotations

import random
import secrets
import uuid

__all__ = ["app_credentials", "socket_id", "unique_id"]

_SOCKET_ID_LIMIT = 10_000_000_000
_random = random.SystemRandom()


def socket_id() -> str:
    """A new ``socket_id``: two decimal integers in 0…10,000,000,000 (contract 10 § 3).

    Drawn from the system's entropy, since channel signatures are made for it and must not be foreseeable.
    """
    return f"{_random.randint(0, _SOCKET_ID_LIMIT)}.{_random.randint(0, _SOCKET_ID_LIMIT)}"


def unique_id() -> str:
    """A random UUID version 4, as text."""
    return str(uuid.uuid4())


def app_credentials() -> tuple[str, str, str]:
    """Random id, key and secret of a new app."""
    return str(100_000 + secrets.randbelow(900_000)), secrets.token_hex(10), secrets.token_hex(20)
