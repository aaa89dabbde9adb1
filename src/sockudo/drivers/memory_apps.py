"""Apps in a dictionary: for apps that come from a file, for development, and the definition of `AppStore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sockudo.apps.ports import Edit, Origin, key_taken, plain_record
from sockudo.config.apps import App

__all__ = ["MemoryAppStore"]


class MemoryAppStore:
    """Keeps the apps as long as the process lives."""

    def __init__(self) -> None:
        self._apps: dict[str, App] = {}
        self._origins: dict[str, Origin | None] = {}
        self._revision = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def all(self) -> Sequence[App]:
        return sorted(self._apps.values(), key=lambda app: app.id)

    async def origins(self) -> Mapping[str, Origin | None]:
        return dict(self._origins)

    async def save(self, app: App, origin: Origin | None = None) -> None:
        self._put(app, origin)

    async def change(self, app_id: str, edit: Edit) -> App:
        app = edit(self._apps.get(app_id))
        self._put(app)
        return app

    async def remove(self, app_id: str) -> bool:
        found = self._apps.pop(app_id, None) is not None
        self._origins.pop(app_id, None)
        self._revision += found
        return found

    async def revision(self) -> int:
        return self._revision

    def _put(self, app: App, origin: Origin | None = None) -> None:
        if self._apps.get(app.id) == app:
            self._origins[app.id] = origin or self._origins[app.id]
            return
        plain_record(app)
        if any(other.key == app.key and other.id != app.id for other in self._apps.values()):
            raise key_taken(app)
        self._apps[app.id] = app
        self._origins[app.id] = origin or self._origins.get(app.id, Origin.OPERATOR)
        self._revision += 1
