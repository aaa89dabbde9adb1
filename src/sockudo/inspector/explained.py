"""What is selected, and problems together with their rows of the catalogue, as the APIs answer it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from sockudo import errors
from sockudo.errors import CATALOGUE
from sockudo.errors.catalogue import plain_row
from sockudo.inspector.entry import KINDS, PROBLEMS, Entry, Kind
from sockudo.inspector.lines import LABELS, line_of
from sockudo.inspector.problems import Group, Problems
from sockudo.inspector.watcher import Selection

__all__ = [
    "PROBLEM_KINDS",
    "SELECTING",
    "explained",
    "find_problems",
    "fits",
    "read_kinds",
    "read_selection",
    "shown_to_app",
]

SELECTING: Final = ("channel", "user_id", "socket_id", "kinds")
"""The parameters of a selection besides the app."""

PROBLEM_KINDS: Final = tuple(kind for kind in KINDS if kind in PROBLEMS)

_LONGEST: Final = 512


def read_selection(app_id: str | None, given: Mapping[str, str]) -> Selection:
    """What the parameters `SELECTING` ask to see of an app; an empty one is as good as none.

    Raises errors.INVALID_INPUT for an unknown kind, for a name that is longer than any can be, and for a socket or a
    user without its app.
    """
    for name in SELECTING:
        if len(given.get(name, "")) > _LONGEST:
            raise errors.INVALID_INPUT(f"{name} has over {_LONGEST} characters")
    user_id, socket_id = given.get("user_id") or None, given.get("socket_id") or None
    if app_id is None and (user_id or socket_id):
        raise errors.INVALID_INPUT("A user_id or a socket_id belongs to one app: add app_id")
    return Selection(app_id, given.get("channel") or None, user_id, socket_id, read_kinds(given.get("kinds")))


def read_kinds(text: str | None) -> frozenset[Kind] | None:
    """Kinds separated by commas, None for all. Raises errors.INVALID_INPUT for one that does not exist."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    for word in words:
        if word not in KINDS:
            raise errors.INVALID_INPUT(f"There is no kind '{word}'. Kinds are: {', '.join(KINDS)}")
    return cast("frozenset[Kind]", frozenset(words)) if words else None


def find_problems(problems: Problems, app_id: str | None, kinds: str | None, text: str | None) -> list[Group]:
    """The groups that hold every word of ``text``, the newest first; None and an empty text stand for all.

    Raises errors.INVALID_INPUT for unknown ``kinds``.
    """
    chosen, words = read_kinds(kinds), (text or "").lower().split()
    return [group for group in problems.groups(app_id) if fits(group, chosen, words)]


def shown_to_app(groups: Iterable[Group], app_id: str, kinds: str | None, text: str | None) -> list[Group]:
    """Those of the app that fit, for a holder of its secret, who neither sees nor finds what names another one."""
    chosen, words = read_kinds(kinds), (text or "").lower().split()
    own = (group.for_app() for group in groups if group.app_id == app_id)
    return [group for group in own if fits(group, chosen, words)]


def fits(group: Group, kinds: frozenset[Kind] | None, words: Iterable[str]) -> bool:
    """Whether a group has one of the kinds and holds every word, in lower case, in what is shown of it."""
    if kinds is not None and group.kind not in kinds:
        return False
    wanted = list(words)
    if not wanted:
        return True
    row = CATALOGUE.get(group.error or "")
    parts = [group.app_id, group.error, group.code, group.cause, LABELS[group.kind]]
    parts += [row.code, row.meaning] if row is not None else []
    examples = [line_of(entry) for entry in group.last]
    whole = " ".join([*(str(part) for part in parts if part is not None), *map(str, examples)]).lower()
    return all(word in whole for word in wanted)


def explained(group: Group, examples: int) -> dict[str, Any]:
    """A group with its catalogue entry and its newest examples, newest first; ``explanation`` is None without one."""
    row = CATALOGUE.get(group.error or "")
    newest: list[Entry] = list(group.last)[::-1][:examples]
    return {
        "app_id": group.app_id,
        "kind": group.kind,
        "error": group.error,
        "code": group.code,
        "cause": group.cause,
        "count": group.count,
        "first_at": group.first_at,
        "last_at": group.last_at,
        "explanation": None if row is None else plain_row(row),
        "last": newest,
    }
