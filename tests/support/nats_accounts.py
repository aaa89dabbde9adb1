"""Accounts of NATS in operator mode: the configuration of a server, and the ``.creds`` file of a user."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["write_credentials"]

_OPERATOR, _ACCOUNT, _USER, _SEED = 14 << 3, 0, 20 << 3, 18 << 3


class _Key:
    """A key with its names: a kind, the bytes and a checksum in base32."""

    def __init__(self, kind: int) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.name = _named(bytes([kind]) + self._key.public_key().public_bytes_raw())
        head = bytes([_SEED | kind >> 5, (kind & 31) << 3])
        self.seed = _named(head + self._key.private_bytes_raw())

    def token(self, subject: str, about: dict[str, object]) -> str:
        claims = {"jti": "x", "iat": 1, "iss": self.name, "name": "tests", "sub": subject, "nats": about}
        text = ".".join(_coded(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims))
        return f"{text}.{_coded(self._key.sign(text.encode()))}"


def write_credentials(path: Path) -> str:
    """Writes the file of a new user; returns lines of the configuration of a server that accepts it."""
    operator, account, user = _Key(_OPERATOR), _Key(_ACCOUNT), _Key(_USER)
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    of_operator = operator.token(operator.name, {"type": "operator", "version": 2})
    limits = {"limits": {**unlimited, "wildcards": True}}
    of_account = operator.token(account.name, {"type": "account", "version": 2, **limits})
    of_user = account.token(
        user.name, {"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
    )
    blocks = {"NATS USER JWT": of_user, "USER NKEY SEED": user.seed}
    path.write_text(
        "\n".join(f"-----BEGIN {name}-----\n{text}\n------END {name}------\n" for name, text in blocks.items())
    )
    return f"operator: {of_operator}\nresolver: MEMORY\nresolver_preload: {{ {account.name}: {of_account} }}"


def _named(data: bytes) -> str:
    checksum = binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(data + checksum).rstrip(b"=").decode()


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
