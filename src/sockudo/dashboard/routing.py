"""From a request to its route, and from an error there to an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope, Send

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.errors import SockudoError

__all__ = ["Pages", "Refused"]

_log = structlog.get_logger("sockudo.dashboard")

Refused = Callable[[Request, SockudoError, dict[str, str]], Response]
"""Makes the answer to a request that failed, with these headers."""


class Pages:
    """The routes as an ASGI application; an error inside is answered from the catalogue by ``refused``."""

    def __init__(self, routes: Sequence[Route], refused: Refused) -> None:
        self._routes = routes
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            route, allow = self._find(scope)
            if route is not None:
                await route.handle(scope, receive, watched)
                return
            error, headers = errors.NOT_FOUND(f"There is nothing at {scope['path'][:200]}"), {}
            if allow:
                text = f"{scope['method']} is not allowed here; use {' or '.join(allow)}"
                error, headers = errors.METHOD_NOT_ALLOWED(text), {"allow": ", ".join(allow)}
        except SockudoError as refusal:
            error, headers = refusal, {}
        except ClientDisconnect:
            return
        except Exception as problem:
            # The last door: the client gets an id and nothing else, the log gets everything.
            reference = unique_id()
            _log.exception("request failed", path=scope["path"], reference=reference)
            if started:
                # What was begun cannot be taken back: the connection is closed, so that it does not look complete.
                raise
            del problem
            error, headers = errors.INTERNAL_ERROR(f"Internal server error {reference}"), {}
        await self._refused(Request(scope, receive), error, headers)(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[Route | None, list[str]]:
        """The route for this path and method, and which methods the path has at all."""
        allow: set[str] = set()
        for route in self._routes:
            match, child = route.matches(scope)
            if match is Match.NONE:
                continue
            if match is Match.FULL:
                scope.update(child)
                return route, []
            allow.update(route.methods or ())
        return None, sorted(allow)
