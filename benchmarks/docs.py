"""Puts a fresh table into docs/benchmarks.md, between its markers; what people wrote around them stays."""

from __future__ import annotations

import re

from benchmarks.cluster import table as cluster_table
from benchmarks.features import table as features_table
from benchmarks.operators import table as operators_table
from benchmarks.push import table as push_table
from benchmarks.report import comparison, head, markdown, noise, targets
from benchmarks.results import Results
from benchmarks.settings import ROOT
from benchmarks.v2 import table as v2_table

__all__ = ["write_docs"]

_PAGE = ROOT / "docs/benchmarks.md"
_TABLES = {"v2": v2_table, "operators": operators_table, "push": push_table, "features": features_table, "cluster": cluster_table, "targets": targets}


def _generated(results: Results, part: str) -> str:
    lines = [f"- {line}" for line in head(results)]
    parts = [f"Command: `{results.meta['command']}`", "\n".join(lines)]
    if part == "peers":
        parts += [f"### {title}\n\n{markdown(table)}" for title, table in comparison(results)]
    else:
        parts.append(markdown(_TABLES[part](results)))
    return "\n\n".join([*parts, *filter(None, [noise(results)])])


def write_docs(results: Results, part: str) -> None:
    """Replaces the part named ``peers``, ``targets``, ``v2``, ``operators``, ``push``, ``features`` or ``cluster``. Raises SystemExit when the page has lost its markers."""
    begin, end = f"<!-- generated: {part} -->", f"<!-- end of generated: {part} -->"
    page = _PAGE.read_text()
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(page):
        raise SystemExit(f"bench: {_PAGE.name} has no lines {begin!r} and {end!r}")
    text = f"{begin}\n\n{_generated(results, part)}\n\n{end}"
    _PAGE.write_text(found.sub(lambda _: text, page))
