"""Names to addresses, where a name without an answer holds up no other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

__all__ = ["Lookup", "Resolver", "system_lookup"]

Lookup = Callable[[str], Sequence[str]]
"""Addresses of a name, the preferred ones first. Blocks; raises OSError when there are none."""

_AT_ONCE: Final = 32


def system_lookup(host: str) -> Sequence[str]:
    """Asks the system, in its order of preference."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Looks names up in threads of its own, one at a time for each name.

    The pool of threads that the loop has for this is shared and small: a few names whose servers are silent would fill
    it for everybody. Threads of this one never keep the process from ending.
    """

    def __init__(self, lookup: Lookup = system_lookup) -> None:
        self._lookup = lookup
        self._under_way: dict[str, asyncio.Task[Sequence[str]]] = {}
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def resolve(self, host: str) -> Sequence[str]:
        """Addresses of a name, or the address that it is already. Raises OSError when there are none."""
        try:
            return (str(ip_address(host)),)
        except ValueError:
            pass
        task = self._under_way.get(host)
        if task is None:
            task = self._under_way[host] = asyncio.get_running_loop().create_task(self._resolve(host))
            task.add_done_callback(_retrieve)
        # Others may wait for the same answer.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Waits for nothing any more."""
        tasks = tuple(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resolve(self, host: str) -> Sequence[str]:
        try:
            async with self._free:
                return await self._in_thread(host)
        finally:
            del self._under_way[host]

    async def _in_thread(self, host: str) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()

        def tell(addresses: Sequence[str], problem: OSError | None) -> None:
            if answer.done():
                return
            if problem is not None:
                answer.set_exception(problem)
            else:
                answer.set_result(addresses)

        def look_up() -> None:
            addresses: Sequence[str] = ()
            problem: OSError | None = None
            try:
                addresses = self._lookup(host)
            except OSError as error:
                problem = error
            except UnicodeError:
                problem = socket.gaierror(socket.EAI_NONAME, "the name is not one that can be looked up")
            # The loop is closed when the process has ended its work meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, addresses, problem)

        try:
            threading.Thread(target=look_up, name="resolver", daemon=True).start()
        except RuntimeError as error:
            raise OSError("no thread can be started") from error
        return await answer


def _retrieve(task: asyncio.Task[Sequence[str]]) -> None:
    """Its waiter may have given up; then the failure is dropped."""
    if not task.cancelled():
        task.exception()
