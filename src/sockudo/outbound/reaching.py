"""Connections to a name's addresses, each of them checked before anything is sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Generic, TypeVar

from sockudo.outbound.addresses import is_public
from sockudo.outbound.resolver import Resolver

__all__ = ["AddressRefusedError", "UnknownNameError", "checked_addresses", "first_connected"]

_Connection = TypeVar("_Connection")

# Head start of an address before the next one is tried beside it (RFC 8305).
_HEAD_START: Final = 0.25
_MOST_ADDRESSES: Final = 8


class AddressRefusedError(Exception):
    """The name leads to addresses that must not be called, and to no other."""


class UnknownNameError(Exception):
    """The name leads nowhere."""


async def checked_addresses(resolver: Resolver, host: str, *, allow_private: bool) -> list[str]:
    """The name's addresses that may be called. Raises UnknownNameError and AddressRefusedError."""
    try:
        found = await resolver.resolve(host)
    except OSError as error:
        raise UnknownNameError from error
    addresses = [address for address in found if allow_private or is_public(address)]
    if not addresses:
        raise AddressRefusedError
    return addresses


async def first_connected(
    connect: Callable[[str], Coroutine[Any, Any, _Connection]],
    close: Callable[[_Connection], Awaitable[None]],
    addresses: Sequence[str],
) -> _Connection:
    """A connection to one of the addresses; no other stays open. Raises what the last attempt failed with."""
    if len(addresses) == 1:
        return await connect(addresses[0])
    return await _Race(connect, close, _by_turns(addresses)[:_MOST_ADDRESSES]).run()


def _by_turns(addresses: Sequence[str]) -> list[str]:
    """The preferred kind of address first, then the other, and so on: one of both kinds may lead nowhere."""
    kinds: tuple[list[str], list[str]] = ([], [])
    for address in addresses:
        kinds[(":" in address) != (":" in addresses[0])].append(address)
    longest = max(map(len, kinds))
    return [kind[number] for number in range(longest) for kind in kinds if number < len(kind)]


class _Race(Generic[_Connection]):
    """Connects to several addresses, each a moment after the one before it or as soon as that one has failed."""

    def __init__(
        self,
        connect: Callable[[str], Coroutine[Any, Any, _Connection]],
        close: Callable[[_Connection], Awaitable[None]],
        addresses: Sequence[str],
    ) -> None:
        self._connect = connect
        self._close = close
        self._rest = list(addresses)
        self._running: set[asyncio.Task[_Connection]] = set()
        self._connected: list[_Connection] = []

    async def run(self) -> _Connection:
        """The first connection; all others are closed. Raises what the last attempt failed with."""
        winner: _Connection | None = None
        try:
            await self._until_connected()
            winner = self._connected[0]
        finally:
            await self._give_up_besides(winner)
        return winner

    async def _until_connected(self) -> None:
        problem: BaseException | None = None
        while not self._connected:
            if self._rest:
                task = asyncio.get_running_loop().create_task(self._connect(self._rest.pop(0)))
                self._running.add(task)
            elif not self._running and problem is not None:
                raise problem
            done, _ = await asyncio.wait(
                self._running, timeout=_HEAD_START if self._rest else None, return_when=asyncio.FIRST_COMPLETED
            )
            self._running -= done
            for task in done:
                problem = task.exception() or problem
                if task.exception() is None:
                    self._connected.append(task.result())

    async def _give_up_besides(self, winner: _Connection | None) -> None:
        for task in self._running:
            task.cancel()
        for result in await asyncio.gather(*self._running, return_exceptions=True):
            if not isinstance(result, BaseException):
                self._connected.append(result)
        for connection in self._connected:
            if connection is not winner:
                await self._close(connection)
