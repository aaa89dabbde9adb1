"""Lists of all nodes, put together by the one that is asked: each node answers for what it has, as JSON text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from sockudo import errors
from sockudo.cluster.items import Request
from sockudo.cluster.nodes import Nodes, ask_all
from sockudo.dashboard.paging import Page, Paging

__all__ = ["FARTHEST", "Part", "Row", "Rows", "encode_rows", "page_of_all"]

FARTHEST: Final = 2_000
"""So far a list of several nodes can be paged through: each node sends as much as could be on the page."""


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a list. ``node`` is the name of the node that has it; None where there cannot be several."""

    node: str | None = None


T = TypeVar("T")
R = TypeVar("R", bound=Row)


class Rows(msgspec.Struct, Generic[T]):
    """Entries of one node in order, and how many it has in all."""

    rows: Sequence[T]
    total: int


class Part(Request, frozen=True):
    """Asks a node for ``count`` entries from ``start`` on; the answer is JSON text of `Rows`."""

    reply: ClassVar = bytes

    start: int
    count: int


def encode_rows(rows: Sequence[Any], total: int) -> bytes:
    """The answer to a `Part`."""
    return msgspec.json.encode(Rows(rows, total))


async def page_of_all(
    nodes: Nodes,
    paging: Paging,
    ask: Callable[[int, int], Part],
    row: type[R],
    *,
    order: Callable[[R], Any] | None = None,
    node: str | None = None,
) -> Page[R]:
    """A page of what all nodes have, or the one that is named. ``ask`` makes the question from start and count.

    Without ``order`` the entries of one node come behind those of another. Raises errors.INVALID_INPUT for a page that
    is too far behind, and as `Nodes.ask` does.
    """
    one = node is not None or len(nodes.names()) == 1
    start, count = (paging.start, paging.per_page) if one else (0, paging.start + paging.per_page)
    if not one and count > FARTHEST:
        raise errors.INVALID_INPUT(
            f"A list of several nodes ends at its entry {FARTHEST:,}: search for less, choose another order, or name "
            "one node with 'node'"
        )
    answered = await ask_all(nodes, ask(start, count), Rows[row], node)  # type: ignore[valid-type]  # known when it runs
    rows = [
        msgspec.structs.replace(each, node=name if nodes.several else None)
        for name, part in answered.values
        for each in part.rows
    ]
    if order is not None:
        rows.sort(key=order)
    if not one:
        rows = rows[paging.start : count]
    return Page(rows, sum(part.total for _, part in answered.values), paging, answered.complete)
