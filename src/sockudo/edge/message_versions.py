"""The routes of messages that change, and those of annotations, which this version answers for and does not have
(spec: messages § 7; http-api § 1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.signing import path_part
from sockudo.base.components import Component
from sockudo.base.message_records import NOTHING, Change
from sockudo.edge.signed import authenticated_for_channel, json_reply, parameters, typed_body
from sockudo.history import History
from sockudo.history.message_frames import item_of
from sockudo.history.messages import VersionsQuery
from sockudo.hub.streams.versions import valid_serial
from sockudo.protocol.names import check_event_name
from sockudo.publishing.changes import ChangeRequest
from sockudo.publishing.extras import check_extras, delivered
from sockudo.publishing.versioned import data_of, unchangeable
from sockudo.sessions.changes import changer_of

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["message_version_routes"]

_MESSAGE: Final = "/apps/{app_id}/channels/{channel}/messages/{message_serial}"
_ANNOTATIONS: Final = (("/annotations", ("GET", "POST")), ("/annotations/{annotation_serial}", ("DELETE",)))
_MOST_OP_ID: Final = 64
_SOCKET_ID: Final = r"^[0-9]{1,20}\.[0-9]{1,20}$"

Answer = Callable[[Request, LiveApp, str], Awaitable[dict[str, Any]]]


class _Change(msgspec.Struct):
    """A body; null is the same as absent."""

    name: str | None = None
    data: msgspec.Raw = NOTHING
    extras: dict[str, Any] | None = None
    clear_fields: list[str] = []
    client_id: str | None = None
    socket_id: Annotated[str, msgspec.Meta(pattern=_SOCKET_ID)] | None = None
    description: str | None = None
    metadata: msgspec.Raw = NOTHING
    op_id: str | None = None


def message_version_routes(edge: Edge, messages: Component[History]) -> list[Route]:
    """Five routes of messages, all signed, and three of annotations that answer 403 ``feature_disabled``."""

    def route(suffix: str, answer: Answer, method: str) -> Route:
        async def endpoint(request: Request) -> Response:
            app, channel = await authenticated_for_channel(edge, request, publishes=method == "POST")
            return json_reply(await answer(request, app, channel))

        return Route(f"{_MESSAGE}{suffix}", endpoint, methods=[method])

    def change(action: Change) -> Answer:
        async def answer(request: Request, app: LiveApp, channel: str) -> dict[str, Any]:
            body = await _body(request)
            wanted = _wanted(body, action)
            _check_sizes(app, body)
            _check_versions(app, channel)
            serial = _serial(path_part(request, "message_serial"))
            state = edge.gateway.state(app)
            who = changer_of(state, body.socket_id, channel, action, body.client_id)
            asked = ChangeRequest(
                action, serial, client_id=who.client_id, owner=who.owner, actor=who.actor, op_id=body.op_id, **wanted
            )
            return await edge.events.changes.apply(app, state, channel, asked)

        return answer

    async def latest(request: Request, app: LiveApp, channel: str) -> dict[str, Any]:
        _check_versions(app, channel)
        serial = _serial(path_part(request, "message_serial"))
        found = await messages.service.messages.latest(app.id, channel, serial)
        if found is None:
            raise _not_found(channel, serial)
        return {"channel": channel, "item": item_of(channel, found)}

    async def versions(request: Request, app: LiveApp, channel: str) -> dict[str, Any]:
        _check_versions(app, channel)
        serial = _serial(path_part(request, "message_serial"))
        query = _query(parameters(request, ("limit", "direction", "cursor")), edge)
        page = await messages.service.messages.versions(app.id, channel, serial, query)
        if page is None:
            raise _not_found(channel, serial)
        return page

    return [
        route("", latest, "GET"),
        route("/versions", versions, "GET"),
        *(route(f"/{action}", change(action), "POST") for action in _ACTIONS),
        *(_refused(edge, f"{_MESSAGE}{suffix}", methods) for suffix, methods in _ANNOTATIONS),
    ]


_ACTIONS: Final[tuple[Change, ...]] = ("update", "delete", "append")


def _refused(edge: Edge, path: str, methods: tuple[str, ...]) -> Route:
    async def refuse(request: Request) -> Response:
        _, channel = await authenticated_for_channel(edge, request)
        raise errors.FEATURE_DISABLED(
            f"Annotations are not part of this version of the server: messages of channel '{channel}' have none"
        )

    return Route(path, refuse, methods=list(methods))


async def _body(request: Request) -> _Change:
    """The body, which a delete need not have."""
    if not await request.body() and request.url.path.endswith("/delete"):
        return _Change()
    return await typed_body(request, _Change)


def _wanted(body: _Change, action: Change) -> dict[str, Any]:
    """The fields of the change. Raises errors.INVALID_INPUT where they break a rule (spec: messages § 3)."""
    data = data_of(body.data)
    given: dict[str, Any] = {"name": body.name if action == "update" else None, "data": data, "extras": body.extras}
    fields = {name: value for name, value in given.items() if value is not None}
    if body.extras is not None:
        _check_extras(body.extras)
        fields["extras"] = delivered(body.extras, ephemeral=False, echo=False) or {}
    metadata = body.metadata if bytes(body.metadata) not in {b"", b"null"} else NOTHING
    about = {"description": body.description, "metadata": metadata}
    if body.op_id is not None and not 1 <= len(body.op_id.encode()) <= _MOST_OP_ID:
        raise errors.INVALID_INPUT(f"op_id must be 1 to {_MOST_OP_ID} bytes")
    if action == "append":
        if not isinstance(data, str) or not data:
            raise errors.INVALID_INPUT("append needs data: a string that is not empty")
        return {**fields, **about}
    cleared = body.clear_fields
    wrong = [name for name in cleared if name not in {"name", "data", "extras"}]
    if wrong:
        raise errors.INVALID_INPUT(f"clear_fields has '{wrong[0][:40]}'; it can have name, data and extras")
    twice = [name for name in cleared if cleared.count(name) > 1 or name in fields]
    if twice:
        raise errors.INVALID_INPUT(f"'{twice[0]}' is given twice: a field is replaced or cleared, once")
    said = (body.client_id, body.description, body.op_id)
    if action == "update" and not fields and not cleared and not bytes(metadata) and all(x is None for x in said):
        raise errors.INVALID_INPUT(
            "update needs one of name, data, extras, clear_fields, client_id, description, metadata and op_id"
        )
    return {**dict.fromkeys(cleared), **fields, **about}


def _check_sizes(app: LiveApp, body: _Change) -> None:
    """The bounds of a publish. Raises errors.EVENT_TOO_LARGE and errors.LIMIT_EXCEEDED."""
    size, limit = len(bytes(body.data)), app.limits.max_event_payload_kb
    if limit and size > limit * 1024:
        raise errors.EVENT_TOO_LARGE(f"Message data ({size} bytes) exceed the limit of events ({limit}KB)")
    if body.name:
        check_event_name(body.name, app.limits.max_event_name_length)


def _check_extras(extras: dict[str, Any]) -> None:
    try:
        check_extras(extras)
    except msgspec.ValidationError as problem:
        raise errors.WRONG_SHAPE(str(problem)) from problem


def _check_versions(app: LiveApp, channel: str) -> None:
    if app.streams is None or app.streams.versions_of(channel) is None:
        raise unchangeable(channel)


def _serial(text: str) -> str:
    if not valid_serial(text):
        raise errors.INVALID_INPUT("A message serial is text of 1 to 128 bytes without white space")
    return text


def _query(given: dict[str, str], edge: Edge) -> VersionsQuery:
    most = edge.settings.versioned_messages.max_page_size
    limit, direction = given.get("limit", str(most)), given.get("direction", "newest_first")
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= 20 and int(limit)):
        raise errors.INVALID_INPUT("limit must be a whole number from 1")
    if direction not in {"newest_first", "oldest_first"}:
        raise errors.INVALID_INPUT("direction must be newest_first or oldest_first")
    cursor = given.get("cursor")
    if cursor is not None and not valid_serial(cursor):
        raise errors.INVALID_INPUT("cursor must be the version_serial of the last item of a page")
    forwards = direction == "oldest_first"
    return VersionsQuery(min(int(limit), most), "oldest_first" if forwards else "newest_first", cursor)


def _not_found(channel: str, serial: str) -> errors.SockudoError:
    return errors.MESSAGE_NOT_FOUND(f"Channel '{channel}' has no message '{serial}'")
