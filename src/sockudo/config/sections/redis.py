"""Redis: ``database.redis`` (spec: platform § 1.4), and how one part of the server reaches it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from sockudo.config.keys import Key

__all__ = ["Redis", "RedisServer", "RedisTls", "useless_redis_url"]

_SCHEMES = ("redis", "rediss")
_FORM = "redis://user:password@host:6379/0, or rediss:// for TLS"


def useless_redis_url(text: str) -> str | None:
    """What is wrong with the address of a Redis server, without quoting it; None when nothing is."""
    try:
        url = urlsplit(text)
        if url.scheme not in _SCHEMES or not url.hostname or url.port == 0:
            return f"is not the address of a Redis server: {_FORM}"
        _number_of(url)
    except ValueError:
        return f"is not the address of a Redis server: {_FORM}"
    return None


def _useless_host(text: str) -> str | None:
    if not text:
        return "is empty"
    # One with a user or a password is refused later, where it is not quoted.
    return useless_redis_url(text) if "://" in text and "@" not in text else None


class RedisServer(msgspec.Struct, frozen=True):
    """One server and who connects to it; ``None`` or ``""`` for what is not needed. ``repr`` has no password."""

    host: str
    port: int
    db: int
    username: str
    password: str
    tls: bool

    def __repr__(self) -> str:
        return f"RedisServer({self.place!r}, db={self.db}, username={self.username!r}, tls={self.tls})"

    @property
    def place(self) -> str:
        """Where it is, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class RedisTls(msgspec.Struct, frozen=True):
    """TLS to the Redis server."""

    enabled: Annotated[
        bool, Key("TLS, as `rediss://` in an address has it too", env="DATABASE_REDIS_MASTER_TLS_ENABLED")
    ] = False
    accept_invalid_certs: Annotated[
        bool,
        Key("Any certificate will do, of whomever it is", env="DATABASE_REDIS_MASTER_TLS_ACCEPT_INVALID_CERTS"),
    ] = False
    ca_path: Annotated[
        str | None,
        Key(
            "PEM file of the authorities that count, in place of the system's", env="DATABASE_REDIS_MASTER_TLS_CA_PATH"
        ),
    ] = None
    client_cert_path: Annotated[
        str | None, Key("PEM file of this server's certificate", env="DATABASE_REDIS_MASTER_TLS_CLIENT_CERT_PATH")
    ] = None
    client_key_path: Annotated[
        str | None, Key("PEM file of its private key", env="DATABASE_REDIS_MASTER_TLS_CLIENT_KEY_PATH")
    ] = None


class Redis(msgspec.Struct, frozen=True):
    """A Redis server, for the parts that name it as their driver. The password never leaves through ``repr``."""

    host: Annotated[
        str,
        Key(
            "Name or address of the server, or `redis://host:port/db` (`rediss://` for TLS)",
            env="DATABASE_REDIS_HOST",
            check=_useless_host,
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Key("Its port", env="DATABASE_REDIS_PORT", low=1, high=65_535)] = 6379
    db: Annotated[int, Key("Number of the database there", env="DATABASE_REDIS_DB", high=65_535)] = 0
    username: Annotated[str | None, Key("Who connects", env="DATABASE_REDIS_USERNAME")] = None
    password: Annotated[str | None, Key("The password", env="DATABASE_REDIS_PASSWORD", secret=True)] = None
    master_tls: RedisTls = RedisTls()

    def __repr__(self) -> str:
        return f"Redis(host={self.host.rpartition('@')[2]!r}, port={self.port}, db={self.db})"

    def server(self, url: str | None = None) -> RedisServer:
        """The server of these keys, or the one of a ``url`` that stands for all of them but the files of TLS.

        What a host that is an address leaves out is taken from the other keys. Raises ValueError for an address that
        `useless_redis_url` refuses.
        """
        if url is not None:
            return _of_url(url, Redis())
        if "://" in self.host:
            return _of_url(self.host, self)
        tls = self.master_tls.enabled
        return RedisServer(self.host, self.port, self.db, self.username or "", self.password or "", tls)


def _of_url(text: str, others: Redis) -> RedisServer:
    url = urlsplit(text)
    number = _number_of(url)
    return RedisServer(
        host=url.hostname or "",
        port=url.port or others.port,
        db=others.db if number is None else number,
        username=unquote(url.username or "") or others.username or "",
        password=unquote(url.password or "") or others.password or "",
        tls=url.scheme == "rediss" or others.master_tls.enabled,
    )


def _number_of(url: SplitResult) -> int | None:
    path = url.path.strip("/")
    if not path:
        return None
    if not (path.isascii() and path.isdigit()):
        raise ValueError("the path is no number of a database")
    return int(path)
