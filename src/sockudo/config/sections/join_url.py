"""The address of what joins nodes (spec: platform § 1.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from sockudo.config.sections.redis import useless_redis_url

__all__ = ["JOINED_BY", "useless_join_url"]

JOINED_BY: Final[Mapping[str, str]] = {
    "redis": "redis",
    "rediss": "redis",
    "nats": "nats",
    "tls": "nats",
    "postgres": "postgres",
    "postgresql": "postgres",
}
"""Drivers by the scheme of an address."""

_FORM: Final = (
    "redis://host:6379, rediss:// with TLS, nats://host:4222, tls:// with TLS, or postgres://user@host/database"
)


def useless_join_url(text: str | None) -> str | None:
    """What is wrong with the address, without quoting it; None when nothing is."""
    if text is None:
        return None
    try:
        url = urlsplit(text)
        usable = url.scheme in JOINED_BY and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        return f"is not the address of what joins nodes: {_FORM}"
    if JOINED_BY[url.scheme] == "redis":
        return useless_redis_url(text)
    named = url.path.strip("/")
    if JOINED_BY[url.scheme] == "nats" and named:
        return "has a path, which the address of a NATS server has not"
    if url.query or url.fragment or "/" in named:
        return f"has more than user, password, host, port and name: {_FORM}"
    return None
