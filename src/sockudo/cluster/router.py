"""Hands what reaches a node to the parts that know what to do with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import structlog

from sockudo.cluster.items import Item, Request
from sockudo.cluster.ports import Received

__all__ = ["Router"]

ItemT = TypeVar("ItemT", bound=Item)
RequestT = TypeVar("RequestT", bound=Request)

_log = structlog.get_logger("sockudo.cluster")


class Router:
    """The `Receiver` of a node: one handler for each kind of item and request, set up before it is attached."""

    def __init__(self) -> None:
        self._items: dict[type[Item], Callable[[Received, Any], None]] = {}
        self._requests: dict[type[Request], Callable[[Any], Awaitable[Any] | Any]] = {}
        self._resyncs: list[Callable[[Sequence[str]], None]] = []

    @property
    def items(self) -> Sequence[type[Item]]:
        """The kinds of items that have a handler."""
        return tuple(self._items)

    @property
    def requests(self) -> Sequence[type[Request]]:
        """The kinds of requests that have a handler."""
        return tuple(self._requests)

    def on_item(self, kind: type[ItemT], handler: Callable[[Received, ItemT], None]) -> None:
        """Items of this kind go to ``handler``, with how they came."""
        self._items[kind] = handler

    def on_request(self, kind: type[RequestT], handler: Callable[[RequestT], Awaitable[Any] | Any]) -> None:
        """Requests of this kind are answered by ``handler``: a value that can be encoded, or what becomes one."""
        self._requests[kind] = handler

    def on_gap(self, handler: Callable[[Sequence[str]], None]) -> None:
        """``handler`` reads anew what the topics tell about."""
        self._resyncs.append(handler)

    def receive(self, received: Received) -> None:
        """Hands an item to its handler; a kind without one is of a newer version, and ignored."""
        handler = self._items.get(type(received.item))
        if handler is not None:
            handler(received, received.item)

    def answer(self, request: Request) -> Awaitable[Any] | Any:
        """The answer of the handler; None for a kind without one."""
        handler = self._requests.get(type(request))
        return None if handler is None else handler(request)

    def gap(self, topics: Sequence[str]) -> None:
        """Hands a gap to all that want to know of one."""
        _log.warning("items from other nodes may be lost", topics=len(topics))
        for handler in self._resyncs:
            handler(topics)
