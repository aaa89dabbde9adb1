"""What the server asks of whatever keeps the apps (contract 70 § 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sockudo.config.apps import App

__all__ = ["AppStore"]


class AppStore(Protocol):
    """Keeps app records. Ids are unique, so are keys.

    Every method may raise ``errors.SERVICE_UNAVAILABLE`` when the store does not answer, and nothing else.
    """

    async def start(self) -> None:
        """Opens what is needed and brings the schema up to date."""
        ...

    async def stop(self) -> None:
        """Releases everything; calling it twice does no harm."""
        ...

    async def all(self) -> Sequence[App]:
        """Every app, sorted by id."""
        ...

    async def save(self, app: App) -> None:
        """Creates the app or replaces the one of the same id.

        Raises ``errors.INVALID_INPUT`` when another app already has this key.
        """
        ...

    async def remove(self, app_id: str) -> bool:
        """True when there was such an app."""
        ...

    async def revision(self) -> int:
        """A number that grows with every change, whoever made it: cheap enough to ask every second."""
        ...
