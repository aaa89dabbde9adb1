"""Scripts, styles and images: files of the package, under URLs that change with their content."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors

__all__ = ["PREFIX", "asset_url", "routes"]

PREFIX = "/dashboard/static/"

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_HASH = 12


class _Asset(NamedTuple):
    body: bytes
    media_type: str
    tag: str


@cache
def _assets() -> dict[str, _Asset]:
    """Every file by its name below the folder: what is not in here when the first one is asked for does not exist."""
    found = {}
    for path in sorted(_FOLDER.rglob("*")):
        media_type = _TYPES.get(path.suffix)
        if media_type is not None and path.is_file():
            body = path.read_bytes()
            name = path.relative_to(_FOLDER).as_posix()
            found[name] = _Asset(body, media_type, hashlib.sha256(body).hexdigest()[:_HASH])
    return found


def asset_url(name: str) -> str:
    """The URL of a file in ``static/``, like ``asset_url("dashboard.css")``; KeyError for one that does not exist."""
    return f"{PREFIX}{_assets()[name].tag}/{name}"


def routes() -> list[Route]:
    """The only route that is open to everybody but the login."""

    async def asset(request: Request) -> Response:
        # A table look-up: no path of a request ever reaches the file system.
        found = _assets().get(request.path_params["name"])
        if found is None:
            raise errors.NOT_FOUND("There is no such file")
        current = request.path_params["tag"] == found.tag
        headers = {"cache-control": _FOR_EVER if current else "no-cache", "etag": f'"{found.tag}"'}
        if f'"{found.tag}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.body, headers={**headers, "content-type": found.media_type})

    return [Route(PREFIX + "{tag}/{name:path}", asset)]
