"""What an operator chose for a list or sent in a body; and the way to a page that is about something with a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from starlette.requests import Request

from sockudo import errors
from sockudo.base.decoding import mismatch
from sockudo.protocol.json_text import syntax_problem

if TYPE_CHECKING:
    from sockudo.apps.live import LiveApp
    from sockudo.dashboard.board import Board

__all__ = [
    "Form",
    "asked_app",
    "channel_url",
    "choice",
    "connection_url",
    "inspector_url",
    "is_form",
    "known_app",
    "parse_form",
    "read_form",
    "read_json",
]


W = TypeVar("W", bound=str)


def choice(request: Request, name: str, words: Sequence[W]) -> W:
    """The word that was chosen; the first one where none was. Raises `errors.INVALID_INPUT` for another."""
    given = request.query_params.get(name)
    if not given:
        return words[0]
    for word in words:
        if word == given:
            return word
    raise errors.INVALID_INPUT(f"'{name}' must be one of: {', '.join(words)}")


def asked_app(board: Board, request: Request) -> str | None:
    """The app in the query; None for all apps. Raises `errors.APP_NOT_FOUND`."""
    given = request.query_params.get("app_id")
    return known_app(board, given).id if given else None


def known_app(board: Board, app_id: str) -> LiveApp:
    """The app of this id; raises `errors.APP_NOT_FOUND`."""
    app = board.apps.by_id(app_id)
    if app is None:
        raise errors.APP_NOT_FOUND(f"No app has the id '{app_id[:100]}'")
    return app


def channel_url(app_id: str, channel: str, view: str = "", **query: str) -> str:
    """The page of a channel, or one of its views."""
    if channel in (".", ".."):
        # A browser would take these out of a path, escaped or not.
        asked = {"app_id": app_id, "channel": channel, **({"view": view} if view else {}), **query}
        return f"/dashboard/channels/open?{urlencode(asked)}"
    path = f"/dashboard/channels/{quote(app_id, safe='')}/{quote(channel, safe='')}{'/' if view else ''}{view}"
    return f"{path}?{urlencode(query)}" if query else path


def connection_url(socket_id: str, app_id: str) -> str:
    """The page of a connection."""
    return f"/dashboard/connections/{quote(socket_id, safe='')}?{urlencode({'app_id': app_id})}"


def inspector_url(**selection: str) -> str:
    """The live inspector for this selection."""
    return f"/dashboard/inspector?{urlencode(selection)}"


# ---- what stands in a body ----


_MAX_FIELDS = 500
_FORM = b"application/x-www-form-urlencoded"

T = TypeVar("T")


class Form:
    """The fields of a form, in their order."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self.fields = fields

    def get(self, name: str, default: str = "") -> str:
        """The last value of a field; ``default`` for one that is absent, like a box that is not ticked."""
        return next((value for each, value in reversed(self.fields) if each == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for each, value in self.fields if each == name]

    def __contains__(self, name: object) -> bool:
        return any(each == name for each, _ in self.fields)


def is_form(content_type: bytes) -> bool:
    """Whether a Content-Type is that of a plain HTML form."""
    return content_type.partition(b";")[0].strip().lower() == _FORM


def parse_form(body: bytes) -> Form:
    """Raises `errors.INVALID_INPUT` for what no browser sends."""
    try:
        text = body.decode("ascii")
        return Form(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise errors.INVALID_INPUT("The form is not application/x-www-form-urlencoded in UTF-8") from None


async def read_form(request: Request) -> Form:
    """The form that was sent; raises `errors.UNSUPPORTED_MEDIA_TYPE` for anything else and `errors.INVALID_INPUT`."""
    if not is_form(request.headers.get("content-type", "").encode("latin-1")):
        raise errors.UNSUPPORTED_MEDIA_TYPE("Send a form as application/x-www-form-urlencoded")
    return parse_form(await request.body())


async def read_json(request: Request, kind: type[T]) -> T:
    """The JSON body as ``kind``; raises `errors.MALFORMED_JSON` and `errors.WRONG_SHAPE`."""
    body = await request.body()
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as problem:
        raise errors.WRONG_SHAPE(str(mismatch(problem))) from None
    except msgspec.DecodeError as problem:
        detail, at = syntax_problem(problem, body)
        raise errors.MALFORMED_JSON(f"{detail} at byte {at}") from None
