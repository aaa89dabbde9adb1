"""Bodies of requests: forms of pages and JSON of programs."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from sockudo import errors
from sockudo.base.decoding import mismatch
from sockudo.protocol.json_text import syntax_problem

__all__ = ["Form", "is_form", "parse_form", "read_form", "read_json"]

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
