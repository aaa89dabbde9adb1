"""What a client of a Sockudo server can meet: no connection, a refusal over HTTP, a closed WebSocket.

::

    ClientError
    ├── UnreachableError   no answer, or not in time
    ├── ApiError           the HTTP API answered with an error
    └── ClosedError        the WebSocket connection was refused or has ended

The libraries underneath raise their own exceptions; those stop here.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import Self

from sockudo.client.trust import distrust

__all__ = ["ApiError", "ClientError", "ClosedError", "UnreachableError", "network_reason"]


_NOT_HTTP = "Something takes connections there and does not speak HTTP: if it serves TLS, use https:// in the URL."


class ClientError(Exception):
    """Anything that keeps a client from doing what it was asked."""


class UnreachableError(ClientError):
    """No answer from ``url``; ``reason`` is the network's, ``advice`` what to do, empty if that is unknown."""

    def __init__(self, url: str, reason: str, advice: str = "") -> None:
        super().__init__(f"No answer from {url}: {reason}")
        self.url = url
        self.reason = reason
        self.advice = advice

    @classmethod
    def of(cls, url: str, error: BaseException, *, garbled: bool = False) -> Self:
        """From what a library raised: a certificate that is not accepted is another failure than a dead server.

        ``garbled``: something took the connection and did not answer in HTTP.
        """
        found = distrust(error)
        if found is not None:
            return cls(url, *found)
        return cls(
            url, network_reason(error), _NOT_HTTP if garbled and url.lower().startswith(("http:", "ws:")) else ""
        )


class ApiError(ClientError):
    """The HTTP API refused: ``status``, stable ``code`` and ``text`` of the error envelope (spec: http-api § 3.1).

    ``docs`` is the anchor in the error reference, empty if the answer had none. ``retry_after`` is in seconds.
    """

    def __init__(self, status: int, code: str, text: str, *, docs: str = "", retry_after: int | None = None) -> None:
        super().__init__(f"{text} (HTTP {status}, {code})")
        self.status = status
        self.code = code
        self.text = text
        self.docs = docs
        self.retry_after = retry_after


class ClosedError(ClientError):
    """The WebSocket connection has ended: close ``code`` (1006 when it broke off) and ``reason``.

    ``established`` is whether the server had accepted the connection before it ended.
    """

    def __init__(self, code: int, reason: str, *, established: bool = True) -> None:
        super().__init__(f"The connection {'was closed' if established else 'was refused'}: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.established = established


def network_reason(error: BaseException) -> str:
    """The error of the operating system: libraries wrap it in texts of their own, such as "all attempts failed"."""
    reason = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            other_numbers = isinstance(cause, ssl.SSLError | socket.gaierror)
            reason = cause.strerror if other_numbers else os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return reason
