"""Who asks for something of push: a backend, or a device for itself (spec: push § 1), with its identity token, which is
made once, shown once and kept as a slow hash (spec: push § 2.1).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hmac import compare_digest
from typing import Final, NamedTuple, TypeVar

from sockudo import errors

__all__ = ["Access", "DeviceTokens", "hash_token", "matches", "read_access"]

_ADMIN: Final = "push-admin"
_SUBSCRIBE: Final = "push-subscribe"

Result = TypeVar("Result")

_ITERATIONS: Final = 120_000
# More would let a writer to the store keep a thread busy for minutes.
_MOST_ITERATIONS: Final = 10_000_000
_STORED: Final = re.compile(r"pbkdf2-sha256\$([0-9]{1,9})\$([A-Za-z0-9_-]{22})(?:==)?\$([A-Za-z0-9_-]{43})=?")
_LONGEST_TOKEN: Final = 512
_REMEMBERED: Final = 10_000


class Access(NamedTuple):
    """``push-admin``, or ``push-subscribe`` with what was sent as the token of a device; None where nothing was."""

    admin: bool
    token: str | None = None

    def require_admin(self) -> None:
        """Raises errors.PUSH_CAPABILITY for a device."""
        if not self.admin:
            raise errors.PUSH_CAPABILITY("push-admin capability is required")

    def require_token(self) -> str:
        """The token of the device. Raises errors.DEVICE_TOKEN_MISSING without one."""
        if not self.token:
            raise errors.DEVICE_TOKEN_MISSING("deviceIdentityToken is required")
        return self.token

    def __repr__(self) -> str:
        return f"<Access {_ADMIN if self.admin else _SUBSCRIBE}>"


def read_access(capability: str | None, token: str | None, authorization: str | None) -> Access:
    """From the headers. Raises errors.PUSH_CAPABILITY_UNKNOWN, and errors.DEVICE_TOKEN_MISSING for an Authorization
    that is no bearer token.
    """
    if capability is None or capability == _ADMIN:
        return Access(admin=True)
    if capability != _SUBSCRIBE:
        raise errors.PUSH_CAPABILITY_UNKNOWN("unknown push capability requested")
    if token is None and authorization is not None:
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer":
            raise errors.DEVICE_TOKEN_MISSING("Authorization must be Bearer with the deviceIdentityToken")
    return Access(admin=False, token=token.strip() if token is not None else None)


def hash_token(token: str, salt: bytes) -> str:
    """``pbkdf2-sha256$120000$salt$digest``, both in base64url without padding. Takes tens of milliseconds."""
    return f"pbkdf2-sha256${_ITERATIONS}${_base64(salt)}${_base64(_digest(token, salt, _ITERATIONS))}"


def matches(token: str, stored: str) -> bool:
    """Whether the stored hash is that of the token; never for one of fewer iterations. As slow as `hash_token`."""
    found = _STORED.fullmatch(stored)
    if found is None or not _ITERATIONS <= int(found[1]) <= _MOST_ITERATIONS:
        return False
    expected = urlsafe_b64decode(f"{found[3]}=")
    return compare_digest(_digest(token, urlsafe_b64decode(f"{found[2]}=="), int(found[1])), expected)


class DeviceTokens:
    """Hashes in threads of its own, at most ``waiting`` at a time, so that the event loop goes on.

    A token that was right is remembered as long as its stored hash is the same, by a keyed digest: a device that asks
    often is answered at once. Close it when done.
    """

    def __init__(self, *, threads: int = 2, waiting: int = 256, random: Callable[[int], bytes] = os.urandom) -> None:
        self._threads = threads
        self._most_waiting = waiting
        self._waiting = 0
        self._random = random
        self._executor: ThreadPoolExecutor | None = None
        self._memory_key = os.urandom(32)
        self._known: OrderedDict[bytes, None] = OrderedDict()

    async def make(self) -> tuple[str, str]:
        """A new token, 43 letters, and what to store of it. Raises errors.SERVICE_UNAVAILABLE when too many wait."""
        token = _base64(self._random(32))
        stored = await self._run(hash_token, token, self._random(16))
        self._remember(token, stored)
        return token, stored

    async def check(self, token: str, stored: str | None) -> bool:
        """Whether the token is the one. Raises errors.SERVICE_UNAVAILABLE when too many wait."""
        if stored is None or not 0 < len(token) <= _LONGEST_TOKEN:
            return False
        mark = self._mark(token, stored)
        if mark in self._known:
            self._known.move_to_end(mark)
            return True
        right = await self._run(matches, token, stored)
        if right:
            self._remember(token, stored)
        return right

    def close(self) -> None:
        """Gives the threads back once they have finished what they do. Calling it twice does no harm."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    async def _run(self, work: Callable[..., Result], *parts: object) -> Result:
        if self._waiting >= self._most_waiting:
            raise errors.SERVICE_UNAVAILABLE("Too many device identity tokens wait to be checked", retry_after=1)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, "push-tokens")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, *parts)
        finally:
            self._waiting -= 1

    def _mark(self, token: str, stored: str) -> bytes:
        text = f"{stored}\0{token}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._memory_key, digest_size=16).digest()

    def _remember(self, token: str, stored: str) -> None:
        self._known[self._mark(token, stored)] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _digest(token: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", token.encode("utf-8", "surrogatepass"), salt, iterations)


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
