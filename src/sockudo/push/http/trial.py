"""The route that tries a provider out: ours alone, signed, and for push-admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.push.http.common import Asked, body_of, push_route, reply
from sockudo.push.services import PushServices
from sockudo.push.trial import trial_from, try_out

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["push_trial_routes"]


def push_trial_routes(edge: Edge, services: PushServices) -> list[Route]:
    """``POST /test``: ``provider``, and ``deviceId`` or ``recipient``; 200 for every answer of the provider."""

    async def test(asked: Asked) -> Response:
        wanted = trial_from(await body_of(asked))
        push = services.serving()
        if push is None:
            raise errors.PUSH_DISABLED("no provider can be tried: push providers are disabled")
        return reply((await try_out(push, asked.app_id, wanted)).as_dict())

    return [push_route(edge, services, "POST", "/test", test)]
