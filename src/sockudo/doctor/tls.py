"""The certificate and the protocol, as a client sees them; each reason for distrust is a finding of its own."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sockudo.client.failures import network_reason
from sockudo.client.trust import Trust
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning

__all__ = ["Certificate", "check_tls", "judge", "read_certificate"]

# Constants of OpenSSL that Python has no name for.
_NO_CHECK_TIME: Final = 0x200000
_SELF_SIGNED: Final = frozenset({18})
_UNKNOWN_ROOT: Final = frozenset({19})
_NO_ISSUER: Final = frozenset({2, 20, 21})

_DAY: Final = 86_400
_FEW_DAYS: Final = 14
_RENEW: Final = "Renew it, then send the server SIGHUP or reload the proxy; and see why it was not renewed by itself."
_CHAIN: Final = (
    "Serve the whole chain: the file with your certificate and the intermediate ones (fullchain.pem), not the "
    "certificate alone. If it is of an authority of your own, name that with SSL_CERT_FILE."
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server showed. Times are Unix seconds; ``fits`` is whether it is for the name that was called.

    ``chain`` is OpenSSL's number for why its authority is not trusted, 0 if it is.
    """

    names: tuple[str, ...]
    issuer: str
    begins: float
    ends: float
    fits: bool
    chain: int = 0


async def check_tls(deployment: Deployment) -> Sequence[Finding]:
    """Shakes hands as a browser does; where that fails, again with less and less to be asked of the certificate."""
    if not deployment.secure:
        if deployment.on_loopback:
            return [not_checked("the URL is http: give the https URL that clients use")]
        return [
            warning(
                "clients talk to it in the clear: what they send and their signatures can be read on the way",
                "Serve TLS, by a proxy in front or with ssl.enabled (docs/operations.md).",
            )
        ]
    place = _Place(deployment.host, deployment.port, deployment.options.timeout)
    trust = replace(deployment.trust, insecure=False)
    try:
        version = await place.shake(trust.context() or ssl.create_default_context())
    except ssl.SSLCertVerificationError:
        if trust.pinned is not None:
            return _not_the_configured(await _certificate(place, trust), trust.pinned)
        found = judge(await _certificate(place, trust), deployment.host, time.time())
        return [replace(each, state="warning") for each in found] if deployment.trust.insecure else found
    except (ssl.SSLError, OSError, TimeoutError) as error:
        return [await _no_tls(deployment, error)]
    if trust.pinned is not None:
        findings = [not_checked("name and authority of the certificate: give --url with the URL that clients use")]
    else:
        findings = judge(await _certificate(place, trust), deployment.host, time.time())
    findings += [ok(f"{version} is spoken", protocol=version)]
    if await place.accepts_old():
        findings.append(
            warning(
                "TLS 1.0 or 1.1 is accepted as well: both are broken",
                "Let the proxy take nothing below TLS 1.2.",
            )
        )
    return findings


def judge(certificate: Certificate, host: str, now: float) -> list[Finding]:
    """Everything that is wrong with a certificate, each with what helps; one finding when nothing is."""
    shown = ", ".join(certificate.names[:3]) or "no name"
    left = (certificate.ends - now) / _DAY
    facts: dict[str, Any] = {"names": certificate.names, "issuer": certificate.issuer, "days_left": round(left, 1)}
    found: list[Finding] = []
    if left < 0:
        found.append(problem(f"the certificate expired {_span(-left)} ago", _RENEW, **facts))
    elif certificate.begins > now:
        found.append(
            problem(
                "the certificate is not valid yet", "Look at the clocks of both machines, or issue it anew.", **facts
            )
        )
    elif left < min(_FEW_DAYS, (certificate.ends - certificate.begins) / _DAY / 3):
        found.append(warning(f"the certificate ends in {_span(left)}", _RENEW, **facts))
    if not certificate.fits:
        found.append(
            problem(
                f"the certificate is for {shown}, not for {host}",
                "Use the URL with the name that it is for, or get one for this name.",
                **facts,
            )
        )
    if certificate.chain:
        found.append(_untrusted(certificate, facts))
    if any(finding.state == "problem" for finding in found):
        return found
    return [*found, ok(f"certificate for {shown} by {certificate.issuer}, {_span(left)} left", **facts)]


def _not_the_configured(certificate: Certificate, file: Path) -> list[Finding]:
    """Why the certificate in ``file`` is not what the server of this machine shows, or is not good any more."""
    found = judge(replace(certificate, fits=True, chain=0), "", time.time())
    if any(finding.state == "problem" for finding in found):
        return found
    return [
        problem(
            f"the server shows another certificate than that of {file}",
            "Send it SIGHUP, so that it reads the file again; or another process has the port: ss -ltnp.",
        )
    ]


def _untrusted(certificate: Certificate, facts: Mapping[str, Any]) -> Finding:
    if certificate.chain in _SELF_SIGNED:
        return problem(
            "the certificate is self-signed: no client trusts it",
            "Get one of an authority, Let's Encrypt for example. To try things out, name it with SSL_CERT_FILE.",
            **facts,
        )
    if certificate.chain in _UNKNOWN_ROOT:
        return problem(
            f"the certificate is of an authority that is not trusted here: {certificate.issuer}",
            "Clients need that authority among those they trust; here name it with SSL_CERT_FILE.",
            **facts,
        )
    if certificate.chain in _NO_ISSUER:
        return problem(f"the chain ends before an authority that is trusted: {certificate.issuer}", _CHAIN, **facts)
    return problem(f"the certificate is not trusted (OpenSSL's reason {certificate.chain})", _CHAIN, **facts)


def _span(days: float) -> str:
    if days >= 2:
        return f"{int(days)} days"
    hours = days * 24
    return f"{int(hours)} hours" if hours >= 2 else f"{max(0, int(hours * 60))} minutes"


# ---- handshakes ----


@dataclass(frozen=True, slots=True)
class _Place:
    host: str
    port: int
    timeout: float

    async def shake(self, context: ssl.SSLContext) -> str:
        """The version that was agreed upon; raises what the handshake raises."""
        version, _ = await self._shake(context)
        return version

    async def certificate(self, context: ssl.SSLContext) -> dict[str, Any]:
        _, tls = await self._shake(context)
        return dict(tls.getpeercert() or {})

    async def encoded(self) -> str:
        """The certificate, valid or not, as PEM."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _, tls = await self._shake(context)
        return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")

    async def accepts_old(self) -> bool:
        """Whether a version that is not safe any more would do; False also where this machine cannot speak one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            context.set_ciphers("DEFAULT@SECLEVEL=0")
            import warnings

            with warnings.catch_warnings():
                # Named on purpose: the question is whether the other side is still so old.
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            await self._shake(context)
        except (OSError, ValueError, TimeoutError):
            return False
        return True

    async def _shake(self, context: ssl.SSLContext) -> tuple[str, ssl.SSLObject]:
        async with asyncio.timeout(self.timeout):
            _, writer = await asyncio.open_connection(self.host, self.port, ssl=context, server_hostname=self.host)
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        found = tls.version() or "TLS", tls
        writer.transport.abort()
        return found


async def _certificate(place: _Place, trust: Trust) -> Certificate:
    """The chain, the name and the dates are tried one by one: OpenSSL itself names the first failure only."""
    pem = await place.encoded()
    shown = await place.certificate(_trusting(pem, name=False))
    return read_certificate(
        shown,
        fits=not await _verify_code(place, _trusting(pem, name=True)),
        chain=await _verify_code(place, _whole_chain(trust)),
    )


def read_certificate(shown: Mapping[str, Any], *, fits: bool, chain: int) -> Certificate:
    """From what the ``ssl`` module makes of a certificate."""
    names = [str(value) for _, value in shown.get("subjectAltName", ())]
    subject = {name: value for part in shown.get("subject", ()) for name, value in part}
    issuer = {name: value for part in shown.get("issuer", ()) for name, value in part}
    if not names and "commonName" in subject:
        names = [subject["commonName"]]
    return Certificate(
        tuple(names),
        str(issuer.get("organizationName") or issuer.get("commonName") or "an unnamed authority"),
        ssl.cert_time_to_seconds(shown["notBefore"]),
        ssl.cert_time_to_seconds(shown["notAfter"]),
        fits,
        chain,
    )


def _trusting(pem: str, *, name: bool) -> ssl.SSLContext:
    """Trusts this one certificate, however old it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    context.check_hostname = name
    context.verify_flags = ssl.VerifyFlags(_NO_CHECK_TIME | ssl.VERIFY_X509_PARTIAL_CHAIN)
    return context


def _whole_chain(trust: Trust) -> ssl.SSLContext:
    context = trust.context() if trust.pinned is None else None
    context = context or ssl.create_default_context()
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    return context


async def _verify_code(place: _Place, context: ssl.SSLContext) -> int:
    try:
        await place.shake(context)
    except ssl.SSLCertVerificationError as error:
        return error.verify_code
    return 0


async def _no_tls(deployment: Deployment, error: Exception) -> Finding:
    """Why no handshake came about: often because the port speaks plain HTTP."""
    from sockudo.client.failures import UnreachableError
    from sockudo.doctor.probe import Http

    plain = Http(deployment.place("http"), deployment.options.timeout)
    try:
        await plain.get("/live")
    except UnreachableError:
        reason = network_reason(error) if str(error) else "no answer in time"
        return problem(f"no TLS: {reason}", "Is this the port of TLS? Look at the log of the proxy or the server.")
    finally:
        await plain.close()
    return problem(
        "the port speaks plain HTTP, and the URL says https",
        f"Use {deployment.place('http')}, or the port where TLS is served: ssl.enabled is off here, or the proxy that "
        "ends TLS listens elsewhere.",
    )
