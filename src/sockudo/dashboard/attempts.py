"""How often a password may be tried (spec: platform § 8.1)."""

from __future__ import annotations

import hmac
import secrets
from ipaddress import IPv6Address, IPv6Network, ip_address

from sockudo import errors
from sockudo.base.windows import FixedWindows

__all__ = ["Attempts"]

_WINDOW = 300
_PER_ADDRESS = 10
_IN_ALL = 200
_MAX_ADDRESSES = 10_000
_MAX_FAMILIAR = 1000


class Attempts:
    """Wrong passwords by client address, and in all.

    The second limit is the account's: many addresses together get no further than one. An address from which the
    password was right before is exempt from it, so that no guesser can lock the operators out. A browser in
    which it was right before has a limit of its own: others may share its address, as behind a proxy.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._addresses = FixedWindows(_PER_ADDRESS, _WINDOW, _MAX_ADDRESSES)
        self._account = FixedWindows(_IN_ALL, _WINDOW)
        # In the order of the last time; a dict for that order.
        self._familiar: dict[str, None] = {}

    def introduce(self) -> str:
        """A token for a browser in which the password was right, by which `browser` knows it until the next start."""
        name = secrets.token_urlsafe(16)
        return f"{name}.{self._sign(name)}"

    def browser(self, token: str) -> str | None:
        """The name of the browser that has the token; None for one that was not made here."""
        name, _, signature = token.partition(".")
        known = hmac.compare_digest(self._sign(name).encode(), signature.encode("utf-8", "surrogatepass"))
        return name if known else None

    def _sign(self, name: str) -> str:
        return hmac.digest(self._key, name.encode("utf-8", "surrogatepass"), "sha256").hex()

    def check(self, address: str, now: float, browser: str | None = None) -> None:
        """Counts an attempt before it is looked at; raises `errors.LOGIN_LIMITED` when there were too many."""
        if browser is not None:
            _count(self._addresses, f"browser {browser}", now, "from this browser")
            return
        key = _network(address)
        _count(self._addresses, key, now, "from this address")
        if key not in self._familiar:
            _count(self._account, "", now, "from all addresses together")

    def forgive(self, address: str, now: float, browser: str | None = None) -> None:
        """Takes back an attempt that was right, and remembers where it came from."""
        if browser is not None:
            _take_back(self._addresses, f"browser {browser}", now)
            return
        key = _network(address)
        _take_back(self._addresses, key, now)
        if key in self._familiar:
            del self._familiar[key]
        else:
            _take_back(self._account, "", now)
        self._familiar[key] = None
        if len(self._familiar) > _MAX_FAMILIAR:
            del self._familiar[next(iter(self._familiar))]


def _count(windows: FixedWindows, key: str, now: float, who: str) -> None:
    verdict = windows.hit(key, now)
    if not verdict.allowed:
        raise errors.LOGIN_LIMITED(
            f"More than {verdict.limit} attempts in {verdict.window} s {who}; try again in {verdict.reset} s",
            retry_after=verdict.reset,
        )


def _take_back(windows: FixedWindows, key: str, now: float) -> None:
    window = windows.windows.window(key, now)
    window.count = max(0, window.count - 1)


def _network(address: str) -> str:
    """A client with one IPv6 address has 2⁶⁴ of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
