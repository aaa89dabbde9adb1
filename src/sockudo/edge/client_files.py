"""The client for browsers, from the server that it connects to: ``/client/sockudo.js`` and its parts
(spec: http-api § 14)."""

from __future__ import annotations

import gzip
from functools import cache
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.client.browser_files import browser_build, browser_file

__all__ = ["client_routes"]

_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",
    ".map": "application/json",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
# Asked for again each time, which costs nothing while it is the same.
_LATEST: Final = "public, no-cache"


class _Kept(NamedTuple):
    body: bytes
    packed: bytes
    media_type: str
    tag: str


@cache
def _kept(name: str) -> _Kept:
    """A file of the build, packed once; there are as many as the build has."""
    body = browser_file(name)
    tag = browser_build().files[name].removeprefix("sha384-")[:24]
    media_type = _TYPES["." + name.rpartition(".")[2]]
    return _Kept(body, gzip.compress(body, 9, mtime=0), media_type, tag)


def client_routes() -> list[Route]:
    """``/client/{file}``, and the same below the version of the client, where it may be kept for ever."""

    async def latest(request: Request) -> Response:
        return _answer(request, path_part(request, "file"), _LATEST)

    async def versioned(request: Request) -> Response:
        version = browser_build().version
        if path_part(request, "version") != version:
            raise errors.NOT_FOUND(f"This server has version {version} of the client")
        return _answer(request, path_part(request, "file"), _FOR_EVER)

    return [Route("/client/{file}", latest), Route("/client/{version}/{file}", versioned)]


def _answer(request: Request, name: str, keep: str) -> Response:
    if name not in browser_build().files:
        raise errors.NOT_FOUND("The client has no such file")
    kept = _kept(name)
    packs = _takes_gzip(request.headers.get("accept-encoding", ""))
    # Each form of a file has a tag of its own.
    tag = f'"{kept.tag}{"-gzip" if packs else ""}"'
    headers = {
        "cache-control": keep,
        "etag": tag,
        "vary": "accept-encoding",
        # Pages of any origin load it, also those that keep out what does not say so.
        "cross-origin-resource-policy": "cross-origin",
        "x-content-type-options": "nosniff",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers["content-type"] = kept.media_type
    if packs:
        headers["content-encoding"] = "gzip"
    return Response(kept.packed if packs else kept.body, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    for each in accepted[:1000].split(","):
        coding, _, parameters = each.partition(";")
        if coding.strip().lower() in {"gzip", "*"}:
            return parameters.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
