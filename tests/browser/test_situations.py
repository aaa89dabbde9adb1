"""Why a client receives nothing: each reason, made to happen, stands on the page that the operators' chapter names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from support.browser import Visit, log_in
from support.server import ServerProcess
from support.situations import SITUATIONS, Situation, Stage, look_into, stage

DOCS = Path(__file__).parents[2] / "docs"
NAMES = [situation.name for situation in SITUATIONS]


@pytest.fixture(scope="module")
def on_stage(chromium: Browser) -> Iterator[Stage]:
    del chromium
    with stage() as ready:
        yield ready


@pytest.fixture(scope="module")
def server(on_stage: Stage) -> ServerProcess:
    return on_stage.server


@pytest.fixture(scope="module")
def cookie(server: ServerProcess) -> str:
    return log_in(server)


@pytest.mark.parametrize("situation", SITUATIONS, ids=NAMES)
def test_the_reason_is_on_the_page(situation: Situation, visit: Visit, on_stage: Stage) -> None:
    visitor = visit()
    with on_stage.situation() as on:
        look_into(situation, on, visitor)
    page = visitor.page
    if not situation.live:
        # One click from a problem to its explanation.
        link = page.locator("main article h2 a").first
        meaning = link.inner_text()
        link.click()
        page.wait_for_url("**/dashboard/errors/*")
        assert page.get_by_text(meaning).count() > 0
