"""Which pages may connect, tried with origins as browsers send them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sockudo import errors
from sockudo.client.failures import ClosedError
from sockudo.config.origins import allows_everything, check_pattern, matcher, why_unmatched
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning

if TYPE_CHECKING:
    from sockudo.doctor.deployment import Deployment

__all__ = ["judge", "origin_of", "page_origin"]

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_CORRECT: Final = "Correct it in the app's allowed_origins: the scheme, the host and perhaps a port, without a path."


def page_origin(text: str) -> str:
    """The origin that a browser sends for a page with this one: lower case, without the scheme's own port."""
    folded = text.strip().lower()
    scheme, separator, rest = folded.partition("://")
    return (
        folded.removesuffix(f":{_DEFAULT_PORTS[scheme]}") if separator and scheme in _DEFAULT_PORTS and rest else folded
    )


def origin_of(deployment: Deployment) -> str | None:
    """The Origin to connect with: the given one, else that of a page which the app's record lets in, else none."""
    given = deployment.options.origin
    if given is not None:
        return page_origin(given)
    patterns = _patterns(deployment)
    if not patterns or allows_everything(patterns):
        return None
    usable = [pattern for pattern in patterns if _why_useless(pattern) is None]
    allowed = matcher(usable) if usable else (lambda _origin: False)
    # Where no page fits, that of the first pattern is tried all the same: the server decides.
    pages = [page for pattern in (usable or patterns) for page in _pages(pattern)]
    return next((page for page in pages if allowed(page)), next(iter(pages), None))


def _pages(pattern: str) -> Iterator[str]:
    """Origins of pages that the pattern may have been written for."""
    folded = pattern.lower()
    text = folded if "://" in folded else f"https://{folded}"
    scheme, _, rest = text.partition("://")
    host = re.split(r"[/?#]", rest)[0].rpartition("@")[2]
    for name in (host.replace("*.", ""), host.replace("*", "www"), host.replace("*", ""), host.replace("*", "8443")):
        page = page_origin(f"{scheme}://{name}")
        if name and "*" not in name and why_unmatched(page) is None and check_pattern(page) is None:
            yield page


def _patterns(deployment: Deployment) -> list[str]:
    app = deployment.app
    return [] if app is None else [pattern.strip() for pattern in app.policy.channels.allowed_origins]


def _why_useless(pattern: str) -> str | None:
    return check_pattern(pattern) or why_unmatched(pattern)


def judge(deployment: Deployment, *, connected: bool) -> list[Finding]:
    """What the connection with the Origin came to, see `origin_of`; and patterns of the record that no page fits."""
    return [*_useless(deployment), _outcome(deployment, connected=connected)]


def _useless(deployment: Deployment) -> list[Finding]:
    patterns = _patterns(deployment)
    if allows_everything(patterns):
        return []
    found = [(pattern, why) for pattern in patterns if (why := _why_useless(pattern)) is not None]
    make = problem if found and len(found) == len(patterns) else warning
    return [make(f"no page can have an origin that fits {pattern!r}: it {why}", _CORRECT) for pattern, why in found]


def _outcome(deployment: Deployment, *, connected: bool) -> Finding:
    given, tried, refusal = deployment.options.origin, origin_of(deployment), deployment.refusal
    refused = isinstance(refusal, ClosedError) and refusal.code == errors.ORIGIN_NOT_ALLOWED.ws
    if not connected and not refused:
        return not_checked(f"no connection is opened: {deployment.refusal_text}")
    if refused and tried is not None:
        return _refused(deployment, tried)
    if refused:
        return not_checked("the app names the origins that may connect: give one of them with --origin")
    if given is not None:
        return ok(f"pages of {tried} may connect", origin=tried)
    if tried is not None:
        return ok(f"pages of {tried} may connect; others with --origin", origin=tried)
    return ok("pages of every origin may connect: the app names none")


def _refused(deployment: Deployment, origin: str) -> Finding:
    patterns = _patterns(deployment)
    if patterns and matcher(patterns)(origin):
        return problem(
            f"{origin} is refused, though the app's record allows it",
            "A proxy drops or changes the Origin header; or the server has not taken the record over yet.",
            row=errors.ORIGIN_NOT_ALLOWED,
        )
    named = f"; it allows {', '.join(patterns[:5])}" if patterns else ""
    return problem(f"the app does not let pages of {origin} connect{named}", row=errors.ORIGIN_NOT_ALLOWED)
