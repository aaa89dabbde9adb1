"""Why a client gets nothing: each reason is on the page, with its likely cause and what to do (docs/dashboard.md)."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from support.operators import PASSWORD
from support.server import DEFAULT_APP, NUMERIC_APP, Reply, ServerProcess
from support.signing import Credentials
from support.situations import CAUSES, Cause, bring_about, stage
from support.waiting import wait_until
from support.websocket import WebSocket

BEARER = {"Authorization": f"Bearer {PASSWORD}"}
MARKUP = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server on which everything has gone wrong that can, once each."""
    with stage(DEFAULT_APP, NUMERIC_APP) as on:
        bring_about(on)
        wait_until(lambda: groups(on.server, "?kinds=webhook_failed"), "the webhook to fail")
        yield on.server


def get(server: ServerProcess, path: str) -> Reply:
    return server.request("GET", path, port=server.metrics_port, headers=BEARER)


def groups(server: ServerProcess, query: str = "") -> list[dict[str, Any]]:
    reply = get(server, f"/dashboard/api/v1/problems{query}")
    assert reply.status == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["items"]
    return found


def text_of(page: str) -> str:
    """What a page shows, its tags left out."""
    body = page.partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", re.sub("</?code>", "", body))))


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_cause_is_told_with_its_reason_and_what_to_do(server: ServerProcess, cause: Cause) -> None:
    found = [group for group in groups(server) if any(cause.is_told_by(entry) for entry in group["last"])]
    [group] = found
    assert (group["kind"], group["error"]) == (cause.kind, cause.error)
    assert group["count"] >= 1
    assert group["first_at"] <= group["last_at"] == group["last"][0]["at"]
    assert group["explanation"]["slug"] == cause.error
    assert group["explanation"]["remedy"]
    if cause.kind != "webhook_failed":
        assert group["last"][0]["address"] == "127.0.0.1"
    # The operator knows a word of it and looks at the page.
    shown = text_of(get(server, f"/dashboard/why?q={cause.error}").text)
    for word in (*cause.told, cause.error):
        assert word in shown
    assert (group["explanation"]["remedy"] in shown) or "What to do" in shown
    assert "page Why?" not in shown, "it is this page"
    # What the title says is not said once more below it, unless there is more to it.
    again = re.escape(group["explanation"]["meaning"].rstrip("."))
    assert not re.search(rf"What happened {again}\.? (Usual causes|Likely cause|What to do)", shown)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_one_click_leads_to_the_explanation(server: ServerProcess, cause: Cause) -> None:
    listed = get(server, "/dashboard/why").text
    assert f'href="/dashboard/errors/{cause.error}"' in listed
    shown = text_of(get(server, f"/dashboard/errors/{cause.error}").text)
    entry = get(server, f"/dashboard/api/v1/errors/{cause.error}").json()
    for part in (entry["meaning"], entry["remedy"], *entry["causes"], *cause.told):
        # Backticks are code by now.
        assert part.replace("`", "") in shown
    assert any(cause.is_told_by(example) for group in entry["problems"] for example in group["last"])


def test_the_signatures_are_told_apart_by_their_cause(server: ServerProcess) -> None:
    causes = {group["cause"].partition(":")[0] for group in groups(server, "?q=channel_auth_invalid")}
    assert causes == {
        "signed for another connection",
        f"signed with the secret of the app {NUMERIC_APP.id}",
        "none of the usual mistakes explains the signature",
    }


def test_examples_lead_to_the_channel_and_the_connection(server: ServerProcess) -> None:
    with WebSocket(server, headers={"Origin": "https://shop.example.com"}).greeting() as client:
        client.subscribe("private-chat")
        client.say("client-typing", {}, "private-chat")
        client.event()
        [group] = groups(server, "?q=not+enabled")
        example = group["last"][0]
        assert example["socket_id"] == client.socket_id
        page = get(server, "/dashboard/why?q=not+enabled").text
        assert f'href="/dashboard/channels/app-id/{example["channel"]}"' in page
        assert f'href="/dashboard/connections/{example["socket_id"]}?app_id=app-id"' in page
        assert f'href="/dashboard/inspector?app_id=app-id&amp;socket_id={example["socket_id"]}"' in page
        for link in (f"connections/{example['socket_id']}?app_id=app-id", "errors/client_event"):
            assert get(server, f"/dashboard/{link}").status == 200


def test_no_secret_is_told(server: ServerProcess) -> None:
    for path in ("/dashboard/why", "/dashboard/api/v1/problems", "/dashboard/errors/signature_mismatch"):
        text = get(server, path).text
        for secret in (DEFAULT_APP.secret, NUMERIC_APP.secret, "the-secret-before", "auth_signature="):
            assert secret not in text


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("?kinds=closed", {"slow_consumer"}),
        ("?kinds=connect_refused", {"origin_not_allowed", "over_quota"}),
        ("?kinds=closed,frame_refused", {"slow_consumer", "client_event"}),
        ("?q=4004&kinds=connect_refused", {"over_quota"}),
        ("?q=invalid+characters", {"channel_name"}),
        ("?app_id=4471", set()),
        ("?app_id=app-id&kinds=request_refused", {"signature_mismatch"}),
        ("?q=nothing-of-the-kind", set()),
    ],
)
def test_problems_are_filtered(server: ServerProcess, query: str, errors: set[str]) -> None:
    assert {group["error"] for group in groups(server, query)} == errors
    shown = get(server, f"/dashboard/why{query}")
    assert shown.status == 200
    assert ("No problem fits." in shown.text) is not bool(errors)
    for error in errors:
        assert f"<code>{error}</code>" in shown.text


def test_lists_are_paged_on_the_server(server: ServerProcess) -> None:
    total = get(server, "/dashboard/api/v1/problems").json()["total"]
    assert total >= 8
    seen = []
    for page in range(1, total // 3 + 2):
        body = get(server, f"/dashboard/api/v1/problems?per_page=3&page={page}").json()
        assert (body["page"], body["per_page"], body["total"]) == (page, 3, total)
        assert len(body["items"]) <= 3
        seen += [(group["kind"], group["error"], group["cause"]) for group in body["items"]]
    assert len(seen) == len(set(seen)) == total
    assert "Page 2 of" in get(server, "/dashboard/why?per_page=3&page=2").text


@pytest.mark.parametrize("query", ["?kinds=shut", "?page=0"])
def test_what_cannot_be_asked(server: ServerProcess, query: str) -> None:
    for path in ("/dashboard/api/v1/problems", "/dashboard/why"):
        assert get(server, path + query).status == 400


def test_an_app_that_is_not_there_has_its_refusals(server: ServerProcess) -> None:
    gone = Credentials("app-that-went", "key-that-went", "secret-that-went")
    other = Credentials("app-that-went-too", "another-key", "another-secret")
    assert not groups(server, f"?app_id={gone.id}")
    body = {"name": "e", "channel": "harbor", "data": ""}
    assert server.signed("POST", f"/apps/{other.id}/events", body=body, app=other).status in (401, 404)
    assert not groups(server, f"?app_id={gone.id}")
    assert server.signed("POST", f"/apps/{gone.id}/events", body=body, app=gone).status in (401, 404)
    [group] = groups(server, f"?app_id={gone.id}")
    assert group["last"][0]["request"] == f"POST /apps/{gone.id}/events"
    shown = get(server, f"/dashboard/why?app_id={gone.id}")
    assert shown.status == 200
    assert "This server has no app with the id app-that-went: it was removed" in text_of(shown.text)
    assert f'<option value="{gone.id}" selected>' in shown.text
    assert "This server has no app" not in get(server, "/dashboard/why?app_id=app-id").text


def test_markup_is_text(server: ServerProcess) -> None:
    with WebSocket(server, headers={"Origin": "https://shop.example.com"}).greeting() as client:
        client.say("pusher:subscribe", {"channel": f"{MARKUP}", "auth": ""})
        client.event()
        client.say(f"client-{MARKUP}", {}, f"private-{MARKUP}")
        client.event()
    for path in (
        "/dashboard/why",
        "/dashboard/errors/channel_name",
        "/dashboard/errors/client_event",
        f"/dashboard/why?q={quote(MARKUP)}",
        f"/dashboard/errors?q={quote(MARKUP)}",
        f"/dashboard/errors/{quote(MARKUP, safe='')}",
    ):
        page = get(server, path).text
        assert "<script>" not in page
        if "errors?" not in path and "%3C" not in path:
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("4009", "channel_auth_invalid"),
        ("slow_consumer", "slow_consumer"),
        ("allowed_origins", "origin_not_allowed"),
        ("429", "rate_limited"),
        ("buffer full", "slow_consumer"),
    ],
)
def test_the_catalogue_is_searched(server: ServerProcess, text: str, first: str) -> None:
    rows = get(server, f"/dashboard/api/v1/errors?q={quote(text)}&per_page=100").json()["items"]
    assert first in [row["slug"] for row in rows]
    page = get(server, f"/dashboard/errors?q={quote(text)}&per_page=100").text
    assert re.findall(r'href="/dashboard/errors/([a-z_0-9]+)"', page) == [row["slug"] for row in rows]


def test_a_number_finds_its_errors_alone(server: ServerProcess) -> None:
    rows = get(server, "/dashboard/api/v1/errors?q=4009&per_page=100").json()["items"]
    assert rows
    assert {row["ws"] for row in rows} == {4009}


def test_a_name_that_is_nearly_one_is_answered_with_it(server: ServerProcess) -> None:
    assert "slow_consumer" in get(server, "/dashboard/errors?q=slow_consmer").text
    missing = get(server, "/dashboard/errors/slow_consmer")
    assert (missing.status, "perhaps slow_consumer" in missing.text) == (404, True)
    assert get(server, "/dashboard/api/v1/errors/nothing").status == 404


def test_an_app_asks_for_its_own_problems(server: ServerProcess) -> None:
    path = f"/apps/{DEFAULT_APP.id}/problems"
    body = server.signed("GET", path, params={"kinds": "connect_refused"}).json()
    assert {group["error"] for group in body["groups"]} == {"origin_not_allowed", "over_quota"}
    assert body["total"] == 2
    other = server.signed("GET", f"/apps/{NUMERIC_APP.id}/problems", app=NUMERIC_APP).json()
    assert other == {"groups": [], "total": 0}
    assert server.signed("GET", path, params={"kinds": "shut"}).status == 400
    assert server.request("GET", path).status == 400


def test_a_thousand_of_one_kind_are_one_group(server: ServerProcess) -> None:
    [before] = groups(server, "?q=client_event&kinds=frame_refused&app_id=app-id")[-1:]
    with WebSocket(server, headers={"Origin": "https://shop.example.com"}).greeting() as client:
        for _ in range(1000):
            client.say("client-typing", {}, "private-orders")
        for _ in range(1000):
            client.event()
    found = [
        group
        for group in groups(server, "?q=client_event&kinds=frame_refused")
        if group["explanation"]["slug"] == "client_event"
    ]
    assert sum(group["count"] for group in found) >= before["count"] + 1000
    assert len(found) <= 2
    assert all(len(group["last"]) <= 20 for group in found)
    assert len(json.dumps(found)) < 50_000
