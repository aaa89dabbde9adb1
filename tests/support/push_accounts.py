"""Push providers against their stand-in: throw-away keys, stored credentials in memory, and one send after another."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sockudo.errors import SockudoError
from sockudo.outbound.addresses import is_public
from sockudo.outbound.exchange import Exchange
from sockudo.providers import Surroundings
from sockudo.push.delivery import Material
from sockudo.push.endpoints import EndpointRules
from sockudo.push.recipients import Provider
from sockudo.push.records import Payload
from sockudo.push.rendering import render
from sockudo.testing import FakeClock, MockPushProvider

__all__ = [
    "Desk",
    "Stored",
    "apns_key",
    "desk",
    "no_materials",
    "preview",
    "public_key_of",
    "service_account",
    "vapid_key",
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
    """The generic payload of § 4, as it comes out of the queue."""
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


def public_key_of(kind: str) -> Any:
    return (_rsa_key() if kind == "rsa" else _ec_key()).public_key()
