"""Where a server is: the one URL that people give, and what follows from it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

from sockudo.base.version import __version__

__all__ = ["is_loopback", "socket_url"]


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine; such a server is never asked through a proxy."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def socket_url(url: str, key: str, parameters: Mapping[str, str]) -> str:
    """The WebSocket URL of the app with ``key`` on the server at ``url``: http becomes ws, https becomes wss.

    ``parameters`` come first in its query, before those that name this client.
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = f"{parts.path.rstrip('/')}/app/{quote(key, safe='')}"
    query = urlencode({**parameters, "client": "sockudo-python", "version": __version__})
    return f"{scheme}://{parts.netloc}{path}?{query}"
