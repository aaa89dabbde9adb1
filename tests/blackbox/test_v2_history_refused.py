"""What the routes of a channel's durable past refuse, and with which words (spec: http-api § 11; history § 7)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blackbox.api import Api
from blackbox.past import (
    FEW_APP,
    OFF_APP,
    confirm,
    history_server,
    page,
    path_of,
    publish,
    purge,
    reset,
    serials,
    state,
)
from support.raw import assert_error
from support.server import ServerProcess
from support.signing import Credentials
from support.websocket import Event

ROUTES = [("GET", "history"), ("GET", "history/state"), ("POST", "history/reset"), ("POST", "history/purge")]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with history_server("memory") as running:
        yield running


@pytest.fixture
def api(server: ServerProcess) -> Api:
    return Api(server)


# ---- questions that are refused ----


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"limit": "0"}, "History limit must be greater than 0"),
        ({"limit": "-1"}, "limit must be a whole number of 0 or more"),
        ({"limit": "abc"}, "limit must be a whole number of 0 or more"),
        ({"limit": ""}, "limit must be a whole number of 0 or more"),
        ({"limit": "1.0"}, "limit must be a whole number of 0 or more"),
        ({"limit": "١"}, "limit must be a whole number of 0 or more"),
        ({"limit": "1" * 30}, "limit must be a whole number of 0 or more"),
        ({"start_serial": "x"}, "start_serial must be a whole number of 0 or more"),
        ({"end_serial": "-1"}, "end_serial must be a whole number of 0 or more"),
        ({"start_time_ms": "x"}, "start_time_ms must be a whole number"),
        ({"end": "x"}, "end must be a whole number"),
        ({"start_serial": "3", "end_serial": "2"}, "start_serial must be less than or equal to end_serial"),
        ({"start": "3", "end": "2"}, "start_time_ms must be less than or equal to end_time_ms"),
        (
            {"direction": "sideways"},
            "Invalid direction 'sideways'. Accepted values: newest_first, oldest_first, backwards, forwards",
        ),
        ({"cursor": ""}, "Invalid history cursor: it is not one of this server's"),
        ({"cursor": "%%"}, "Invalid history cursor: it is not base64url"),
        ({"cursor": "x" * 16_385}, "History cursor exceeds 16 KiB"),
        ({"until_attach": "maybe"}, "until_attach must be true or false"),
        ({"until_attach": "true"}, "until_attach needs attach_serial here"),
    ],
)
def test_questions_that_cannot_be_meant(api: Api, unique: str, params: dict[str, str], text: str) -> None:
    assert_error(api.get(path_of(unique), params), 400, "invalid_input", text)


def changed(cursor: str, **fields: object) -> str:
    """A cursor with other contents, whoever made it."""
    plain = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**plain, **fields}).encode()).decode().rstrip("=")


def test_a_cursor_belongs_to_its_question(server: ServerProcess, api: Api, unique: str) -> None:
    other, few = f"{unique}-2", Api(server, app=FEW_APP)
    for channel in (unique, other):
        publish(server, channel, *range(4))
    publish(server, unique, *range(3), app=FEW_APP)
    cursor = page(api, unique, limit=2)["next_cursor"]
    cases: list[tuple[Api, str, dict[str, str], str]] = [
        (few, unique, {}, "History cursor app does not match the request"),
        (api, other, {}, "History cursor channel does not match the request"),
        (api, unique, {"direction": "forward"}, "History cursor direction does not match the request"),
        (api, unique, {"end_serial": "4"}, "History cursor bounds do not match the request"),
        (api, unique, {"start": "4"}, "History cursor bounds do not match the request"),
        (api, unique, {"cursor": cursor[:-3]}, "Invalid history cursor: it is not one of this server's"),
        (api, unique, {"cursor": changed(cursor, version=2)}, "Unsupported history cursor version: 2"),
        (
            api,
            unique,
            {"cursor": changed(cursor, serial="3")},
            "Invalid history cursor: it is not one of this server's",
        ),
    ]
    for asked, channel, params, text in cases:
        assert_error(asked.get(path_of(channel), {"cursor": cursor, **params}), 400, "invalid_input", text)
    assert serials(page(api, unique, cursor=cursor)) == [2, 1]


def test_a_cursor_ends_with_what_it_points_at(server: ServerProcess, api: Api, unique: str) -> None:
    publish(server, unique, *range(6))
    forward = page(api, unique, limit=2, direction="forward")["next_cursor"]
    backward = page(api, unique, limit=2)["next_cursor"]
    assert purge(api, unique, "before_serial", before_serial=4).status == 200
    gone = "Expired history cursor: cursor points before retained history"
    params = {"cursor": forward, "direction": "forward"}
    assert_error(api.get(path_of(unique), params), 400, "invalid_input", gone)
    assert serials(page(api, unique, cursor=backward)) == [4]
    assert reset(api, unique).status == 200
    publish(server, unique, *range(6))
    reset_text = "Expired history cursor: channel stream changed"
    assert_error(api.get(path_of(unique), {"cursor": backward}), 400, "invalid_input", reset_text)


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_where_nothing_is_kept(server: ServerProcess, method: str, route: str) -> None:
    api = Api(server, app=OFF_APP)
    answer = api.get(path_of("news", route)) if method == "GET" else api.post(path_of("news", route), {})
    text = "Durable history is disabled by policy for channel 'news'"
    assert_error(answer, 403, "feature_disabled", text)


@pytest.mark.parametrize(("method", "route"), ROUTES)
@pytest.mark.parametrize("channel", ["bad name", "a*", "[meta]a", "private-", "x" * 201])
def test_names_that_no_channel_has(api: Api, method: str, route: str, channel: str) -> None:
    path = path_of(channel, route)
    answer = api.get(path) if method == "GET" else api.post(path, confirm(channel, route.rpartition("/")[2]))
    assert (answer.status, answer.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_whoever_does_not_hold_the_secret(server: ServerProcess, unique: str, method: str, route: str) -> None:
    publish(server, unique, 1)
    thief = Api(server, app=Credentials("app-id", "app-key", "wrong"))
    answer = thief.get(path_of(unique, route)) if method == "GET" else thief.post(path_of(unique, route), {})
    assert (answer.status, answer.json()["code"]) == (401, "auth_failed")
    unsigned = thief.ask(method, f"/apps/app-id/{path_of(unique, route)}")
    assert unsigned.status in (400, 401)
    assert serials(page(Api(server), unique)) == [1]


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_other_verbs(api: Api, method: str, route: str) -> None:
    wrong = "GET" if method == "POST" else "DELETE"
    answer = api.ask(wrong, f"/apps/app-id/{path_of('news', route)}")
    assert (answer.status, answer.json()["code"]) == (405, "method_not_allowed")
    assert set((answer.header("allow") or "").replace(" ", "").split(",")) == (
        {"POST"} if wrong == "GET" else {"GET", "HEAD"}
    )


# ---- operations that are refused ----


_CONFIRM_CHANNEL = "confirm_channel must exactly match the channel path"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"confirm_channel": "other"}, _CONFIRM_CHANNEL),
        ({"confirm_channel": ""}, _CONFIRM_CHANNEL),
        ({"confirm_operation": "RESET"}, "confirm_operation must be 'reset'"),
        ({"confirm_operation": "purge"}, "confirm_operation must be 'reset'"),
        ({"confirm_operation": ""}, "confirm_operation must be 'reset'"),
        ({"reason": ""}, "reason must not be empty"),
        ({"reason": " \n\t"}, "reason must not be empty"),
        ({"confirm_channel": "other", "confirm_operation": "x", "reason": ""}, _CONFIRM_CHANNEL),
        ({"confirm_operation": "x", "reason": ""}, "confirm_operation must be 'reset'"),
    ],
)
def test_resets_that_are_refused(
    server: ServerProcess, api: Api, unique: str, fields: dict[str, str], text: str
) -> None:
    publish(server, unique, 1)
    before = state(api, unique)
    assert_error(reset(api, unique, **fields), 400, "invalid_input", text)
    assert state(api, unique) == before


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"confirm_channel": "other"}, _CONFIRM_CHANNEL),
        ({"confirm_operation": "reset"}, "confirm_operation must be 'purge'"),
        ({"reason": ""}, "reason must not be empty"),
        ({"before_serial": 1}, "Purge mode 'all' does not accept bounds"),
        ({"before_time_ms": 1}, "Purge mode 'all' does not accept bounds"),
        ({"mode": "before_serial"}, "Purge mode 'before_serial' requires before_serial only"),
        (
            {"mode": "before_serial", "before_time_ms": 1},
            "Purge mode 'before_serial' requires before_serial only",
        ),
        (
            {"mode": "before_serial", "before_serial": 1, "before_time_ms": 1},
            "Purge mode 'before_serial' requires before_serial only",
        ),
        ({"mode": "before_time_ms"}, "Purge mode 'before_time_ms' requires before_time_ms only"),
        ({"reason": "", "before_serial": 1}, "reason must not be empty"),
    ],
)
def test_purges_that_are_refused(
    server: ServerProcess, api: Api, unique: str, fields: dict[str, Any], text: str
) -> None:
    channel = f"{unique}-purge"
    publish(server, channel, 1)
    assert_error(purge(api, channel, **{"mode": "all", **fields}), 400, "invalid_input", text)
    assert serials(page(api, channel)) == [1]


@pytest.mark.parametrize("operation", ["reset", "purge"])
@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda body: body.pop("confirm_channel"), 422, "invalid_input"),
        (lambda body: body.pop("confirm_operation"), 422, "invalid_input"),
        (lambda body: body.pop("reason"), 422, "invalid_input"),
        (lambda body: body.update(reason=5), 422, "invalid_input"),
        (lambda body: body.update(requested_by=5), 422, "invalid_input"),
        (lambda body: body.update(confirm_channel=None), 422, "invalid_input"),
    ],
)
def test_bodies_of_the_wrong_shape(
    api: Api, unique: str, operation: str, change: Callable[[Event], object], status: int, code: str
) -> None:
    body = confirm(unique, operation, mode="all")
    change(body)
    answer = api.post(path_of(unique, f"history/{operation}"), body)
    assert (answer.status, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "fields",
    [{"mode": "some"}, {"mode": None}, {"mode": "before_serial", "before_serial": -1}, {"before_serial": "1"}],
)
def test_purges_of_the_wrong_shape(api: Api, unique: str, fields: Event) -> None:
    answer = purge(api, unique, **{"mode": "all", **fields})
    assert (answer.status, answer.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("operation", ["reset", "purge"])
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_input"),
        (b"[]", {}, 422, "invalid_input"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "invalid_input"),
        (b"{}", {"Content-Type": None}, 415, "invalid_input"),
        (b"", {}, 415, "invalid_input"),
    ],
)
def test_bodies_that_are_none(
    api: Api, unique: str, operation: str, body: bytes, headers: dict[str, str | None], status: int, code: str
) -> None:
    answer = api.post(path_of(unique, f"history/{operation}"), body, headers)
    assert (answer.status, answer.json()["code"]) == (status, code)


def test_more_fields_than_are_known(server: ServerProcess, api: Api, unique: str) -> None:
    publish(server, unique, 1)
    assert reset(api, unique, mode="all", other={"x": 1}).status == 200
