"""Channels at the dashboard: found, looked into and published to, with real subscribers on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from support.operators import PASSWORD, Operator
from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, app_record, start_server
from support.waiting import wait_until
from support.websocket import Connect

APP = DEFAULT_APP.id
MARKUP = "<img src=x onerror=alert(1)>"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;"
NAMESPACES = [{"name": "room", "allow_user_limited_channels": True}]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    config = {
        "dashboard": {"password": PASSWORD},
        "history": {"enabled": True, "backend": "memory"},
        "presence_history": {"enabled": True},
        "tag_filtering": {"enabled": True},
        "app_manager": {
            "array": {
                "apps": [
                    app_record(DEFAULT_APP, channels={"channel_namespaces": NAMESPACES}),
                    app_record(NUMERIC_APP, history={"enabled": False}),
                ]
            }
        },
    }
    with start_server(config) as running:
        yield running


@pytest.fixture(scope="module")
def operator(server: ServerProcess) -> Operator:
    return Operator(server)


def path(channel: str, app: str = APP) -> str:
    return f"/channels/{app}/{quote(channel, safe='')}"


def listed(operator: Operator, query: str) -> list[str]:
    return [item["channel"] for item in operator.api("GET", f"/channels?{query}")["items"]]


# ---- finding ----


def test_channels_are_found_by_name_kind_and_app(operator: Operator, connect: Connect, unique: str) -> None:
    socket, other = connect(), connect(app=NUMERIC_APP)
    for name in (f"{unique}-a", f"private-{unique}-b", f"presence-{unique}-c"):
        socket.subscribe(name, "alice")
    connect().subscribe(f"private-{unique}-b")
    other.subscribe(f"{unique}-a")
    assert listed(operator, f"q={unique.upper()}&app_id={APP}") == [
        f"presence-{unique}-c",
        f"private-{unique}-b",
        f"{unique}-a",
    ]
    assert listed(operator, f"q={unique}&match=prefix&app_id={APP}") == [f"{unique}-a"]
    assert listed(operator, f"q={unique}&kind=private") == [f"private-{unique}-b"]
    assert listed(operator, f"q={unique}&sort=subscriptions&per_page=1") == [f"private-{unique}-b"]
    assert listed(operator, f"q={unique}&sort=users&per_page=1") == [f"presence-{unique}-c"]
    assert listed(operator, f"q={unique}&app_id={NUMERIC_APP.id}") == [f"{unique}-a"]
    assert listed(operator, f"q={unique}-none") == []
    found = operator.api("GET", f"/channels?q={unique}&per_page=3&page=2")
    assert (found["total"], found["page"], found["pages"], len(found["items"])) == (4, 2, 2, 1)


def test_a_channel_vanishes_with_its_last_subscriber(operator: Operator, connect: Connect, unique: str) -> None:
    socket = connect()
    socket.subscribe(unique)
    assert listed(operator, f"q={unique}") == [unique]
    socket.close()
    wait_until(lambda: not listed(operator, f"q={unique}"), "the channel to vanish")


def test_what_cannot_be_asked_for_is_named(operator: Operator) -> None:
    assert "'sort' must be one of" in operator.api("GET", "/channels?sort=size", status=400)["error"]
    assert "'kind' must be one of" in operator.api("GET", "/channels?kind=secret", status=400)["error"]
    assert "'page' must be" in operator.api("GET", "/channels?page=0", status=400)["error"]
    assert operator.api("GET", "/channels?app_id=nobody", status=404)["code"] == "app_not_found"
    assert operator.api("GET", path("news", "nobody"), status=404)["code"] == "app_not_found"


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("room:a#alice,bob", None),
        ("#server-to-user-bob@x.y", None),
        ("a=b;c,d.e@f", None),
        ("..a", None),
        ("100%", "invalid characters"),
        ("a/b", "invalid characters"),
        ("häuser und höfe", "invalid characters"),
        ("a?b&c=d", "invalid characters"),
        (MARKUP, "invalid characters"),
    ],
)
def test_any_name_can_be_looked_at(operator: Operator, name: str, refused: str | None) -> None:
    about = operator.api("GET", path(name))
    assert (about["channel"], about["occupied"]) == (name, False)
    assert (about["refused"] is None) == (refused is None)
    page = operator.page(f"/dashboard{path(name)}")
    assert name in page.text
    assert "onerror=alert(1)>" not in page.source
    assert refused is None or refused in page.text
    found = operator.page(f"/dashboard/channels/open?app_id={APP}&channel={quote(name, safe='')}")
    assert name in found.text


@pytest.mark.parametrize("name", [".", ".."])
def test_names_that_a_browser_would_swallow_are_linked_otherwise(
    operator: Operator, connect: Connect, name: str
) -> None:
    connect().subscribe(name)
    listed = operator.page("/dashboard/channels?per_page=200")
    [link] = [tag for tag in listed.tags(r'href="([^"]*)"') if tag.endswith(f"channel={name}")]
    page = operator.page(link)
    assert "occupied" in page.text
    assert "1 subscribers" in operator.page(f"{link}&view=subscribers").text


def test_a_path_that_is_not_text_is_refused(operator: Operator) -> None:
    assert operator.api("GET", f"/channels/{APP}/%ff", status=400)["code"] == "invalid_input"


def test_a_limited_channel_with_a_hash_shows_its_subscriber(operator: Operator, connect_v2: Connect) -> None:
    socket = connect_v2()
    socket.sign_in("alice")
    socket.subscribe("room:plaza#alice,bob")
    about = operator.api("GET", path("room:plaza#alice,bob"))
    assert (about["occupied"], about["subscription_count"]) == (True, 1)
    [row] = operator.api("GET", f"{path('room:plaza#alice,bob')}/subscribers")["items"]
    assert (row["socket_id"], row["user_id"], row["format"]) == (socket.socket_id, "alice", "json")
    assert socket.socket_id in operator.page(f"/dashboard{path('room:plaza#alice,bob')}/subscribers").text


# ---- who is in it ----


def test_members_appear_with_what_they_say_of_themselves(operator: Operator, connect: Connect, unique: str) -> None:
    name = f"presence-{unique}"
    for number in range(3):
        connect().subscribe(name, f"user-{number}", {"name": MARKUP})
    again = connect()
    again.subscribe(name, "user-1", {"name": MARKUP})
    found = operator.api("GET", f"{path(name)}/members?per_page=2")
    assert (found["total"], found["pages"]) == (3, 2)
    assert [row["user_id"] for row in found["items"]] == ["user-0", "user-1"]
    assert found["items"][1]["connection_count"] == 2
    assert again.socket_id in found["items"][1]["socket_ids"]
    assert found["items"][0]["user_info"] == {"name": MARKUP}
    [last] = operator.api("GET", f"{path(name)}/members?per_page=2&page=2")["items"]
    assert last["user_id"] == "user-2"
    page = operator.page(f"/dashboard{path(name)}/members")
    assert MARKUP in page.text
    assert ESCAPED in page.source
    assert "<img src=x" not in page.source
    about = operator.page(f"/dashboard{path(name)}")
    assert "Subscriptions 4 Members 3" in about.text


def test_users_with_markup_are_text_in_the_presence_history(operator: Operator, connect: Connect, unique: str) -> None:
    name = f"presence-{unique}"
    connect().subscribe(name, MARKUP, {"name": "x"})

    def written() -> Any:
        return operator.api("GET", f"{path(name)}/presence-history")["items"]

    [event] = wait_until(written, "the event to be written")
    assert (event["user_id"], event["presence_event"]["event"]) == (MARKUP, "member_added")
    page = operator.page(f"/dashboard{path(name)}/presence-history")
    assert "member_added" in page.text
    assert MARKUP in page.text
    assert "<img src=x" not in page.source


def test_filters_of_subscribers_are_told(operator: Operator, connect_v2: Connect, unique: str) -> None:
    connect_v2().subscribe(unique, filter={"key": "kind", "cmp": "eq", "val": MARKUP})
    [row] = operator.api("GET", f"{path(unique)}/subscribers")["items"]
    assert MARKUP in json.dumps(row["filter"]["tags"])
    page = operator.page(f"/dashboard{path(unique)}/subscribers")
    assert MARKUP in page.text
    assert "<img src=x" not in page.source


# ---- what it has kept ----


def test_history_goes_back_page_by_page(
    server: ServerProcess, operator: Operator, connect: Connect, unique: str
) -> None:
    for number in range(7):
        server.publish(unique, f"{MARKUP}-{number}", json.dumps({"n": number, "text": MARKUP}))
    target, serials = f"{path(unique)}/history?limit=3", []
    while target:
        found = operator.api("GET", target)
        serials += [item["serial"] for item in found["items"]]
        cursor = found["next_cursor"]
        target = f"{path(unique)}/history?limit=3&cursor={cursor}" if cursor else ""
    assert serials == [7, 6, 5, 4, 3, 2, 1]
    page = operator.page(f"/dashboard{path(unique)}/history?limit=4")
    assert f"{MARKUP}-6" in page.text
    assert f'"text": "{MARKUP}"' in page.text
    assert "<img src=x" not in page.source
    assert "healthy" in page.text
    [older] = page.tags(r'rel="next" href="([^"]*)"')
    assert f"{MARKUP}-2" in operator.page(f"{older}&limit=4").text
    assert "cursor" in operator.page(f"/dashboard{path(unique)}/history?cursor=x").text.lower()


def test_long_data_is_folded(server: ServerProcess, operator: Operator, unique: str) -> None:
    server.publish(unique, "ev", json.dumps({"text": f"{MARKUP}{'y' * 5_000}"}))
    page = operator.page(f"/dashboard{path(unique)}/history")
    assert '<details class="data"><summary>' in page.source
    assert "y" * 5_000 in page.source
    assert "<img src=x" not in page.source


def test_a_history_that_is_off_is_not_offered(operator: Operator) -> None:
    refusal = operator.api("GET", f"{path('news', NUMERIC_APP.id)}/history", status=403)
    assert refusal["docs"] == "errors.md#history_disabled"
    assert "History" not in operator.page(f"/dashboard{path('news', NUMERIC_APP.id)}").text
    operator.page(f"/dashboard{path('news', NUMERIC_APP.id)}/history", status=404)
    assert operator.api("GET", f"{path('news')}/presence-history", status=400)["code"] == "invalid_input"
    # The names of the server's own streams are no channels.
    assert (
        operator.api("GET", f"{path('[presence]presence-x')}/history", status=400)["docs"] == "errors.md#channel_name"
    )


def test_the_cached_event_is_shown(server: ServerProcess, operator: Operator, unique: str) -> None:
    name = f"cache-{unique}"
    assert "cache_miss" in operator.page(f"/dashboard{path(name)}").text
    server.publish(name, "ev", json.dumps({"text": MARKUP}))
    cache = operator.api("GET", path(name))["cache"]
    assert (cache["event"], json.loads(cache["data"])) == ("ev", {"text": MARKUP})
    assert 0 < cache["expires_in_seconds"] <= 3600
    page = operator.page(f"/dashboard{path(name)}")
    assert "onerror" in page.text
    assert "<img src=x" not in page.source


# ---- a test event ----


def test_a_test_event_reaches_the_subscriber(operator: Operator, connect: Connect, unique: str) -> None:
    socket = connect()
    socket.subscribe(unique)
    sent = operator.api("POST", f"{path(unique)}/events", {"name": "ev", "data": {"a": 1}})
    assert sent == {"ok": True, "subscription_count": 1}
    assert socket.event() == {"event": "ev", "channel": unique, "data": '{"a":1}'}
    page = operator.page(f"/dashboard{path(unique)}")
    after = operator.submit(page, "/dashboard/channels/events", {"name": MARKUP, "data": "one\r\ntwo"})
    assert socket.event() == {"event": MARKUP, "channel": unique, "data": "one\ntwo"}
    assert f"“{MARKUP}” was published; 1 connection subscribed" in after.text
    assert "<img src=x" not in after.source


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("x" * 201, "", 400, "limit_exceeded"),
        ("ev", "x" * 110_000, 413, "payload_too_large"),
        ("ai-output", "", 403, "ai_event_not_permitted"),
    ],
)
def test_a_refused_event_is_told_beside_the_form(
    operator: Operator, connect: Connect, unique: str, name: str, data: str, status: int, code: str
) -> None:
    socket = connect()
    socket.subscribe(unique)
    refusal = operator.api("POST", f"{path(unique)}/events", {"name": name, "data": data}, status=status)
    assert refusal["docs"] == f"errors.md#{code}"
    page = operator.page(f"/dashboard{path(unique)}")
    again = operator.submit(page, "/dashboard/channels/events", {"name": name, "data": data}, status=status)
    assert refusal["error"] in again.text
    fields = dict(again.form("/dashboard/channels/events"))
    assert (fields["name"], fields["data"]) == (name, data)
    assert socket.until_pong() == []


def test_an_event_for_a_name_that_is_no_channel_is_refused(operator: Operator) -> None:
    page = operator.page(f"/dashboard{path('a/b')}")
    again = operator.submit(page, "/dashboard/channels/events", status=400)
    assert "invalid characters" in again.text
    body = {"name": "ev", "data": "", "socket_id": "1.1"}
    assert "socket_id" in operator.api("POST", f"{path('a')}/events", body, status=422)["error"]
    assert "needs a name" in operator.submit(page, "/dashboard/channels/events", {"name": ""}, status=400).text


def test_pages_are_for_those_who_have_logged_in(server: ServerProcess, operator: Operator, unique: str) -> None:
    def ask(method: str, target: str, headers: dict[str, str]) -> int:
        return server.request(method, target, headers=headers, port=server.metrics_port).status

    for target in (f"/dashboard{path(unique)}", "/dashboard/channels", f"/dashboard{path(unique)}/history"):
        assert ask("GET", target, {}) == 303
    for target in (f"/dashboard/api/v1{path(unique)}", "/dashboard/api/v1/channels"):
        assert ask("GET", target, {}) == 401
    assert ask("POST", f"/dashboard/api/v1{path(unique)}/events", {}) == 401
    assert ask("POST", "/dashboard/channels/events", {}) in (303, 401)


def test_a_part_of_a_page_is_answered_alone(server: ServerProcess, operator: Operator, unique: str) -> None:
    headers = {"Authorization": f"Bearer {PASSWORD}", "HX-Request": "true"}
    for view in ("", "/subscribers", "/history"):
        target = f"/dashboard{path(unique)}{view}"
        reply = server.request("GET", target, headers=headers, port=server.metrics_port)
        assert reply.status == 200
        assert "<html" not in reply.text
        assert "<section" in reply.text
