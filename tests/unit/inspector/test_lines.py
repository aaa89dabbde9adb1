from __future__ import annotations

import pytest

from sockudo.inspector import KINDS, Entry
from sockudo.inspector.lines import LABELS, line_of


def test_every_kind_has_a_label() -> None:
    assert set(LABELS) == set(KINDS)
    assert len(set(LABELS.values())) == len(KINDS)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            Entry(1, "connected", "a", None, "1.2", address="10.0.0.7", client="pusher-js", origin="https://x.example"),
            "connected  app a  socket 1.2  from 10.0.0.7  pusher-js on https://x.example",
        ),
        (
            Entry(1, "connect_refused", "a", address="10.0.0.7", origin="null", error="origin_not_allowed", code=4009,
                  text="Origin not allowed"),
            "connection refused  app a  from 10.0.0.7  Origin not allowed (origin null)  4009 · origin_not_allowed",
        ),
        (
            Entry(1, "subscribe_refused", "a", "private-x", "1.2", "ana", error="channel_auth_invalid", code=4009,
                  text="Authentication error", cause="signed with the secret of the app b"),
            ("subscribe refused  app a  private-x  socket 1.2  user ana  Authentication error  "
            "likely cause: signed with the secret of the app b  4009 · channel_auth_invalid"),
        ),
        (Entry(1, "connected", client="js 8.6.0 V1 json", origin="https://shop.example.com"),
         "connected  js 8.6.0 V1 json on https://shop.example.com"),
        (Entry(1, "connected", client="js 8.6.0 V1 json", origin="null"),
         "connected  js 8.6.0 V1 json on a local file or a sandboxed page"),
        (Entry(1, "closed", code=1000, by="client"), "closed  by the client  1000"),
        (Entry(1, "closed", by="network"), "closed  the connection was lost"),
        (Entry(1, "closed", by="network", silent=60),
            "closed  the connection was lost after 60 s without anything from the client"),
        (
            Entry(1, "closed", error="slow_consumer", code=4100, text="Client buffer full", by="server"),
            "closed  by the server: Client buffer full  4100 · slow_consumer",
        ),
        (
            Entry(1, "message", "a", "harbor", event="tide", source="api", recipients=1, bytes=12, data='{"m": 2}',
                  serial=4),
            'message  app a  harbor  tide {"m": 2}  from the API · to 1 connection · 12 bytes · serial 4',
        ),
        (
            Entry(1, "message", event="tide", source="client", recipients=0, cause="no client is subscribed"),
            "message  tide  no client is subscribed  from a client · to 0 connections",
        ),
        (
            Entry(1, "frame_refused", event="client-x", text="not enabled", error="client_event", code=4301),
            "frame refused  client-x: not enabled  4301 · client_event",
        ),
        (
            Entry(1, "request_refused", request="POST /apps/a/events", text="Invalid", status=401, error="x"),
            "request refused  POST /apps/a/events: Invalid  HTTP 401 · x",
        ),
        (
            Entry(1, "webhook_failed", "a", event="channel_occupied", endpoint="5f", request="POST http://h/a",
                  attempt=2,
                  text="the endpoint answered 500; it is tried again", status=500, took_ms=7, delivery="d1",
                  cause="The endpoint failed: look at its log.", error="webhook_failed"),
            ("webhook failed  app a  endpoint 5f  channel_occupied to http://h/a – the endpoint answered 500; it is "
            "tried again  what to do: The endpoint failed: look at its log.  HTTP 500 · attempt 2 · 7 ms · "
            "delivery d1 · webhook_failed"),
        ),
    ],
)  # fmt: skip
def test_lines(entry: Entry, line: str) -> None:
    assert str(line_of(entry)) == line


@pytest.mark.parametrize(
    ("entry", "tone"),
    [
        (Entry(1, "subscribed"), "good"),
        (Entry(1, "message", recipients=2), "plain"),
        (Entry(1, "message", recipients=0, cause="no client is subscribed"), "warn"),
        (Entry(1, "closed", by="client", code=1000), "plain"),
        (Entry(1, "closed", by="network"), "warn"),
        (Entry(1, "closed", by="server", error="server_shutdown"), "warn"),
        (Entry(1, "closed", by="server", error="slow_consumer"), "bad"),
        (Entry(1, "webhook_dead"), "bad"),
        (Entry(1, "request_refused"), "bad"),
    ],
)
def test_tones(entry: Entry, tone: str) -> None:
    assert line_of(entry).tone == tone


def test_what_comes_from_outside_is_passed_on_as_it_is() -> None:
    """Escaping is for the one who shows it, who alone knows what could command what."""
    name = "<b>\x1b[31m\u2028"
    line = line_of(Entry(1, "message", channel=name, event=name, data=name))
    assert line.subject == (("channel", name),)
    assert line.text == f"{name} {name}"
