"""Groups of problems, of all nodes together, as the pages show them."""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final, NamedTuple

import msgspec

from sockudo.cluster.items import Request
from sockudo.cluster.nodes import Nodes
from sockudo.dashboard.everywhere import ask_all
from sockudo.errors import CATALOGUE, ErrorSpec
from sockudo.inspector import Entry, Group, Kind, Problems
from sockudo.inspector.explained import find_problems, read_kinds
from sockudo.inspector.lines import LABELS, Line, line_of
from sockudo.inspector.problems import merged

__all__ = ["Example", "FoundProblems", "ListProblems", "ShownGroup", "own_problems", "problems_of_all", "shown_group"]

_EXAMPLES: Final = 10
# Examples of a group that a node sends, where there are several.
_SENT: Final = 5
_ALL: Final = 20


class ListProblems(Request, frozen=True, tag="list_problems"):
    """Asks a node for its groups that hold every word of ``text``, with ``examples`` of each; JSON text."""

    reply: ClassVar = bytes

    kinds: str | None
    text: str
    examples: int


class FoundProblems(NamedTuple):
    """Groups, the newest problem first; ``complete`` as in `sockudo.dashboard.paging.Page`."""

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
    several = len(nodes.names()) > 1
    answered = await ask_all(nodes, ListProblems(kinds, text, _SENT if several else _ALL), list[_Group])
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
            for group in find_problems(problems, None, asked.kinds, asked.text)
        ]
    )


class Example(NamedTuple):
    """One problem and its line."""

    entry: Entry
    line: Line


class ShownGroup(NamedTuple):
    """A group in words; ``row`` is None for an error that the catalogue does not have. The newest example is first."""

    group: Group
    label: str
    row: ErrorSpec | None
    examples: list[Example]

    @property
    def same_channel(self) -> bool:
        """Whether all examples are about one channel, which then stands in the head of the group."""
        return len({example.entry.channel for example in self.examples}) == 1

    @property
    def same_endpoint(self) -> bool:
        """Whether all examples are about one endpoint of webhooks."""
        return len({example.entry.endpoint for example in self.examples}) == 1


def shown_group(group: Group) -> ShownGroup:
    """What a page shows of a group."""
    newest = list(group.last)[::-1][:_EXAMPLES]
    examples = [Example(entry, line_of(entry)) for entry in newest]
    return ShownGroup(group, LABELS[group.kind], CATALOGUE.get(group.error or ""), examples)
