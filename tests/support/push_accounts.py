"""Push providers against their stand-in: throw-away keys, stored credentials in memory, and one send after another."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from sockudo.errors import SockudoError
from sockudo.outbound.addresses import is_public
from sockudo.outbound.exchange import Exchange
from sockudo.push.delivery import Material
from sockudo.push.endpoints import EndpointRules
from sockudo.push.providers import Surroundings
from sockudo.push.providers.credentials import check_fields
from sockudo.push.recipients import Provider
from sockudo.push.records import Payload
from sockudo.push.rendering import render
from sockudo.testing import FakeClock, MockPushProvider

__all__ = [
    "Desk",
    "Stored",
    "apns_certificate",
    "apns_key",
    "apns_p12",
    "check_inline",
    "desk",
    "keys_examined_once",
    "no_materials",
    "preview",
    "public_key_of",
    "service_account",
    "vapid_key",
    "vapid_public_key",
]


class Stored:
    """Credentials of apps, as `sockudo.push.credentials` would find them; ``error`` is raised instead."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, Provider, str | None], Material] = {}
        self.asked: list[tuple[str, Provider, str | None]] = []
        self.error: SockudoError | None = None

    def put(self, app_id: str, provider: Provider, fields: Mapping[str, str], *, name: str = "own") -> None:
        version = len(self.found) + 1
        for key in (None, name):
            self.found[app_id, provider, key] = Material(name, version, fields)

    async def __call__(self, app_id: str, provider: Provider, credential_id: str | None = None) -> Material | None:
        self.asked.append((app_id, provider, credential_id))
        if self.error is not None:
            raise self.error
        return self.found.get((app_id, provider, credential_id))


async def no_materials(app_id: str, provider: Provider, credential_id: str | None = None) -> Material | None:
    return None


async def check_inline(provider: Provider, fields: Mapping[str, str], now: float) -> None:
    """A check of what is uploaded that needs no thread."""
    check_fields(provider, fields, now)


@contextmanager
def keys_examined_once() -> Iterator[None]:
    """Meanwhile a key that was loaded is not examined again.

    Whether the primes of an RSA key are some takes forty milliseconds, and all tests have the same keys.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((serialization, "load_pem_private_key"), (pkcs12, "load_key_and_certificates")):
            patch.setattr(module, name, functools.cache(getattr(module, name)))
        yield


class Desk(NamedTuple):
    """A stand-in for the providers, and what a provider is made of."""

    mock: MockPushProvider
    clock: FakeClock
    around: Surroundings
    rules: EndpointRules


@asynccontextmanager
async def desk(mock: MockPushProvider | None = None, *, cafile: str | None = None) -> AsyncIterator[Desk]:
    clock = FakeClock()
    http = Exchange(allow_local=True, cafile=cafile)
    async with mock or MockPushProvider() as running:
        around = Surroundings(http, clock.time, clock.monotonic)
        yield Desk(running, clock, around, EndpointRules(is_public, allow_local=True))
        await http.close()


def preview(provider: Provider, **fields: Any) -> dict[str, Any]:
    """The generic payload (spec: push § 4), as it comes out of the queue."""
    payload: dict[str, Any] = json.loads(render(provider, Payload(**{"title": "Shipped", **fields}), []).body)
    return payload


@functools.cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def _ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def service_account(token_uri: str | None, project: str | None = "harbour") -> str:
    """A key file of Google's."""
    fields = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": "key-7",
        "private_key": _pem(_rsa_key()),
        "client_email": "push@harbour.test",
        "token_uri": token_uri,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def apns_key() -> str:
    return _pem(_ec_key())


def vapid_key() -> str:
    """Base64url without padding."""
    number = _ec_key().private_numbers().private_value
    return base64.urlsafe_b64encode(number.to_bytes(32)).rstrip(b"=").decode()


def vapid_public_key() -> str:
    """That of `vapid_key`, in the same form."""
    point = (
        _ec_key().public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    )
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()


def _certificate(ends: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Apple Push Services: test.harbour")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(_rsa_key().public_key())
    made = made.serial_number(7).not_valid_before(ends - timedelta(days=365)).not_valid_after(ends)
    return made.sign(_rsa_key(), hashes.SHA256())


def _ends(ends: datetime | None) -> datetime:
    return ends or datetime.now(UTC) + timedelta(days=30)


def apns_certificate(ends: datetime | None = None, *, key: str | None = None) -> str:
    """As PEM, with its key or another one; valid for a month from now unless told otherwise."""
    certificate = _certificate(_ends(ends)).public_bytes(serialization.Encoding.PEM).decode()
    return certificate + (_pem(_rsa_key()) if key is None else key)


def apns_p12(password: str | None = None, ends: datetime | None = None) -> str:
    """The same as PKCS #12 in base64."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password.encode())
    data = pkcs12.serialize_key_and_certificates(b"push", _rsa_key(), _certificate(_ends(ends)), None, encryption)
    return base64.b64encode(data).decode()


def public_key_of(kind: str) -> Any:
    return (_rsa_key() if kind == "rsa" else _ec_key()).public_key()
