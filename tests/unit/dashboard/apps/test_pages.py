"""A form that is not carried out comes back as it was filled in, with the reason; only secrets are left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo import errors
from sockudo.apps.registry import AppRegistry
from sockudo.apps.resolve import Defaults
from sockudo.config.apps import App, Policy
from sockudo.drivers.memory_apps import MemoryAppStore
from support.desk import PASSWORD, Desk, Visitor
from support.operators import Page

HOOK = {"url": "https://hooks.test/a", "event_types": ["cache_miss"], "headers": {"X-Key": "k3y"}}
SHOP = App("shop", "shop-key", "shop-secret", enabled=True, policy=Policy(webhooks=(HOOK,)))
WHY = "The app store does not answer: it is locked by another process"


class FreezingStore(MemoryAppStore):
    """Takes nothing while it is ``frozen``."""

    frozen = False

    async def change(self, *arguments: Any) -> App:
        if self.frozen:
            raise errors.SERVICE_UNAVAILABLE(WHY, retry_after=3)
        return await super().change(*arguments)


@pytest.fixture
def store() -> FreezingStore:
    return FreezingStore()


@pytest.fixture
async def visitor(store: FreezingStore) -> Visitor:
    """Somebody at a dashboard with the app ``shop``, whose store freezes once they have looked at the page."""
    desk = Desk()
    edge = desk.node.edge
    edge.settings = edge.gateway.settings = msgspec.structs.replace(
        edge.settings, app_manager=msgspec.structs.replace(edge.settings.app_manager, driver="sqlite")
    )
    apps = desk.board.apps = AppRegistry(store, Defaults())
    await store.save(SHOP)
    await apps.start()
    return await desk.visitor()


async def sent(visitor: Visitor, path: str, status: int, **fields: str) -> Page:
    reply = await visitor.post(path, csrf_token=visitor.csrf, **fields)
    assert reply.status == status, reply.text
    return Page(reply)


def filled_in(page: Page, action: str) -> dict[str, str]:
    return dict(page.form(action))


async def test_a_tab_comes_back_with_what_was_typed(store: FreezingStore, visitor: Visitor) -> None:
    store.frozen = True
    url = "/dashboard/apps/shop/limits"
    page = await sent(visitor, url, 503, **{"limits.max_connections": "77", "limits.decay_seconds": "nine"})
    assert f"{WHY}. What you filled in is still here." in page.text
    assert page.headers["retry-after"] == "3"
    again = filled_in(page, url)
    assert (again["limits.max_connections"], again["limits.decay_seconds"]) == ("77", "nine")
    store.frozen = False
    del again["csrf_token"]
    await sent(visitor, url, 303, **{**again, "limits.decay_seconds": "9"})
    assert (await store.all())[0].policy.limits.max_connections == 77


async def test_an_app_removed_meanwhile_is_told_above_the_form(store: FreezingStore, visitor: Visitor) -> None:
    await store.remove("shop")
    url = "/dashboard/apps/shop/channels"
    page = await sent(visitor, url, 404, **{"channels.allowed_origins": "https://a.test"})
    assert "No app has the id 'shop'" in page.text
    assert filled_in(page, url)["channels.allowed_origins"].strip() == "https://a.test"


async def test_a_new_app_comes_back_but_for_its_secret(store: FreezingStore, visitor: Visitor) -> None:
    store.frozen = True
    url = "/dashboard/apps/-/new"
    page = await sent(visitor, url, 503, id="tea", key="tea-key", secret="tea-s3cret", enable_client_messages="on")
    assert WHY in page.text
    assert page.headers["retry-after"] == "3"
    again = filled_in(page, url)
    assert (again["id"], again["key"], again["secret"]) == ("tea", "tea-key", "")
    assert "enable_client_messages" in again
    assert "enabled" not in again
    assert "tea-s3cret" not in page.source


@pytest.mark.parametrize("action", ["rotate", "remove"])
async def test_what_is_confirmed_stays_confirmed(store: FreezingStore, visitor: Visitor, action: str) -> None:
    store.frozen = True
    url = f"/dashboard/apps/shop/{action}"
    page = await sent(visitor, url, 503, confirm="shop", key="on")
    assert WHY in page.text
    again = filled_in(page, url)
    assert again["confirm"] == "shop"
    assert ("key" in again) is (action == "rotate")
    other = "remove" if action == "rotate" else "rotate"
    assert filled_in(page, f"/dashboard/apps/shop/{other}")["confirm"] == ""
    assert SHOP.secret not in page.source


async def test_a_button_says_why_nothing_happened(store: FreezingStore, visitor: Visitor) -> None:
    store.frozen = True
    page = await sent(visitor, "/dashboard/apps/shop/disable", 503)
    assert WHY in page.text
    assert page.tags('action="/dashboard/apps/shop/disable"')


@pytest.mark.parametrize("place", ["new", "0"])
async def test_a_webhook_comes_back_but_for_values_of_headers(
    store: FreezingStore, visitor: Visitor, place: str
) -> None:
    store.frozen = True
    url = f"/dashboard/apps/shop/webhooks/{place}"
    fields = {"url": "https://hooks.test/b", "event": "cache_miss", "headers": "X-Key: …\r\nX-New: s3cret"}
    page = await sent(visitor, url, 503, **fields)
    assert WHY in page.text
    again = filled_in(page, url)
    assert (again["url"], again["event"]) == ("https://hooks.test/b", "cache_miss")
    assert again["headers"].strip() == "X-Key: …\nX-New:"
    assert "s3cret" not in page.source
    assert "k3y" not in page.source


async def test_a_webhook_changed_by_somebody_else_keeps_what_was_typed(visitor: Visitor) -> None:
    url = "/dashboard/apps/shop/webhooks/0"
    typed = {"version": "an-old-one", "url": "https://hooks.test/b", "event": "cache_miss"}
    page = await sent(visitor, url, 412, was="https://hooks.test/a", **typed)
    assert "is still here: for webhook 1, https://hooks.test/a, as it is now." in page.text
    again = filled_in(page, url)
    assert (again["url"], again["was"]) == ("https://hooks.test/b", "https://hooks.test/a")
    page = await sent(visitor, url, 412, was="https://hooks.test/gone", **typed)
    assert "is still here: as a new webhook." in page.text
    assert filled_in(page, "/dashboard/apps/shop/webhooks/new")["url"] == "https://hooks.test/b"


async def test_a_webhook_that_is_gone_comes_back_as_a_new_one(visitor: Visitor) -> None:
    page = await sent(visitor, "/dashboard/apps/shop/webhooks/5", 404, url="https://hooks.test/b", event="cache_miss")
    again = filled_in(page, "/dashboard/apps/shop/webhooks/new")
    assert again["url"] == "https://hooks.test/b"
    assert "as a new webhook" in page.text


async def test_a_webhook_that_cannot_be_removed_stays_in_the_list(store: FreezingStore, visitor: Visitor) -> None:
    store.frozen = True
    page = await sent(visitor, "/dashboard/apps/shop/webhooks/0/remove", 503)
    assert WHY in page.text
    assert "https://hooks.test/a" in page.text


async def test_origins_that_no_page_has_are_told_beside_the_field(visitor: Visitor) -> None:
    url = "/dashboard/apps/shop/channels"
    await sent(visitor, url, 303, **{"channels.allowed_origins": "https://shop.test/basket\r\n*.shop.test"})
    page = Page(await visitor.get(url))
    told = "No page can match https://shop.test/basket: it has '/basket' behind the host: an origin has no path."
    assert page.text.count("No page can match") == 1
    assert told in page.text
    hooks = Page(await visitor.get("/dashboard/apps/shop/webhooks"))
    assert "/basket" not in hooks.text


async def test_programs_are_told_of_origins_that_no_page_has(visitor: Visitor) -> None:
    change = {"policy": {"channels": {"allowed_origins": ["https://*."]}}}
    headers = {"authorization": f"Bearer {PASSWORD}", "content-type": "application/json"}
    reply = await visitor.desk.ask("PATCH", "/dashboard/api/v1/apps/shop", headers, msgspec.json.encode(change))
    assert reply.status == 200
    [warning] = reply.json()["warnings"]
    assert warning == "policy.channels.allowed_origins has 'https://*.', which has no domain beside the '.'"
