"""Webhooks at the dashboard: endpoints, what they were sent and why it failed, replay, test events, and their forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from support.endpoint import WebhookEndpoint
from support.operators import PASSWORD, Operator, dashboard_config
from support.server import ServerProcess, start_server
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import WebSocket

NAMES = count(1)
CONFIG = dashboard_config(
    queue={"driver": "memory"},
    webhooks={"allow_private_addresses": True, "batching": {"enabled": False}, "retry": {"enabled": False}},
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def operator(server: ServerProcess) -> Operator:
    return Operator(server)


@pytest.fixture
def endpoint() -> Iterator[WebhookEndpoint]:
    with WebhookEndpoint() as running:
        yield running


@pytest.fixture
def app(operator: Operator) -> Credentials:
    """An app of the test's own, without webhooks."""
    name = f"app-{next(NAMES)}"
    made = operator.api("POST", "/apps", {"id": name}, status=201)
    return Credentials(made["id"], made["key"], made["secret"])


@pytest.fixture
def hooked(operator: Operator, app: Credentials, endpoint: WebhookEndpoint) -> Credentials:
    """The app with an endpoint that is told of occupied channels; its address and headers hold secrets."""
    entry = {
        "url": f"{endpoint.url}?t=t0ken",
        "event_types": ["channel_occupied"],
        "headers": {"X-Api-Key": "k3y"},
    }
    operator.api("POST", f"/apps/{app.id}/webhooks", entry, status=201)
    # The queue opens within a second after the first app has a webhook.
    wait_until(lambda: operator.api("GET", "/webhooks")["queue"], "the queue")
    return app


def occupy(server: ServerProcess, app: Credentials, *channels: str) -> None:
    with WebSocket(server, app=app) as socket:
        socket.greeting()
        for channel in channels:
            socket.subscribe(channel)


def deliveries(operator: Operator, app: Credentials, state: str, how_many: int = 1) -> list[dict[str, Any]]:
    """Those in this state, once there are so many."""

    def found() -> list[dict[str, Any]] | None:
        page = operator.api("GET", f"/webhooks/{app.id}/deliveries?state={state}")["deliveries"]
        return page if len(page) >= how_many else None

    return wait_until(found, f"{how_many} deliveries that are {state}")


def endpoint_of(operator: Operator, app: Credentials) -> dict[str, Any]:
    [found] = operator.api("GET", f"/webhooks?app_id={app.id}")["items"]
    return dict(found)


# ---- the API ----


def test_an_added_webhook_is_told_of_what_happens(
    server: ServerProcess, operator: Operator, hooked: Credentials, endpoint: WebhookEndpoint
) -> None:
    occupy(server, hooked, "room")
    [delivery] = deliveries(operator, hooked, "delivered")
    [request] = endpoint.requests
    assert request.delivery == delivery["id"]
    assert request.headers["x-api-key"] == "k3y"
    seen = endpoint_of(operator, hooked)
    assert (seen["state"], seen["counts"]["delivered"], seen["counts"]["dead"]) == ("ok", 1, 0)
    assert seen["last_answer"]["status"] == 200


def test_a_failed_delivery_says_why_and_is_made_again(
    server: ServerProcess, operator: Operator, hooked: Credentials, endpoint: WebhookEndpoint
) -> None:
    endpoint.status = 404
    occupy(server, hooked, "room")
    [dead] = deliveries(operator, hooked, "dead")
    one = operator.api("GET", f"/webhooks/{hooked.id}/deliveries/{dead['id']}")
    assert one["reason"] == "refused"
    assert any("would not change" in sentence for sentence in one["why"])
    assert "Nothing is at this path" in one["remedy"]
    [attempt] = one["attempts"]
    assert (attempt["status"], attempt["number"]) == (404, 1)
    assert json.loads(one["body"])["events"][0]["name"] == "channel_occupied"
    assert endpoint_of(operator, hooked)["state"] == "failing"
    endpoint.status = 200
    reply = operator.api("POST", f"/webhooks/{hooked.id}/replay", {"ids": [dead["id"]]})
    assert reply == {"replayed": 1, "unknown": [], "waiting": []}
    [delivered] = deliveries(operator, hooked, "delivered")
    assert delivered["id"] == dead["id"]


def test_all_dead_letters_of_an_app_are_made_again(
    server: ServerProcess, operator: Operator, hooked: Credentials, endpoint: WebhookEndpoint
) -> None:
    endpoint.status = 400
    occupy(server, hooked, "a", "b", "c")
    deliveries(operator, hooked, "dead", 3)
    endpoint.status = 200
    assert operator.api("POST", f"/webhooks/{hooked.id}/replay", {"all": True})["replayed"] == 3
    deliveries(operator, hooked, "delivered", 3)


def test_deliveries_are_filtered_and_paged(
    server: ServerProcess, operator: Operator, hooked: Credentials, endpoint: WebhookEndpoint
) -> None:
    occupy(server, hooked, "a", "b", "c")
    newest = deliveries(operator, hooked, "delivered", 3)
    path = f"/webhooks/{hooked.id}/deliveries"
    first = operator.api("GET", f"{path}?limit=2")
    rest = operator.api("GET", f"{path}?limit=2&before={first['next_before']}")
    assert [each["id"] for page in (first, rest) for each in page["deliveries"]] == [each["id"] for each in newest]
    assert rest["next_before"] is None
    assert operator.api("GET", f"{path}?state=dead")["deliveries"] == []
    assert len(operator.api("GET", f"{path}?endpoint={newest[0]['endpoint']}")["deliveries"]) == 3
    operator.api("GET", f"{path}?endpoint=other", status=404)
    operator.api("GET", f"{path}?state=lost", status=400)
    operator.api("GET", f"{path}?before=-1", status=400)


def test_a_test_event_is_sent_at_once(operator: Operator, hooked: Credentials, endpoint: WebhookEndpoint) -> None:
    name = endpoint_of(operator, hooked)["id"]
    path = f"/webhooks/{hooked.id}/endpoints/{name}/test"
    took = operator.api("POST", path, {"event": "member_added"})
    assert (took["delivered"], took["status"], took["event"]) == (True, 200, "member_added")
    [request] = endpoint.requests
    assert request.events[0]["name"] == "member_added"
    assert request.headers["x-api-key"] == "k3y"
    endpoint.status = 500
    failed = operator.api("POST", path)
    assert (failed["delivered"], failed["advice"]) == (False, "The endpoint failed: look at its log.")
    assert "did you mean" in operator.api("POST", path, {"event": "member_add"}, status=400)["error"]
    operator.api("POST", f"/webhooks/{hooked.id}/endpoints/other/test", status=404)


def test_an_endpoint_that_was_removed_keeps_what_it_was_sent(
    server: ServerProcess, operator: Operator, hooked: Credentials, endpoint: WebhookEndpoint
) -> None:
    endpoint.status = 400
    occupy(server, hooked, "room")
    [dead] = deliveries(operator, hooked, "dead")
    operator.api("DELETE", f"/apps/{hooked.id}/webhooks/0")
    seen = endpoint_of(operator, hooked)
    assert (seen["url"], seen["counts"]["dead"]) == (None, 1)
    assert operator.api("GET", f"/webhooks/{hooked.id}/deliveries/{dead['id']}")["url"] is None
    assert "removed" in operator.page(f"/dashboard/webhooks?app_id={hooked.id}").text
    assert "(removed)" in operator.page(f"/dashboard/webhooks/{hooked.id}/deliveries").text
    assert "was removed" in operator.page(f"/dashboard/webhooks/{hooked.id}/deliveries/{dead['id']}").text
    operator.api("DELETE", f"/apps/{hooked.id}")
    assert operator.api("GET", f"/webhooks/{hooked.id}/deliveries?state=dead")["deliveries"][0]["id"] == dead["id"]


def test_secrets_of_webhooks_are_not_shown(server: ServerProcess, operator: Operator, hooked: Credentials) -> None:
    occupy(server, hooked, "room")
    [delivery] = deliveries(operator, hooked, "delivered")
    name = endpoint_of(operator, hooked)["id"]
    said = [
        str(operator.api("GET", path))
        for path in (
            "/webhooks",
            f"/apps/{hooked.id}",
            f"/apps/{hooked.id}/webhooks",
            f"/webhooks/{hooked.id}/deliveries",
            f"/webhooks/{hooked.id}/deliveries/{delivery['id']}",
        )
    ]
    said += [
        operator.page(path).source
        for path in (
            "/dashboard/webhooks",
            f"/dashboard/apps/{hooked.id}/webhooks",
            f"/dashboard/apps/{hooked.id}/webhooks/0",
            f"/dashboard/webhooks/{hooked.id}/deliveries",
            f"/dashboard/webhooks/{hooked.id}/deliveries/{delivery['id']}",
            f"/dashboard/webhooks/{hooked.id}/endpoints/{name}/test",
        )
    ]
    said.append(server.log)
    assert not [text for text in said if any(word in text for word in ("t0ken", "k3y", hooked.secret))]


@pytest.mark.parametrize("path", ["deliveries", "deliveries/x"])
def test_an_app_that_is_not_there(operator: Operator, hooked: Credentials, path: str) -> None:
    assert operator.api("GET", f"/webhooks/{hooked.id}x/{path}", status=404)["code"] == "app_not_found"
    operator.page(f"/dashboard/webhooks/{hooked.id}x/{path}", status=404)


# ---- the pages ----


def test_why_an_endpoint_fails_is_found_and_it_is_sent_again(
    server: ServerProcess, operator: Operator, hooked: Credentials, endpoint: WebhookEndpoint
) -> None:
    """From the list of endpoints over its dead letters to the one, its reason, and the button."""
    endpoint.status = 401
    occupy(server, hooked, "room")
    [dead] = deliveries(operator, hooked, "dead")
    index = operator.page(f"/dashboard/webhooks?app_id={hooked.id}")
    assert "fails" in index.text
    assert "asks for no credentials, so it refuses the signature" in index.text
    [link] = index.tags(r'href="([^"]*state=dead[^"]*)"')
    listed = operator.page(link)
    [detail] = listed.tags(rf'href="([^"]*{dead["id"]})"')
    page = operator.page(detail)
    assert "Why it was given up" in page.text
    assert "What to do: The endpoint asks for no credentials" in page.text
    assert "401" in page.text
    assert "channel_occupied" in page.text
    endpoint.status = 200
    action = f"/dashboard/webhooks/{hooked.id}/replay"
    assert "1 delivery is sent again" in operator.submit(page, action).text
    deliveries(operator, hooked, "delivered")


def test_all_of_an_endpoint_is_sent_again_with_a_button(
    server: ServerProcess, operator: Operator, hooked: Credentials, endpoint: WebhookEndpoint
) -> None:
    endpoint.status = 400
    occupy(server, hooked, "a", "b")
    deliveries(operator, hooked, "dead", 2)
    name = endpoint_of(operator, hooked)["id"]
    page = operator.page(f"/dashboard/webhooks/{hooked.id}/deliveries?endpoint={name}&state=dead")
    endpoint.status = 200
    assert "2 deliveries are sent again" in operator.submit(page, f"/dashboard/webhooks/{hooked.id}/replay").text
    deliveries(operator, hooked, "delivered", 2)


def test_an_endpoint_is_tried_out_with_a_form(
    operator: Operator, hooked: Credentials, endpoint: WebhookEndpoint
) -> None:
    name = endpoint_of(operator, hooked)["id"]
    url = f"/dashboard/webhooks/{hooked.id}/endpoints/{name}/test"
    took = operator.submit(operator.page(url), url, {"event": "cache_miss"}, status=200)
    assert "The endpoint took it: 200" in took.text
    assert dict(took.form(url))["event"] == "cache_miss"
    endpoint.status = 405
    assert "The path takes no POST" in operator.submit(took, url, status=200).text
    operator.submit(took, url, {"event": "nothing"}, status=400)


def test_a_webhook_is_added_edited_and_removed_with_forms(
    server: ServerProcess, operator: Operator, app: Credentials, endpoint: WebhookEndpoint
) -> None:
    several = f"/dashboard/apps/{app.id}/webhooks"
    fields: dict[str, Any] = {
        "url": f"{endpoint.url}?t=t0ken",
        "event": ["channel_occupied", "client_event"],
        "filter.channel_prefix": "room-",
        "filter.channel_namespaces": "a, b",
        "headers": "X-Api-Key: k3y\r\n\r\nX-Other: o",
        "retry.enabled": "on",
        "retry.max_attempts": "3",
        "request_timeout_ms": "900",
    }
    added = operator.submit(operator.page(f"{several}/new"), f"{several}/new", fields)
    assert "The webhook is added" in added.text
    stored = operator.api("GET", f"/apps/{app.id}?reveal_secret=true")["policy"]["webhooks"]
    entry = {
        "url": f"{endpoint.url}?t=t0ken",
        "event_types": ["channel_occupied", "client_event"],
        "filter": {"channel_prefix": "room-", "channel_namespaces": ["a", "b"]},
        "headers": {"X-Api-Key": "k3y", "X-Other": "o"},
        "retry": {"max_attempts": 3, "enabled": True},
        "request_timeout_ms": 900,
    }
    assert stored == [entry]
    # Saved as it is shown, with its secrets hidden, it stays as it is.
    edit = operator.page(f"{several}/0")
    operator.submit(edit, f"{several}/0")
    assert operator.api("GET", f"/apps/{app.id}?reveal_secret=true")["policy"]["webhooks"] == [entry]
    changes = {"filter.channel_prefix": "", "filter.channel_namespaces": "", "event": ["channel_occupied"]}
    operator.submit(operator.page(f"{several}/0"), f"{several}/0", changes)
    [changed] = operator.api("GET", f"/apps/{app.id}?reveal_secret=true")["policy"]["webhooks"]
    assert changed == {name: value for name, value in entry.items() if name != "filter"} | {
        "event_types": ["channel_occupied"]
    }
    wait_until(lambda: operator.api("GET", "/webhooks")["queue"], "the queue")
    occupy(server, app, "room-1")
    deliveries(operator, app, "delivered")
    listed = operator.submit(operator.page(several), f"{several}/0/remove")
    assert "The webhook is removed." in listed.text
    assert operator.api("GET", f"/apps/{app.id}/webhooks")["webhooks"] == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": ""}, "has no url"),
        ({"url": "nowhere"}, "not an absolute http or https address"),
        ({"event": None}, "has no event types"),
        ({"headers": "Host: x"}, "which the server sets itself"),
        ({"headers": "X-Api-Key: …"}, "has the header 'X-Api-Key' without a value"),
        ({"filter.channel_pattern": "("}, "no regular expression"),
        ({"retry.max_attempts": "many"}, "max_attempts"),
        ({"request_timeout_ms": "0"}, "request_timeout_ms = 0"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_said_in_the_form(
    operator: Operator, app: Credentials, fields: dict[str, Any], said: str
) -> None:
    url = f"/dashboard/apps/{app.id}/webhooks/new"
    given = {"url": "https://a.test/in?t=t0ken", "headers": "X-Secret: k3y", **fields}
    refused = operator.submit(operator.page(url), url, given, status=422)
    assert said in refused.text
    assert "k3y" not in refused.source
    assert operator.api("GET", f"/apps/{app.id}/webhooks")["webhooks"] == []


@pytest.mark.parametrize("index", ["1", "0000000001", "1000000000", "-1", "x"])
def test_an_index_that_is_none_opens_no_webhook(operator: Operator, app: Credentials, index: str) -> None:
    path = f"/apps/{app.id}/webhooks"
    operator.api("POST", path, {"url": "https://a.test", "event_types": ["cache_miss"]}, status=201)
    operator.page(f"/dashboard{path}/0")
    operator.page(f"/dashboard{path}/{index}", status=404)


def test_of_two_operators_the_later_does_not_hit_another_webhook(operator: Operator, app: Credentials) -> None:
    """An index means another webhook once one before it is gone."""
    several = f"/dashboard/apps/{app.id}/webhooks"
    for name in ("a", "b", "c"):
        entry = {"url": f"https://{name}.test", "event_types": ["cache_miss"]}
        operator.api("POST", f"/apps/{app.id}/webhooks", entry, status=201)
    mine, edit = operator.page(several), operator.page(f"{several}/1")
    operator.api("DELETE", f"/apps/{app.id}/webhooks/0")
    for action in (f"{several}/1/remove", f"{several}/2/remove"):
        assert "as they are now" in operator.submit(mine, action, status=412).text
    again = operator.submit(edit, f"{several}/1", {"filter.channel_prefix": "order-"}, status=412)
    assert "for webhook 1, https://b.test" in again.text
    left = [each["url"] for each in operator.api("GET", f"/apps/{app.id}/webhooks")["webhooks"]]
    assert left == ["https://b.test", "https://c.test"]
    operator.submit(again, f"{several}/0")
    changed, other = operator.api("GET", f"/apps/{app.id}/webhooks")["webhooks"]
    assert (changed["url"], changed["filter"]) == ("https://b.test", {"channel_prefix": "order-"})
    assert "filter" not in other


def test_markup_from_outside_is_text(
    server: ServerProcess, operator: Operator, app: Credentials, endpoint: WebhookEndpoint, opened: ExitStack
) -> None:
    """In a channel's name none is possible; in events, user ids and addresses it is."""
    entry = {"url": f"{endpoint.url}/<b>", "event_types": ["client_event"], "headers": {"X-A": "<b>"}}
    operator.api("POST", f"/apps/{app.id}/webhooks", entry, status=201)
    operator.api("PATCH", f"/apps/{app.id}", {"policy": {"features": {"enable_client_messages": True}}})
    wait_until(lambda: operator.api("GET", "/webhooks")["queue"], "the queue")
    endpoint.status = 400
    socket = opened.enter_context(WebSocket(server, app=app)).greeting()
    socket.subscribe("private-room")
    socket.say("client-<b>x</b>", "<b>data</b>", "private-room")
    [dead] = deliveries(operator, app, "dead")
    pages = [
        operator.page(path)
        for path in (
            "/dashboard/webhooks",
            f"/dashboard/webhooks?q={quote('<b>')}",
            f"/dashboard/apps/{app.id}/webhooks",
            f"/dashboard/apps/{app.id}/webhooks/0",
            f"/dashboard/webhooks/{app.id}/deliveries",
            f"/dashboard/webhooks/{app.id}/deliveries/{dead['id']}",
        )
    ]
    assert "client-<b>x</b>" in pages[-1].text
    assert not [page for page in pages if "<b>" in page.source]


def test_a_server_without_webhooks_says_so() -> None:
    with start_server({**dashboard_config(), "queue": {"driver": "none"}}) as server:
        operator = Operator(server)
        assert 'queue.driver is "none"' in operator.page("/dashboard/webhooks").text
        assert 'queue.driver is "none"' in operator.api("GET", "/webhooks")["off"]
        made = operator.api("POST", "/apps", {"id": "shop"}, status=201)
        operator.api("POST", f"/webhooks/{made['id']}/replay", {"all": True}, status=503)
        assert operator.api("GET", "/webhooks/shop/deliveries")["deliveries"] == []


def test_a_server_whose_apps_have_no_webhook_says_so() -> None:
    with start_server({"dashboard": {"password": PASSWORD}}) as server:
        operator = Operator(server)
        assert "No app has a webhook" in operator.page("/dashboard/webhooks").text
        assert operator.api("GET", "/webhooks")["items"] == []
        assert "Nobody is told" in operator.page("/dashboard/apps/app-id/webhooks").text
