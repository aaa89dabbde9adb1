"""The specification: what is cited of it exists, its anchors too, and it has the codes and metrics of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockudo.errors import CATALOGUE
from sockudo.push.telemetry import FAMILIES

PROJECT = Path(__file__).parent.parent
PAGES = PROJECT / "docs" / "spec"
FOLDERS = ("src", "tests", "docs", "scripts", "examples", "benchmarks", "plugins", ".ci")
SUFFIXES = frozenset(("", ".py", ".md", ".toml", ".js", ".mjs", ".ts", ".html", ".css", ".sh", ".proto"))

NUMBER = r"\d+(?:\.\d+)*"
PLACE = rf"[a-z-]+ § {NUMBER}(?:(?:, | and | to ){NUMBER})*"
CITATION = re.compile(rf"spec: ({PLACE}(?:; {PLACE})*)")
# Standards have sections too; and the form of a citation is shown here and there.
STANDARD = re.compile(rf"RFC \d+ § {NUMBER}|spec: PAGE § N")
HEADING = re.compile(rf"(?m)^(?:<a id=\"(s[\d-]+)\"></a>\n\n)?##+ ({NUMBER})\.? ")
LINK = re.compile(rf"\[(?:[a-z-]+ )?§ ({NUMBER})\]\(([a-z-]+)?(?:\.md)?#(s[\d-]+)\)")
FENCED = re.compile(r"(?ms)^(```).*?^```$")
# A citation may go on in the next line, of a comment as well.
BREAK = re.compile(r"\s*\n\s*(?:# )?")


def page_texts() -> dict[str, str]:
    return {page.stem: page.read_text(encoding="utf-8") for page in sorted(PAGES.glob("*.md"))}


def sections_of(text: str) -> set[str]:
    return {number for _, number in HEADING.findall(FENCED.sub("", text))}


SECTIONS = {page: sections_of(text) for page, text in page_texts().items()}


def numbers_in(place: str) -> tuple[str, list[str]]:
    page, _, numbers = place.partition(" § ")
    return page, re.findall(NUMBER, numbers)


def lost_citations(text: str) -> Iterator[str]:
    """What is cited in ``text`` and is not there, or is cited in another form than `docs/spec/index.md` has."""
    flat = BREAK.sub(" ", text)
    for cited in CITATION.findall(flat):
        for place in cited.split("; "):
            page, numbers = numbers_in(place)
            yield from (f"{page} § {number}" for number in numbers if number not in SECTIONS.get(page, ()))
    rest = STANDARD.sub("", CITATION.sub("", flat))
    yield from (f"not of the form 'spec: PAGE § N': …{found}" for found in re.findall(r".{0,30}§.{0,20}", rest))


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the project outside of the specification, by its path."""
    files = [path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*")) if path.is_file()]
    for path in [*files, *(path for path in sorted(PROJECT.glob("*.*")) if path.is_file())]:
        if (
            path.suffix not in SUFFIXES
            or PAGES in path.parents
            or path == Path(__file__)
            or "node_modules" in path.parts
        ):
            continue
        content = path.read_bytes()
        # Programs that were built here have no suffix either.
        if b"\0" not in content:
            yield str(path.relative_to(PROJECT)), content.decode()


def test_every_cited_section_is_there() -> None:
    lost = {name: found for name, text in texts() if "§" in text and (found := list(lost_citations(text)))}
    assert lost == {}


@pytest.mark.parametrize("page", sorted(SECTIONS))
def test_a_page_refers_to_sections_that_are_there(page: str) -> None:
    text = page_texts()[page]
    links = [(number, other or page, anchor) for number, other, anchor in LINK.findall(text)]
    for number, other, anchor in links:
        assert number in SECTIONS[other], f"{other} § {number}"
        assert anchor == f"s{number.replace('.', '-')}"
    own = FENCED.sub("", LINK.sub("", text))
    if page == "index":
        # It shows how citations look.
        own = own.partition("## 5. ")[0]
    missing = set(re.findall(rf"§ ({NUMBER})", STANDARD.sub("", own))) - SECTIONS[page]
    assert missing == set()


@pytest.mark.parametrize("page", sorted(SECTIONS))
def test_each_numbered_heading_has_its_anchor(page: str) -> None:
    found = HEADING.findall(FENCED.sub("", page_texts()[page]))
    assert [anchor for anchor, _ in found] == [f"s{number.replace('.', '-')}" for _, number in found]
    assert len({number for _, number in found}) == len(found)


def test_every_code_of_a_reply_is_specified() -> None:
    """What nobody sends, such as 1006, is not."""
    text = "\n".join(page_texts().values())
    answered = [spec for spec in CATALOGUE.values() if spec.status is not None]
    assert {spec.code for spec in answered if f"`{spec.code}`" not in text} == set()
    on_sockets = {spec.ws for spec in CATALOGUE.values() if spec.ws is not None} - {1006}
    assert {code for code in on_sockets if str(code) not in page_texts()["websocket"]} == set()


def test_every_metric_of_push_is_specified() -> None:
    assert [name for name in FAMILIES if f"`{name}" not in page_texts()["push"]] == []


def test_what_is_found() -> None:
    assert list(lost_citations("(spec: history § 3.2 and\n    # 4.1; push § 5, step 7), see RFC 6455 § 5.1")) == []
    assert list(lost_citations("(spec: history § 3.99; nowhere § 1)")) == ["history § 3.99", "nowhere § 1"]
    assert len(list(lost_citations("(contract 30 § 3.2)"))) == 1
