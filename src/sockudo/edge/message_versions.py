"""The routes of message versions and annotations (spec: http-api § 1), which this version answers for and does not
have.

A program that edits or annotates messages learns from the answer that the server never keeps versions, and not that
its path or its serial is wrong. Everything is checked before that would be checked with the feature: who asks, and the
channel's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.edge.signed import authenticated_for_channel

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["message_version_routes"]

_MESSAGE: Final = "/apps/{app_id}/channels/{channel}/messages/{message_serial}"
_VERSIONS: Final = (
    ("", ("GET",)),
    ("/versions", ("GET",)),
    ("/update", ("POST",)),
    ("/delete", ("POST",)),
    ("/append", ("POST",)),
)
_ANNOTATIONS: Final = (("/annotations", ("GET", "POST")), ("/annotations/{annotation_serial}", ("DELETE",)))


def message_version_routes(edge: Edge) -> list[Route]:
    """Eight routes, all signed, that answer 403 ``feature_disabled``."""
    features = ((_VERSIONS, "Message versions"), (_ANNOTATIONS, "Annotations of messages"))
    return [
        _route(edge, f"{_MESSAGE}{suffix}", methods, feature)
        for suffixes, feature in features
        for suffix, methods in suffixes
    ]


def _route(edge: Edge, path: str, methods: tuple[str, ...], feature: str) -> Route:
    async def refuse(request: Request) -> Response:
        _, channel = await authenticated_for_channel(edge, request)
        raise errors.FEATURE_DISABLED(
            f"{feature} are not part of this version of the server: messages of channel '{channel}' cannot be changed "
            "after they were published"
        )

    return Route(path, refuse, methods=list(methods))
