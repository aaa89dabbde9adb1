"""Why a server could not be reached, in words that are stable."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from typing import Final

import httpcore

from sockudo.outbound.network import AddressRefusedError, UnknownNameError

__all__ = ["ENGINE_ERRORS", "PROBLEMS", "problem_of"]

PROBLEMS: Final = {
    "timeout": "no answer within the time limit",
    "url_invalid": "the address is none that can be called, or a header none that HTTP allows",
    "dns_failed": "the host's name cannot be resolved",
    "address_refused": "the host is at a private address, which is not allowed",
    "connection_refused": "nothing listens there",
    "unreachable": "there is no way to the host",
    "connection_failed": "the connection could not be made",
    "tls_failed": "the certificate is not one to trust, or the host does not speak TLS",
    "connection_reset": "the connection broke before there was an answer",
    "connection_closed": "the host closed the connection without an answer",
    "protocol_error": "the answer is not HTTP",
}
"""Every ``problem`` of an answer, and what it means."""

ENGINE_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)
"""What the engine raises for the other side's doing."""


def problem_of(error: Exception) -> str:
    """The word of `PROBLEMS` for what making a request raised."""
    if isinstance(error, AddressRefusedError):
        return "address_refused"
    if isinstance(error, UnknownNameError):
        return "dns_failed"
    if isinstance(error, (TimeoutError, httpcore.TimeoutException)):
        return "timeout"
    causes = tuple(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "tls_failed"
    if isinstance(error, httpcore.ConnectError):
        return _connect_problem(causes)
    if isinstance(error, (httpcore.ReadError, httpcore.WriteError, OSError)):
        return "connection_reset"
    if isinstance(error, httpcore.RemoteProtocolError) and len(causes) == 1:
        # Raised by the engine itself and not by its parser: there was nothing to parse.
        return "connection_closed"
    return "protocol_error" if isinstance(error, httpcore.RemoteProtocolError) else "url_invalid"


def _connect_problem(causes: tuple[BaseException, ...]) -> str:
    for cause in causes:
        if isinstance(cause, ConnectionRefusedError):
            return "connection_refused"
        if isinstance(cause, ConnectionResetError):
            return "connection_reset"
        if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return "unreachable"
    return "connection_failed"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised for; the engine's pool hides the cause of what it passes on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
