"""NATS between nodes: ``adapter.nats`` (spec: platform § 1.4)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from sockudo.config.keys import Section, setting

__all__ = ["AdapterNats", "NatsTls"]

_SCHEMES = ("nats", "tls")
_PREFIX = re.compile(r"[^\s.*>$][^\s.*>]*(\.[^\s.*>]+)*\.?")


def _useless_servers(servers: tuple[str, ...]) -> str | None:
    if not servers:
        return "names no server"
    for server in servers:
        # One with a user or a password is refused later, where it is not quoted.
        if "@" not in server and not _is_address(server):
            return f"has {server!r}, which is not the address of a NATS server: nats://host:4222, or tls:// for TLS"
    return None


def _is_address(text: str) -> bool:
    try:
        url = urlsplit(text if "://" in text else f"nats://{text}")
        port = url.port
    except ValueError:
        return False
    return url.scheme in _SCHEMES and bool(url.hostname) and port != 0 and url.path in {"", "/"}


def _useless_prefix(text: str) -> str | None:
    if len(text) <= 100 and _PREFIX.fullmatch(text):
        return None
    return "cannot begin a subject: at most 100 characters, words joined by '.', without spaces, '*' and '>'"


class NatsTls(Section, frozen=True):
    """TLS to the NATS servers."""

    enabled: bool = setting(
        False, "TLS, as `tls://` in an address and a server that asks for it have it too", env="NATS_TLS_ENABLED"
    )
    ca_path: str | None = setting(
        None, "PEM file of the authorities that count, in place of the system's", env="NATS_TLS_CA_PATH"
    )
    client_cert_path: str | None = setting(
        None, "PEM file of this server's certificate", env="NATS_TLS_CLIENT_CERT_PATH"
    )
    client_key_path: str | None = setting(None, "PEM file of its private key", env="NATS_TLS_CLIENT_KEY_PATH")


class AdapterNats(Section, frozen=True):
    """NATS between nodes. Passwords and tokens never leave through ``repr``."""

    servers: tuple[str, ...] = setting(
        ("nats://localhost:4222",),
        "Servers of one cluster: `nats://host:4222`, or `tls://` for TLS; others of it are found by themselves",
        env="NATS_SERVERS",
        check=_useless_servers,
    )
    prefix: str = setting(
        "sockudo_adapter:", "What the subjects of these nodes begin with", env="NATS_PREFIX", check=_useless_prefix
    )
    username: str | None = setting(None, "Who connects", env="NATS_USERNAME")
    password: str | None = setting(None, "That user's password", env="NATS_PASSWORD", secret=True)
    token: str | None = setting(None, "A token, in place of a user", env="NATS_TOKEN", secret=True)
    credentials_path: str | None = setting(
        None, "A `.creds` file with the user's JWT and key, in place of a user", env="NATS_CREDENTIALS_PATH"
    )
    connection_timeout_ms: int = setting(
        5000, "How long connecting to a server may take", env="NATS_CONNECTION_TIMEOUT_MS", unit="ms", low=100
    )
    request_timeout_ms: int = setting(
        5000, "A server that sends nothing for longer is given up", env="NATS_REQUEST_TIMEOUT_MS", unit="ms", low=100
    )
    tls: NatsTls = NatsTls()

    def __repr__(self) -> str:
        return f"AdapterNats(servers={self.servers!r}, prefix={self.prefix!r})"
