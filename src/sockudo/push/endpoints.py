"""Addresses that devices bring along: which of them this server may be made to call (spec: push § 3).

This is the check at registration, of the address as text; the sender checks again what its name resolves to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from sockudo import errors
from sockudo.errors import SockudoError

__all__ = ["EndpointRules"]

_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal")
# A name that ends in a number is an IPv4 address in one of its odd spellings, or nothing.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


class EndpointRules:
    """``allowed`` and ``denied`` list hosts, each exact or as ``.suffix``; no ``allowed`` means any.

    ``is_public`` judges IP addresses. ``allow_local`` lets http and private hosts pass, for tests.
    """

    def __init__(
        self,
        is_public: Callable[[str], bool],
        *,
        allowed: Sequence[str] = (),
        denied: Sequence[str] = (),
        allow_local: bool = False,
    ) -> None:
        self._is_public = is_public
        self._allowed = tuple(entry.strip().lower() for entry in allowed if entry.strip())
        self._denied = tuple(entry.strip().lower() for entry in denied if entry.strip())
        self.allow_local = allow_local

    def check(self, url: str, field: str = "endpoint") -> None:
        """Raises errors.PROVIDER_TOKEN_INVALID that names ``field`` and never the address: it is a secret."""
        problem = self._problem(url)
        if problem is not None:
            raise _refusal(field, problem)

    def _problem(self, url: str) -> str | None:
        parts = _split(url)
        if parts is None:
            return "must be an absolute https URL"
        if parts.scheme != "https" and not (self.allow_local and parts.scheme == "http"):
            return "must be an https URL"
        if parts.username is not None or parts.password is not None:
            return "must not have a user or a password"
        host = (parts.hostname or "").rstrip(".").lower()
        if not host:
            return "must have a host"
        if _listed(host, self._denied):
            return "has a host that PUSH_WEBPUSH_DENIED_HOSTS denies"
        if self._allowed and not _listed(host, self._allowed):
            return "has a host that PUSH_WEBPUSH_ALLOWED_HOSTS does not name"
        if not self.allow_local and self._is_local(host):
            return "must not have a local or private host"
        return None

    def _is_local(self, host: str) -> bool:
        if host == "localhost" or host.endswith(_LOCAL_SUFFIXES):
            return True
        try:
            ip_address(host)
        except ValueError:
            return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None
        return not self._is_public(host)


def _split(url: str) -> SplitResult | None:
    """The parts of an address without anything that programs read differently from one another."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        usable = bool(parts.scheme and parts.netloc) and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _listed(host: str, entries: Sequence[str]) -> bool:
    return any(host.endswith(entry) if entry.startswith(".") else host == entry for entry in entries)


def _refusal(field: str, problem: str) -> SockudoError:
    return errors.PROVIDER_TOKEN_INVALID(f"{field} {problem}")
