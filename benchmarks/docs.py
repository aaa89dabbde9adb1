"""Puts a fresh table into docs/benchmarks.md, between its markers; what people wrote around them stays."""

from __future__ import annotations

import re

from benchmarks.report import comparison, head, markdown, noise, targets
from benchmarks.results import Results
from benchmarks.settings import ROOT

__all__ = ["write_docs"]

_PAGE = ROOT / "docs/benchmarks.md"


def _generated(results: Results, *, peers: bool) -> str:
    lines = [f"- {line}" for line in head(results)]
    parts = [f"Command: `{results.meta['command']}`", "\n".join(lines)]
    if peers:
        parts += [f"### {title}\n\n{markdown(table)}" for title, table in comparison(results)]
    else:
        parts.append(markdown(targets(results)))
    return "\n\n".join([*parts, *filter(None, [noise(results)])])


def write_docs(results: Results, *, peers: bool) -> None:
    """Replaces the part named ``peers`` or ``targets``. Raises SystemExit when the page has lost its markers."""
    name = "peers" if peers else "targets"
    begin, end = f"<!-- generated: {name} -->", f"<!-- end of generated: {name} -->"
    page = _PAGE.read_text()
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(page):
        raise SystemExit(f"bench: {_PAGE.name} has no lines {begin!r} and {end!r}")
    text = f"{begin}\n\n{_generated(results, peers=peers)}\n\n{end}"
    _PAGE.write_text(found.sub(lambda _: text, page))
