"""Parts of a request's path. Routes match the path as it was sent, so that an encoded slash separates nothing."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from sockudo import errors

__all__ = ["path_part"]


def path_part(request: Request, name: str) -> str:
    """The decoded value of a route's parameter; raises `errors.INVALID_INPUT` for one that is not UTF-8."""
    raw: str = request.path_params[name]
    try:
        return unquote_to_bytes(raw.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise errors.INVALID_INPUT("Invalid URL: a part of the path does not decode to UTF-8") from None
