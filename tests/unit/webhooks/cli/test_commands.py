"""``sockudo webhooks`` against replies of the server, and its test of an endpoint against answers of every kind."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from sockudo.client.failures import ApiError
from sockudo.config.webhooks import EVENT_TYPES, PUSH_EVENTS
from sockudo.errors import CATALOGUE
from sockudo.outbound.problems import PROBLEMS
from sockudo.webhooks.advice import advice_on
from sockudo.webhooks.cli import commands as webhooks
from sockudo.webhooks.cli import trial as webhook_trial
from sockudo.webhooks.records import Answer, Target
from support.receivers import Receiver, answer

TIME = 1767225600123
COMMANDS = ["list", "deliveries", "dead", "show", "replay", "test"]


def counts(waiting: int = 0, delivered: int = 1234, dead: int = 0) -> dict[str, int]:
    return {"waiting": waiting, "in_flight": 0, "delivered": delivered, "dead": dead}


def endpoint(**changes: Any) -> dict[str, Any]:
    return {
        "id": "5f0c",
        "url": "https://hooks.test/in?token=…",
        "events": ["channel_occupied", "channel_vacated"],
        "filter": {},
        "headers": [],
        "timeout_ms": 10_000,
        "counts": counts(),
        "state": "ok",
        "attempt_count": 1234,
        "failed_count": 0,
        "average_ms": 12,
        "last_answer": {
            "at_ms": TIME,
            "status": 200,
            "problem": None,
            "took_ms": 34,
            "snippet": "ok",
            "advice": None,
        },
    } | changes


def failing(**changes: Any) -> dict[str, Any]:
    last = {"at_ms": TIME, "status": 404, "problem": None, "took_ms": 5, "snippet": "", "advice": "Correct the url."}
    return endpoint(
        id="77aa", url="https://b.test", state="failing", counts=counts(dead=12), last_answer=last, **changes
    )


def overview(*endpoints: Any, ignored: Any = (), **queue: Any) -> dict[str, Any]:
    state = {"healthy": True, "events_not_queued": 0, "events_lost": 0}
    return {"endpoints": list(endpoints), "ignored": list(ignored), "queue": state | queue}


def delivery(delivery_id: str = "d1", **changes: Any) -> dict[str, Any]:
    return {
        "id": delivery_id,
        "endpoint": "5f0c",
        "url": "https://hooks.test/in",
        "state": "dead",
        "reason": "refused",
        "events": 2,
        "bytes": 1234,
        "lane": 0,
        "sequence": 7,
        "attempt_count": 1,
        "created_at_ms": TIME,
        "due_at_ms": None,
        "first_attempt_at_ms": TIME,
        "settled_at_ms": TIME,
    } | changes


def attempt(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "number": number,
        "at_ms": TIME,
        "took_ms": 12,
        "status": 401,
        "problem": None,
        "snippet": "bad signature",
        "advice": "Check the secret.",
    } | changes


def page(*deliveries: Any, next_before: int | None = None) -> dict[str, Any]:
    return {"deliveries": list(deliveries), "limit": 50, "next_before": next_before}


class Pages:
    """Answers one page after the other."""

    def __init__(self, *pages: Any) -> None:
        self.pages = list(pages)
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, **query: Any) -> Any:
        self.asked.append(query)
        return self.pages.pop(0)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "220")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "refuse_without_terminal", lambda _: None)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(run: Any, command: str) -> None:
    result = run("webhooks", command, "--help")
    assert result.exit_code == 0
    assert f"Example: sockudo webhooks {command}" in result.stdout
    assert "Exit codes:" in result.stdout


# ---- list ----


def test_endpoints_are_listed_with_what_to_do(run: Any, api: Any) -> None:
    api.replies["webhooks"] = overview(endpoint(filter={"channel_prefix": "room-"}), failing())
    result = run("webhooks", "list")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    for word in (
        "5f0c",
        "https://hooks.test/in?token=…",
        "1,234",
        "channel_prefix=room-",
        "200 after 34 ms",
        "failing",
    ):
        assert word in text
    assert "77aa: Correct the url.\n" in result.stderr
    assert "`sockudo webhooks dead`" in result.stderr


def test_addresses_and_ids_are_never_cut(run: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "https://hooks.test/" + "x" * 300
    api.replies["webhooks"] = overview(endpoint(url=long))
    assert long in run("webhooks", "list").stdout
    api.replies["webhook_deliveries"] = page(delivery("7c453016-5eba-4141-9d79-847c0411ae8f", url=long))
    text = run("webhooks", "dead").stdout
    assert "7c453016-5eba-4141-9d79-847c0411ae8f" in text
    assert long in text


def test_nothing_is_remarked_when_all_is_well(run: Any, api: Any) -> None:
    untried = endpoint(state="untried", last_answer=None)
    api.replies["webhooks"] = overview(untried)
    result = run("webhooks", "list")
    assert "not tried yet" in result.stdout
    assert result.stderr == ""


def test_a_removed_endpoint_and_one_that_is_left_alone(run: Any, api: Any) -> None:
    removed = {"id": "00ff", "url": None, "counts": counts(delivered=3, dead=2)}
    api.replies["webhooks"] = overview(endpoint(state="held_back"), removed)
    text = run("webhooks", "list").stdout
    assert "left alone for now" in text
    assert "removed" in text


def test_what_is_wrong_with_the_queue_is_told(run: Any, api: Any) -> None:
    ignored = ["policy.webhooks[1] has no url"]
    api.replies["webhooks"] = overview(endpoint(), ignored=ignored, healthy=False, events_not_queued=41, events_lost=3)
    told = run("webhooks", "list").stderr
    assert "policy.webhooks[1] has no url" in told
    assert "The queue does not work: 41 events wait in the server's memory." in told
    assert "Lost because the queue took nothing for too long: 3 events." in told


def test_an_app_without_webhooks(run: Any, api: Any) -> None:
    api.replies["webhooks"] = overview()
    assert run("webhooks", "list").stdout.startswith("The app has no webhooks")


def test_list_as_json_is_the_reply(run: Any, api: Any) -> None:
    api.replies["webhooks"] = overview(failing())
    result = run("webhooks", "list", "--json")
    assert json.loads(result.stdout) == overview(failing())
    assert result.stderr == ""


def test_a_refusal_comes_with_its_remedy(run: Any, api: Any) -> None:
    off = ApiError(503, "webhooks_off", "This server has no webhooks", docs="errors.md#webhooks_off")
    api.replies["webhooks"] = off
    result = run("webhooks", "list")
    assert result.exit_code == 1
    assert "Set queue.driver (QUEUE_DRIVER) to sqlite" in result.stderr


# ---- deliveries and dead ----


def test_dead_letters_are_listed(run: Any, api: Any) -> None:
    api.replies["webhook_deliveries"] = page(delivery(), delivery("d0", url=None, reason="endpoint_removed"))
    result = run("webhooks", "dead", "--endpoint", "5f0c")
    assert api.calls == [
        ("webhook_deliveries", (), {"endpoint": "5f0c", "state": "dead", "before": None, "limit": 50}),
    ]
    heading, first, second = result.stdout.splitlines()
    assert heading.split() == ["id", "queued", "state", "attempts", "events", "endpoint"]
    assert (first.split()[0], second.split()[0]) == ("d1", "d0")
    assert first.endswith("dead: refused           1         2       https://hooks.test/in")
    assert second.endswith("dead: endpoint_removed  1         2       5f0c (removed)")
    assert result.stderr == "`sockudo webhooks show ID` has the body of one, and what was answered.\n"


def test_no_dead_letters(run: Any, api: Any) -> None:
    api.replies["webhook_deliveries"] = page()
    assert run("webhooks", "dead").stdout == "There are no dead letters.\n"
    assert run("webhooks", "deliveries").stdout == "There are no deliveries.\n"
    assert run("webhooks", "deliveries", "--state", "waiting").stdout == "There are no waiting deliveries.\n"


def test_all_follows_the_pages_as_json_lines(run: Any, api: Any) -> None:
    api.webhook_deliveries = pages = Pages(page(delivery("d3"), delivery("d2"), next_before=2), page(delivery("d1")))
    result = run("webhooks", "dead", "--all", "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["d3", "d2", "d1"]
    assert [(each["before"], each["limit"]) for each in pages.asked] == [(None, None), (2, None)]
    assert result.stderr == ""


def test_a_limit_may_be_larger_than_the_page_of_the_server(run: Any, api: Any) -> None:
    api.webhook_deliveries = pages = Pages(
        page(delivery("d3"), delivery("d2"), next_before=2), page(delivery("d1"), next_before=1)
    )
    result = run("webhooks", "deliveries", "--limit", "3")
    assert [(each["before"], each["limit"]) for each in pages.asked] == [(None, 3), (2, 1)]
    assert "There is more: see all of it with --all." in result.stderr


def test_a_state_that_there_is_not(run: Any, api: Any) -> None:
    result = run("webhooks", "deliveries", "--state", "lost")
    assert (result.exit_code, api.calls) == (2, [])
    assert "--state is waiting, delivered or dead, not 'lost'." in result.stderr


# ---- show ----


def test_a_dead_letter_is_shown_with_its_reason_and_what_to_do(run: Any, api: Any) -> None:
    body = '{"time_ms":1,"events":[{"name":"client_event","channel":"private-x","data":"\\u001b[31m"}]}'
    api.replies["webhook_delivery"] = delivery() | {"body": body, "attempts": [attempt()]}
    result = run("webhooks", "show", "d1")
    assert result.exit_code == 0
    assert api.calls == [("webhook_delivery", ("d1",), {})]
    for word in ("dead: refused", "2 events, 1,234 bytes", "401", "bad signature", '"name": "client_event"'):
        assert word in result.stdout
    assert "\x1b[31m" not in result.stdout
    assert "what it answered would not change" in result.stderr
    assert "  → Check the secret.\n" in result.stderr
    assert "  → Then: sockudo webhooks replay d1\n" in result.stderr


def test_a_delivery_that_waits_says_when_it_is_tried_next(run: Any, api: Any) -> None:
    waits = delivery(state="waiting", reason=None, due_at_ms=TIME, settled_at_ms=None)
    tried = [attempt(status=None, problem="tls_expired", advice="Serve the full chain.", snippet="")]
    api.replies["webhook_delivery"] = waits | {"body": "{}", "attempts": tried}
    result = run("webhooks", "show", "d1")
    assert "next try:" in result.stdout
    assert "tls_expired" in result.stdout
    assert "The certificate of the webhook's host has expired" in result.stderr
    assert "  → Serve the full chain.\n" in result.stderr
    assert "replay" not in result.stderr


def test_a_dead_letter_that_was_never_tried(run: Any, api: Any) -> None:
    gone = delivery(reason="endpoint_removed", attempt_count=0)
    api.replies["webhook_delivery"] = gone | {"body": "not json \x1b[2J", "attempts": []}
    result = run("webhooks", "show", "d1")
    assert "not json \\x1b[2J" in result.stdout
    assert "removed or changed before its turn" in result.stderr


def test_a_delivered_one_needs_nothing(run: Any, api: Any) -> None:
    done = delivery(state="delivered", reason=None)
    api.replies["webhook_delivery"] = done | {"body": "{}", "attempts": [attempt(status=200, advice=None)]}
    result = run("webhooks", "show", "d1")
    assert "delivered:" in result.stdout
    assert result.stderr == ""


def test_show_as_json_is_the_reply(run: Any, api: Any) -> None:
    whole = delivery() | {"body": "{}", "attempts": [attempt()]}
    api.replies["webhook_delivery"] = whole
    assert json.loads(run("webhooks", "show", "d1", "--json").stdout) == whole


# ---- replay ----


REPLAYED = {"replayed": 1, "unknown": [], "waiting": []}


@pytest.mark.parametrize("arguments", [[], ["d1", "--all"], ["--endpoint", "5f0c", "--all"]])
def test_what_is_replayed_has_to_be_said(run: Any, api: Any, arguments: list[str]) -> None:
    result = run("webhooks", "replay", "--yes", *arguments)
    assert (result.exit_code, api.calls) == (2, [])
    assert "one of them" in result.stderr


def test_nothing_is_sent_without_a_terminal_or_yes(run: Any, api: Any) -> None:
    result = run("webhooks", "replay", "d1")
    assert (result.exit_code, api.calls) == (2, [])
    assert "Add --yes" in result.stderr


@pytest.mark.usefixtures("terminal")
def test_it_asks_first_and_no_means_no(run: Any, api: Any) -> None:
    api.replies["webhooks"] = overview(endpoint(), failing())
    result = run("webhooks", "replay", "--endpoint", "77aa", stdin="n\n")
    assert result.exit_code == 1
    assert "77aa (https://b.test) has 12 dead letters. Send them again?" in result.stderr
    assert "Nothing was sent." in result.stderr
    assert [name for name, _, _ in api.calls] == ["webhooks"]


@pytest.mark.usefixtures("terminal")
def test_yes_sends_all(run: Any, api: Any) -> None:
    api.replies["webhooks"] = overview(endpoint(counts=counts(dead=1)), failing())
    api.replies["replay_webhooks"] = REPLAYED | {"replayed": 13}
    result = run("webhooks", "replay", "--all", stdin="y\n")
    assert result.exit_code == 0
    assert result.stdout.endswith("13 deliveries sent again.\n")
    assert "The app has 13 dead letters. Send them again?" in result.stderr
    assert api.calls[-1] == ("replay_webhooks", (), {"endpoint": None})


@pytest.mark.usefixtures("terminal")
def test_there_is_nothing_to_ask_about(run: Any, api: Any) -> None:
    api.replies["webhooks"] = overview(endpoint())
    result = run("webhooks", "replay", "--all")
    assert (result.exit_code, result.stdout) == (0, "The app has 0 dead letters.\n")


def test_many_ids_go_in_several_requests_and_the_rest_is_named(run: Any, api: Any) -> None:
    ids = [f"d{number}" for number in range(150)]
    api.replies["replay_webhooks"] = {"replayed": 98, "unknown": ["x"], "waiting": ["w"]}
    result = run("webhooks", "replay", "--yes", *ids)
    assert [call[2]["ids"] for call in api.calls] == [ids[:100], ids[100:]]
    assert result.stdout == "196 deliveries sent again. Under way anyway: w, w. Not known: x, x.\n"


def test_an_id_that_is_not_there(run: Any, api: Any) -> None:
    api.replies["replay_webhooks"] = ApiError(
        404, "delivery_not_found", "No webhook delivery of the app has the id 'd1'"
    )
    result = run("webhooks", "replay", "--yes", "d1")
    assert result.exit_code == 1
    assert "Take ids from `sockudo webhooks dead`" in result.stderr


# ---- test ----


class Sender:
    """Answers what a test wants, and keeps what it was given."""

    def __init__(self, given: Answer) -> None:
        self.answer = given
        self.sent: list[tuple[Target, bytes]] = []
        self.allow_private: bool | None = None
        self.closed = False

    def __call__(self, allow_private: bool) -> Sender:
        self.allow_private = allow_private
        return self

    async def send(self, target: Target, body: bytes) -> Answer:
        self.sent.append((target, body))
        return self.answer

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Sender:
    fake = Sender(Answer(200, took_ms=34, snippet="thanks"))
    monkeypatch.setattr(webhook_trial, "_sender", fake)
    monkeypatch.chdir(tmp_path)
    return fake


URL = "https://ana:pw@hooks.test/in?token=s3cret"


@pytest.mark.parametrize("event", sorted(EVENT_TYPES))
def test_an_example_of_every_event_is_signed_as_the_server_does(run: Any, sender: Sender, event: str) -> None:
    result = run("webhooks", "test", URL, "--event", event, "--header", "X-Api-Key: k:1", "--timeout", "3")
    assert result.exit_code == 0, result.stderr
    [(target, body)] = sender.sent
    assert (target.url, target.timeout) == (URL, 3.0)
    headers = dict(target.headers)
    assert headers["X-Pusher-Key"] == "pier-key"
    assert headers["X-Pusher-Signature"] == hmac.new(b"tide-secret", body, hashlib.sha256).hexdigest()
    assert headers["X-Sockudo-Delivery"].startswith("test-")
    assert (headers["X-Sockudo-Attempt"], headers["X-Api-Key"]) == ("1", "k:1")
    sent = json.loads(body)
    assert sent["time_ms"] > 0
    [example] = sent["events"]
    assert example["name"] == event
    assert ("channel" in example) == (event not in PUSH_EVENTS)
    assert sender.closed


def test_what_came_back_is_told_without_secrets(run: Any, sender: Sender) -> None:
    result = run("webhooks", "test", URL)
    for word in ("channel_occupied to https://hooks.test/in?token=…", "app 4471", "200 after 34 ms", "thanks"):
        assert word in result.stdout
    assert result.stdout.endswith("The endpoint takes webhooks.\n")
    assert result.stderr == ""
    assert "s3cret" not in result.output
    assert "tide-secret" not in result.output


@pytest.mark.parametrize(
    ("given", "code", "texts"),
    [
        (Answer(301), 1, ["did not take it: 301", "give this one up at once", "Redirects are not followed"]),
        (Answer(401), 1, ["did not take it: 401", "over the raw body"]),
        (Answer(403), 1, ["over the raw body"]),
        (Answer(404), 1, ["Nothing is at this path"]),
        (Answer(418), 1, ["refuses the request"]),
        (Answer(500), 1, ["did not take it: 500", "would try again later", "The endpoint failed: look at its log."]),
        (Answer(None, "timeout"), 3, ["did not answer within the time limit", "webhooks.request_timeout_ms"]),
        (
            Answer(None, "tls_self_signed"),
            3,
            ["self-signed", "SSL_CERT_FILE", "sockudo explain webhook_tls_self_signed"],
        ),
        (Answer(None, "tls_not_spoken"), 3, ["does not speak TLS", "Use http"]),
        (Answer(301, snippet="Location: https://new.test/hook"), 1, ["webhook's url: https://new.test/hook"]),
        (Answer(None, "address_refused"), 1, ["WEBHOOK_ALLOW_PRIVATE_ADDRESSES", "--allow-private sends"]),
        (Answer(None, "connection_refused"), 3, ["Nothing listens"]),
        (Answer(None, "dns_failed"), 3, ["cannot be resolved"]),
        (Answer(None, "url_invalid"), 2, ["cannot be called"]),
    ],
)
def test_every_failure_comes_with_advice(run: Any, sender: Sender, given: Answer, code: int, texts: list[str]) -> None:
    sender.answer = given
    result = run("webhooks", "test", URL)
    assert result.exit_code == code
    for text in texts:
        assert text in result.stderr
    assert "takes webhooks" not in result.stdout
    assert sender.closed


def test_a_slow_answer_is_remarked(run: Any, sender: Sender) -> None:
    sender.answer = Answer(200, took_ms=5400)
    result = run("webhooks", "test", URL)
    assert result.exit_code == 0
    assert "It is slow: answer first" in result.stderr


def test_the_result_as_json(run: Any, sender: Sender) -> None:
    sender.answer = Answer(404, took_ms=5, snippet="no")
    result = run("webhooks", "test", URL, "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    told = json.loads(result.stdout)
    assert told["body"].encode() == sender.sent[0][1]
    assert told["delivery"] == dict(sender.sent[0][0].headers)["X-Sockudo-Delivery"]
    assert (told["url"], told["event"]) == ("https://hooks.test/in?token=…", "channel_occupied")
    assert (told["delivered"], told["status"], told["problem"], told["took_ms"]) == (False, 404, None, 5)
    assert told["advice"] == advice_on(404, None)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([URL, "--event", "channel_ocupied"], "Did you mean channel_occupied?"),
        ([URL, "--event", "zzz"], "Events: cache_miss, "),
        ([URL, "--header", "X-Api-Key"], "--header 'X-Api-Key' has no colon."),
        ([URL, "--header", "X-Pusher-Key: x"], "has the header 'X-Pusher-Key', which the server sets itself"),
        (["hooks.test/in"], "has a url that is not an absolute http or https address"),
    ],
)
def test_what_cannot_be_meant(run: Any, sender: Sender, arguments: list[str], text: str) -> None:
    result = run("webhooks", "test", *arguments)
    assert result.exit_code == 2
    assert text in result.stderr
    assert sender.sent == []


def test_private_addresses_are_called_where_a_server_here_would(run: Any, sender: Sender, tmp_path: Any) -> None:
    def allowed(*arguments: str) -> bool | None:
        assert run("webhooks", "test", URL, *arguments).exit_code == 0
        return sender.allow_private

    assert allowed() is False
    assert allowed("--allow-private") is True
    assert allowed("--app-id", "app-id", "--key", "app-key", "--secret", "app-secret") is True
    config = tmp_path / "own.toml"
    config.write_text("[webhooks]\nallow_private_addresses = true\n")
    assert allowed("--config", str(config)) is True


def test_the_real_sender_reaches_a_real_endpoint(run: Any) -> None:
    import asyncio
    import threading

    ready, done = threading.Event(), threading.Event()
    kept: dict[str, Any] = {}

    async def serve() -> None:
        async with Receiver(answer(202, b"noted")) as receiver:
            kept["port"] = receiver.port
            ready.set()
            await asyncio.to_thread(done.wait, 30)
            kept["received"] = list(receiver.received)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        result = run("webhooks", "test", f"http://127.0.0.1:{kept['port']}/in", "--allow-private")
        refused = run("webhooks", "test", f"http://127.0.0.1:{kept['port']}/in")
    finally:
        done.set()
        thread.join(10)
    assert (result.exit_code, "202 after" in result.stdout, "noted" in result.stdout) == (0, True, True)
    assert refused.exit_code == 1
    [request] = kept["received"]
    assert request.headers["x-pusher-signature"] == hmac.new(b"tide-secret", request.body, hashlib.sha256).hexdigest()


# ---- words ----


@pytest.mark.parametrize("problem", sorted(PROBLEMS))
def test_every_problem_of_the_sender_is_explained(run: Any, problem: str) -> None:
    row = CATALOGUE[f"webhook_{problem}"]
    assert row.code == problem
    assert advice_on(None, problem) == row.remedy
    assert row.remedy in run("explain", problem).stdout


@pytest.mark.parametrize(
    "reason",
    ["refused", "time_exhausted", "attempts_exhausted", "retry_disabled", "endpoint_removed", "app_removed"],
)
def test_every_reason_of_a_dead_letter_is_explained(run: Any, reason: str) -> None:
    result = run("explain", reason)
    assert result.exit_code == 0
    assert f"{reason}, in replies, events or the log" in result.stdout


def test_there_is_advice_on_every_status_but_success() -> None:
    assert [status for status in (*range(100, 200), *range(300, 600)) if not advice_on(status, None)] == []
    assert advice_on(204, None) is None
