"""Cross-origin headers of the HTTP API (spec: http-api § 10.1)."""

from __future__ import annotations

from collections.abc import Callable

from sockudo.config import Settings
from sockudo.config.origins import matcher

__all__ = ["Cors"]

# Of what a browser asks for, so much is looked at.
_LONGEST = 1000
_VARY = (b"vary", b"origin, access-control-request-method, access-control-request-headers")


class Cors:
    """The configured policy, prepared. A wildcard makes one constant answer and forces credentials off.

    ``constant`` are the headers of every reply, None while they depend on the request's Origin.
    """

    __slots__ = ("_allowed", "_allowed_headers", "_credentials", "_headers", "_methods", "constant")

    def __init__(self, settings: Settings) -> None:
        cors = settings.cors
        self.constant: list[tuple[bytes, bytes]] | None = None
        if cors.allows_everything:
            self.constant = [(b"access-control-allow-origin", b"*"), _VARY]
        elif not cors.origin:
            self.constant = [_VARY]
        self._allowed: Callable[[str | None], bool] = matcher(cors.origin)
        self._credentials = cors.credentials
        self._methods = ",".join(cors.methods).encode()
        self._headers = ",".join(name.lower() for name in cors.allowed_headers).encode()
        self._allowed_headers = frozenset(name.lower() for name in cors.allowed_headers)

    def headers(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """What to add to the reply to a request with this Origin header."""
        if self.constant is not None:
            return self.constant
        if origin is None or not self._allowed(origin.decode("latin-1")):
            return [_VARY]
        found = [(b"access-control-allow-origin", origin), _VARY]
        if self._credentials:
            found.append((b"access-control-allow-credentials", b"true"))
        return found

    def refused_header(self, asked: bytes) -> str | None:
        """The first header of ``Access-Control-Request-Headers`` that a page may not send."""
        names = (name.strip().lower() for name in asked[:_LONGEST].decode("latin-1").split(","))
        return next((name for name in names if name and name not in self._allowed_headers), None)

    def preflight(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """What to add to the reply to OPTIONS."""
        return [
            *self.headers(origin),
            (b"access-control-allow-methods", self._methods),
            (b"access-control-allow-headers", self._headers),
        ]
