"""Who this node is to NATS: its servers, TLS, and what it shows them."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sockudo import errors
from sockudo.base.version import __version__
from sockudo.config.sections.nats import AdapterNats

__all__ = ["NatsLogin", "NatsServer"]

PORT: Final = 4222
# A seed: two bytes that say what it is the seed of, the key, and a checksum, in base32.
_SEED_BYTES: Final = 36
_BLOCK: Final = re.compile(r"-+BEGIN ([A-Z ]+)-+\s+(\S+)\s+-+END \1-+")


class NatsServer(NamedTuple):
    """Where a server is. ``tls``: its address asks for it. ``name`` is whom its certificate is for."""

    host: str
    port: int
    tls: bool
    name: str

    @property
    def place(self) -> str:
        """For people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def of(cls, address: str, *, tls: bool = False, name: str = "") -> NatsServer:
        """The server of an address of the configuration, or of one that a server tells of its cluster.

        The second kind has no names, so the certificate is for the ``name`` of the server that named it. Raises
        ValueError for what is no address.
        """
        url = urlsplit(address if "://" in address else f"nats://{address}")
        host = url.hostname or ""
        return cls(host, url.port or PORT, tls or url.scheme == "tls", name or host)


class NatsLogin:
    """What the configuration says of it. Raises errors.SERVICE_UNAVAILABLE for a file that is not what it should be."""

    def __init__(self, settings: AdapterNats) -> None:
        self._settings = settings
        self._jwt, self._key = _credentials(settings.credentials_path)

    def tls(self) -> ssl.SSLContext:
        """What a server is examined by."""
        files, path = self._settings.tls, "adapter.nats.tls.ca_path"
        try:
            context = ssl.create_default_context(cafile=files.ca_path)
            if files.client_cert_path:
                path = "adapter.nats.tls.client_cert_path"
                context.load_cert_chain(files.client_cert_path, files.client_key_path)
        except OSError as error:
            raise errors.SERVICE_UNAVAILABLE(f"{path} cannot be used: it needs PEM files that fit together") from error
        return context

    def options(self, info: dict[str, Any], *, tls: bool) -> dict[str, object]:
        """The options of CONNECT to the server that sent this INFO."""
        settings = self._settings
        options: dict[str, object] = {
            "verbose": False,
            "pedantic": False,
            "tls_required": tls,
            "name": "sockudo",
            "lang": "python",
            "version": __version__,
            "protocol": 1,
            "echo": True,
            "headers": False,
            "no_responders": False,
        }
        if settings.username:
            options |= {"user": settings.username, "pass": settings.password or ""}
        if settings.token:
            options["auth_token"] = settings.token
        if self._key is not None:
            signed = self._key.sign(str(info.get("nonce", "")).encode())
            options |= {"jwt": self._jwt, "sig": base64.urlsafe_b64encode(signed).rstrip(b"=").decode()}
        return options

    @property
    def remedy(self) -> str:
        """What to do about a server that does not accept it."""
        if self._key is not None:
            return "Replace the file of adapter.nats.credentials_path"
        if self._settings.token:
            return "Correct adapter.nats.token"
        if self._settings.username:
            return "Correct adapter.nats.username and adapter.nats.password"
        return (
            "Set adapter.nats.username and adapter.nats.password, adapter.nats.token or adapter.nats.credentials_path"
        )


def _credentials(path: str | None) -> tuple[str, Ed25519PrivateKey | None]:
    """The JWT of a ``.creds`` file, and the key that shows that it is ours."""
    if path is None:
        return "", None
    try:
        blocks = dict(_BLOCK.findall(Path(path).read_text("ascii")))
        jwt, seed = blocks["NATS USER JWT"], base64.b32decode(blocks["USER NKEY SEED"] + "======")
        if len(seed) != _SEED_BYTES:
            raise ValueError("the seed has another length")
        return jwt, Ed25519PrivateKey.from_private_bytes(seed[2:-2])
    except (OSError, KeyError, ValueError, binascii.Error):
        # What was wrong may quote the key.
        raise errors.SERVICE_UNAVAILABLE(
            f"adapter.nats.credentials_path = {path!r} is no file with the JWT and the key of a user of NATS, as "
            "`nsc generate creds` writes it. Name one that this user can read"
        ) from None
