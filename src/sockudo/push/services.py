"""What routes, pages and rules use of push, whether it is open or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sockudo.base.components import Component
from sockudo.push.directory import Directory
from sockudo.push.endpoints import EndpointRules
from sockudo.push.ports import PushStore
from sockudo.push.removals import Removals
from sockudo.push.service import Push

__all__ = ["PushServices", "Storage"]


class Storage(NamedTuple):
    """What works on an open store alone. ``reading`` answers questions about publishes and takes none."""

    store: PushStore
    rules: EndpointRules
    directory: Directory
    removals: Removals
    reading: Push


class PushServices:
    """``storage`` opens for the first caller that needs it.

    ``serving`` returns push as it takes publishes, None while it takes none; ``exists`` says whether there may be
    something in the store.
    """

    def __init__(
        self, storage: Component[Storage], serving: Callable[[], Push | None], exists: Callable[[], bool] = lambda: True
    ) -> None:
        self.storage = storage
        self.serving = serving
        self.exists = exists

    async def open_directory(self) -> Directory:
        """Devices, subscriptions, credentials and templates. Raises errors.SERVICE_UNAVAILABLE."""
        return (await self.storage.open()).directory

    async def open_publishes(self) -> Push:
        """What answers questions about publishes, and takes them while `serving`. Raises errors.SERVICE_UNAVAILABLE."""
        return self.serving() or (await self.storage.open()).reading
