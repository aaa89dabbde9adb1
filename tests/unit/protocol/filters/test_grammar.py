"""Which texts are expressions: the language's, within the limits of size, nesting and syntax tree."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.parser import Parser

from sockudo import errors
from sockudo.protocol.filters.grammar import parse


def refusal(source: str) -> str:
    with pytest.raises(errors.SockudoError) as refused:
        parse(source)
    assert refused.value.spec is errors.FILTER_INVALID
    return refused.value.text.removeprefix("Invalid message format: Invalid subscription filter: ")


def test_the_tree_is_the_librarys() -> None:
    source = "data.items[?price > `5` && contains(@.name, 'x')].{a: a, b: [b, &c]} | [0:2] | [-1]"
    assert parse(source) == Parser().parse(source).parsed


def test_nothing_is_kept_of_a_source() -> None:
    Parser.purge()
    parse("data.total")
    assert Parser._CACHE == {}


@pytest.mark.parametrize(
    ("source", "at"),
    [
        (" ", 1),
        ("a [", 3),
        ("a b", 2),
        ("a.", 2),
        ("(a", 2),
        ("a)", 1),
        ("a =", 2),
        ("[?a", 3),
        ("foo(", 4),
        ("-", 0),
        ("{a: b", 5),
        ("{}", 1),
        ("'a", 0),
        ('"a', 0),
        ("ü", 0),
        ("a #", 2),
        ("a[1:2:3:4]", 7),
        ("@(a)", 0),
        ("a.'b'", 2),
        ('"a"(@)', 0),
    ],
)
def test_broken_sources_are_refused_with_the_place(source: str, at: int) -> None:
    assert refusal(source) == f"invalid JMESPath expression at character {at}"


@pytest.mark.parametrize(
    "literal",
    [
        "word",
        "",
        " ",
        "NaN",
        "Infinity",
        "1e999",
        "01",
        "'a'",
        "{a: 1}",
        '"\\ud800"',
        '"tab\t"',
        "1 2",
        '"open',
        "[" * 129,
    ],
)
def test_a_literal_is_strict_json(literal: str) -> None:
    assert refusal(f"a == `{literal}`") == "invalid JMESPath expression at character 5"


def test_a_literal_is_nested_no_deeper_than_a_frame() -> None:
    assert parse("`" + "[" * 128 + "]" * 128 + "`")["type"] == "literal"
    assert refusal("`" + "[" * 129 + "]" * 129 + "`") == "invalid JMESPath expression at character 0"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("`5`", 5),
        ("`1.0`", 1.0),
        ("` [1, 2] `", [1, 2]),
        ('`"a\\`b"`', "a`b"),
        ("`null`", None),
        ("`" + "9" * 4090 + "`", 10**4090 - 1),
        ("'raw'", "raw"),
        ("'it\\'s'", "it's"),
    ],
)
def test_literals(source: str, value: object) -> None:
    assert parse(source) == {"type": "literal", "value": value, "children": []}


def test_the_limit_of_bytes() -> None:
    assert parse(f"'{'x' * 4094}'")["value"] == "x" * 4094
    assert parse(f"'{'é' * 2047}'")["value"] == "é" * 2047
    too_long = "JMESPath expression exceeds the byte limit of 4096"
    assert refusal(f"'{'x' * 4095}'") == too_long
    assert refusal(f"'{'é' * 2047}x'") == too_long
    assert refusal("(" * 1_000_000) == too_long


def test_parentheses_count_for_nothing_but_nesting() -> None:
    assert parse("(" * 128 + "a" + ")" * 128) == parse("a")
    too_deep = "JMESPath expression is nested more than 128 levels deep"
    assert refusal("(" * 129 + "a" + ")" * 129) == too_deep


@pytest.mark.parametrize(
    "part", ["(", "[", "!", "& ", "{a:", "f(", "[?", "a[?", "a&&(", "a[*].", "*.", "[*]", "[0:]", "a.["]
)
def test_no_nesting_gets_out_of_hand(part: str) -> None:
    assert refusal(part * (4096 // len(part))) in (
        "JMESPath expression is nested more than 128 levels deep",
        "invalid JMESPath expression at character 1",
    )


NODES = "JMESPath expression exceeds the AST node limit of 256"
DEPTH = "JMESPath expression exceeds the AST depth limit of 32"


def joined(part: str, count: int, glue: str) -> str:
    return glue.join([part] * count)


@pytest.mark.parametrize(
    ("largest", "next_larger", "limit"),
    [
        (f"[{joined('a', 255, ',')}]", f"[{joined('a', 256, ',')}]", NODES),
        (f"{{{joined('k: a', 255, ',')}}}", f"{{{joined('k: a', 256, ',')}}}", NODES),
        (f"f({joined('a', 255, ',')})", f"f({joined('a', 256, ',')})", NODES),
        (f"f({joined('&a', 127, ',')})", f"f({joined('&a', 127, ',')},b,c)", NODES),
        (f"[{joined('a.b.c', 51, ',')}]", f"[{joined('a.b.c', 51, ',')}, d]", NODES),
        (f"[{joined('[0]', 255, ',')}]", f"[{joined('[0]', 256, ',')}]", NODES),
        (f"[{joined('a[0]', 85, ',')}]", f"[{joined('a[0]', 85, ',')}, d]", NODES),
        (f"[{joined('*', 63, ',')}, a, b, c]", f"[{joined('*', 64, ',')}]", NODES),
        (f"[{joined('[?a]', 51, ',')}]", f"[{joined('[?a]', 51, ',')}, b]", NODES),
        (f"[{joined('[1:]', 85, ',')}]", f"[{joined('[1:]', 85, ',')}, b]", NODES),
        (joined("a", 32, "."), joined("a", 33, "."), DEPTH),
        ("a" + "[0]" * 31, "a" + "[0]" * 32, DEPTH),
        ("[0]" * 32, "[0]" * 33, DEPTH),
        ("!" * 31 + "a", "!" * 32 + "a", DEPTH),
        (joined("a", 32, "|"), joined("a", 33, "|"), DEPTH),
        (joined("a", 32, "||"), joined("a", 33, "||"), DEPTH),
        ("[" * 31 + "a" + "]" * 31, "[" * 32 + "a" + "]" * 32, DEPTH),
        ("{k:" * 31 + "a" + "}" * 31, "{k:" * 32 + "a" + "}" * 32, DEPTH),
    ],
)
def test_limits_of_the_syntax_tree(largest: str, next_larger: str, limit: str) -> None:
    parse(largest)
    assert refusal(next_larger) == limit


@pytest.mark.parametrize(
    "source", ["(" * 5000, "[" * 4096, "a." * 2047 + "a", "`" + "[" * 4000, "9" * 4096, "a[" + "9" * 4000]
)
def test_the_largest_sources_take_no_time(source: str) -> None:
    took = []
    for _ in range(3):
        started = time.thread_time()
        refusal(source)
        took.append(time.thread_time() - started)
    assert min(took) < 0.05


TOKENS = ["a", "b", "@", "*", ".", "[", "]", "[]", "[?", "(", ")", "{", "}", ",", ":", "|", "||", "&", "&&", "!", "!="]
TOKENS += ["==", "<", ">=", "0", "-1", "'x'", '"q"', "`1`", "`x", "f(", "a:", " ", "=", "-", "\\", "`{}`", "'", "ü"]


@pytest.mark.timeout(1200)
@given(st.lists(st.sampled_from(TOKENS), max_size=60).map("".join) | st.text(max_size=40))
def test_any_text_is_an_expression_or_refused(source: str) -> None:
    try:
        tree = parse(source) if source else None
    except errors.SockudoError as refused:
        assert refused.spec is errors.FILTER_INVALID  # noqa: PT017 - most of them are refused, and nothing else happens
    else:
        assert tree is None or "type" in tree
