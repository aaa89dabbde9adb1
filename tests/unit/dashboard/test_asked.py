"""Links lead to what they name, whatever the name."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
from starlette.requests import Request

from sockudo import errors
from sockudo.dashboard.asked import (
    channel_url,
    connection_url,
    inspector_url,
    is_form,
    parse_form,
    read_form,
    read_json,
)
from sockudo.errors import SockudoError

NAMES = ["news", "#server-to-user-a", "100%", "a/b", "[meta]news", "new*", "a?b&c=d", "häuser", "a b", "..a"]


@pytest.mark.parametrize("name", NAMES)
def test_a_channel_is_one_part_of_the_path(name: str) -> None:
    parts = urlsplit(channel_url("app", name, "history", cursor="a=b&c")).path.split("/")
    assert [unquote(part) for part in parts] == ["", "dashboard", "channels", "app", name, "history"]
    assert parse_qs(urlsplit(channel_url("app", name, "history", cursor="a=b&c")).query) == {"cursor": ["a=b&c"]}
    assert urlsplit(channel_url("app", name)).query == ""


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_browsers_would_take_out_of_a_path_goes_into_the_query(name: str) -> None:
    url = urlsplit(channel_url("app", name, "subscribers"))
    assert url.path == "/dashboard/channels/open"
    assert parse_qs(url.query) == {"app_id": ["app"], "channel": [name], "view": ["subscribers"]}


def test_links_keep_what_they_are_given() -> None:
    assert connection_url("1.2", "a&b") == "/dashboard/connections/1.2?app_id=a%26b"
    assert inspector_url(app_id="a", channel="#x") == "/dashboard/inspector?app_id=a&channel=%23x"


# ---- what stands in a body ----


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
