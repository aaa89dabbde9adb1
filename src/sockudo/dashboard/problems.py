"""Groups of problems in words, as the pages show them."""

from __future__ import annotations

from typing import Final, NamedTuple

from sockudo.errors import CATALOGUE, ErrorSpec
from sockudo.inspector import Entry, Group
from sockudo.inspector.lines import LABELS, Line, line_of

__all__ = ["Example", "ShownGroup", "shown_group"]

_EXAMPLES: Final = 10


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
