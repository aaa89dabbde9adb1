"""What the head of an HTTP request may be (spec: http-api § 10.8): sizes, target, version, Host and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import httptools

from sockudo import errors

__all__ = [
    "MAX_HEAD",
    "MAX_HEADERS",
    "MAX_TARGET",
    "check_head",
    "has_path",
    "head_too_large",
    "target_too_long",
    "too_many_headers",
]

# What the URL parser takes; it counts in 16 bits.
MAX_TARGET: Final = 64 * 1024 - 1
MAX_HEADERS: Final = 100
MAX_HEAD: Final = 128 * 1024


def head_too_large() -> errors.SockudoError:
    """The refusal of a head of over `MAX_HEAD` bytes."""
    return errors.HEADERS_TOO_LARGE(f"The head of the request is over {MAX_HEAD} bytes long")


def too_many_headers() -> errors.SockudoError:
    """The refusal of a head of over `MAX_HEADERS` headers."""
    return errors.HEADERS_TOO_LARGE(f"The request has more than {MAX_HEADERS} headers")


def target_too_long() -> errors.SockudoError:
    """The refusal of a target of over `MAX_TARGET` bytes."""
    return errors.URI_TOO_LONG(f"The request target is over {MAX_TARGET} bytes long")


def check_head(
    target: bytes, headers: Sequence[tuple[bytes, bytes]], found: Mapping[bytes, bytes], version: str
) -> None:
    """Raises what refuses a head that has arrived whole; ``found`` are its headers by name, the last of each.

    Both lengths at once and more than one Host are how requests are smuggled past a proxy.
    """
    if len(headers) > MAX_HEADERS:
        raise too_many_headers()
    if len(target) + sum(len(name) + len(value) for name, value in headers) > MAX_HEAD:
        raise head_too_large()
    if not has_path(target):
        raise errors.MALFORMED_REQUEST("The request target is neither a path nor a URL with a path")
    if version not in ("1.1", "1.0"):
        raise errors.MALFORMED_REQUEST("Only HTTP/1.1 and HTTP/1.0 are served")
    hosts = [name for name, _ in headers].count(b"host")
    if hosts != 1 and (version == "1.1" or hosts > 1):
        raise errors.MALFORMED_REQUEST("An HTTP/1.1 request needs exactly one Host header")
    if b"content-length" in found and b"transfer-encoding" in found:
        raise errors.MALFORMED_REQUEST("A request must not have both Content-Length and Transfer-Encoding")


def has_path(target: bytes) -> bool:
    """Whether a target is a path, or a URL with one."""
    try:
        return bool(httptools.parse_url(target).path)
    except httptools.HttpParserInvalidURLError:
        return False
