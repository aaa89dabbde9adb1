"""Why a server could not be reached, in words that are stable."""

from __future__ import annotations

import errno
from typing import Final

from sockudo.base.tls_problems import TlsProblem, causes_of, tls_problem
from sockudo.outbound.reaching import AddressRefusedError, UnknownNameError

__all__ = ["PROBLEMS", "connecting_problem"]

PROBLEMS: Final = {
    "timeout": "no answer within the time limit",
    "url_invalid": "the address is none that can be called, or a header none that HTTP allows",
    "dns_failed": "the host's name cannot be resolved",
    "address_refused": "the host is at a private address, which is not allowed",
    "connection_refused": "nothing listens there",
    "unreachable": "there is no way to the host",
    "connection_failed": "the connection could not be made",
    "tls_self_signed": "the host's certificate is self-signed, and not one that is trusted here",
    "tls_authority_unknown": "the host's certificate is of an authority that is not trusted here",
    "tls_expired": "the host's certificate has expired",
    "tls_not_yet_valid": "the host's certificate is not valid yet",
    "tls_name_mismatch": "the host's certificate is for another name",
    "tls_not_spoken": "the port does not speak TLS",
    "tls_failed": "the TLS handshake failed",
    "connection_reset": "the connection broke before there was an answer",
    "connection_closed": "the host closed the connection without an answer",
    "protocol_error": "the answer is not HTTP",
}
"""Every ``problem`` of an answer, and what it means."""

_TLS: Final[dict[TlsProblem, str]] = {
    "self_signed": "tls_self_signed",
    "authority_unknown": "tls_authority_unknown",
    "expired": "tls_expired",
    "not_yet_valid": "tls_not_yet_valid",
    "name_mismatch": "tls_name_mismatch",
    "address_mismatch": "tls_name_mismatch",
    "not_spoken": "tls_not_spoken",
}


def connecting_problem(error: Exception) -> str:
    """The word of `PROBLEMS` for what connecting raised."""
    if isinstance(error, AddressRefusedError):
        return "address_refused"
    if isinstance(error, UnknownNameError):
        return "dns_failed"
    if isinstance(error, TimeoutError):
        return "timeout"
    about_tls = tls_problem(error)
    if about_tls is not None:
        return _TLS.get(about_tls, "tls_failed")
    for cause in causes_of(error):
        if isinstance(cause, ConnectionRefusedError):
            return "connection_refused"
        if isinstance(cause, ConnectionResetError):
            return "connection_reset"
        if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return "unreachable"
    return "connection_failed"
