"""Filters in the words of the command line."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from sockudo.cli.filters import read_filter
from sockudo.protocol.filters import FilterOptions, compile_filter


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("venue=ldn", {"key": "venue", "cmp": "eq", "val": "ldn"}),
        ("venue!=ldn", {"key": "venue", "cmp": "neq", "val": "ldn"}),
        ("venue=ldn,nyc", {"key": "venue", "cmp": "in", "vals": ["ldn", "nyc"]}),
        ("venue!=ldn,nyc", {"key": "venue", "cmp": "nin", "vals": ["ldn", "nyc"]}),
        ("venue=", {"key": "venue", "cmp": "in", "vals": [""]}),
        ("size>5", {"key": "size", "cmp": "gt", "val": "5"}),
        ("size>=5", {"key": "size", "cmp": "gte", "val": "5"}),
        ("size<5", {"key": "size", "cmp": "lt", "val": "5"}),
        ("size<=5", {"key": "size", "cmp": "lte", "val": "5"}),
        ("name^=be", {"key": "name", "cmp": "sw", "val": "be"}),
        ("name$=end", {"key": "name", "cmp": "ew", "val": "end"}),
        ("name*=mid", {"key": "name", "cmp": "ct", "val": "mid"}),
        ("sum=a=b", {"key": "sum", "cmp": "eq", "val": "a=b"}),
        ("venue", {"key": "venue", "cmp": "ex"}),
        ("!venue", {"key": "venue", "cmp": "nex"}),
    ],
)
def test_words(text: str, node: dict[str, Any]) -> None:
    found = read_filter([text], [])
    assert found == {"tags": node}
    # What it comes to is what a server takes.
    assert compile_filter({"filter": found}, FilterOptions(tags_enabled=True)) is not None


def test_json_words_and_event_names_add_up() -> None:
    texts = ['{"events": ["a"], "expression": "data.n > `1`"}', "size>5", '{"key": "x", "cmp": "ex"}']
    assert read_filter(texts, ["b", "a"]) == {
        "events": ["b", "a"],
        "tags": {"op": "and", "nodes": [{"key": "size", "cmp": "gt", "val": "5"}, {"key": "x", "cmp": "ex"}]},
        "expression": "data.n > `1`",
    }
    assert read_filter([], []) is None
    assert read_filter([], ["a", "a"]) == {"events": ["a"]}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["{"], "--filter is not JSON"),
        (['{"a":' * 100_000], "--filter is not JSON"),
        (["=x"], "'=x' cannot be read"),
        (["!a=b"], "'!a=b' cannot be read"),
        ([""], "'' cannot be read"),
        (['{"events": "a"}'], "events has to be an array"),
        (['{"expression": "a"}', '{"expression": "b"}'], "Only one --filter can have an expression"),
    ],
)
def test_what_cannot_be_meant(texts: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        read_filter(texts, [])
    assert caught.value.exit_code == 2
    assert said in capsys.readouterr().err
