"""Connections that are kept for the next request, apart for each host and port."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Final

import httpcore

__all__ = ["Pools"]

# Common servers close theirs after five seconds, and a request that crosses with that is lost.
_KEPT_SECONDS: Final = 4.0
_KEPT: Final = 16


class _Pool:
    __slots__ = ("engine", "idle_since", "users")

    def __init__(self, engine: httpcore.AsyncConnectionPool) -> None:
        self.engine = engine
        self.users = 0
        self.idle_since = 0.0


class Pools:
    """One pool of the engine for each origin, since a pool looks at all of its connections for every request: with
    hundreds of endpoints in one, that would be most of the work. ``now`` are monotonic seconds.
    """

    def __init__(self, network: httpcore.AsyncNetworkBackend, now: Callable[[], float]) -> None:
        self._network = network
        self._now = now
        self._tls = _trusting(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        self._pools: dict[tuple[bytes, bytes, int], _Pool] = {}
        self._looked_at = now()

    def __len__(self) -> int:
        return len(self._pools)

    @contextlib.asynccontextmanager
    async def using(self, origin: httpcore.Origin) -> AsyncIterator[httpcore.AsyncConnectionPool]:
        """The pool for requests there; it is kept at least for as long as somebody uses it."""
        key = (origin.scheme, origin.host, origin.port)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(self._made())
        pool.users += 1
        try:
            yield pool.engine
        finally:
            pool.users -= 1
            pool.idle_since = self._now()
            await self._close_idle()

    async def close(self) -> None:
        """Ends every connection. No request may be under way."""
        pools = tuple(self._pools.values())
        self._pools.clear()
        for pool in pools:
            await pool.engine.aclose()

    def _made(self) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=None,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=self._network,
        )

    async def _close_idle(self) -> None:
        """The pools that nobody has used for longer than their connections are kept."""
        now = self._now()
        before = now - _KEPT_SECONDS
        if self._looked_at > before:
            return
        self._looked_at = now
        idle = [key for key, pool in self._pools.items() if not pool.users and pool.idle_since < before]
        for key in idle:
            pool = self._pools.pop(key, None)
            if pool is not None:
                await pool.engine.aclose()


@functools.lru_cache(maxsize=4)
def _trusting(*_places: str | None) -> ssl.SSLContext:
    """Trusts whom this machine trusts, or who is in these places. Reading that takes tens of milliseconds in which
    nothing else goes on, so a process does it once and not for every attempt that somebody asks for by hand."""
    return ssl.create_default_context()
