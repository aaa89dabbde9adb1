"""What the client for browsers knows of the catalogue: `clients/js/src/errors.ts`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sockudo.errors import CATALOGUE

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "clients" / "js" / "src" / "errors.ts"


class Entry(NamedTuple):
    code: int
    slug: str
    begins: str


def entries() -> list[Entry]:
    text = SOURCE.read_text(encoding="utf-8").partition("const ENTRIES")[2].partition("\n]")[0]
    found = re.findall(r'\[(\d+), "(\w+)"(?:, "([^"]*)")?\]', text)
    assert len(found) == text.count("\n  [")
    return [Entry(int(code), slug, begins) for code, slug, begins in found]


def texts() -> Iterator[str]:
    """Every text of the server's sources; of one with values in it, what stands before the first."""
    for path in (ROOT / "src" / "sockudo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_entry_has_the_code_of_its_row() -> None:
    listed = entries()
    assert len(listed) > 20
    assert [(each.slug, each.code) for each in listed if CATALOGUE[each.slug].ws != each.code] == []


def test_every_close_has_an_entry() -> None:
    closing = {row.slug for row in CATALOGUE.values() if row.closes and row.ws is not None and row.ws >= 4000}
    assert closing - {each.slug for each in entries()} == set()


def test_beginnings_are_texts_of_the_server() -> None:
    wanted = {each.begins for each in entries() if each.begins}
    known = list(texts())
    assert {begins for begins in wanted if not any(each.startswith(begins) for each in known)} == set()


def test_what_fits_every_text_of_a_code_comes_last() -> None:
    listed = entries()
    for code in {each.code for each in listed}:
        of_code = [each.begins for each in listed if each.code == code]
        assert all(of_code[:-1]), code
        for at, begins in enumerate(of_code):
            assert not any(later.startswith(begins) for later in of_code[at + 1 :] if begins), begins
