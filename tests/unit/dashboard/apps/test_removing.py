"""What is said to push when an app is removed on the dashboard."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sockudo import errors
from sockudo.apps.edits import version_of
from sockudo.apps.registry import AppRegistry
from sockudo.apps.resolve import Defaults
from sockudo.config.apps import App
from sockudo.dashboard.apps.desk import remove
from sockudo.drivers.memory_apps import MemoryAppStore
from sockudo.errors import SockudoError
from sockudo.push.directory import Directory
from sockudo.push.endpoints import EndpointRules
from sockudo.push.removals import Removals
from sockudo.push.secrecy import Envelopes
from sockudo.push.services import Storage
from sockudo.push.stores.sql import MemoryPushStore
from support.desk import Desk
from support.inside import HandComponent, of_directory
from support.push_accounts import check_inline
from unit.push.nodes import InlineTokens

SHOP = App("shop", "shop-key", "shop-secret", enabled=True)


class Site:
    """A dashboard with the app ``shop``; with ``push`` its store is open."""

    def __init__(self, data_dir: Path) -> None:
        self.desk = Desk()
        self.edge = edge = self.desk.node.edge
        driver = msgspec.structs.replace(edge.settings.app_manager, driver="sqlite")
        edge.settings = edge.gateway.settings = msgspec.structs.replace(
            edge.settings, app_manager=driver, data_dir=str(data_dir)
        )
        self.apps = self.desk.board.apps = AppRegistry(MemoryAppStore(), Defaults())
        self.store = MemoryPushStore()
        queue = HandComponent("push queue", lambda: errors.PUSH_DISABLED("closed"))
        self.removals = Removals(self.store, queue, self.desk.clock, lambda app_id: self.apps.by_id(app_id) is not None)
        self.asked = 0

    async def start(self, *configured: App) -> Site:
        await self.apps.start(configured)
        if not configured:
            await self.apps.write(lambda store: store.save(SHOP), lambda _: None)
        return self

    @property
    def storage(self) -> HandComponent:
        return self.desk.node.components.push_storage

    async def open_push(self) -> Storage:
        self.asked += 1
        rules, envelopes = EndpointRules(lambda _: True), Envelopes(None)
        directory = Directory(
            self.store, rules, envelopes, self.desk.clock, check_inline, tokens=InlineTokens(), removals=self.removals
        )
        return of_directory(directory)

    async def noted(self) -> list[str]:
        return [removal.app_id for removal in await self.store.removals()]


async def test_its_data_is_to_go_and_nothing_is_sent_any_more(tmp_path: Path) -> None:
    site = await Site(tmp_path).start()
    site.storage.put(await site.open_push())
    assert (await remove(site.desk.board, "shop", None)).id == "shop"
    assert await site.noted() == ["shop"]
    assert site.removals.is_gone("shop")


async def test_what_is_refused_leaves_nothing_noted(tmp_path: Path) -> None:
    site = await Site(tmp_path).start()
    site.storage.put(await site.open_push())
    for app_id, version, spec in (("shop", "another", errors.APP_CHANGED), ("nobody", None, errors.APP_NOT_FOUND)):
        with pytest.raises(SockudoError) as caught:
            await remove(site.desk.board, app_id, version)
        assert caught.value.spec is spec
    assert await site.noted() == []
    await remove(site.desk.board, "shop", version_of(SHOP))
    assert await site.noted() == ["shop"]


async def test_one_that_the_configuration_names_comes_back_and_keeps_it(tmp_path: Path) -> None:
    site = await Site(tmp_path).start(SHOP)
    site.storage.put(await site.open_push())
    await remove(site.desk.board, "shop", None)
    assert site.apps.by_id("shop") is None
    assert await site.noted() == []


async def test_the_store_is_opened_for_it_only_where_there_is_one(tmp_path: Path) -> None:
    site = await Site(tmp_path / "new").start()
    site.storage.opening = site.open_push
    site.desk.node.components.push_services.exists = lambda: False
    await remove(site.desk.board, "shop", None)
    assert site.asked == 0

    site = await Site(tmp_path).start()
    site.storage.opening = site.open_push
    await remove(site.desk.board, "shop", None)
    assert (site.asked, await site.noted()) == (1, ["shop"])


async def test_a_store_that_is_out_of_reach_keeps_nobody_from_removing_an_app(tmp_path: Path) -> None:
    async def fails() -> None:
        raise errors.SERVICE_UNAVAILABLE("the push store is out of reach")

    site = await Site(tmp_path).start()
    site.storage.opening = fails
    await remove(site.desk.board, "shop", None)
    assert site.apps.by_id("shop") is None
