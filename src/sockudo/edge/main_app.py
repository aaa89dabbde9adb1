"""What the main listener answers: the API for backends and clients, and pages that are served beside it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["MainApp"]

Belongs = Callable[[bytes], bool]
"""Takes a raw path, and says whether it is one of the pages'."""


class MainApp:
    """The ASGI application of the main listener.

    It is made before the edge that its parts need; ``front``, which answers what is no page's, is put in later, and
    before a listener is opened.
    """

    def __init__(self) -> None:
        self.front: ASGIApp | None = None
        self._pages: list[tuple[Belongs, ASGIApp]] = []

    def add_pages(self, belongs: Belongs, pages: ASGIApp) -> None:
        """Has ``pages`` answer the paths that belong to them; of several, the first that were added."""
        self._pages.append((belongs, pages))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for belongs, pages in self._pages:
            if belongs(scope["raw_path"]):
                await pages(scope, receive, send)
                return
        if self.front is not None:
            await self.front(scope, receive, send)
