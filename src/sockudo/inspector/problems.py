"""What went wrong lately, grouped: always kept, because watching begins after something is wrong."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final

from sockudo.inspector.entry import Entry, Kind

__all__ = ["Group", "Problems", "merged"]

_GROUPS: Final = 500
_EXAMPLES: Final = 20


@dataclass(slots=True)
class Group:
    """Problems of one app that have kind, error and cause in common; ``last`` are the newest, newest last.

    ``cause`` is that of the newest one: what differs between two of a group is behind its first colon. Times are in
    milliseconds since the epoch.
    """

    app_id: str | None
    kind: Kind
    error: str | None
    code: int | None
    cause: str | None
    first_at: int
    last_at: int
    count: int = 0
    last: deque[Entry] = field(default_factory=lambda: deque(maxlen=_EXAMPLES))

    def for_app(self) -> Group:
        """The group as a holder of the app's secret may see it, without the names of other apps."""
        last = deque((entry.for_app() for entry in self.last), _EXAMPLES)
        return replace(self, cause=last[-1].cause if last else None, last=last)


def merged(groups: Iterable[Group]) -> list[Group]:
    """Groups of several nodes: those that have in common what makes a group become one; the newest problem first."""
    found: dict[tuple[object, ...], Group] = {}
    for group in groups:
        key = _key(group.last[-1])
        known = found.get(key)
        if known is None:
            found[key] = group
            continue
        newest = max(group, known, key=attrgetter("last_at"))
        examples = sorted([*known.last, *group.last], key=attrgetter("at"))
        found[key] = replace(
            newest,
            first_at=min(group.first_at, known.first_at),
            count=group.count + known.count,
            last=deque(examples, _EXAMPLES),
        )
    return sorted(found.values(), key=attrgetter("last_at"), reverse=True)


def _key(entry: Entry) -> tuple[object, ...]:
    """What the problems of a group have in common."""
    cause = entry.cause.partition(":")[0] if entry.cause is not None else None
    return (entry.app_id, entry.kind, entry.error, entry.endpoint, cause)


class Problems:
    """The newest groups of problems, 500 at most; the one that has been quiet for longest gives way."""

    def __init__(self) -> None:
        self._groups: OrderedDict[tuple[object, ...], Group] = OrderedDict()

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, entry: Entry) -> None:
        """Counts a problem in its group."""
        key = _key(entry)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _GROUPS:
                self._groups.popitem(last=False)
            group = self._groups[key] = Group(
                entry.app_id, entry.kind, entry.error, entry.code, entry.cause, entry.at, entry.at
            )
        else:
            self._groups.move_to_end(key)
        group.count += 1
        group.last_at = entry.at
        group.cause = entry.cause
        group.last.append(entry)

    def groups(self, app_id: str | None = None) -> list[Group]:
        """The groups, of one app or of all, the one with the newest problem first."""
        return [group for group in reversed(self._groups.values()) if app_id is None or group.app_id == app_id]
