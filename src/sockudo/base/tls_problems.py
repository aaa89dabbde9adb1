"""Which part of a TLS handshake failed, as one word: each has a remedy of its own.

OpenSSL's sentences differ between its versions; its numbers and names do not.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final, Literal

__all__ = ["TlsProblem", "causes_of", "tls_problem"]

TlsProblem = Literal[
    "not_yet_valid",
    "expired",
    "self_signed",
    "authority_unknown",
    "name_mismatch",
    "address_mismatch",
    "certificate_refused",
    "not_spoken",
    "handshake_failed",
]

# X509_V_ERR_…, for which Python has no names.
_BY_CODE: Final[dict[int, TlsProblem]] = {
    2: "authority_unknown",
    9: "not_yet_valid",
    10: "expired",
    18: "self_signed",
    19: "authority_unknown",
    20: "authority_unknown",
    21: "authority_unknown",
    62: "name_mismatch",
    64: "address_mismatch",
}
# What the library makes of plain text where a handshake should be.
_NOT_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)


def tls_problem(error: BaseException | None) -> TlsProblem | None:
    """What is wrong with the peer's certificate or protocol; None for a failure of another kind.

    Libraries wrap what the ``ssl`` module raises; it is looked for among the causes.
    """
    for cause in causes_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _BY_CODE.get(cause.verify_code, "certificate_refused")
        if isinstance(cause, ssl.SSLError):
            return "not_spoken" if cause.reason in _NOT_TLS else "handshake_failed"
    return None


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised for."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
