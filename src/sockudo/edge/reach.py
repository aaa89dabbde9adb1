"""For whom a listener on loopback answers: requests to which hosts, and under ``--dev`` pages of which origins.

A name of the internet can be made to stand for 127.0.0.1 (DNS rebinding). A page of that name then has the server for
its own origin, and the browser lets it read everything. Its requests still carry the name in their Host header, so a
listener that only this machine reaches answers for the names of this machine and for configured ones.

Under ``--dev`` key and secret are known. So that not every page in the developer's browser can publish and subscribe,
only pages of this machine, of private networks and of names that no one can register get through. Programs send no
Origin and are not asked.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import structlog

from sockudo import errors
from sockudo.config import Settings
from sockudo.config.app_choice import is_loopback
from sockudo.config.origins import matcher

__all__ = ["Reach", "host_of", "is_local_origin", "origin_of"]

_log = structlog.get_logger("sockudo.http")

# Decisions that are kept, each for one value of a header; more values than these are decided each time.
_MOST_KEPT: Final = 256
_MOST_LOGGED: Final = 20
_LONGEST: Final = 200

_PRIVATE: Final = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fe80::/10", "fc00::/7"),
    )
)
# What browsers and web views send for a page that is a file.
_FILES: Final = ("null", "file://")


class Reach:
    """The rules of one listener, prepared from the configuration.

    ``open`` is true where everything may pass, which costs a request one look.
    """

    __slots__ = ("_hosts", "_kept", "_listens_on", "_logged", "_origins", "open")

    def __init__(
        self, listens_on: str, hosts: Callable[[str], bool] | None, origins: Callable[[str], bool] | None
    ) -> None:
        self._listens_on = listens_on
        self._hosts = hosts
        self._origins = origins
        self._kept: dict[tuple[bool, bytes], bool] = {}
        self._logged: Counter[str] = Counter()
        self.open = hosts is None and origins is None

    @classmethod
    def of_clients(cls, settings: Settings) -> Reach:
        """The rules of the main port. A Unix socket has none: a proxy connects to it."""
        if settings.unix_socket.enabled:
            return cls("", None, None)
        limiter = settings.rate_limiter
        proxied = settings.proxy_protocol or any(
            hops > 0
            for hops in (
                limiter.api_rate_limit.trust_hops,
                limiter.websocket_rate_limit.trust_hops,
                settings.dashboard.trust_hops if settings.dashboard.public else 0,
            )
        )
        origins = _origin_rule(settings) if settings.dev else None
        return cls(settings.host, _host_rule(settings, settings.host, proxied=proxied), origins)

    @classmethod
    def of_operators(cls, settings: Settings) -> Reach:
        """The rules of the listener of metrics and dashboard."""
        proxied, host = settings.dashboard.trust_hops > 0, settings.metrics.host
        return cls(host, _host_rule(settings, host, proxied=proxied), None)

    def passes(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request with these headers may be answered; without the reason why not."""
        host = headers.get(b"host")
        if host is not None and self._hosts is not None and not self._ask(self._hosts, b"host", host):
            return False
        origin = headers.get(b"origin")
        return origin is None or self._origins is None or self._ask(self._origins, b"origin", origin)

    def check(self, headers: Mapping[bytes, bytes], *, upgrade: bool) -> None:
        """Raises what refuses a request with these headers.

        Of a WebSocket the origin is asked later: a browser shows its page an error frame, and no HTTP refusal.
        """
        self.check_host(headers)
        origin = headers.get(b"origin")
        if origin is not None and not upgrade:
            self.check_origin(origin.decode("latin-1"))

    def check_host(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises errors.HOST_NOT_ALLOWED. HTTP/1.0 without a Host passes: no browser speaks that."""
        host = headers.get(b"host")
        if host is None or self._hosts is None or self._ask(self._hosts, b"host", host):
            return
        name = _shown(host_of(host.decode("latin-1")))
        self._note("host", name)
        raise errors.HOST_NOT_ALLOWED(
            f"This listener is on {self._listens_on} and does not answer for the host '{name}': add it to "
            "allowed_hosts (SOCKUDO_ALLOWED_HOSTS), or have the proxy in front counted in trust_hops"
        )

    def check_origin(self, origin: str | None) -> None:
        """Raises errors.ORIGIN_NOT_LOCAL, under ``--dev`` only."""
        if origin is None or self._origins is None or self._ask(self._origins, b"origin", origin.encode("latin-1")):
            return
        name = _shown(origin)
        self._note("origin", name)
        raise errors.ORIGIN_NOT_LOCAL(
            f"Origin not allowed: start the server with --allow-origin {name} (or SOCKUDO_DEV_ORIGINS), since under "
            "--dev only pages of this machine and of private networks get through"
        )

    def _ask(self, rule: Callable[[str], bool], kind: bytes, value: bytes) -> bool:
        key = (kind == b"host", value)
        known = self._kept.get(key)
        if known is None:
            known = rule(value.decode("latin-1"))
            if len(self._kept) < _MOST_KEPT:
                self._kept[key] = known
        return known

    def _note(self, kind: str, name: str) -> None:
        """One line for each name, and no more than a few names: a stranger chooses them."""
        if name in self._logged or len(self._logged) >= _MOST_LOGGED:
            return
        self._logged[name] += 1
        setting = "allowed_hosts" if kind == "host" else "dev_origins"
        _log.warning(f"{kind} refused", **{kind: name}, setting=setting)


def origin_of(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """The first Origin header, None where there is none; names are lower-case."""
    return next((value.decode("latin-1") for name, value in headers if name == b"origin"), None)


def host_of(text: str) -> str:
    """The name or address in a Host header: lower case, without port, brackets and the dot at its end."""
    folded = text.strip().lower()
    if folded.startswith("["):
        return folded[1:].partition("]")[0]
    return folded.partition(":")[0].removesuffix(".")


def is_local_origin(origin: str) -> bool:
    """Whether the page is a file, or comes from loopback, a private network, ``*.localhost`` or ``*.test``.

    The last two are reserved (RFC 6761): no one can register such a name and make it a page on the internet.
    """
    folded = origin.lower()
    if folded in _FILES:
        return True
    host = _origin_host(folded)
    if _names_this_machine(host) or host.endswith(".test"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _PRIVATE if network.version == address.version)


def _origin_host(origin: str) -> str:
    try:
        return (urlsplit(origin).hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _names_this_machine(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or is_loopback(host)


def _host_rule(settings: Settings, listens_on: str, *, proxied: bool) -> Callable[[str], bool] | None:
    """None where every host passes: off loopback, where `*` is configured, and behind a proxy that is trusted.

    Under ``--dev`` no proxy is assumed, and configured hosts hold in any case.
    """
    wanted = settings.allowed_hosts
    if not is_loopback(listens_on) or "*" in wanted or (proxied and not wanted and not settings.dev):
        return None
    named = _host_matcher(wanted)
    return lambda text: _names_this_machine(host := host_of(text)) or named(host)


def _origin_rule(settings: Settings) -> Callable[[str], bool]:
    named = matcher(settings.dev_origins) if settings.dev_origins else lambda _: False
    hosts = _host_matcher(settings.allowed_hosts)
    return lambda origin: is_local_origin(origin) or hosts(_origin_host(origin.lower())) or named(origin)


def _host_matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    folded = [pattern.strip().lower().strip("[]").removesuffix(".") for pattern in patterns if pattern != "*"]
    exact = frozenset(name for name in folded if not name.startswith("*."))
    domains = tuple(name[1:] for name in folded if name.startswith("*."))
    return lambda host: host in exact or (bool(domains) and host.endswith(domains))


def _shown(text: str) -> str:
    """A header's value as it can stand in a text and a log line."""
    return text[:_LONGEST].encode("ascii", "replace").decode()
