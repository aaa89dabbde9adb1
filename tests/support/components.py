"""Components whose service a test puts in and takes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from sockudo import errors
from sockudo.base.components import Component
from sockudo.errors import SockudoError
from sockudo.push.directory import Directory
from sockudo.push.service import Push
from sockudo.push.services import PushServices, Storage

__all__ = ["HandComponent", "NodeComponents", "no_history", "of_directory"]


class HandComponent(Component[Any]):
    """Closed until `put`. Opening it does what ``opening`` does, and fails where that is None."""

    def __init__(self, name: str, closed: Callable[[], SockudoError], service: Any = None) -> None:
        super().__init__(name, self._make, self._end, closed)
        self.opening: Callable[[], Awaitable[Any]] | None = None
        self._closed_error = closed
        self.put(service)

    def put(self, service: Any) -> None:
        """Opens the component with a service, or closes it with None."""
        self._service = service
        self.state = "closed" if service is None else "open"

    async def _make(self) -> Any:
        if self.opening is None:
            raise self._closed_error()
        return await self.opening()

    async def _end(self, _: Any) -> None:
        """The test closes what it opened."""


class NodeComponents:
    """The components of a node without sockets, all closed."""

    def __init__(self) -> None:
        self.history = HandComponent("history", no_history)
        self.presence_history = HandComponent("presence history", no_history)
        self.webhooks = HandComponent("webhooks", lambda: errors.SERVICE_UNAVAILABLE("closed", retry_after=1))
        self.push_storage = HandComponent("push store", _no_push_store)
        self.push: Push | None = None
        self.push_services = PushServices(self.push_storage, lambda: self.push)


def of_directory(directory: Directory, **others: Any) -> Storage:
    """What is open with a directory; ``others`` are further fields that the test uses."""
    fields: dict[str, Any] = {"store": None, "rules": None, "removals": directory.removals, "reading": None, **others}
    return Storage(directory=directory, **cast(Any, fields))


def no_history() -> SockudoError:
    return errors.HISTORY_UNAVAILABLE("not open yet", retry_after=1)


def _no_push_store() -> SockudoError:
    return errors.SERVICE_UNAVAILABLE("The push store is not open yet", retry_after=1)
