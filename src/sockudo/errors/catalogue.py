"""The error catalogue as people look things up in it: by a code, a status, a word; and a row in words for them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final

from sockudo.errors import CATALOGUE, ErrorSpec

__all__ = ["as_sent", "can_retry", "find_rows", "nearest_names", "plain_row", "search_rows"]

# RFC 6455 § 7.4.1.
_NEVER_SENT: Final = 1006
_NEAR: Final = 10
_REACTIONS: Final = (
    (1000, 1001, "clients come back after a moment"),
    (1002, 1015, "clients come back after a while"),
    (4000, 4099, "clients stop: connecting again would end the same way"),
    (4100, 4199, "clients come back after a while"),
    (4200, 4299, "clients come back at once"),
    (4300, 4399, "clients stop: connecting again would end the same way"),
)


def find_rows(code: str) -> list[ErrorSpec]:
    """The rows that a slug, a word in an answer, a close code or an HTTP status stands for; the exact slug first.

    A link from the ``docs`` of an answer counts as its anchor.
    """
    asked = _asked(code)
    rows = CATALOGUE.values()
    if asked.isdecimal():
        return [row for row in rows if int(asked) in (row.status, row.ws, row.event_code)]
    exact = CATALOGUE.get(asked)
    others = [row for row in rows if row.code == asked and row is not exact]
    return [*([exact] if exact else []), *others]


def search_rows(text: str) -> list[ErrorSpec]:
    """The rows that hold every word of the text somewhere, those of `find_rows` first; without words, all of them."""
    words = text.lower().split()
    first = find_rows(text) if len(words) == 1 else []
    holding = [row for row in CATALOGUE.values() if row not in first and all(word in _whole(row) for word in words)]
    # A number is a code: one that happens to stand in a sentence is not what was looked for.
    return first if first and text.strip().isdecimal() else [*first, *holding]


def nearest_names(code: str) -> list[str]:
    """Up to three slugs, words or numbers that are spelled nearly like this one."""
    asked = _asked(code)
    rows = CATALOGUE.values()
    if asked.isdecimal():
        known = {number for row in rows for number in (row.status, row.ws) if number is not None}
        # One far away has nothing to do with it.
        near = sorted(known, key=lambda number: (abs(number - int(asked)), number))[:3]
        near = [number for number in near if abs(number - int(asked)) <= _NEAR]
        return [str(number) for number in sorted(near)]
    names = {name for row in rows for name in (row.slug, row.code)}
    return get_close_matches(asked, sorted(names), n=3) or sorted(name for name in names if asked and asked in name)[:3]


def plain_row(row: ErrorSpec) -> dict[str, Any]:
    """A row as JSON."""
    return {
        "slug": row.slug,
        "code": row.code,
        "status": row.status,
        "ws": row.ws,
        "retry": row.retry,
        "closes": row.closes,
        "meaning": row.meaning,
        "causes": list(row.causes),
        "remedy": row.remedy,
    }


def as_sent(row: ErrorSpec) -> list[str]:
    """How the error reaches those whom it concerns, one sentence for each way."""
    forms = []
    if row.status is not None:
        reason = "" if row.reason is None else f" and reason {row.reason}"
        forms.append(f"HTTP {row.status} with code {row.code}{reason}")
    if row.ws == _NEVER_SENT:
        forms.append(f"nothing: a client that sees no close frame calls it {row.ws} itself")
    elif row.ws is not None and row.ws < 4000:
        forms.append(f"WebSocket close {row.ws}, without an error frame")
    elif row.ws is not None and row.closes:
        forms.append(f"WebSocket error frame and close {row.ws}: {_reaction(row.ws)}")
    elif row.ws is not None:
        forms.append(f"WebSocket error frame {row.ws}; the connection stays open")
    if row.event_code is not None:
        forms.append(f"V2 event sockudo:token_expired with code {row.event_code}")
    return forms or [f"{row.code}, in replies, events or the log"]


def can_retry(row: ErrorSpec) -> str:
    """Whether trying again makes sense, in words."""
    return "can help" if row.retry else "does not help: the same request fails again"


def _asked(code: str) -> str:
    """The code as the catalogue spells it."""
    return code.strip().rpartition("#")[2].lower().replace("-", "_")


def _whole(row: ErrorSpec) -> str:
    parts = (row.slug, row.code, row.slug.replace("_", " "), row.meaning, row.remedy, *row.causes)
    return " ".join(parts).lower()


def _reaction(close_code: int) -> str:
    return next((text for first, last, text in _REACTIONS if first <= close_code <= last), "clients stop")
