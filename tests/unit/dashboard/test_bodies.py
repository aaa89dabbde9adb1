"""Forms and JSON bodies, good ones and others."""

from __future__ import annotations

import msgspec
import pytest
from starlette.requests import Request

from sockudo import errors
from sockudo.dashboard.bodies import is_form, parse_form, read_form, read_json
from sockudo.errors import SockudoError


class Thing(msgspec.Struct):
    name: str


def request(body: bytes, content_type: str) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", content_type.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


async def test_fields() -> None:
    form = await read_form(request(b"a=1&b=x+%C3%A9&a=2&c=", "application/x-www-form-urlencoded; charset=utf-8"))
    assert form.get("a") == "2"
    assert form.all("a") == ["1", "2"]
    assert form.get("b") == "x é"
    assert (form.get("c", "z"), form.get("d", "z")) == ("", "z")
    assert ("c" in form, "d" in form) == (True, False)


@pytest.mark.parametrize("body", [b"a=%FF", b"a=\xff", b"&".join(b"a=1" for _ in range(501))])
def test_what_no_browser_sends(body: bytes) -> None:
    with pytest.raises(SockudoError) as caught:
        parse_form(body)
    assert caught.value.spec is errors.INVALID_INPUT


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data; boundary=x", "text/plain"])
async def test_other_types(content_type: str) -> None:
    assert not is_form(content_type.encode())
    with pytest.raises(SockudoError) as caught:
        await read_form(request(b"a=1", content_type))
    assert caught.value.spec is errors.UNSUPPORTED_MEDIA_TYPE


async def test_json() -> None:
    assert await read_json(request(b'{"name": "x"}', "application/json"), Thing) == Thing("x")
    for body, spec in ((b"{", errors.MALFORMED_JSON), (b"{}", errors.WRONG_SHAPE), (b'{"name":1}', errors.WRONG_SHAPE)):
        with pytest.raises(SockudoError) as caught:
            await read_json(request(body, "application/json"), Thing)
        assert caught.value.spec is spec
