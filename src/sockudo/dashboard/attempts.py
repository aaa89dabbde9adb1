"""How often a password may be tried (contract 70 § 8.1)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

from sockudo import errors
from sockudo.limits.windows import FixedWindows

__all__ = ["Attempts"]

_WINDOW = 300
_PER_ADDRESS = 10
_IN_ALL = 200
_MAX_ADDRESSES = 10_000


class Attempts:
    """Wrong passwords by client address, and in all.

    The second limit is the account's: it is far above what people need, so that nobody is locked out by a single
    stranger, and low enough that many addresses together do not get anywhere.
    """

    def __init__(self) -> None:
        self._addresses = FixedWindows(_PER_ADDRESS, _WINDOW, _MAX_ADDRESSES)
        self._account = FixedWindows(_IN_ALL, _WINDOW)

    def check(self, address: str, now: float) -> None:
        """Counts an attempt before it is looked at; raises `errors.LOGIN_LIMITED` when there were too many."""
        for windows, key, who in (
            (self._addresses, _network(address), "from this address"),
            (self._account, "", "from all addresses together"),
        ):
            verdict = windows.hit(key, now)
            if not verdict.allowed:
                raise errors.LOGIN_LIMITED(
                    f"More than {verdict.limit} attempts in {verdict.window} s {who}; try again in {verdict.reset} s",
                    retry_after=verdict.reset,
                )

    def forgive(self, address: str, now: float) -> None:
        """Takes back an attempt that was right."""
        for windows, key in ((self._addresses, _network(address)), (self._account, "")):
            window = windows.windows.window(key, now)
            window.count = max(0, window.count - 1)


def _network(address: str) -> str:
    """Whoever has one IPv6 address has 2⁶⁴ of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
