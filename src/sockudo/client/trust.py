"""Whose certificates a client accepts, and why one that it was shown is not accepted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl

from sockudo.base.tls_problems import TlsProblem, tls_problem

__all__ = ["Trust", "distrust"]

_FIRST_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_OWN: Final = "For a certificate of your own: --cacert FILE with the authority's certificate, or SSL_CERT_FILE."

_UNKNOWN_AUTHORITY: Final = (
    "its certificate is of an authority that is not trusted here",
    f"{_OWN} For a public one the server must send the whole chain (fullchain.pem), not its own certificate alone.",
)
_REASONS: Final[dict[TlsProblem, tuple[str, str]]] = {
    "not_yet_valid": (
        "its certificate is not valid yet",
        "Compare the clocks of both machines; if they agree, the certificate was issued for a later time.",
    ),
    "expired": (
        "its certificate has expired",
        "Renew it, then send the server SIGHUP or reload the proxy (`sockudo doctor` has the dates).",
    ),
    "self_signed": ("its certificate is self-signed", f"{_OWN} --insecure accepts any, to try things out."),
    "name_mismatch": (
        "its certificate is for another name",
        "Use the URL with the name that the certificate is for, or get a certificate for this name.",
    ),
    "address_mismatch": (
        "its certificate is for another address",
        "Use the URL with the name that the certificate is for, instead of an IP address.",
    ),
    "authority_unknown": _UNKNOWN_AUTHORITY,
    "certificate_refused": _UNKNOWN_AUTHORITY,
    "not_spoken": (
        "the port does not speak TLS",
        "Use http:// in the URL, or the port on which TLS is served.",
    ),
}


@dataclass(frozen=True, slots=True)
class Trust:
    """What a TLS client accepts beside the authorities of this system.

    ``authority`` is a PEM file with further authorities. ``pinned`` is a PEM file of which the first certificate alone
    is accepted, under any name: for a server of this machine, called by its address. ``insecure`` accepts everything.
    """

    authority: Path | None = None
    pinned: Path | None = None
    insecure: bool = False

    def context(self) -> ssl.SSLContext | None:
        """The client's context, None where this adds nothing; raises OSError or ValueError for an unusable file."""
        import ssl  # every command knows a Trust, and few speak TLS

        if self.insecure:
            return _accepting_all()
        if self.pinned is not None:
            return _accepting_one(self.pinned)
        if self.authority is None:
            return None
        context = ssl.create_default_context()
        context.load_verify_locations(cafile=self.authority)
        return context


def _accepting_all() -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _accepting_one(file: Path) -> ssl.SSLContext:
    import ssl

    found = _FIRST_CERTIFICATE.search(file.read_text("ascii", "replace"))
    if found is None:
        raise ValueError(f"{file} has no certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The first one alone: an intermediate authority of the same file vouches for strangers, too.
    context.load_verify_locations(cadata=found[0])
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


def distrust(error: BaseException) -> tuple[str, str] | None:
    """What is wrong with the certificate or the protocol, and what to do; None for a failure of another kind."""
    problem = tls_problem(error)
    return None if problem is None else _REASONS.get(problem)
