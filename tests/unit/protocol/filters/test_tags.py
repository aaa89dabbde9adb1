"""The tag tree of a filter: shapes and limits, the truth table of its operators, and a naive model of all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.protocol.filters.message import MessageView
from sockudo.protocol.filters.tags import TagForm, compile_tags
from sockudo.protocol.frames import Frame


def holds(tree: Any, tags: dict[str, str] | None) -> bool:
    _, test = compile_tags(tree)
    return test(MessageView(Frame("quote", "news", tags=tags)))


def form(tree: Any) -> TagForm:
    return compile_tags(tree)[0]


def refusal(tree: Any) -> str:
    with pytest.raises(errors.SockudoError) as refused:
        compile_tags(tree)
    assert refused.value.spec is errors.FILTER_INVALID
    text = refused.value.text
    assert text.startswith("Invalid message format: ")
    return text.removeprefix("Invalid message format: ")


# Operator, value; then what it says of a tag that matches, of one that does not, of an empty one, and of none.
TRUTH = [
    ("eq", "val", "ldn", "ldn", "LDN", (True, False, False, False)),
    ("neq", "val", "ldn", "nyc", "ldn", (True, False, True, True)),
    ("in", "vals", ["ldn", "nyc"], "nyc", "par", (True, False, False, False)),
    ("nin", "vals", ["ldn", "nyc"], "par", "nyc", (True, False, True, True)),
    ("in", "vals", ["", "x"], "", "ldn", (True, False, True, False)),
    ("nin", "vals", [""], "ldn", "", (True, False, False, True)),
    ("sw", "val", "ld", "ldn", "nld", (True, False, False, False)),
    ("ew", "val", "dn", "ldn", "dnl", (True, False, False, False)),
    ("ct", "val", "d", "ldn", "nyc", (True, False, False, False)),
    ("gt", "val", "9", "10", "9", (True, False, False, False)),
    ("gte", "val", "9", "9.0", "8.9", (True, False, False, False)),
    ("lt", "val", "10", "9", "10", (True, False, False, False)),
    ("lte", "val", "10", "1e1", "11", (True, False, False, False)),
]


@pytest.mark.parametrize(("cmp", "field", "value", "hit", "miss", "expected"), TRUTH)
def test_truth_table(
    cmp: str, field: str, value: Any, hit: str, miss: str, expected: tuple[bool, bool, bool, bool]
) -> None:
    leaf = {"key": "venue", "cmp": cmp, field: value}
    messages: list[dict[str, str] | None] = [{"venue": hit}, {"venue": miss}, {"venue": ""}, {"other": hit}]
    assert tuple(holds(leaf, tags) for tags in messages) == expected
    assert holds(leaf, None) is holds(leaf, {}) is expected[3]
    inverted = {"op": "not", "nodes": [leaf]}
    assert tuple(holds(inverted, tags) for tags in messages) == tuple(not each for each in expected)


def test_presence_of_a_tag() -> None:
    messages: list[dict[str, str] | None] = [{"venue": "x"}, {"venue": ""}, {"other": "x"}, None]
    assert [holds({"key": "venue", "cmp": "ex"}, tags) for tags in messages] == [True, True, False, False]
    assert [holds({"key": "venue", "cmp": "nex"}, tags) for tags in messages] == [False, False, True, True]
    assert holds({"key": "venue", "cmp": "ex", "val": "y", "vals": ["z"]}, {"venue": "x"})


def test_a_key_is_a_literal_name() -> None:
    assert holds({"key": "a.b", "cmp": "eq", "val": "1"}, {"a.b": "1"})
    assert not holds({"key": "headers.class", "cmp": "ex"}, {"headers": "class"})


@pytest.mark.parametrize(
    ("tag", "val", "greater"),
    [
        ("10", "9", True),
        ("1e3", "999", True),
        (" 5", "4", False),
        ("1_000", "4", False),
        ("٣", "1", False),
        ("nan", "1", False),
        ("1", "nan", False),
        ("nan", "nan", False),
        ("b", "a", False),
        ("b", "1", False),
        ("1", "a", False),
        ("inf", "1e308", True),
        ("-1", "-inf", True),
        ("0.1", "0.1000000000000000001", False),
    ],
)
def test_ordering_is_numeric(tag: str, val: str, greater: bool) -> None:
    tags = {"size": tag}
    assert holds({"key": "size", "cmp": "gt", "val": val}, tags) is greater
    assert holds({"key": "size", "cmp": "lt", "val": tag}, {"size": val}) is greater


def test_not_a_number_is_not_even_equal() -> None:
    assert not holds({"key": "size", "cmp": "gte", "val": "nan"}, {"size": "nan"})
    assert not holds({"key": "size", "cmp": "lte", "val": 5}, {"size": "x"})


@pytest.mark.parametrize(
    ("val", "text"),
    [
        (5, "5"),
        (98.6, "98.6"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e-7, "1e-7"),
        (10**30, "1" + "0" * 30),
        (True, "true"),
        (False, "false"),
        ([1, "a", {"b": None}], '[1,"a",{"b":null}]'),
        ({}, "{}"),
        ("ü", "ü"),
    ],
)
def test_values_become_text(val: Any, text: str) -> None:
    assert form({"key": "k", "cmp": "eq", "val": val}) == ["eq", "k", text]
    assert holds({"key": "k", "cmp": "eq", "val": val}, {"k": text})


def test_listed_values_become_text_and_lose_their_order_and_repetitions() -> None:
    assert form({"key": "k", "cmp": "in", "vals": ["b", None, 5, True, "5", 1.0, [1, 2], ""]}) == [
        "in",
        "k",
        ["", "1.0", "5", "[1,2]", "b", "null", "true"],
    ]


def test_and_or_not() -> None:
    london = {"key": "venue", "cmp": "eq", "val": "ldn"}
    large = {"key": "size", "cmp": "gte", "val": 5}
    both = {"op": "and", "nodes": [london, large]}
    either = {"op": "or", "nodes": [london, large]}
    messages = [{"venue": "ldn", "size": "5"}, {"venue": "ldn"}, {"size": "7"}, {"venue": "nyc"}]
    assert [holds(both, tags) for tags in messages] == [True, False, False, False]
    assert [holds(either, tags) for tags in messages] == [True, True, True, False]
    assert holds({"op": "and", "nodes": [london]}, messages[1])
    assert form(both) == ["and", [["eq", "venue", "ldn"], ["gte", "size", "5"]]]


def test_unknown_and_null_fields_are_as_good_as_absent() -> None:
    leaf = {"op": None, "key": "k", "cmp": "eq", "val": "v", "vals": None, "nodes": [], "zz": 1}
    assert form(leaf) == ["eq", "k", "v"]
    branch = {"op": "not", "nodes": [leaf], "key": None, "cmp": None, "val": None, "vals": [], "zz": 1}
    assert form(branch) == ["not", [["eq", "k", "v"]]]


LEAF = {"key": "k", "cmp": "eq", "val": "v"}


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({}, "Invalid tags filter: Leaf node requires a non-empty key"),
        ({"cmp": "eq", "val": "x"}, "Invalid tags filter: Leaf node requires a non-empty key"),
        ({"key": "", "cmp": "ex"}, "Invalid tags filter: Leaf node requires a non-empty key"),
        ({"key": "k"}, "Invalid tags filter: Leaf node requires a comparison operator"),
        ({"key": "k", "cmp": "regex", "val": "x"}, "Invalid tags filter: unknown comparison operator"),
        ({"key": "k", "cmp": "EQ", "val": "x"}, "Invalid tags filter: unknown comparison operator"),
        ({"key": "k", "cmp": ["eq"], "val": "x"}, "Invalid tags filter shape: cmp must be a string"),
        ({"key": 5, "cmp": "ex"}, "Invalid tags filter shape: key must be a string"),
        ({"key": "k", "cmp": "in", "vals": "x"}, "Invalid tags filter shape: vals must be an array"),
        ({"key": "k", "cmp": "ex", "nodes": {}}, "Invalid tags filter shape: nodes must be an array"),
        ({"key": "k", "cmp": "eq", "val": ""}, "Invalid tags filter: eq operation requires a non-empty val"),
        ({"key": "k", "cmp": "sw", "val": None}, "Invalid tags filter: sw operation requires a non-empty val"),
        ({"key": "k", "cmp": "gt"}, "Invalid tags filter: gt operation requires a non-empty val"),
        ({"key": "k", "cmp": "in"}, "Invalid tags filter: in operation requires at least one value in vals"),
        (
            {"key": "k", "cmp": "nin", "vals": []},
            "Invalid tags filter: nin operation requires at least one value in vals",
        ),
        ({"op": "xor", "nodes": [LEAF]}, "Invalid tags filter: unknown logical operator"),
        ({"op": "AND", "nodes": [LEAF]}, "Invalid tags filter: unknown logical operator"),
        ({"op": "", "nodes": [LEAF]}, "Invalid tags filter: unknown logical operator"),
        ({"op": ["and"], "nodes": [LEAF]}, "Invalid tags filter shape: op must be a string"),
        ({"op": "and"}, "Invalid tags filter: and operation requires at least one child node"),
        ({"op": "or", "nodes": []}, "Invalid tags filter: or operation requires at least one child node"),
        ({"op": "not", "nodes": []}, "Invalid tags filter: not operation requires at least one child node"),
        (
            {"op": "not", "nodes": [LEAF, LEAF]},
            "Invalid tags filter: not operation requires exactly one child node, got 2",
        ),
        ({"op": "and", "nodes": [5]}, "Invalid tags filter shape: a node must be an object"),
        ({"op": "and", "nodes": [LEAF, None]}, "Invalid tags filter shape: a node must be an object"),
        ([], "Invalid tags filter shape: a node must be an object"),
        ("x", "Invalid tags filter shape: a node must be an object"),
    ]
    + [
        (
            {"op": "and", "nodes": [LEAF], **extra},
            "Invalid subscription filter: invalid tag filter: logical node contains comparison fields",
        )
        for extra in ({"key": "x"}, {"key": ""}, {"cmp": "eq"}, {"val": 0}, {"vals": ["x"]})
    ]
    + [
        (
            {**LEAF, "nodes": [LEAF]},
            "Invalid subscription filter: invalid tag filter: comparison node contains child nodes",
        ),
    ],
)
def test_shapes_that_are_refused(tree: Any, reason: str) -> None:
    assert refusal(tree) == reason


def nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = LEAF
    for _ in range(depth - 1):
        tree = {"op": "not", "nodes": [tree]}
    return tree


def test_limits_of_the_tree() -> None:
    assert holds({"op": "or", "nodes": [LEAF] * 127}, {"k": "v"})
    limit = "Invalid subscription filter: tag filter exceeds the node limit of 128"
    assert refusal({"op": "or", "nodes": [LEAF] * 128}) == limit
    halves = [{"op": "or", "nodes": [LEAF] * 63}, {"op": "or", "nodes": [LEAF] * 62}]
    assert holds({"op": "or", "nodes": halves}, {"k": "v"})
    halves[1]["nodes"].append(LEAF)  # type: ignore[attr-defined]
    assert refusal({"op": "or", "nodes": halves}) == limit

    assert not holds(nested(16), {"k": "v"})
    assert holds(nested(15), {"k": "v"})
    assert refusal(nested(17)) == "Invalid subscription filter: tag filter exceeds the depth limit of 16"


@pytest.mark.parametrize("letter", ["k", "é", "🚀"])
def test_limits_of_a_key_and_a_value_are_in_bytes(letter: str) -> None:
    width = len(letter.encode())
    key, value = letter * (256 // width), letter * (1024 // width)
    assert holds({"key": key, "cmp": "eq", "val": value}, {key: value})
    assert holds({"key": "k", "cmp": "in", "vals": [value]}, {"k": value})
    too_long = "Invalid subscription filter: tag filter value exceeds the byte limit of 1024"
    assert refusal({"key": "k", "cmp": "eq", "val": value + "x"}) == too_long
    assert refusal({"key": "k", "cmp": "in", "vals": [value + "x"]}) == too_long
    assert (
        refusal({"key": key + "x", "cmp": "ex"})
        == "Invalid subscription filter: tag filter key exceeds the byte limit of 256"
    )


def test_the_limit_of_values_counts_different_ones() -> None:
    too_many = "Invalid subscription filter: tag filter value list exceeds the limit of 128"
    assert holds({"key": "k", "cmp": "in", "vals": [str(n) for n in range(128)]}, {"k": "127"})
    assert refusal({"key": "k", "cmp": "in", "vals": [str(n) for n in range(129)]}) == too_many
    assert holds({"key": "k", "cmp": "in", "vals": ["x"] * 129}, {"k": "x"})
    assert holds({"key": "k", "cmp": "in", "vals": ["x"] * 512}, {"k": "x"})
    assert refusal({"key": "k", "cmp": "in", "vals": ["x"] * 513}) == too_many


def wrapped(layer: Callable[[Any], Any], innermost: Any) -> Any:
    for _ in range(100_000):
        innermost = layer(innermost)
    return innermost


GIANTS: dict[str, Callable[[], Any]] = {
    "nodes in nodes": lambda: wrapped(lambda deep: {"op": "not", "nodes": [deep]}, LEAF),
    "a value of lists in lists": lambda: {"key": "k", "cmp": "eq", "val": wrapped(lambda deep: [deep], 1)},
    "values of lists in lists": lambda: {"key": "k", "cmp": "in", "vals": [wrapped(lambda deep: [deep], 1)]},
    "many nodes": lambda: {"op": "and", "nodes": [LEAF] * 100_000},
    "many values": lambda: {"key": "k", "cmp": "in", "vals": [str(n) for n in range(100_000)]},
    "one value many times": lambda: {"key": "k", "cmp": "in", "vals": [1] * 500_000},
    "a long value": lambda: {"key": "k", "cmp": "eq", "val": "x" * 2**20},
    "a value that is a long list": lambda: {"key": "k", "cmp": "eq", "val": [1] * 2**19},
    "a long key": lambda: {"key": "é" * 2**19, "cmp": "ex"},
    "the most values in many nodes": lambda: {
        "op": "or",
        "nodes": [*[{"key": "k", "cmp": "in", "vals": [7] * 512}] * 126, {}],
    },
    "long and of no use": lambda: {"key": "k", "cmp": "eq", "val": "x", "nodes": [1] * 2**19},
}


@pytest.mark.parametrize("name", GIANTS)
def test_a_giant_is_refused_at_once(name: str) -> None:
    tree = GIANTS[name]()
    took = []
    for _ in range(3):
        started = time.thread_time()
        refusal(tree)
        took.append(time.thread_time() - started)
    assert min(took) < 0.05


leaves = st.one_of(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from("abc"),
            "cmp": st.sampled_from(["eq", "neq", "sw", "ew", "ct", "gt", "gte", "lt", "lte"]),
            "val": st.sampled_from(["x", "xy", "y", "5", "5.0", "10", "1e1", "nan", " 5"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "key": st.sampled_from("abc"),
            "cmp": st.sampled_from(["in", "nin"]),
            "vals": st.lists(st.sampled_from(["", "x", "xy", "5", "10"]), min_size=1, max_size=4),
        }
    ),
    st.fixed_dictionaries({"key": st.sampled_from("abc"), "cmp": st.sampled_from(["ex", "nex"])}),
)
trees = st.recursive(
    leaves,
    lambda below: st.one_of(
        st.fixed_dictionaries({"op": st.sampled_from(["and", "or"]), "nodes": st.lists(below, min_size=1, max_size=4)}),
        st.fixed_dictionaries({"op": st.just("not"), "nodes": st.lists(below, min_size=1, max_size=1)}),
    ),
    max_leaves=12,
)
tag_sets = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "xy", "y", "5", "5.00", "10", "9", " 5", "nan"])),
)


def naive(tree: dict[str, Any], tags: dict[str, str]) -> bool:
    """The meaning of a tree as it is specified; none of the numbers here is one that float() reads too freely."""
    below = [naive(node, tags) for node in tree.get("nodes", ())]
    match tree.get("op"):
        case "and":
            return all(below)
        case "or":
            return any(below)
        case "not":
            return not below[0]
    cmp, tag = tree["cmp"], tags.get(tree["key"])
    if cmp in ("nex", "neq", "nin") and tag is None:
        return True
    if tag is None:
        return False
    if cmp in ("gt", "gte", "lt", "lte"):
        if not {tag, tree["val"]} <= {"5", "5.0", "5.00", "9", "10", "1e1"}:
            return False
        one, other = float(tag), float(tree["val"])
        return {"gt": one > other, "gte": one >= other, "lt": one < other, "lte": one <= other}[cmp]
    value = tree.get("val", "")
    return {
        "ex": True,
        "nex": False,
        "eq": tag == value,
        "neq": tag != value,
        "sw": tag[: len(value)] == value,
        "ew": tag[len(tag) - len(value) :] == value if len(value) <= len(tag) else False,
        "ct": value in tag,
        "in": tag in tree.get("vals", ()),
        "nin": tag not in tree.get("vals", ()),
    }[cmp]


@pytest.mark.timeout(1200)
@given(trees, st.lists(tag_sets, min_size=1, max_size=4))
def test_random_trees_mean_what_the_specification_says(
    tree: dict[str, Any], messages: list[dict[str, str] | None]
) -> None:
    try:
        _, test = compile_tags(tree)
    except errors.SockudoError as refused:
        assert "depth limit" in refused.text  # noqa: PT017 - only the rare deep tree gets here
        return
    for tags in messages:
        assert test(MessageView(Frame("quote", tags=tags))) is naive(tree, tags or {})
