"""Keys by which a newer notification takes the place of an older one, in the form that each service takes.

A key that the service would refuse would make every send with it fail; its hash collapses the same notifications.
"""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from typing import Final

__all__ = ["apns_collapse_id", "webpush_topic"]

_TOPIC: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LONGEST_ID: Final = 64


def webpush_topic(key: str) -> str:
    """At most 32 characters of the base64url alphabet (RFC 8030 § 5.4)."""
    return key if _TOPIC.fullmatch(key) else _hash(key)[:32]


def apns_collapse_id(key: str) -> str:
    """At most 64 bytes."""
    return key if key.isprintable() and key.isascii() and len(key) <= _LONGEST_ID else _hash(key)


def _hash(key: str) -> str:
    return base64.urlsafe_b64encode(sha256(key.encode("utf-8", "surrogatepass")).digest()).rstrip(b"=").decode()
