"""Groups of problems, of all nodes together."""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final, NamedTuple

import msgspec

from sockudo.cluster.items import Request
from sockudo.cluster.nodes import Nodes, ask_all
from sockudo.inspector import Entry, Group, Kind, Problems
from sockudo.inspector.explained import find_problems, read_kinds, shown_to_app
from sockudo.inspector.problems import merged

__all__ = ["FoundProblems", "ListProblems", "own_problems", "problems_of_all", "problems_of_app"]

# Examples of a group that a node sends, where there are several.
_SENT: Final = 5
_ALL: Final = 20


class ListProblems(Request, frozen=True, tag="list_problems"):
    """Asks a node for its groups that hold every word of ``text``, with ``examples`` of each; JSON text.

    ``app_id``: of this app alone, as far as the node is of a version that knows the field.
    """

    reply: ClassVar = bytes

    kinds: str | None
    text: str
    examples: int
    app_id: str | None = None


class FoundProblems(NamedTuple):
    """Groups, the newest problem first; ``complete`` as in `Answered`."""

    groups: list[Group]
    complete: bool | None


class _Group(msgspec.Struct):
    """A `Group` between nodes."""

    app_id: str | None
    kind: Kind
    error: str | None
    code: int | None
    cause: str | None
    first_at: int
    last_at: int
    count: int
    last: list[Entry]


async def problems_of_all(nodes: Nodes, kinds: str | None = None, text: str = "") -> FoundProblems:
    """Those of all nodes that fit, see `find_problems`; raises as that does. Of several, entries name their node."""
    read_kinds(kinds)
    return await _ask(nodes, ListProblems(kinds, text, _SENT if _several(nodes) else _ALL))


async def problems_of_app(nodes: Nodes, app_id: str, kinds: str | None, text: str | None) -> FoundProblems:
    """The same for a holder of the app's secret, who neither sees nor finds what names another app."""
    read_kinds(kinds)
    found, complete = await _ask(nodes, ListProblems(None, "", _SENT if _several(nodes) else _ALL, app_id))
    return FoundProblems(shown_to_app(found, app_id, kinds, text), complete)


def _several(nodes: Nodes) -> bool:
    return len(nodes.names()) > 1


async def _ask(nodes: Nodes, question: ListProblems) -> FoundProblems:
    several = _several(nodes)
    answered = await ask_all(nodes, question, list[_Group])
    found = []
    for name, groups in answered.values:
        for group in groups:
            fields = msgspec.structs.asdict(group)
            if several:
                fields["last"] = [msgspec.structs.replace(entry, node=name) for entry in group.last]
            found.append(Group(**{**fields, "last": deque(fields["last"])}))
    return FoundProblems(merged(found) if several else found, answered.complete)


def own_problems(problems: Problems, asked: ListProblems) -> bytes:
    """What this node answers."""
    return msgspec.json.encode(
        [
            _Group(
                group.app_id,
                group.kind,
                group.error,
                group.code,
                group.cause,
                group.first_at,
                group.last_at,
                group.count,
                list(group.last)[-asked.examples :],
            )
            for group in find_problems(problems, asked.app_id, asked.kinds, asked.text)
        ]
    )
