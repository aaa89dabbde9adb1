"""What the push routes have in common: who asks, the parameters of a list, replies (spec: push § 1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.signing import query_param
from sockudo.edge.publishing import check_json
from sockudo.edge.signed import authenticated
from sockudo.push.access import Access, read_access
from sockudo.push.paging import Page, PageRequest, page_request
from sockudo.push.services import PushServices
from sockudo.push.validation import check_app_id

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["Asked", "body_of", "page_of", "page_reply", "parameter", "push_route", "reply"]

PREFIX = "/apps/{app_id}/push"


class Asked:
    """One request: the app in whose name it was signed, and with which capability."""

    def __init__(self, app: LiveApp, request: Request) -> None:
        self.app = app
        self.app_id = app.id
        self.request = request
        self._access: Access | None = None

    @property
    def access(self) -> Access:
        """Raises errors.PUSH_CAPABILITY_UNKNOWN and errors.DEVICE_TOKEN_MISSING: after the body has been read."""
        if self._access is None:
            headers = self.request.headers
            self._access = read_access(
                headers.get("x-sockudo-push-capability"),
                headers.get("x-sockudo-device-identity-token"),
                headers.get("authorization"),
            )
        return self._access


def push_route(
    edge: Edge,
    services: PushServices,
    method: str,
    path: str,
    answer: Callable[[Asked], Awaitable[Response]],
    *,
    admin: bool = True,
) -> Route:
    """A signed route. ``admin`` refuses devices before anything else is looked at: for routes without a body."""

    async def endpoint(request: Request) -> Response:
        app = await authenticated(edge, request)
        if method == "GET":
            edge.rates.check_read(app, edge.clock.monotonic())
        check_app_id(app.id)
        asked = Asked(app, request)
        if admin:
            asked.access.require_admin()
        await services.storage.open()
        return await answer(asked)

    return Route(f"{PREFIX}{path}", endpoint, methods=[method])


async def body_of(asked: Asked) -> bytes:
    """The body of a request with a JSON content type. Raises errors.UNSUPPORTED_MEDIA_TYPE."""
    check_json(asked.request.headers.get("content-type", "").encode("latin-1"))
    return await asked.request.body()


def parameter(asked: Asked, name: str, alias: str | None = None) -> str | None:
    """A parameter of the query, in either spelling. Raises errors.INVALID_INPUT when it is given twice."""
    query: bytes = asked.request.scope["query_string"]
    value = query_param(query, name)
    other = None if alias is None else query_param(query, alias)
    if value is not None and other is not None:
        raise errors.INVALID_INPUT(f"Invalid query string: '{name}' is given more than once")
    return other if value is None else value


def page_of(asked: Asked, kind: str) -> PageRequest:
    """Which page is wanted; ``kind`` names the list with its filters. Raises errors.PUSH_LIMIT, errors.PUSH_CURSOR."""
    return page_request(asked.app_id, kind, parameter(asked, "limit"), parameter(asked, "cursor"))


def page_reply(page: Page) -> Response:
    """A page with the names that lists have."""
    return reply(page._asdict())


def reply(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
