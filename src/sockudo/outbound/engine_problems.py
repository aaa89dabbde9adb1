"""The same words for what the HTTP engine of webhooks raises."""

from __future__ import annotations

from typing import Final

import httpcore

from sockudo.outbound.problems import causes_of, connecting_problem, is_about_tls
from sockudo.outbound.reaching import AddressRefusedError, UnknownNameError

__all__ = ["ENGINE_ERRORS", "problem_of"]

ENGINE_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)
"""What the engine raises for the other side's doing."""


def problem_of(error: Exception) -> str:
    """The word of `sockudo.outbound.problems.PROBLEMS` for what making a request raised."""
    if isinstance(error, httpcore.TimeoutException):
        return "timeout"
    if isinstance(error, (AddressRefusedError, UnknownNameError, TimeoutError, httpcore.ConnectError)):
        return connecting_problem(error)
    # The engine's pool hides the cause of what it passes on.
    causes = causes_of(error)
    if is_about_tls(causes):
        return "tls_failed"
    if isinstance(error, (httpcore.ReadError, httpcore.WriteError, OSError)):
        return "connection_reset"
    if isinstance(error, httpcore.RemoteProtocolError) and len(causes) == 1:
        # Raised by the engine itself and not by its parser: there was nothing to parse.
        return "connection_closed"
    return "protocol_error" if isinstance(error, httpcore.RemoteProtocolError) else "url_invalid"
