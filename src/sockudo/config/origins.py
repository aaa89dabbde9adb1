"""Which pages may connect: origin patterns (spec: websocket § 2.3; platform § 1.3).

Used for an app's ``allowed_origins`` and for CORS. Patterns and origins are compared without regard to case.

| Pattern | Matches |
|---|---|
| ``*``, ``any`` | everything, a missing Origin included |
| ``https://shop.test`` | exactly that |
| ``shop.test:8443`` | that host and port under any scheme |
| ``*.shop.test`` | ``shop.test`` and its subdomains under any scheme |
| ``https://*.shop.test`` | one ``*``: what stands before it and after it |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

__all__ = ["allows_everything", "check_pattern", "matcher", "useless_patterns", "why_unmatched"]

_EVERYTHING = frozenset({"*", "any"})

_SCHEME = re.compile(r"[a-z*][a-z0-9+.*-]*")
_HOST = re.compile(r"\[[0-9a-f:.*]+\]|[a-z0-9._~%*-]*")
_PLACE = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[^:]*))?")
# What a browser leaves out of the origin of a page.
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def allows_everything(patterns: Sequence[str]) -> bool:
    """True when one of the patterns stands for every origin."""
    return any(pattern.strip().lower() in _EVERYTHING for pattern in patterns)


def check_pattern(text: str) -> str | None:
    """What is wrong with the pattern, or None when it can be used."""
    pattern = text.strip().lower()
    if not pattern:
        return "is empty"
    if pattern in _EVERYTHING:
        return None
    if pattern.count("*") > 1:
        return "has more than one '*'"
    if pattern == "*.":
        return "has no domain after '*.'"
    if pattern.endswith("://"):
        return "has a scheme and no host"
    if any(char.isspace() for char in pattern):
        return "contains white space"
    if pattern.partition("://")[2].rstrip("/") != pattern.partition("://")[2]:
        return "ends in '/': an origin has no path"
    return None


def useless_patterns(patterns: Sequence[str]) -> str | None:
    """What is wrong with the first pattern of a setting that cannot be used; None when all can."""
    found = ((text, check_pattern(text)) for text in patterns)
    return next((f"has the origin pattern {text!r}, which {problem}" for text, problem in found if problem), None)


def why_unmatched(text: str) -> str | None:
    """Why no page can have an origin that fits the pattern, though `check_pattern` lets it pass; None when one can.

    An origin is what a browser sends: a scheme, a host as it stands in the DNS, and the port if it is not the scheme's
    own (RFC 6454 § 6.2), or the word ``null``.
    """
    pattern = text.strip().lower()
    if pattern in _EVERYTHING or check_pattern(text) is not None:
        return None
    scheme, separator, rest = pattern.partition("://")
    if not separator:
        scheme, rest = "", pattern
    elif scheme in ("ws", "wss"):
        return f"is the address of a WebSocket: the origin of the page begins with 'http{scheme[2:]}://'"
    elif not _SCHEME.fullmatch(scheme):
        return f"has a scheme that none is, '{scheme}'"
    return _why_no_place(scheme, rest)


def _why_no_place(scheme: str, rest: str) -> str | None:
    """The same of what stands behind the scheme; that is empty where the pattern has none."""
    if "," in rest:
        return "has a ',' in it: give each pattern on its own"
    found = re.search(r"[/?#\\]", rest)
    if found is not None:
        return f"has '{rest[found.start() :]}' behind the host: an origin has no path"
    if "@" in rest:
        return "has a user in front of the host: an origin has none"
    if not rest.isascii():
        return "has letters beyond ASCII: browsers send the spelling of the DNS, which begins with 'xn--'"
    parts = _PLACE.fullmatch(rest)
    if parts is None:
        return "has several ':' in the host; an IPv6 address stands in brackets"
    host, port = parts["host"], parts["port"]
    if port is not None and "*" not in port:
        if not port.isdecimal() or not 0 < int(port) <= 65535:
            return f"has '{port}' for a port" if port else "ends in ':': leave it out, or name a port"
        if _DEFAULT_PORTS.get(scheme) == port:
            return f"names the port {port}: a browser leaves out the one that '{scheme}' has anyway"
    return _why_no_host(host)


def _why_no_host(host: str) -> str | None:
    if not _HOST.fullmatch(host):
        wrong = re.sub(r"[a-z0-9._~%*-]", "", host)
        return f"has '{wrong[0]}' in the host"
    if not host:
        return "has no host"
    if host in ("*.", ".*", "."):
        return "has no domain beside the '.'"
    if host.startswith(".") or ".." in host:
        return "has nothing before a '.' in the host; every subdomain is '*.' and the domain"
    return None


def matcher(patterns: Sequence[str]) -> Callable[[str | None], bool]:
    """A function that decides on the value of an Origin header, None when there was none.

    No patterns at all allow everything. Prepare it once and keep it: a call costs a set look-up, and one or two string
    comparisons for each pattern with a ``*``.
    """
    if not patterns or allows_everything(patterns):
        return lambda _origin: True

    exact: set[str] = set()
    hosts: set[str] = set()
    suffixes: list[str] = []
    wildcards: list[tuple[str, str, int, bool]] = []
    for text in patterns:
        pattern = text.strip().lower()
        if "*" not in pattern:
            (exact if "://" in pattern else hosts).add(pattern)
        elif pattern.startswith("*.") and "://" not in pattern:
            hosts.add(pattern[2:])
            suffixes.append(pattern[1:])
        else:
            head, _, tail = pattern.partition("*")
            wildcards.append((head, tail, len(head) + len(tail), "://" in pattern))
    domains = tuple(suffixes)

    def allowed(origin: str | None) -> bool:
        if not origin:
            return False
        folded = origin.lower()
        if folded in exact:
            return True
        host = folded.partition("://")[2] or folded
        if host in hosts or (domains and host.endswith(domains)):
            return True
        for head, tail, least, with_scheme in wildcards:
            subject = folded if with_scheme else host
            if len(subject) >= least and subject.startswith(head) and subject.endswith(tail):
                return True
        return False

    return allowed
