"""The overview of the dashboard and what programs ask about the whole server."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from support.server import DEFAULT_APP, Reply, ServerProcess, app_record, start_server
from support.waiting import PATIENCE, wait_until
from support.websocket import Connect

PASSWORD = "correct horse battery"
TOKEN = "hook-token-5f1d"
API = "/dashboard/api/v1"
SECTIONS = {
    "dashboard": {"password": PASSWORD},
    "database": {"postgres": {"password": "pg-secret-77"}},
    "app_manager": {
        "array": {
            "apps": [
                app_record(
                    DEFAULT_APP,
                    webhooks=[
                        {
                            "url": f"https://hooks.test/in?token={TOKEN}",
                            "event_types": ["channel_occupied"],
                            "headers": {"Authorization": f"Bearer {TOKEN}"},
                        }
                    ],
                )
            ]
        }
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(SECTIONS) as running:
        yield running


def ask(server: ServerProcess, path: str, *, password: str | None = PASSWORD, **headers: str) -> Reply:
    sent = {"Authorization": f"Bearer {password}"} if password is not None else {}
    return server.request("GET", path, headers={**sent, **headers}, port=server.metrics_port)


def asked(server: ServerProcess, path: str) -> Any:
    reply = ask(server, path)
    assert reply.status == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


class Event(NamedTuple):
    id: int
    name: str
    data: Any


@contextlib.contextmanager
def watching(server: ServerProcess, query: str = "", **headers: str) -> Iterator[Iterator[Event]]:
    """The events of the stream, as they come."""
    connection = http.client.HTTPConnection(server.host, server.metrics_port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(
            "GET", f"{API}/overview/stream{query}", headers={"Authorization": f"Bearer {PASSWORD}", **headers}
        )
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield _events(answer)


def _events(answer: http.client.HTTPResponse) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in iter(answer.readline, b""):
        text = line.decode().rstrip("\n")
        if text and not text.startswith(":"):
            name, _, value = text.partition(": ")
            fields[name] = value
        elif not text and fields:
            yield Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}


# ---- the series ----


def test_the_series_move_when_messages_are_published(server: ServerProcess, connect: Connect, unique: str) -> None:
    began = int(time.time() * 1000)
    clients = [connect() for _ in range(3)]
    for client in clients:
        client.subscribe(unique)
    for number in range(20):
        server.publish(unique, "tick", f"{number}")

    def moved() -> dict[str, Any] | None:
        body = asked(server, f"{API}/overview?since={began}")
        series = {name: max((value or 0 for value in column), default=0) for name, column in body["series"].items()}
        enough = series["messages_per_second"] and series["connections"] >= 3 and series["channels"]
        return series if enough else None

    series = wait_until(moved, "samples with what was published")
    assert series["deliveries_per_second"] == pytest.approx(3 * series["messages_per_second"], rel=0.5)
    assert series["requests_per_second"] == pytest.approx(series["messages_per_second"], rel=0.5)
    assert series["bytes_sent_per_second"] > series["deliveries_per_second"] * 20
    assert series["memory_bytes"] > 10_000_000


def test_the_columns_are_of_one_length_and_in_the_order_of_time(server: ServerProcess) -> None:
    body = wait_until(lambda: _with(asked(server, f"{API}/overview"), 2), "two samples")
    assert {len(column) for column in body["series"].values()} == {len(body["at"])}
    assert body["at"] == sorted(set(body["at"]))
    assert body["at"][-1] - body["at"][-2] == pytest.approx(body["interval_ms"], abs=1500)
    later = asked(server, f"{API}/overview?since={body['at'][0]}")
    assert later["at"][: len(body["at"]) - 1] == body["at"][1:]


def _with(body: dict[str, Any], samples: int) -> dict[str, Any] | None:
    return body if len(body["at"]) >= samples else None


def test_errors_are_counted_by_code_and_shown_with_their_explanation(server: ServerProcess) -> None:
    for _ in range(3):
        assert ask_api_with_a_wrong_key(server) == 401

    def counted() -> bool:
        return sum(asked(server, f"{API}/overview")["error_counts"].get("unknown_key", [])) >= 3

    wait_until(counted, "the refusals among the errors")
    page = ask(server, "/dashboard").text
    assert 'href="/dashboard/errors/unknown_key"' in page
    assert "HTTP 401" in page


def ask_api_with_a_wrong_key(server: ServerProcess) -> int:
    query = f"auth_key=nobody&auth_timestamp={int(time.time())}&auth_version=1.0&auth_signature={'0' * 64}"
    return server.request("GET", f"/apps/{server.app.id}/channels?{query}").status


@pytest.mark.parametrize("since", ["yesterday", "-1", "1e9", "9" * 30, "٣"])
def test_a_moment_that_is_none_is_refused(server: ServerProcess, since: str) -> None:
    reply = ask(server, f"{API}/overview?since={quote(since)}")
    assert (reply.status, reply.json()["code"]) == (400, "invalid_input")


# ---- the stream ----


def test_the_stream_tells_each_sample_as_it_is_taken(server: ServerProcess) -> None:
    with watching(server) as events:
        first, second = next(events), next(events)
    assert [first.name, second.name] == ["sample", "sample"]
    assert first.data["at"] == first.id < second.id == second.data["at"]
    assert {"connections", "loop_lag_max_ms", "webhooks_pending", "error_counts"} <= first.data.keys()


def test_who_comes_back_gets_what_was_missed_in_one_piece(server: ServerProcess) -> None:
    body = wait_until(lambda: _with(asked(server, f"{API}/overview"), 4), "four samples")
    with watching(server, **{"Last-Event-ID": str(body["at"][0])}) as events:
        missed, following = next(events), next(events)
    assert missed.name == "series"
    assert missed.data["at"][: len(body["at"]) - 1] == body["at"][1:]
    assert missed.id == missed.data["at"][-1]
    assert (following.name, following.id > missed.id) == ("sample", True)


def test_the_place_of_the_last_event_counts_more_than_the_url(server: ServerProcess) -> None:
    body = wait_until(lambda: _with(asked(server, f"{API}/overview"), 4), "four samples")
    with watching(server, "?since=0", **{"Last-Event-ID": str(body["at"][-2])}) as events:
        first = next(events)
    assert min([first.id, *(first.data["at"] if first.name == "series" else [])]) >= body["at"][-1]


def test_a_watched_server_stops(server: ServerProcess) -> None:
    with start_server(SECTIONS) as other, watching(other) as events:
        next(events)
        assert other.terminate() == 0
        assert list(events) == []


# ---- the page ----


def test_the_page_has_every_number_without_a_script(server: ServerProcess, connect: Connect) -> None:
    connect()

    def shown() -> str | None:
        text = ask(server, "/dashboard").text
        return text if 'data-now="connections" data-unit="count">–<' not in text else None

    page = wait_until(shown, "a page with numbers")
    for text in (
        "Health",
        "Connections",
        "Resident memory",
        "Event loop lag",
        f"http://127.0.0.1:{server.port}",
        "MiB",
    ):
        assert text in page
    assert page.count("<figure") == page.count('<table class="readings">') == page.count('role="img"') > 5


@pytest.mark.parametrize("part", ["state", "errors"])
def test_parts_of_the_page_are_asked_for_again(server: ServerProcess, part: str) -> None:
    alone = ask(server, f"/dashboard/overview/{part}", **{"HX-Request": "true"})
    assert alone.status == 200
    assert "<html" not in alone.text
    assert "<html" in ask(server, f"/dashboard/overview/{part}").text


def test_a_range_that_is_none_is_refused(server: ServerProcess) -> None:
    assert ask(server, "/dashboard?minutes=60").status == 200
    assert ask(server, "/dashboard?minutes=7").status == 400


# ---- operations ----


def test_health_says_each_check_with_its_time(server: ServerProcess) -> None:
    body = asked(server, f"{API}/health")
    assert (body["word"], body["status"]) == ("OK", 200)
    checks = {check["name"]: check for check in body["checks"]}
    assert checks["apps"]["passed"]
    assert checks["webhooks"]["degrading"]
    assert body["uptime_seconds"] >= 0
    assert {"name": "Clients and HTTP API", "address": f"http://127.0.0.1:{server.port}"} in body["listeners"]
    missing = asked(server, f"{API}/health?app_id=nobody")
    assert (missing["word"], missing["status"], missing["reason"]) == ("NOT_FOUND", 404, "no app has this id")


def test_stats_and_usage_are_those_of_the_main_port(server: ServerProcess) -> None:
    assert asked(server, f"{API}/stats").keys() == server.request("GET", "/stats").json().keys()
    assert asked(server, f"{API}/usage")["memory"]["total"] == server.request("GET", "/usage").json()["memory"]["total"]


def test_the_configuration_is_shown_without_secrets(server: ServerProcess) -> None:
    body = asked(server, f"{API}/configuration")
    assert body["settings"]["port"] == server.port
    assert body["settings"]["app_manager"]["array"]["apps"] == [{"id": server.app.id, "enabled": True}]
    assert {"port", "dashboard.password", "database.postgres.password"} <= set(body["changed"])
    text = json.dumps(body)
    for secret in (PASSWORD, TOKEN, "pg-secret-77", server.app.secret):
        assert secret not in text


def test_metrics_come_as_text_and_as_json(server: ServerProcess) -> None:
    text = ask(server, f"{API}/metrics?format=text")
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = {line.split()[2] for line in text.text.splitlines() if line.startswith("# TYPE sockudo_")}
    families = {family["name"]: family for family in asked(server, f"{API}/metrics")["metrics"]}
    assert {name.removesuffix("_total") for name in names} == {
        name.removesuffix("_total") for name in families if name.startswith("sockudo_")
    }
    assert families["sockudo_connected"]["samples"][0]["labels"]["app_id"] == server.app.id
    assert ask(server, f"{API}/metrics?format=xml").status == 400


# ---- who may ----

PATHS = (
    "/dashboard",
    "/dashboard/overview/state",
    "/dashboard/overview/errors",
    *(
        f"{API}/{name}"
        for name in ("overview", "overview/stream", "stats", "usage", "health", "configuration", "metrics")
    ),
)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_told_without_the_password(server: ServerProcess, path: str) -> None:
    reply = ask(server, path, password=None)
    assert reply.status == (401 if path.startswith(API) else 303)
    assert "connections" not in reply.text.lower()
    assert server.app.id not in reply.text


def test_nothing_is_told_to_who_guesses(server: ServerProcess) -> None:
    assert ask(server, f"{API}/overview", password="opensesame").status == 401
