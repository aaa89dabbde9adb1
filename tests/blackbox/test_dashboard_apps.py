"""Apps at the dashboard: what is changed there holds at once, and what cannot be changed is said."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.endpoint import WebhookEndpoint
from support.operators import PASSWORD, Operator, Page, dashboard_config
from support.redis import PASSWORD as REDIS_PASSWORD
from support.redis import RedisProcess
from support.server import NUMERIC_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import WebSocket

NAMES = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(dashboard_config()) as running:
        yield running


@pytest.fixture(scope="module")
def operator(server: ServerProcess) -> Operator:
    return Operator(server)


@pytest.fixture
def app(operator: Operator) -> Credentials:
    """An app of the test's own, made at the dashboard."""
    name = f"app-{next(NAMES)}"
    made = operator.api("POST", "/apps", {"id": name}, status=201)
    return Credentials(made["id"], made["key"], made["secret"])


@pytest.fixture
def connect(server: ServerProcess, opened: ExitStack) -> Callable[..., WebSocket]:
    def open_one(app: Credentials, **fields: Any) -> WebSocket:
        return opened.enter_context(WebSocket(server, app=app, **fields))

    return open_one


def change(operator: Operator, app: Credentials, **policy: Any) -> dict[str, Any]:
    return operator.api("PATCH", f"/apps/{app.id}", {"policy": policy})


def events(server: ServerProcess, app: Credentials) -> int:
    body = {"name": "e", "channels": ["room"], "data": "x"}
    return server.signed("POST", f"/apps/{app.id}/events", body=body, app=app).status


# ---- over the API: made and used ----


def test_a_created_app_can_be_used_at_once(server: ServerProcess, operator: Operator, connect: Any) -> None:
    made = operator.api("POST", "/apps", {"policy": {"features": {"enable_client_messages": True}}}, status=201)
    assert made["enabled"]
    assert len(bytes.fromhex(made["secret"])) == 24
    assert made["warnings"] == []
    app = Credentials(made["id"], made["key"], made["secret"])
    socket = connect(app).greeting()
    socket.subscribe("private-room")
    server.publish("private-room", "hello", "x", app=app)
    assert socket.event()["event"] == "hello"


def test_ids_and_keys_that_are_taken_are_told_apart(operator: Operator, app: Credentials) -> None:
    same_id = operator.api("POST", "/apps", {"id": app.id}, status=409)
    assert (same_id["code"], same_id["error"]) == ("app_exists", f"App '{app.id}' exists already")
    same_key = operator.api("POST", "/apps", {"id": "another", "key": app.key}, status=409)
    assert same_key["code"] == "app_key_taken"
    assert operator.api("GET", "/apps/another", status=404)["code"] == "app_not_found"


def test_what_is_wrong_with_a_new_app_is_told_field_by_field(operator: Operator) -> None:
    policy = {"limits": {"max_connections": "many", "max_conections": 1}, "webhooks": [{"url": "https://a.test"}]}
    said = operator.api("POST", "/apps", {"id": "a/b", "secret": "", "policy": policy}, status=400)
    assert {(each["field"], each["text"]) for each in said["problems"]} == {
        ("id", "contains '/', which no request path can carry"),
        ("secret", "is empty"),
        ("policy.limits.max_connections", "= 'many' is not a whole number of 0 or more"),
        ("policy.limits.max_conections", "is not known; did you mean 'max_connections'?"),
        ("policy.webhooks[0]", "has no event_types, a list of event names"),
    }
    assert (said["code"], said["status"]) == ("invalid_input", 400)


def test_a_body_that_is_no_record(operator: Operator) -> None:
    assert operator.api("POST", "/apps", [1], status=422)["code"] == "invalid_input"


# ---- over the API: read ----


def test_the_list_is_searched_and_paged(operator: Operator) -> None:
    for number in range(3):
        operator.api("POST", "/apps", {"id": f"list-{number}", "key": f"KEY-{number}-list"}, status=201)
    found = operator.api("GET", "/apps?q=LIST-&per_page=2&page=2")
    assert [each["id"] for each in found["items"]] == ["list-2"]
    assert (found["total"], found["page"], found["pages"]) == (3, 2, 2)
    assert [each["id"] for each in operator.api("GET", "/apps?q=key-1-l")["items"]] == ["list-1"]


def test_counts_are_of_now(operator: Operator, app: Credentials, connect: Any) -> None:
    assert operator.api("GET", f"/apps/{app.id}")["connections"] == 0
    connect(app).greeting().subscribe("room")
    seen = operator.api("GET", f"/apps/{app.id}")
    assert (seen["connections"], seen["channels"]) == (1, 1)


def test_a_secret_is_shown_only_when_it_is_asked_for(operator: Operator, app: Credentials) -> None:
    hook = {"url": "https://u:p4ss@hooks.test/?t=t0ken", "event_types": ["cache_miss"], "headers": {"X-Key": "k3y"}}
    change(operator, app, webhooks=[hook])
    hidden = operator.api("GET", f"/apps/{app.id}")
    assert not any(word in str(hidden) for word in (app.secret, "p4ss", "t0ken", "k3y"))
    assert "secret" not in hidden
    shown = operator.api("GET", f"/apps/{app.id}?reveal_secret=true")
    assert shown["secret"] == app.secret
    assert shown["policy"]["webhooks"] == [hook]
    for answer in (operator.api("GET", "/apps"), change(operator, app, limits={})):
        assert app.secret not in str(answer)


def test_what_was_read_may_be_written_back(operator: Operator, app: Credentials) -> None:
    hook = {"url": "https://u:p4ss@hooks.test/?t=t0ken", "event_types": ["cache_miss"], "headers": {"X-Key": "k3y"}}
    change(operator, app, webhooks=[hook], limits={"max_connections": 4})
    seen = operator.api("GET", f"/apps/{app.id}")
    body = {"policy": seen["policy"], "replace_policy": True}
    assert operator.api("PATCH", f"/apps/{app.id}", body)["version"] == seen["version"]
    assert operator.api("GET", f"/apps/{app.id}?reveal_secret=true")["policy"]["webhooks"] == [hook]


def test_an_app_that_is_not_there(operator: Operator, app: Credentials) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/rotate", None),
        ("POST", "/disable", None),
        ("GET", "/webhooks", None),
    ):
        said = operator.api(method, f"/apps/{app.id}x{path}", body, status=404)
        assert said["code"] == "app_not_found"
        assert f"Did you mean '{app.id}'?" in said["error"]


# ---- over the API: changed ----


def test_a_limit_holds_at_once(server: ServerProcess, operator: Operator, app: Credentials, connect: Any) -> None:
    first = connect(app).greeting()
    change(operator, app, limits={"max_connections": 1, "max_event_payload_in_kb": 1})
    connect(app).ended(4004, "Application is over adapter quota")
    body = {"name": "e", "channels": ["room"], "data": "x" * 2000}
    assert server.signed("POST", f"/apps/{app.id}/events", body=body, app=app).status == 413
    change(operator, app, limits={"max_connections": None})
    connect(app).greeting()
    first.hears_nothing()


def test_open_connections_go_by_what_is_changed(operator: Operator, app: Credentials, connect: Any) -> None:
    socket, other = connect(app).greeting(), connect(app).greeting()
    for each in (socket, other):
        each.subscribe("private-room")
    socket.say("client-hi", "1", "private-room")
    assert socket.event()["event"] == "pusher:error"
    change(operator, app, features={"enable_client_messages": True})
    socket.say("client-hi", "2", "private-room")
    assert other.event()["event"] == "client-hi"


def test_a_rotated_secret_counts_from_the_next_request(
    server: ServerProcess, operator: Operator, app: Credentials, connect: Any
) -> None:
    socket = connect(app).greeting()
    assert events(server, app) == 200
    rotated = operator.api("POST", f"/apps/{app.id}/rotate")
    assert rotated["key"] == app.key
    assert len(bytes.fromhex(rotated["secret"])) == 24
    assert events(server, app) == 401
    assert events(server, Credentials(app.id, app.key, rotated["secret"])) == 200
    # Those who are connected stay; what they ask for from now on needs the new secret.
    socket.say("pusher:subscribe", {"channel": "private-room", "auth": socket.auth("private-room")})
    assert socket.event()["event"] == "pusher:error"


def test_a_new_key_ends_the_old_one(operator: Operator, app: Credentials, connect: Any) -> None:
    rotated = operator.api("POST", f"/apps/{app.id}/rotate", {"key": True})
    assert rotated["key"] != app.key
    assert connect(app).event()["data"]["code"] == 4001
    connect(Credentials(app.id, rotated["key"], rotated["secret"])).greeting()


def test_a_disabled_app_ends_its_connections(
    server: ServerProcess, operator: Operator, app: Credentials, connect: Any
) -> None:
    socket = connect(app).greeting()
    assert operator.api("POST", f"/apps/{app.id}/disable")["enabled"] is False
    socket.ended(4003, "Application disabled")
    connect(app).ended(4003, "Application disabled")
    assert events(server, app) == 403
    assert operator.api("POST", f"/apps/{app.id}/enable")["enabled"] is True
    connect(app).greeting()


def test_a_removed_app_is_unknown(server: ServerProcess, operator: Operator, app: Credentials, connect: Any) -> None:
    socket = connect(app).greeting()
    assert operator.api("DELETE", f"/apps/{app.id}") == {"id": app.id, "removed": True}
    assert socket.event()["data"]["code"] == 4001
    assert events(server, app) == 404
    assert app.id not in str(operator.api("GET", f"/apps?q={app.id}")["items"])


def test_of_two_operators_the_later_is_told(operator: Operator, app: Credentials) -> None:
    seen = operator.api("GET", f"/apps/{app.id}")["version"]
    change(operator, app, limits={"max_connections": 3})
    stale = {"If-Match": f'"{seen}"'}
    for method, path, body in (
        ("PATCH", "", {"policy": {"limits": {"max_connections": 9}}}),
        ("POST", "/rotate", None),
        ("POST", "/disable", None),
        ("DELETE", "", None),
        ("POST", "/webhooks", {"url": "https://a.test", "event_types": ["cache_miss"]}),
    ):
        said = operator.api(method, f"/apps/{app.id}{path}", body, status=412, headers=stale)
        assert said["code"] == "app_changed"
    now = operator.api("GET", f"/apps/{app.id}?reveal_secret=true")
    assert (now["policy"]["limits"]["max_connections"], now["enabled"], now["secret"]) == (3, True, app.secret)
    fresh = {"If-Match": now["version"]}
    operator.api("POST", f"/apps/{app.id}/disable", headers=fresh)


def test_a_change_that_is_not_allowed_changes_nothing(operator: Operator, app: Credentials) -> None:
    before = operator.api("GET", f"/apps/{app.id}")["version"]
    said = operator.api("PATCH", f"/apps/{app.id}", {"policy": {"limits": {"decay_seconds": 0}}}, status=400)
    assert said["problems"][0]["field"] == "policy.limits.decay_seconds"
    for body, words in (
        ({"max_connections": 5}, "policy.limits.max_connections"),
        ({"id": "other"}, "id cannot be changed"),
        ({"replace_policy": True}, "policy is missing"),
        ({"replace_policy": 1}, "replace_policy must be true or false"),
    ):
        assert words in operator.api("PATCH", f"/apps/{app.id}", body, status=400)["error"]
    assert operator.api("GET", f"/apps/{app.id}")["version"] == before


# ---- over the API: the webhooks of an app ----


def test_webhooks_are_added_replaced_and_removed_by_their_index(operator: Operator, app: Credentials) -> None:
    path = f"/apps/{app.id}/webhooks"
    one = {"url": "https://a.test/?t=t0ken", "event_types": ["cache_miss"], "headers": {"X-Key": "k3y"}}
    two = {"url": "https://b.test", "event_types": ["member_added"]}
    operator.api("POST", path, one, status=201)
    added = operator.api("POST", path, {**two, "event_types": ["member_addd"]}, status=201)
    assert "did you mean 'member_added'?" in added["warnings"][0]
    assert [each["index"] for each in added["webhooks"]] == [0, 1]
    assert "t0ken" not in str(added)
    operator.api("PUT", f"{path}/1", two)
    kept = {**operator.api("GET", path)["webhooks"][0], "event_types": ["cache_miss", "client_event"]}
    operator.api("PUT", f"{path}/0", kept)
    stored = operator.api("GET", f"/apps/{app.id}?reveal_secret=true")["policy"]["webhooks"]
    assert stored == [{**one, "event_types": ["cache_miss", "client_event"]}, two]
    assert [each["url"] for each in operator.api("DELETE", f"{path}/0")["webhooks"]] == ["https://b.test"]


def test_a_webhook_needs_events_and_a_target(operator: Operator, app: Credentials) -> None:
    path = f"/apps/{app.id}/webhooks"
    for body in ({"url": "https://a.test"}, {"url": "https://a.test", "event_types": []}, {"event_types": ["x"]}):
        assert operator.api("POST", path, body, status=400)["problems"][0]["field"] == "policy.webhooks[0]"
    for method, index, status in (("DELETE", "0", 404), ("DELETE", "x", 400), ("DELETE", "-1", 400)):
        operator.api(method, f"{path}/{index}", status=status)


# ---- apps that cannot be changed, or not for long ----


def test_apps_that_only_the_file_has_are_read_only(serve: Callable[..., ServerProcess]) -> None:
    server = serve({"dashboard": {"password": PASSWORD}})
    operator = Operator(server)
    file = str(server.folder / "config.json")
    for method, path, body in (
        ("POST", "/apps", {"id": "new"}),
        ("PATCH", "/apps/app-id", {"enabled": False}),
        ("POST", "/apps/app-id/rotate", None),
        ("POST", "/apps/app-id/disable", None),
        ("DELETE", "/apps/app-id", None),
        ("POST", "/apps/app-id/webhooks", {"url": "https://a.test", "event_types": ["cache_miss"]}),
    ):
        said = operator.api(method, path, body, status=409)
        assert said["code"] == "apps_read_only"
        assert file in said["error"]
    assert operator.api("GET", "/apps/app-id?reveal_secret=true")["secret"] == "app-secret"
    assert operator.api("GET", "/apps")["total"] == 2


def test_in_development_apps_are_changed_in_memory(serve: Callable[..., ServerProcess], opened: ExitStack) -> None:
    """And the app of the file is what the file says after a reload, while one that was added stays."""
    server = serve({"dashboard": {"password": PASSWORD}}, args=["--dev"])
    endpoint = opened.enter_context(WebhookEndpoint())
    operator = Operator(server)
    made = operator.api("POST", "/apps", {"id": "2002", "key": "key-2", "secret": "secret-2"}, status=201)
    [warning] = made["warnings"]
    assert "lost when it ends" in warning
    assert "config.json" not in warning
    app = Credentials("2002", "key-2", "secret-2")
    operator.api("PATCH", "/apps/2002", {"policy": {"limits": {"max_event_payload_in_kb": 1}}})
    large = {"name": "large", "channel": "room", "data": "x" * 2000}
    assert server.signed("POST", "/apps/2002/events", body=large, app=app).status == 413
    hook = {"url": endpoint.url, "event_types": ["channel_occupied"]}
    operator.api("POST", "/apps/2002/webhooks", hook, status=201)
    wait_until(lambda: '"message": "webhooks"' in server.log, "the first webhook of the server")
    opened.enter_context(WebSocket(server, app=app)).greeting().subscribe("room")
    endpoint.waits_for(lambda events: [each["name"] for each in events] == ["channel_occupied"])

    configured = operator.api("POST", "/apps/app-id/disable")
    assert "config.json puts this app back" in configured["warnings"][-1]
    assert not operator.api("GET", "/apps/app-id")["enabled"]
    server.send_signal(signal.SIGHUP)
    wait_until(lambda: bool(operator.api("GET", "/apps/app-id")["enabled"]), "the app of the file")
    assert operator.api("GET", "/apps/2002")["policy"]["limits"]["max_event_payload_in_kb"] == 1
    operator.api("DELETE", "/apps/2002")
    assert server.signed("POST", "/apps/2002/events", body=large, app=app).status in (401, 404)


def test_whoever_changes_an_app_of_the_file_is_warned(serve: Callable[..., ServerProcess]) -> None:
    server = serve({"dashboard": {"password": PASSWORD}, "app_manager": {"driver": "sqlite"}})
    operator = Operator(server)
    said = operator.api("POST", "/apps/app-id/disable")
    assert said["enabled"] is False
    [warning] = said["warnings"]
    assert str(server.folder / "config.json") in warning
    assert operator.api("GET", "/apps/app-id")["configured"]


# ---- the pages ----


def problem_beside(page: Page, field: str) -> str:
    """What stands beside a field that is marked as wrong."""
    assert page.tags(rf'<[^>]*name="{re.escape(field)}"[^>]*aria-invalid="true"'), page.text
    [said] = page.tags(rf'id="{re.escape(field)}-problem"[^>]*>([^<]*)<')
    return said


def test_an_app_is_created_with_the_form_and_used(server: ServerProcess, operator: Operator, connect: Any) -> None:
    name = f"form-{next(NAMES)}"
    form = operator.page("/dashboard/apps/-/new")
    made = operator.submit(form, "/dashboard/apps/-/new", {"id": name, "enable_client_messages": "on"})
    assert made.text.count(name) > 0
    assert f"App '{name}' is there and can be used." in made.text
    seen = operator.api("GET", f"/apps/{name}?reveal_secret=true")
    assert seen["policy"]["features"]["enable_client_messages"] is True
    assert seen["secret"] not in made.source
    app = Credentials(name, seen["key"], seen["secret"])
    socket = connect(app).greeting()
    socket.subscribe("room")
    server.publish("room", "hello", "x", app=app)
    assert socket.event()["event"] == "hello"


def test_what_is_wrong_with_a_new_app_stands_beside_its_field(operator: Operator, app: Credentials) -> None:
    new = "/dashboard/apps/-/new"
    form = operator.page(new)
    refused = operator.submit(form, new, {"id": "a/b", "secret": " s3cr\u0007t "}, status=422)
    assert problem_beside(refused, "id") == "Id contains '/', which no request path can carry"
    assert "control character" in problem_beside(refused, "secret")
    assert "s3cr" not in refused.source
    assert dict(refused.form(new))["id"] == "a/b"
    taken = operator.submit(refused, new, {"id": app.id, "secret": ""}, status=422)
    assert "exists already" in problem_beside(taken, "id")
    same_key = operator.submit(taken, new, {"id": "other", "key": app.key}, status=422)
    assert "another app has it" in problem_beside(same_key, "key")
    assert operator.api("GET", "/apps/other", status=404)


def test_the_list_page_is_searched_and_paged(operator: Operator, app: Credentials) -> None:
    assert app.key in operator.page(f"/dashboard/apps?q={app.key.upper()}").text
    assert "No app has this" in operator.page("/dashboard/apps?q=nothing-like-that").text
    operator.page("/dashboard/apps?page=0", status=400)


def test_a_secret_stays_hidden_until_it_is_asked_for(operator: Operator, app: Credentials) -> None:
    url = f"/dashboard/apps/{app.id}"
    for path in ("/dashboard/apps", url, f"{url}/limits", f"{url}/channels"):
        assert app.secret not in operator.page(path).source
    shown = operator.submit(operator.page(url), f"{url}/secret", status=200)
    assert app.secret in shown.text
    assert shown.headers["cache-control"] == "no-store"
    assert app.secret not in operator.server.log


def test_the_secret_is_rotated_once_the_id_is_typed(
    server: ServerProcess, operator: Operator, app: Credentials
) -> None:
    url = f"/dashboard/apps/{app.id}"
    page = operator.page(url)
    for typed in ("", "something"):
        refused = operator.submit(page, f"{url}/rotate", {"confirm": typed}, status=422)
        assert app.id in refused.tags(r'id="rotate-problem"[^>]*>([^<]*)<')[0]
    assert events(server, app) == 200
    done = operator.submit(page, f"{url}/rotate", {"confirm": app.id}, status=200)
    [secret] = done.tags(r'id="app-secret">([^<]*)<')
    assert events(server, app) == 401
    assert events(server, Credentials(app.id, app.key, secret)) == 200
    # Sent once more, as a browser does when the page is loaded again: nothing is rotated twice.
    again = operator.submit(page, f"{url}/rotate", {"confirm": app.id}, status=412)
    assert "changed by another client" in again.text
    assert events(server, Credentials(app.id, app.key, secret)) == 200


def test_an_app_is_disabled_and_enabled_with_a_button(operator: Operator, app: Credentials, connect: Any) -> None:
    url = f"/dashboard/apps/{app.id}"
    socket = connect(app).greeting()
    off = operator.submit(operator.page(url), f"{url}/disable")
    socket.ended(4003, "Application disabled")
    assert f"App '{app.id}' is disabled" in off.text
    operator.submit(off, f"{url}/enable")
    connect(app).greeting()


def test_an_app_is_removed_once_its_id_is_typed(operator: Operator, app: Credentials) -> None:
    url = f"/dashboard/apps/{app.id}"
    page = operator.page(url)
    operator.submit(page, f"{url}/remove", {"confirm": app.id.upper()}, status=422)
    assert f"App '{app.id}' is removed." in operator.submit(page, f"{url}/remove", {"confirm": app.id}).text
    operator.page(url, status=404)


def test_limits_are_changed_with_the_form(operator: Operator, app: Credentials, connect: Any) -> None:
    url = f"/dashboard/apps/{app.id}/limits"
    connect(app).greeting()
    fields = {"limits.max_connections": "1", "limits.terminate_on_limit": "on", "idempotency.enabled": "off"}
    saved = operator.submit(operator.page(url), url, fields)
    assert "Saved." in saved.text
    connect(app).ended(4004, "Application is over adapter quota")
    policy = operator.api("GET", f"/apps/{app.id}")["policy"]
    assert policy["limits"] == {
        "max_connections": 1,
        "max_client_events_per_second": 0,
        "decay_seconds": 1,
        "terminate_on_limit": True,
    }
    assert policy["idempotency"] == {"enabled": False}
    shown = dict(saved.form(url))
    assert (shown["limits.max_connections"], shown["idempotency.enabled"]) == ("1", "off")
    cleared = {"limits.max_connections": "", "limits.terminate_on_limit": None, "idempotency.enabled": ""}
    operator.submit(saved, url, cleared)
    connect(app).greeting()
    assert operator.api("GET", f"/apps/{app.id}")["policy"]["idempotency"] == {}


def test_saving_without_a_change_changes_nothing(operator: Operator, app: Credentials) -> None:
    change(
        operator,
        app,
        limits={"message_rate_limit": {"enabled": True}},
        channels={"channel_namespaces": [{"name": "chat"}], "allowed_origins": ["*.a.test", "https://b.test"]},
    )
    before = operator.api("GET", f"/apps/{app.id}")
    for tab in ("limits", "channels"):
        url = f"/dashboard/apps/{app.id}/{tab}"
        operator.submit(operator.page(url), url)
    assert operator.api("GET", f"/apps/{app.id}")["version"] == before["version"]


def test_channels_are_changed_with_the_form(operator: Operator, app: Credentials) -> None:
    url = f"/dashboard/apps/{app.id}/channels"
    fields = {
        "features.enable_client_messages": "on",
        "channels.allowed_origins": "https://a.test\r\n\r\n *.b.test ",
        "history.enabled": "on",
        "history.retention_window_seconds": "60",
        "channels.channel_namespaces": '[{"name": "chat"}]',
    }
    saved = operator.submit(operator.page(url), url, fields)
    policy = operator.api("GET", f"/apps/{app.id}")["policy"]
    assert policy["channels"]["allowed_origins"] == ["https://a.test", "*.b.test"]
    assert policy["channels"]["channel_namespaces"][0]["name"] == "chat"
    assert policy["history"] == {"enabled": True, "retention_window_seconds": 60}
    operator.submit(saved, url, {"channels.allowed_origins": "", "channels.channel_namespaces": ""})
    channels = operator.api("GET", f"/apps/{app.id}")["policy"]["channels"]
    assert channels == {"allowed_origins": [], "channel_namespaces": []}


def test_what_is_wrong_with_a_value_stands_beside_its_field(operator: Operator, app: Credentials) -> None:
    url = f"/dashboard/apps/{app.id}/limits"
    wrong = {"limits.max_connections": "many", "limits.decay_seconds": "0", "limits.max_event_batch_size": "7"}
    refused = operator.submit(operator.page(url), url, wrong, status=422)
    assert "is not a whole number of 0 or more" in problem_beside(refused, "limits.max_connections")
    assert "whole number" in problem_beside(refused, "limits.decay_seconds")
    assert "2 values are not allowed" in refused.text
    assert operator.api("GET", f"/apps/{app.id}")["policy"]["limits"].get("max_event_batch_size") is None
    # What was typed is still there, and is saved once the rest is right.
    operator.submit(refused, url, {"limits.max_connections": "5", "limits.decay_seconds": "2"})
    limits = operator.api("GET", f"/apps/{app.id}")["policy"]["limits"]
    assert (limits["max_connections"], limits["decay_seconds"], limits["max_event_batch_size"]) == (5, 2, 7)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("channels.channel_namespaces", "[{", "is no JSON"),
        ("channels.channel_namespaces", '[{"name": "a:b"}]', "[0].name = 'a:b' is empty or contains ':'"),
        ("channels.channel_delta_compression", '{"a-*": "zip"}', "zip"),
        ("channels.allowed_origins", "*.*.test", "more than one '*'"),
    ],
)
def test_what_is_wrong_with_a_list_stands_beside_it(
    operator: Operator, app: Credentials, field: str, value: str, said: str
) -> None:
    url = f"/dashboard/apps/{app.id}/channels"
    assert said in problem_beside(operator.submit(operator.page(url), url, {field: value}, status=422), field)


def test_of_two_operators_with_the_same_form_the_later_sees_both(operator: Operator, app: Credentials) -> None:
    url = f"/dashboard/apps/{app.id}/limits"
    mine = theirs = operator.page(url)
    operator.submit(theirs, url, {"limits.max_connections": "3", "limits.decay_seconds": "7"})
    fields = {"limits.max_connections": "9", "limits.max_event_batch_size": "4"}
    conflict = operator.submit(mine, url, fields, status=412)
    assert "changed by another client" in conflict.text
    assert "Somebody else has set it to: 3" in conflict.text
    assert operator.api("GET", f"/apps/{app.id}")["policy"]["limits"]["max_connections"] == 3
    shown = dict(conflict.form(url))
    assert (shown["limits.max_connections"], shown["limits.decay_seconds"]) == ("9", "7")
    operator.submit(conflict, url)
    limits = operator.api("GET", f"/apps/{app.id}")["policy"]["limits"]
    assert (limits["max_connections"], limits["decay_seconds"], limits["max_event_batch_size"]) == (9, 7, 4)


def test_the_code_to_paste_works(operator: Operator, connect: Any, tmp_path: Path) -> None:
    """The shell's and Python's are run as they stand in the page; a client hears both."""
    made = operator.api("POST", "/apps", {}, status=201)
    app = Credentials(made["id"], made["key"], made["secret"])
    url = f"/dashboard/apps/{app.id}"
    shown = operator.submit(operator.page(url), f"{url}/secret", status=200)
    socket = connect(app).greeting()
    socket.subscribe("my-channel")
    [curl] = shown.tags(r'(?s)id="code-curl">(.*?)</code>')
    [python] = shown.tags(r'(?s)id="code-python">(.*?)</code>')
    for command in (["sh", "-c", curl], [sys.executable, "-W", "ignore", "-c", python]):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        heard = socket.event()
        assert (heard["event"], json.loads(heard["data"])) == ("my-event", {"hello": "world"}), done
    [javascript] = shown.tags(r'(?s)id="code-javascript">(.*?)</code>')
    assert f'new Sockudo("{app.key}"' in javascript
    assert f'src="{operator.server.url}/client/sockudo.js"' in javascript
    assert app.secret not in javascript


def test_markup_in_names_is_text(operator: Operator) -> None:
    name, key = f"<b>{next(NAMES)}\"'&amp;", f"<i>{next(NAMES)}"
    operator.api("POST", "/apps", {"id": name, "key": key, "secret": "<u>s</u>"}, status=201)
    url = f"/dashboard/apps/{quote(name, safe='')}"
    pages = [operator.page(path) for path in ("/dashboard/apps", url, f"{url}/limits", f"{url}/channels")]
    pages.append(operator.submit(pages[1], f"{url}/secret", status=200))
    for page in pages:
        assert name in page.text
        assert not any(tag in page.source for tag in ("<b>", "<i>", "<u>"))
    operator.submit(pages[1], f"{url}/remove", {"confirm": name})


def test_the_pages_of_apps_that_only_the_file_has_say_so(serve: Callable[..., ServerProcess]) -> None:
    server = serve({"dashboard": {"password": PASSWORD}})
    operator = Operator(server)
    for path in ("", "/-/new", "/app-id", "/app-id/limits", "/app-id/channels"):
        page = operator.page(f"/dashboard/apps{path}")
        assert str(server.folder / "config.json") in page.text
    refused = operator.submit(operator.page("/dashboard/apps/app-id"), "/dashboard/apps/app-id/disable", status=409)
    assert 'app_manager.driver is "memory"' in refused.text
    assert operator.api("GET", "/apps/app-id")["enabled"]


def test_the_pages_of_a_development_server_say_that_nothing_is_kept(serve: Callable[..., ServerProcess]) -> None:
    operator = Operator(serve({"dashboard": {"password": PASSWORD}}, args=["--dev"]))
    for path in ("", "/-/new", "/app-id", "/app-id/limits", "/app-id/channels", "/app-id/webhooks"):
        assert "what you change is lost when it ends" in operator.page(f"/dashboard/apps{path}").text
    operator.submit(operator.page("/dashboard/apps/app-id"), "/dashboard/apps/app-id/disable")
    assert not operator.api("GET", "/apps/app-id")["enabled"]


def test_on_joined_nodes_with_apps_of_their_own_none_is_changed(
    serve: Callable[..., ServerProcess], redis: RedisProcess
) -> None:
    place = {"redis": {"host": "127.0.0.1", "port": redis.port, "password": REDIS_PASSWORD}}
    joined = {"driver": "redis", "redis": {"prefix": "apps-of-their-own:"}}
    apps = {"driver": "sqlite", "array": {"apps": [app_record(NUMERIC_APP)]}}
    server = serve(dashboard_config(adapter=joined, database=place, app_manager=apps))
    said = Operator(server).api("POST", "/apps", {"id": "new"}, status=409)
    assert said["code"] == "apps_read_only"
    assert "the others would not know what is changed here" in said["error"]
