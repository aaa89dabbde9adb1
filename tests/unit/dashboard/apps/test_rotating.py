"""Rotating a secret on the dashboard: for how long the old one is accepted beside the new one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo.apps.edits import LONGEST_KEPT
from sockudo.apps.registry import AppRegistry
from sockudo.apps.resolve import Defaults
from sockudo.config.apps import App
from sockudo.drivers.memory_apps import MemoryAppStore
from support.desk import PASSWORD, Desk, Reply
from support.operators import Page

SHOP = App("shop", "shop-key", "shop-secret", enabled=True)
KEY_AS_WELL = "The old secret cannot be kept beside a new key"


class Counter:
    """A dashboard with the app ``shop``, as a program and as a browser use it."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.store = MemoryAppStore()
        edge = self.desk.node.edge
        driver = msgspec.structs.replace(edge.settings.app_manager, driver="sqlite")
        edge.settings = edge.gateway.settings = msgspec.structs.replace(edge.settings, app_manager=driver)
        self.desk.board.apps = AppRegistry(self.store, Defaults(), self.desk.clock.time)

    async def api(self, **body: Any) -> Reply:
        headers = {"authorization": f"Bearer {PASSWORD}", "content-type": "application/json"}
        path = "/dashboard/api/v1/apps/shop/rotate"
        return await self.desk.ask("POST", path, headers, msgspec.json.encode(body))

    async def look(self) -> Any:
        headers = {"authorization": f"Bearer {PASSWORD}"}
        return (await self.desk.ask("GET", "/dashboard/api/v1/apps/shop", headers)).json()

    async def form(self, **fields: str) -> Reply:
        visitor = await self.desk.visitor()
        return await visitor.post("/dashboard/apps/shop/rotate", csrf_token=visitor.csrf, confirm="shop", **fields)

    @property
    def now(self) -> int:
        return int(self.desk.clock.time())

    async def app(self) -> App:
        [found] = await self.store.all()
        return found


@pytest.fixture
async def counter() -> Counter:
    made = Counter()
    await made.store.save(SHOP)
    await made.desk.board.apps.start()
    return made


async def test_the_old_secret_ends_at_once_unless_it_is_kept(counter: Counter) -> None:
    for answer in (await counter.api(), await counter.api(keep_seconds=0), await counter.form(keep="0")):
        assert answer.status == 200, answer.text
        app = await counter.app()
        assert app.secret != SHOP.secret
        assert app.previous_secret is None


async def test_it_is_kept_for_as_long_as_was_asked(counter: Counter) -> None:
    answer = await counter.api(keep_seconds=3600)
    assert answer.status == 200, answer.text
    app = await counter.app()
    assert app.previous_secret is not None
    assert (app.previous_secret.secret, app.previous_secret.until) == (SHOP.secret, counter.now + 3600)
    shown = await counter.look()
    assert (shown["previous_secret"]["until"], SHOP.secret in str(shown)) == (counter.now + 3600, False)
    second = await counter.form(keep="604800")
    assert second.status == 200, second.text
    again = await counter.app()
    assert again.previous_secret is not None
    assert (again.previous_secret.secret, again.previous_secret.until) == (app.secret, counter.now + 604_800)


async def test_the_longest_time_is_a_month(counter: Counter) -> None:
    assert (await counter.api(keep_seconds=LONGEST_KEPT)).status == 200
    before = await counter.app()
    for answer in (await counter.api(keep_seconds=LONGEST_KEPT + 1), await counter.form(keep=str(LONGEST_KEPT + 1))):
        assert answer.status == 400, answer.text
        assert f"kept for {LONGEST_KEPT} seconds at most" in answer.text
    assert await counter.app() == before


@pytest.mark.parametrize("keep", ["1h", "-1", "1.5", "\u0663", "9" * 40])
async def test_a_form_takes_seconds(counter: Counter, keep: str) -> None:
    answer = await counter.form(keep=keep)
    assert answer.status == 400, answer.text
    assert "keep must be a number of seconds" in Page(answer).text
    assert await counter.app() == SHOP


@pytest.mark.parametrize("keep", ["3600", 1.5, True, None, [3600]])
async def test_programs_send_a_whole_number(counter: Counter, keep: Any) -> None:
    answer = await counter.api(keep_seconds=keep)
    assert answer.status == 400, answer.text
    assert "keep_seconds must be a whole number" in answer.json()["error"]
    assert await counter.app() == SHOP


async def test_beside_a_new_key_no_old_secret_is_kept(counter: Counter) -> None:
    for answer in (await counter.api(key=True, keep_seconds=60), await counter.form(key="on", keep="3600")):
        assert answer.status == 400, answer.text
        assert KEY_AS_WELL in answer.text
    assert (await counter.api(keep_seconds=-1)).status == 400
    assert await counter.app() == SHOP
    assert (await counter.api(key=True)).status == 200
    assert (await counter.app()).key != SHOP.key
