"""A server with something on every page of its dashboard: apps, connections, channels, members, a past, problems, and
webhooks that were delivered, that fail and that were given up. Whatever may carry markup from outside carries it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import quote, urlencode

from support.endpoint import WebhookEndpoint
from support.operators import Operator, dashboard_config
from support.server import STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import WebSocket

__all__ = ["EVENT", "MARKUP", "ODD", "PAGES", "ROOM", "SHOP", "Town", "town"]

MARKUP: Final = "\"'><img class=injected src=x onerror=alert(1)><script class=injected>alert(2)</script>{{7+7}}"
"""What a page must show and never do. Neither its elements nor its dialog may ever be there."""

EVENT: Final = f"client-{MARKUP}"
SHOP: Final = Credentials("shop", "shop-key", "shop-secret")
ODD: Final = Credentials('"><img class=injected src=x onerror=alert(3)>', "odd-key", "odd-secret")
ROOM: Final = "presence-room"


class Town:
    """The running server, and where its pages are."""

    def __init__(self, server: ServerProcess, opened: ExitStack) -> None:
        self.server = server
        self._opened = opened
        self.operator = Operator(server)
        self.ana = self.connect(params=urlencode({"client": MARKUP, "version": MARKUP}))
        self.ben = self.connect(protocol=2)
        self.cut = self.connect()

    def connect(self, **fields: Any) -> WebSocket:
        """A client of the shop, from a page whose address is markup."""
        fields = {"app": SHOP, "headers": {"Origin": MARKUP}, **fields}
        return self._opened.enter_context(WebSocket(self.server, **fields)).greeting()

    def settle(self) -> None:
        """Lets everything happen once."""
        self.ana.sign_in(MARKUP, user_info={"name": MARKUP})
        for client, user in ((self.ana, MARKUP), (self.ben, "ben")):
            _join(client, ROOM, user, {"name": MARKUP})
        for channel in ("prices", "cache-rates", "private-orders"):
            _join(self.ana, channel)
            self.server.publish(channel, MARKUP, json.dumps({"said": MARKUP}), app=SHOP)
        for number in range(60):
            self.server.publish("prices", "changed", str(number), app=SHOP)
        self.server.publish("prices", MARKUP, json.dumps({"said": MARKUP}), app=SHOP)
        self.server.publish("nobody-here", MARKUP, MARKUP, app=SHOP)
        self.ana.say(EVENT, MARKUP, ROOM)
        self._refusals()
        self.cut.close()
        self.delivery = wait_until(self._dead, "a webhook to be given up")

    def _refusals(self) -> None:
        self.ana.say("pusher:subscribe", {"channel": MARKUP})
        self.ana.say("pusher:subscribe", {"channel": "private-x", "auth": MARKUP, "channel_data": MARKUP})
        self.ana.say(EVENT, MARKUP, "prices")
        refused = self._opened.enter_context(WebSocket(self.server, app=ODD, headers={"Origin": MARKUP}))
        assert refused.event()["data"]["code"] == 4009
        for path in (f"/apps/{SHOP.id}/events", f"/apps/{SHOP.id}/channels/{quote(MARKUP, safe='')}"):
            wrong = Credentials(SHOP.id, SHOP.key, "another secret")
            assert self.server.signed("GET", path, app=wrong).status in (401, 405)

    def _dead(self) -> dict[str, Any] | None:
        found: list[dict[str, Any]] = self.operator.api("GET", f"/webhooks/{SHOP.id}/deliveries?state=dead")[
            "deliveries"
        ]
        return found[0] if found else None

    @property
    def pages(self) -> dict[str, str]:
        """Every page, by a name for it: those of `PAGES`."""
        return _pages(self.ana.socket_id, self.cut.socket_id, self.delivery["id"], self.delivery["endpoint"])


def _pages(open_socket: str, cut_socket: str, delivery: str, endpoint: str) -> dict[str, str]:
    shop, odd = f"/dashboard/apps/{SHOP.id}", f"/dashboard/apps/{quote(ODD.id, safe='')}"
    room = f"/dashboard/channels/{SHOP.id}/{ROOM}"
    prices = f"/dashboard/channels/{SHOP.id}/prices"
    of_shop = urlencode({"app_id": SHOP.id})
    return {
        "overview": "/dashboard",
        "apps": "/dashboard/apps",
        "new-app": "/dashboard/apps/-/new",
        "app": shop,
        "app-limits": f"{shop}/limits",
        "app-channels": f"{shop}/channels",
        "odd-app": odd,
        "channels": "/dashboard/channels",
        "channels-none": f"/dashboard/channels?{urlencode({'q': MARKUP})}",
        "channel": room,
        "channel-members": f"{room}/members",
        "channel-subscribers": f"{room}/subscribers",
        "channel-presence-history": f"{room}/presence-history",
        "channel-history": f"{prices}/history",
        "channel-cached": f"/dashboard/channels/{SHOP.id}/cache-rates",
        "channel-unknown": f"/dashboard/channels/open?{urlencode({'app_id': SHOP.id, 'channel': 'no-such'})}",
        "connections": "/dashboard/connections",
        "nodes": "/dashboard/nodes",
        "connection": f"/dashboard/connections/{open_socket}?{of_shop}",
        "connection-gone": f"/dashboard/connections/{cut_socket}?{of_shop}",
        "app-webhooks": f"{shop}/webhooks",
        "app-webhook": f"{shop}/webhooks/0",
        "new-webhook": f"{shop}/webhooks/new",
        "webhooks": "/dashboard/webhooks",
        "deliveries": f"/dashboard/webhooks/{SHOP.id}/deliveries",
        "delivery": f"/dashboard/webhooks/{SHOP.id}/deliveries/{delivery}",
        "webhook-test": f"/dashboard/webhooks/{SHOP.id}/endpoints/{endpoint}/test",
        "push": "/dashboard/push",
        "push-devices": "/dashboard/push/devices",
        "push-dead-letters": "/dashboard/push/dead-letters",
        "push-credentials": f"/dashboard/push/credentials?{of_shop}",
        "push-test": "/dashboard/push/test",
        "push-why": f"/dashboard/push/why?{urlencode({'q': MARKUP})}",
        "inspector": "/dashboard/inspector",
        "why": "/dashboard/why",
        "errors": "/dashboard/errors",
        "error": "/dashboard/errors/channel_auth_invalid",
        "nothing": "/dashboard/no-such-page",
    }


PAGES: Final = tuple(_pages("1.1", "1.2", "delivery", "endpoint"))


def _join(client: WebSocket, channel: str, *member: object) -> None:
    """Subscribes; what comes before the acknowledgement is of no concern here."""
    client.say(f"{client.prefix}:subscribe", client.subscription(channel, *member))
    while not client.event()["event"].endswith("_internal:subscription_succeeded"):
        pass


@contextlib.contextmanager
def town() -> Iterator[Town]:
    """Built and settled."""
    with (
        WebhookEndpoint() as good,
        WebhookEndpoint(status=503, text=MARKUP) as failing,
        WebhookEndpoint(status=404, text=MARKUP) as refusing,
    ):
        every = {"event_types": ["channel_occupied", "member_added", "client_event"], "headers": {"X-Note": "plain"}}
        webhooks = [{**every, "url": f"{each.url}?{urlencode({'m': MARKUP})}"} for each in (good, failing, refusing)]
        shop = app_record(SHOP, webhooks=webhooks)
        odd = app_record(ODD, channels={"allowed_origins": ["https://odd.example.com"]})
        config = dashboard_config(
            # Its clients say nothing as long as it is looked at.
            activity_timeout=3600,
            **STREAMS,
            presence_history={"enabled": True},
            app_manager={"driver": "sqlite", "array": {"apps": [shop, odd]}},
            webhooks={"allow_private_addresses": True, "batching": {"duration": 10}},
        )
        with start_server(config) as server, ExitStack() as opened:
            built = Town(server, opened)
            built.settle()
            yield built
