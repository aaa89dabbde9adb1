"""Why a server could not be reached, in words that are stable."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Sequence
from typing import Final

from sockudo.outbound.reaching import AddressRefusedError, UnknownNameError

__all__ = ["PROBLEMS", "causes_of", "connecting_problem", "is_about_tls"]

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


def connecting_problem(error: Exception) -> str:
    """The word of `PROBLEMS` for what connecting raised."""
    if isinstance(error, AddressRefusedError):
        return "address_refused"
    if isinstance(error, UnknownNameError):
        return "dns_failed"
    if isinstance(error, TimeoutError):
        return "timeout"
    causes = causes_of(error)
    if is_about_tls(causes):
        return "tls_failed"
    for cause in causes:
        if isinstance(cause, ConnectionRefusedError):
            return "connection_refused"
        if isinstance(cause, ConnectionResetError):
            return "connection_reset"
        if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return "unreachable"
    return "connection_failed"


def is_about_tls(causes: Sequence[BaseException]) -> bool:
    return any(isinstance(cause, ssl.SSLError) for cause in causes)


def causes_of(error: BaseException | None) -> Sequence[BaseException]:
    """The error and what it was raised for."""
    causes = []
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes
