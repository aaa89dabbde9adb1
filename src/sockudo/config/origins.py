"""Which pages may connect: origin patterns (contract 10 § 2.3, 70 § 1.3).

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

from collections.abc import Callable, Sequence

__all__ = ["allows_everything", "check_pattern", "matcher"]

_EVERYTHING = frozenset({"*", "any"})


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
