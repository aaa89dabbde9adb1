"""Reasons why a client receives nothing, each made to happen for real on a server of its own configuration.

The operators' chapter tells of eight, a test looks for each reason where the chapter says, and `scripts/pictures` shows
the pages. What an operator must be told of all of them, whatever they look at, are `CAUSES`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from support.endpoint import WebhookEndpoint
from support.operators import dashboard_config
from support.server import NUMERIC_APP, ServerProcess, app_record, start_server
from support.signing import Credentials, channel_auth
from support.waiting import wait_until
from support.websocket import WebSocket

__all__ = ["CAUSES", "SHOP", "SITUATIONS", "Cause", "Situation", "Stage", "bring_about", "stage"]

SHOP: Final = Credentials("shop", "shop-key-7d21", "shop-secret-5be0")
_ORIGIN: Final = "https://shop.example.com"
_MOST: Final = 4
_EVENT: Final = 90_000
_BATCHES: Final = 40


class Stage:
    """A running server with an ``app`` whose clients are pages of one origin, four at a time, and may not say anything
    to each other; what happens in ``order-…`` channels is told to a webhook that fails.
    """

    def __init__(self, server: ServerProcess, app: Credentials, opened: ExitStack) -> None:
        self.server = server
        self.app = app
        self._opened = opened

    def client(self, *, origin: str = _ORIGIN, greeted: bool = True, **fields: Any) -> WebSocket:
        """A page that has connected; it stays until the end of the situation."""
        socket = WebSocket(
            self.server, app=self.app, params="client=js&version=8.6.0", headers={"Origin": origin}, **fields
        )
        self._opened.enter_context(socket)
        return socket.greeting() if greeted else socket

    @property
    def connections(self) -> int:
        """Of the app, as the server counts them."""
        found = [line for line in self.server.metrics().splitlines() if line.startswith("sockudo_connected{")]
        return sum(round(float(line.rpartition(" ")[2])) for line in found)

    @contextlib.contextmanager
    def situation(self) -> Iterator[Stage]:
        """Whatever connects meanwhile is gone for the server too when this ends."""
        with ExitStack() as opened:
            yield Stage(self.server, self.app, opened)
        wait_until(lambda: self.connections == 0, "the clients to be gone")


@contextlib.contextmanager
def stage(app: Credentials = SHOP, *others: Credentials) -> Iterator[Stage]:
    """The server on which all of them can happen to ``app``, one after another; ``others`` are there beside it."""
    with WebhookEndpoint(status=500) as endpoint:
        features = {"enable_client_messages": False, "enable_user_authentication": True}
        webhook = {
            "url": endpoint.url,
            "event_types": ["channel_occupied"],
            "filter": {"channel_prefix": "order-"},
        }
        record = app_record(
            app,
            features=features,
            limits={"max_connections": _MOST},
            channels={"allowed_origins": [_ORIGIN]},
            webhooks=[webhook],
        )
        config = dashboard_config(
            app_manager={"driver": "sqlite", "array": {"apps": [record, *map(app_record, others)]}},
            websocket={"max_messages": 100, "max_backpressure": 65_536},
            webhooks={"allow_private_addresses": True},
        )
        with start_server(config) as server, ExitStack() as opened:
            yield Stage(server, app, opened)


def _wrong_secret(on: Stage) -> None:
    """The page's backend signs with a secret that was replaced, and publishes with it too."""
    old = Credentials(on.app.id, on.app.key, "the-secret-before")
    client = on.client()
    auth = channel_auth(old, client.socket_id, "private-orders")
    client.say("pusher:subscribe", {"channel": "private-orders", "auth": auth})
    assert client.event()["event"] == "pusher:error"
    body = {"name": "paid", "channels": ["private-orders"], "data": "{}"}
    assert on.server.signed("POST", f"/apps/{on.app.id}/events", body=body, app=old).status == 401


def _another_socket(on: Stage) -> None:
    """Two tabs share what the auth endpoint answered to the first."""
    first, second = on.client(), on.client()
    auth = channel_auth(on.app, first.socket_id, "private-basket")
    second.say("pusher:subscribe", {"channel": "private-basket", "auth": auth})
    assert second.event()["event"] == "pusher:error"


def _wrong_channel(on: Stage) -> None:
    """The page listens to one spelling, the backend publishes to another."""
    on.client().subscribe("prices-eu")
    on.server.publish("prices_eu", "changed", '{"item": "tea", "price": 3}', app=on.app)


def _origin_refused(on: Stage) -> None:
    """The page moved to another host name."""
    client = on.client(origin="https://www.example.com", greeted=False)
    assert client.event()["data"]["code"] == 4009


def _client_events(on: Stage) -> None:
    """A page tells the others that somebody types."""
    client, other = on.client(), on.client()
    for each in (client, other):
        each.subscribe("private-chat")
    client.say("client-typing", {"user": "ana"}, "private-chat")
    assert client.event()["event"] == "pusher:error"


def _over_quota(on: Stage) -> None:
    """One page more than the app may have."""
    for _ in range(_MOST):
        on.client()
    assert on.client(greeted=False).event()["data"]["code"] == 4004


def _slow_reader(on: Stage) -> None:
    """A page that does not read while much is said."""
    on.client(receive_buffer=4096).subscribe("ticker")
    batch = [{"name": "tick", "channel": "ticker", "data": "x" * _EVENT}] * 10
    for _ in range(_BATCHES):
        reply = on.server.signed("POST", f"/apps/{on.app.id}/batch_events", body={"batch": batch}, app=on.app)
        assert reply.status == 200, reply.text
        if on.connections == 0:
            return
    raise AssertionError("the slow reader was not closed")


def _webhook_failing(on: Stage) -> None:
    """The backend waits to be told of an order's page, and its endpoint fails."""
    on.client().subscribe("order-4711")


def _other_app(on: Stage) -> None:
    """The page's backend has the secret of another app."""
    mixed = Credentials(on.app.id, on.app.key, NUMERIC_APP.secret)
    client = on.client()
    auth = channel_auth(mixed, client.socket_id, "private-orders")
    client.say("pusher:subscribe", {"channel": "private-orders", "auth": auth})
    assert client.event()["event"] == "pusher:error"


def _impossible_channel(on: Stage) -> None:
    """A name that no channel may have."""
    client = on.client()
    client.say("pusher:subscribe", {"channel": "har bor", "auth": ""})
    assert client.event()["event"] == "pusher:error"


@dataclass(frozen=True)
class Situation:
    """``name`` is that of its picture. ``page`` shows it with all its ``reasons``, as the terminal does; when it is
    ``live``, only to those who look while it happens.
    """

    name: str
    produce: Callable[[Stage], None]
    page: str
    reasons: tuple[str, ...]
    live: bool = False


@dataclass(frozen=True)
class Cause:
    """What is told of a thing that went wrong: kind, error, and words that its text and its likely cause must hold."""

    name: str
    kind: str
    error: str
    told: tuple[str, ...]

    def is_told_by(self, entry: dict[str, Any]) -> bool:
        """Whether an entry is of this cause, with its true reason."""
        words = f"{entry.get('text')} {entry.get('cause')} {entry.get('origin')}"
        return (entry["kind"], entry.get("error")) == (self.kind, self.error) and all(
            word in words for word in self.told
        )


def _why(**query: str) -> str:
    return f"/dashboard/why?{urlencode({'app_id': SHOP.id, **query})}"


SITUATIONS: Final = (
    Situation(
        "wrong-secret",
        _wrong_secret,
        _why(q="signature"),
        ("none of the usual mistakes explains the signature: probably another secret", "Invalid API signature"),
    ),
    Situation(
        "another-socket", _another_socket, _why(q="private-basket"), ("signed for another connection: socket_id ",)
    ),
    Situation(
        "wrong-channel",
        _wrong_channel,
        f"/dashboard/inspector?{urlencode({'app_id': SHOP.id})}",
        ("no connection is subscribed to this channel; 1 is to prices-eu",),
        live=True,
    ),
    Situation(
        "origin-refused", _origin_refused, _why(q="origin"), ("Origin not allowed (origin https://www.example.com)",)
    ),
    Situation(
        "client-events-off", _client_events, _why(q="private-chat"), ("Client events are not enabled for this app",)
    ),
    Situation("over-quota", _over_quota, _why(q="quota"), ("Application is over adapter quota",)),
    Situation("slow-reader", _slow_reader, _why(kinds="closed"), ("the client read too slowly: 100 messages",)),
    Situation(
        "webhook-failing",
        _webhook_failing,
        _why(kinds="webhook_failed"),
        ("the endpoint answered 500; it is tried again",),
    ),
)


CAUSES: Final = (
    Cause(
        "another secret",
        "subscribe_refused",
        "channel_auth_invalid",
        ("none of the usual mistakes explains the signature",),
    ),
    Cause("another secret over HTTP", "request_refused", "signature_mismatch", ("signature",)),
    Cause(
        "another app's secret",
        "subscribe_refused",
        "channel_auth_invalid",
        # Whose secret it is, the operator reads on the dashboard: an app's own tail does not name other apps.
        ("none of the usual mistakes explains the signature",),
    ),
    Cause(
        "another socket",
        "subscribe_refused",
        "channel_auth_invalid",
        ("signed for another connection: socket_id",),
    ),
    Cause("channel name", "subscribe_refused", "channel_name", ("invalid characters", "har bor")),
    Cause("origin", "connect_refused", "origin_not_allowed", ("https://www.example.com",)),
    Cause("client events", "frame_refused", "client_event", ("not enabled",)),
    Cause("over quota", "connect_refused", "over_quota", ("quota",)),
    Cause("slow reader", "closed", "slow_consumer", ("slow consumer", "read too slowly")),
    Cause("webhook", "webhook_failed", "webhook_failed", ("the endpoint answered 500",)),
)
"""What `bring_about` causes."""


def bring_about(on: Stage) -> None:
    """All situations, one after the other, and two that the chapter has no room for; needs the app ``NUMERIC_APP``."""
    for produce in (*(situation.produce for situation in SITUATIONS), _other_app, _impossible_channel):
        with on.situation() as alone:
            produce(alone)
