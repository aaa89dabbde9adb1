"""Finds the line of a configuration file on which a key stands, for the problems of that key.

The parsers keep no positions. These scanners find keys by how files are written; one that they do not find has no line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["line_of", "located"]

_NAME: Final = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
_DOTTED: Final = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER: Final = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY: Final = re.compile(rf"\s*({_DOTTED})\s*=")
_PART: Final = re.compile(_NAME)
_TOKEN: Final = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\],:\n]')
# A path at the beginning of a problem, the part of an app that it is about, and the name that is unknown there.
_PATH: Final = r"[A-Za-z0-9_.-]+(?:\[\d+\][A-Za-z0-9_.-]*)*"
_PROBLEM: Final = re.compile(rf"(?:unknown key ')?(?P<path>{_PATH})'?(?: \(app [^)]*\))?(?:: `?(?P<below>{_PATH}))?")
_UNKNOWN: Final = re.compile(r"unknown (?:key|field) '([^']+)'")


def located(problem: str, place: str, text: str, *, toml: bool) -> str:
    """The problem with the line behind ``place``, the name of the file; as it was where no line is found."""
    if not problem.startswith(f"{place}: "):
        return problem
    message = problem.removeprefix(f"{place}: ")
    found = _PROBLEM.match(message)
    if found is None:
        return problem
    path = found["path"]
    tries = [path]
    if found["below"]:
        tries.insert(0, f"{path}.{found['below']}")
    unknown = _UNKNOWN.search(message)
    if unknown is not None and not message.startswith("unknown key"):
        # Of a field of the app itself there is no other path.
        tries = [f"{each}.{unknown[1]}" for each in tries] + [f"{path}.{unknown[1]}", *tries]
    places = dict(_toml_keys(text) if toml else _json_keys(text))
    line = next((places[each] for each in tries if each in places), None)
    if line is None:
        line = next((line for each in tries if (line := line_of(each, places)) is not None), None)
    return problem if line is None else f"{place}:{line}: {message}"


def line_of(path: str, places: dict[str, int]) -> int | None:
    """The line of the key, else of the nearest section that it would be in."""
    while path:
        if path in places:
            return places[path]
        path = path[: path.rindex("[")] if path.endswith("]") else path.rpartition(".")[0]
    return None


def _toml_keys(text: str) -> Iterator[tuple[str, int]]:
    """Each key and section by its path, with the index of an entry of a list, and its line."""
    section, counts, inside = "", dict[str, int](), ""
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        quotes = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")
        if inside:
            inside = "" if quotes == inside else inside
            continue
        header, key = _HEADER.match(line), _KEY.match(line)
        if header is not None:
            section = _entered(_parts(header[2]), counts, is_list=header[1] == "[[")
        path = section if header is not None else _joined(section, ".".join(_parts(key[1]))) if key is not None else ""
        if path and path not in seen:
            seen.add(path)
            yield path, number
        inside = quotes


def _entered(names: list[str], counts: dict[str, int], *, is_list: bool) -> str:
    """The path of a section; within lists it belongs to the last entry so far, and one in brackets begins another."""
    path = ""
    for position, name in enumerate(names):
        path = _joined(path, name)
        if is_list and position == len(names) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = f"{path}[{counts[path]}]"
    return path


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(dotted)]


def _joined(section: str, name: str) -> str:
    return f"{section}.{name}" if section else name


def _json_keys(text: str) -> Iterator[tuple[str, int]]:
    """The same of JSON that has been parsed already, so that its brackets match."""
    line, waiting = 1, ""
    # Paths of what is open; lists count their entries.
    opened: list[tuple[str, list[int] | None]] = []
    current = ""
    for sign in _TOKEN.findall(text):
        if sign == "\n":
            line += 1
        elif sign in "{[":
            opened.append((current, [0] if sign == "[" else None))
            if sign == "[":
                current = f"{current}[0]"
        elif sign in "}]":
            current, _ = opened.pop()
        elif sign == ",":
            base, count = opened[-1]
            if count is not None:
                count[0] += 1
                current = f"{base}[{count[0]}]"
        elif sign == ":":
            current = _joined(opened[-1][0], waiting)
            yield current, line
        else:
            waiting = sign[1:-1]
