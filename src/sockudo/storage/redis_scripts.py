"""How stores reach a Redis server: connections, scripts that run in it, and the reason when it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any, Final, NamedTuple

import redis.asyncio as redis_client
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sockudo import errors
from sockudo.config.sections.redis import RedisAccess
from sockudo.errors import SockudoError
from sockudo.storage.redis_reach import RedisReach
from sockudo.storage.redis_slots import slot_of
from sockudo.storage.redis_wire import UNKNOWN_DATABASE, UNKNOWN_REASON, UNKNOWN_USER, RedisWireError, reason_of

__all__ = ["UNKNOWN_DATABASE", "UNKNOWN_USER", "Kept", "RedisScripts", "lua_scripts", "try_login"]

_LONGEST_MS: Final = 60_000
# Calls are short; more at a time than this wait for a connection.
_CONNECTIONS: Final = 8


_TRIES: Final = 3


class Kept(NamedTuple):
    """What is kept in the server, in the words of errors and warnings; ``settings`` have its prefix and address."""

    store: str
    items: str
    logger: str
    settings: str = "queue.redis"


def _is_elsewhere(error: ResponseError) -> bool:
    return isinstance(error, (ReadOnlyError, MovedError)) or str(error).startswith(("READONLY", "MOVED"))


def lua_scripts(package: str) -> Mapping[str, str]:
    """The scripts in the folder ``lua`` of a package by their names, each behind what all have in common.

    The server runs a script as a whole, with nothing between its steps.
    """
    texts = {file.name: file.read_text("utf-8") for file in (resources.files(package) / "lua").iterdir()}
    common = texts.pop("common.lua")
    return {name.removesuffix(".lua"): common + text for name, text in texts.items()}


class RedisScripts:
    """Runs ``scripts`` in a Redis server, version 6 or newer, on keys whose names begin with ``base``.

    In a cluster that is the server which has the slot of ``base``.

    Every call ends within ``timeout_ms``, 0 stands for a minute, or raises errors.SERVICE_UNAVAILABLE: then the script
    may still have been carried out. A text that is no valid Unicode is errors.INVALID_INPUT.
    """

    def __init__(
        self,
        access: RedisAccess,
        scripts: Mapping[str, str],
        *,
        base: str,
        timeout_ms: int,
        of: Kept,
    ) -> None:
        self._access = access
        self._texts = scripts
        self._base = base
        self._timeout_ms = timeout_ms or _LONGEST_MS
        self._of = of
        self._client: redis_client.Redis | None = None
        self._scripts: dict[str, Any] = {}

    async def open(self, layout: int, *, warns: bool = True) -> None:
        """Connects, and sees that what is there is not of a newer version than ``layout``.

        The script ``open`` returns the version that is there. ``warns``: logs what would lose what was accepted.
        """
        if self._client is None:
            self._client = _client(self._access, slot_of(self._base.encode()), self._timeout_ms / 1000)
            self._scripts = {name: self._client.register_script(text) for name, text in self._texts.items()}
        try:
            version = int(await self.run("open", layout))
        except SockudoError as problem:
            await self.close()
            remedy = _remedy(problem.text, self._access.section, f"{self._of.settings}.url_override")
            raise errors.SERVICE_UNAVAILABLE(f"{problem.text}. {remedy}") from problem
        if version > layout:
            await self.close()
            raise errors.SERVICE_UNAVAILABLE(
                f"{self._of.store} was written by a newer version of sockudo: its format is {version}, this version "
                f"knows {layout}. Run the newer version, or set another {self._of.settings}.prefix."
            )
        if warns:
            await self._warn()

    async def close(self) -> None:
        """Gives the connections back. Calling it twice does no harm."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def run(self, name: str, *values: str | bytes | int) -> Any:
        """What the script of this name answers."""
        if self._client is None:
            raise errors.SERVICE_UNAVAILABLE(f"{self._of.store} is not open")
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                return await self._run(self._client, name, values)
        except (TimeoutError, RedisTimeoutError) as error:
            raise errors.SERVICE_UNAVAILABLE(
                f"{self._of.store} does not answer: nothing came from Redis at {self._access.place} within "
                f"{self._timeout_ms} ms"
            ) from error
        except RedisWireError as problem:
            raise errors.SERVICE_UNAVAILABLE(f"{self._of.store} does not answer: {problem}") from None
        except (RedisError, OSError) as error:
            # The text of an error may quote what was sent.
            raise errors.SERVICE_UNAVAILABLE(
                f"{self._of.store} does not answer: Redis at {self._access.place} ({_reason(error)})"
            ) from None
        except UnicodeError as error:
            raise errors.INVALID_INPUT("A text in this message is no valid Unicode") from error

    async def _run(self, client: redis_client.Redis, name: str, values: Sequence[str | bytes | int]) -> Any:
        for tried in range(_TRIES):
            try:
                return await self._scripts[name](keys=[self._base], args=values)
            except ResponseError as error:
                if tried == _TRIES - 1 or not _is_elsewhere(error):
                    raise
                # Another server is the master now, and the script has changed nothing: on with new connections.
                await client.connection_pool.disconnect(inuse_connections=False)
        return None

    async def _warn(self) -> None:
        """Says once what would lose what was accepted, as far as the server tells."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                found = await self._client.info()
        except (TimeoutError, RedisError, OSError):
            # Not every user may ask.
            return
        items, log = self._of.items, structlog.get_logger(self._of.logger)
        if found.get("aof_enabled") == 0:
            problem = "Redis keeps no append-only file: {} that were accepted since its last snapshot are lost with it"
            log.warning(problem.format(items), server=self._access.place)
        if found.get("maxmemory") and str(found.get("maxmemory_policy")).startswith("allkeys"):
            problem = "Redis may drop {} to free memory: set its maxmemory-policy to noeviction"
            log.warning(problem.format(items), server=self._access.place)


async def try_login(access: RedisAccess, seconds: float) -> str | None:
    """Logs in, chooses the database and says PING; says why that fails, with nothing of the password in it, else None.

    Each wait ends after ``seconds``.
    """
    client = _client(access, None, seconds)
    try:
        await client.ping()
    except (TimeoutError, RedisTimeoutError):
        return "no answer in time"
    except RedisWireError as problem:
        return str(problem)
    except (RedisError, OSError) as error:
        return _reason(error)
    finally:
        await client.aclose()
    return None


class _Follows:
    """A connection to where the server is when it is made: another time that may be elsewhere."""

    def __init__(self, *, find: Callable[[], Awaitable[tuple[str, int]]], **options: Any) -> None:
        self._find = find
        super().__init__(**options)

    async def connect(self) -> None:
        if not self.is_connected:  # type: ignore[attr-defined]  # of the connection beside this class
            self.host, self.port = await self._find()
        await super().connect()  # type: ignore[misc]


class _Connection(_Follows, redis_client.Connection):
    pass


class _TlsConnection(_Follows, redis_client.SSLConnection):
    pass


def _client(access: RedisAccess, slot: int | None, seconds: float) -> redis_client.Redis:
    server, tls = access.server, access.tls
    options: dict[str, Any] = {
        "connection_class": _Connection,
        "find": partial(RedisReach(access).find, slot),
        "db": server.db,
        "username": server.username or None,
        "password": server.password or None,
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "socket_keepalive": True,
        "client_name": "sockudo",
        "protocol": 2,
        # The caller tries again: it knows for how long it may.
        "retry": Retry(NoBackoff(), 0),
    }
    if server.tls:
        options["connection_class"] = _TlsConnection
        options["ssl_cert_reqs"] = "none" if tls.accept_invalid_certs else "required"
        options["ssl_check_hostname"] = not tls.accept_invalid_certs
        options["ssl_ca_certs"] = tls.ca_path
        options["ssl_certfile"] = tls.client_cert_path
        options["ssl_keyfile"] = tls.client_key_path
    pool = redis_client.BlockingConnectionPool(max_connections=_CONNECTIONS, timeout=seconds, **options)
    return redis_client.Redis.from_pool(pool)


def _reason(error: Exception) -> str:
    """What went wrong, in words that hold nothing of what was sent."""
    if isinstance(error, AuthenticationError):
        return UNKNOWN_USER
    if isinstance(error, OutOfMemoryError):
        return "its memory is full"
    reason = reason_of(error)
    lost = reason == UNKNOWN_REASON and isinstance(error, RedisConnectionError)
    return "the connection was lost" if lost else reason


def _remedy(text: str, section: str, override: str) -> str:
    if UNKNOWN_USER in text:
        return (
            f"Correct database.redis.username and database.redis.password, or the user and the password in {override}."
        )
    if UNKNOWN_DATABASE in text:
        return f"Correct database.redis.db, or the number at the end of {override}."
    where = f"database.redis, or {override}," if section in ("database.redis", override) else section
    return f"See that it runs and that {where} says how to reach it."
