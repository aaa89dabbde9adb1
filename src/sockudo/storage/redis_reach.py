"""How a Redis is found and reached: one server, the master that Sentinels name, a server of a cluster."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from functools import cache
from typing import Final

from sockudo.config.sections.redis import RedisAccess, RedisServer, RedisTls
from sockudo.storage.redis_slots import SlotRange, read_slots
from sockudo.storage.redis_wire import Login, RedisWire, RedisWireError, dial

__all__ = ["RedisReach"]

_SECONDS: Final = 2.0
"""After so long the next Sentinel, or the next server of a cluster, is asked."""

_SWITCHED: Final = "+switch-master"


class RedisReach:
    """The way to what a `RedisAccess` describes; every call raises `RedisWireError` where there is none."""

    def __init__(self, access: RedisAccess) -> None:
        self._access = access
        # Of a cluster, as they were last.
        self._masters: tuple[tuple[str, int], ...] = ()
        # The one that answered last is asked first.
        self._sentinels = list(access.sentinels)

    async def find(self, slot: int | None = None) -> tuple[str, int]:
        """Host and port of the server; of the master that the Sentinels know at this moment; of one in the cluster.

        ``slot`` says which master of a cluster is meant, otherwise it is any.
        """
        if self._access.seeds:
            ranges = [each for each in await self.masters() if slot is None or each.first <= slot <= each.last]
            if not ranges:
                raise RedisWireError("no master of the cluster has the slot that is asked for")
            chosen = random.choice(ranges)  # noqa: S311 - spreads connections, keeps no secret
            return chosen.host, chosen.port
        if not self._access.sentinels:
            return self._access.server.host, self._access.server.port
        failures = []
        for sentinel in tuple(self._sentinels):
            try:
                found = await self._ask_sentinel(sentinel)
            except RedisWireError as problem:
                failures.append(f"{sentinel.place}: {problem}")
            else:
                self._prefer(sentinel)
                return found
        raise RedisWireError(f"no Sentinel names the master {self._access.master!r} ({'; '.join(failures)})")

    async def masters(self) -> list[SlotRange]:
        """Which slots are where in the cluster, by whichever of its servers answers first."""
        failures = []
        for host, port in (*self._masters, *((seed.host, seed.port) for seed in self._access.seeds)):
            try:
                ranges = await self._ask_slots(host, port)
            except RedisWireError as problem:
                failures.append(f"{host}:{port}: {problem}")
            else:
                self._masters = tuple({(each.host, each.port): None for each in ranges})
                return ranges
        raise RedisWireError(f"no server says which slots are where ({'; '.join(failures)})")

    async def dial(self, host: str, port: int, seconds: float) -> RedisWire:
        """A connection to one of the servers, logged in as configured; see `dial`."""
        login = next(
            (seed for seed in self._access.seeds if (seed.host, seed.port) == (host, port)), self._access.server
        )
        context = _context(self._access.tls) if login.tls else None
        return await dial(host, port, Login(login.username, login.password, login.db, context), seconds)

    async def dial_both(self, host: str, port: int, seconds: float) -> tuple[RedisWire, RedisWire]:
        """Two connections to one of the servers."""
        first = await self.dial(host, port, seconds)
        try:
            return first, await self.dial(host, port, seconds)
        except BaseException:
            first.close()
            raise

    async def watch(self, switched: Callable[[], None], seconds: float) -> None:
        """Calls ``switched`` when a Sentinel says that there is another master; until it is cancelled.

        A Sentinel that is silent for ``seconds`` is pinged, one that does not answer that is left for another.
        """
        while self._access.sentinels:
            sentinel = self._sentinels[0]
            try:
                await self._listen_to(sentinel, switched, seconds)
            except RedisWireError:
                # The next one in its place.
                self._sentinels.append(self._sentinels.pop(0))
            await asyncio.sleep(1)

    async def _ask_slots(self, host: str, port: int) -> list[SlotRange]:
        wire = await self.dial(host, port, _SECONDS)
        try:
            ranges = read_slots(await _in_time(wire.ask("CLUSTER", "SLOTS")), host)
        except (LookupError, TypeError, ValueError):
            raise RedisWireError("its answer to CLUSTER SLOTS cannot be read") from None
        finally:
            wire.close()
        if not ranges:
            raise RedisWireError("it knows of no slots")
        return ranges

    # ---- Sentinels ----

    async def _dial_sentinel(self, sentinel: RedisServer) -> RedisWire:
        context = _context(self._access.sentinel_tls) if sentinel.tls else None
        login = Login(sentinel.username, sentinel.password, 0, context)
        return await dial(sentinel.host, sentinel.port, login, _SECONDS)

    async def _ask_sentinel(self, sentinel: RedisServer) -> tuple[str, int]:
        wire = await self._dial_sentinel(sentinel)
        try:
            found = await _in_time(wire.ask("SENTINEL", "get-master-addr-by-name", self._access.master))
        finally:
            wire.close()
        if not isinstance(found, list):
            raise RedisWireError("it knows no master of this name")
        return found[0].decode(), int(found[1])

    async def _listen_to(self, sentinel: RedisServer, switched: Callable[[], None], seconds: float) -> None:
        wire = await self._dial_sentinel(sentinel)
        try:
            await _in_time(wire.ask("SUBSCRIBE", _SWITCHED))
            while True:
                message = wire.next()
                done, _ = await asyncio.wait([message], timeout=seconds)
                if not done:
                    wire.write(b"*1\r\n$4\r\nPING\r\n")
                    await _in_time(message)
                reply = message.result()
                if isinstance(reply, list) and reply[0] == b"message" and self._concerns(reply[2]):
                    switched()
        finally:
            wire.close()

    def _concerns(self, message: bytes) -> bool:
        return message.decode(errors="replace").partition(" ")[0] == self._access.master

    def _prefer(self, sentinel: RedisServer) -> None:
        self._sentinels.remove(sentinel)
        self._sentinels.insert(0, sentinel)


async def _in_time(answer: asyncio.Future[object]) -> object:
    try:
        return await asyncio.wait_for(answer, _SECONDS)
    except TimeoutError:
        raise RedisWireError(f"no answer within {_SECONDS:g} s") from None


@cache
def _context(tls: RedisTls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_path)
        if tls.client_cert_path is not None:
            context.load_cert_chain(tls.client_cert_path, tls.client_key_path)
    except (OSError, ssl.SSLError) as error:
        raise RedisWireError(f"a file of its TLS cannot be used: {error.strerror or error}") from None
    if tls.accept_invalid_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
