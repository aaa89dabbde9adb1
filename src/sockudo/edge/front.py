"""The way of every HTTP request that is not on the express lane: path, CORS, limits, route, errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.edge.refusals import ONLY_PUBLISHES, after_failure, is_elsewhere, is_operators, note_scope, scope_address
from sockudo.edge.replies import Refusal, Reply, error_reply
from sockudo.errors import SockudoError
from sockudo.limits.ip import Counted

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["Front", "MainApp", "send_reply"]

_log = structlog.get_logger("sockudo.http")

Headers = list[tuple[bytes, bytes]]

_TELLING: Final = (1, 3, 4)
"""Places of a path that tell routes apart: `/apps/ID/push/publish` has `apps`, `push` and `publish` there."""

_MOST_PARTS: Final = 16
"""Parts of a path that are counted: no route has so many."""


class Front:
    """An ASGI application around the routes: each failure inside is answered with the error envelope."""

    def __init__(self, edge: Edge, routes: Sequence[Route]) -> None:
        self._edge = edge
        self._routes = routes
        self._shelves = _Shelves(routes)

    @property
    def routes(self) -> Sequence[Route]:
        """What can be asked for."""
        return self._routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extra: Headers = []
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            route = self._route(scope, extra)
            if isinstance(route, Reply):
                if route.refusal is not None:
                    note_scope(self._edge, route.refusal, scope)
                await send_reply(send_with_headers, route)
            else:
                await route.handle(scope, receive, send_with_headers)
        except SockudoError as error:
            reply = after_failure(self._edge, error_reply(error), scope_address(self._edge, scope))
            note_scope(self._edge, reply.refusal or Refusal.of(error), scope)
            await send_reply(send_with_headers, reply)
        except ClientDisconnect:
            return
        except Exception as problem:
            # The last door: the client gets an id and nothing else, the log gets everything.
            reference = unique_id()
            _log.exception("request failed", path=scope["path"], reference=reference)
            if started:
                raise
            del problem
            await send_reply(
                send_with_headers, error_reply(errors.INTERNAL_ERROR(f"Internal server error {reference}"))
            )

    def _route(self, scope: Scope, extra: Headers) -> Route | Reply:
        """The route to take, or the answer that needs none. Adds the headers of every reply to ``extra``."""
        raw = scope["raw_path"]
        if len(raw) > 1 and raw.endswith(b"/"):
            raw = scope["raw_path"] = raw[:-1]
        # As it was sent: see `sockudo.auth.signing.path_part`.
        scope["path"] = raw.decode("latin-1")
        route, allow = self._find(scope)
        if route is None and not allow:
            why = f": {ONLY_PUBLISHES}" if is_elsewhere(self._edge, scope["path"]) else ""
            return error_reply(errors.NOT_FOUND(f"There is nothing at {scope['path'][:200]}{why}"))
        headers = dict(scope["headers"])
        allow_header = (b"allow", ",".join(allow).encode())
        if scope["method"] == "OPTIONS":
            origin, asked = headers.get(b"origin"), headers.get(b"access-control-request-headers")
            extra.extend(self._edge.cors.preflight(origin))
            refused = None if asked is None else self._edge.cors.refused_header(asked)
            if refused is not None:
                shown = None if origin is None else origin.decode("latin-1")
                self._edge.gateway.inspector.doubts.preflight(refused, shown)
            return Reply(200, b"", [allow_header])
        extra.extend(self._edge.cors.headers(headers.get(b"origin")))
        refusal = self._check_rate(scope, extra)
        if refusal is not None:
            return refusal
        if route is None:
            error = errors.METHOD_NOT_ALLOWED(f"{scope['method']} is not allowed here; use {' or '.join(allow)}")
            return error_reply(error, [allow_header])
        return route

    def _find(self, scope: Scope) -> tuple[Route | None, list[str]]:
        """The route for this path and method, and which methods the path has at all."""
        allow: list[str] = []
        for route in self._shelves.of(scope["path"]):
            match, child = route.matches(scope)
            if match is Match.NONE:
                continue
            allow.extend(sorted(route.methods or ()))
            if match is Match.FULL:
                scope.update(child)
                return route, allow
        return None, allow

    def _check_rate(self, scope: Scope, extra: Headers) -> Reply | None:
        limits = self._edge.limits
        path: str = scope["path"]
        upgrade = path.startswith("/app/")
        if not upgrade and (not limits.counts_requests or not path.startswith(("/apps/", "/users/"))):
            return None
        if is_operators(path):
            return None
        what: Counted = "upgrade" if upgrade else "api"
        verdict = limits.hit(what, scope_address(self._edge, scope), self._edge.clock.monotonic())
        if verdict is None:
            return None
        extra.extend(limits.headers(verdict))
        return None if verdict.allowed else error_reply(limits.refusal(verdict, what))


class _Shelves:
    """Routes by what their paths look like: of many routes, a path is compared with the few that it may be of.

    No parameter of a route holds a slash, so that a path has as many parts as its route.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._shapes = [(route, route.path.split("/")) for route in routes]
        # Words that stand at these places in some route; any other word is the value of a parameter.
        self._words = [
            frozenset(parts[place] for _, parts in self._shapes if len(parts) > place and "{" not in parts[place])
            for place in _TELLING
        ]
        self._kept: dict[tuple[object, ...], list[Route]] = {}

    def of(self, path: str) -> Sequence[Route]:
        """In the order in which they were given."""
        parts = path.split("/")
        found = [
            parts[place] if len(parts) > place and parts[place] in words else None
            for place, words in zip(_TELLING, self._words, strict=True)
        ]
        key = (min(len(parts), _MOST_PARTS), *found)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = [route for route, shape in self._shapes if _may_be(shape, key)]
        return kept


def _may_be(shape: Sequence[str], key: tuple[object, ...]) -> bool:
    return min(len(shape), _MOST_PARTS) == key[0] and all(
        len(shape) <= place or "{" in shape[place] or shape[place] == word
        for place, word in zip(_TELLING, key[1:], strict=True)
    )


async def send_reply(send: Send, reply: Reply) -> None:
    """Sends a reply as an ASGI application does."""
    headers = [(b"content-length", str(len(reply.body)).encode()), *reply.headers]
    if reply.body:
        headers.insert(0, (b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


Belongs = Callable[[bytes], bool]
"""Takes a raw path, and returns whether it is one of the pages'."""


class MainApp:
    """The ASGI application of the main listener.

    It is made before the edge that its parts need; ``front``, which answers what is no page's, is put in later, and
    before a listener is opened.
    """

    def __init__(self) -> None:
        self.front: ASGIApp | None = None
        self._pages: list[tuple[Belongs, ASGIApp]] = []

    def add_pages(self, belongs: Belongs, pages: ASGIApp) -> None:
        """Has ``pages`` answer the paths that belong to them; of several, the first that were added."""
        self._pages.append((belongs, pages))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for belongs, pages in self._pages:
            if belongs(scope["raw_path"]):
                await pages(scope, receive, send)
                return
        if self.front is not None:
            await self.front(scope, receive, send)
