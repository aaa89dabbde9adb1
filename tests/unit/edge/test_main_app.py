"""Whose answer a request of the main listener gets."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from sockudo.edge.main_app import MainApp


def answering(name: str, asked: list[str]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(name)

    return app


async def unused(*_: Any) -> Any:
    raise AssertionError("asked for")


async def test_the_first_pages_that_a_path_belongs_to_answer_it_and_the_front_all_others() -> None:
    asked: list[str] = []
    app = MainApp()
    app.add_pages(lambda path: path == b"/one", answering("one", asked))
    app.add_pages(lambda path: path.startswith(b"/o"), answering("several", asked))
    app.front = answering("front", asked)
    for path in (b"/one", b"/other", b"/", b"/apps/one"):
        await app({"type": "http", "raw_path": path}, unused, unused)
    assert asked == ["one", "several", "front", "front"]
