"""From the data of a subscribe to a predicate: forms, switches, refusals (spec: filters-deltas § 1.1 to 1.8)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.protocol.filters import FilterOptions, MessageView, Predicate, compile_filter
from sockudo.protocol.frames import Frame

ON = FilterOptions(tags_enabled=True)
LEAF = {"key": "venue", "cmp": "eq", "val": "ldn"}


def compiled(value: Any, options: FilterOptions = ON, field: str = "filter") -> Predicate | None:
    return compile_filter({"channel": "news", field: value}, options)


def refusal(value: Any, options: FilterOptions = ON) -> str:
    with pytest.raises(errors.SockudoError) as refused:
        compiled(value, options)
    assert refused.value.spec is errors.FILTER_INVALID
    assert refused.value.text.startswith("Invalid message format: ")
    return refused.value.text.removeprefix("Invalid message format: ")


@pytest.mark.parametrize("field", ["filter", "tags_filter"])
def test_both_forms_in_both_fields(field: str) -> None:
    assert compiled(LEAF, field=field) == Predicate(tags=LEAF)
    assert compiled({"tags": LEAF}, field=field) == Predicate(tags=LEAF)
    assert compiled({"events": ["a"], "tags": LEAF, "expression": "b"}, field=field) == Predicate(["a"], LEAF, "b")


def test_the_first_field_wins() -> None:
    assert compile_filter({"filter": {"events": ["a"]}, "tags_filter": {}}, ON) == Predicate(["a"])
    assert compile_filter({"filter": None, "tags_filter": {"events": ["b"]}}, ON) == Predicate(["b"])
    assert compile_filter({"filter": {"events": []}, "tags_filter": LEAF}, ON) is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"filter": None},
        {"filter": None, "tags_filter": None},
        {"filter": {"events": None, "tags": None, "expression": None}},
        {"filter": {"events": []}},
        {"channel": "news", "events": ["a"], "tags": {}, "expression": "["},
    ],
)
def test_nothing_to_evaluate(data: dict[str, Any]) -> None:
    assert compile_filter(data, ON) is None


def test_beside_the_components_nothing_counts() -> None:
    assert compiled({"events": ["a"], "op": "xor", "nodes": 5, "key": "k", "zz": 1}) == Predicate(["a"])
    assert compiled({**LEAF, "tags": None}) is None


def test_events_are_told_apart_once() -> None:
    assert compiled({"events": ["a", "b", "a"]}) == Predicate(["a", "b"])


def test_an_expression_may_be_an_object() -> None:
    assert compiled({"expression": {"language": "jmespath", "source": "a"}}) == Predicate(expression="a")
    assert compiled({"expression": {"source": "a", "zz": 1}}) == Predicate(expression="a")
    assert compiled({"expression": {"language": None, "source": "a"}}) == Predicate(expression="a")


EVENTS_SHAPE = "filter.events must be an array of non-empty strings"
EVENTS_NAMES = "filter.events must contain only non-empty strings"
EXPRESSION = "filter.expression must be a JMESPath string or object"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("x", "Invalid tags filter shape: the filter must be an object"),
        (5, "Invalid tags filter shape: the filter must be an object"),
        (False, "Invalid tags filter shape: the filter must be an object"),
        ([LEAF], "Invalid tags filter shape: the filter must be an object"),
        ({}, "Invalid tags filter: Leaf node requires a non-empty key"),
        ({"tags": []}, "Invalid tags filter shape: a node must be an object"),
        ({"tags": {"tags": LEAF}}, "Invalid tags filter: Leaf node requires a non-empty key"),
        ({"events": "x"}, EVENTS_SHAPE),
        ({"events": {}}, EVENTS_SHAPE),
        ({"events": [""]}, EVENTS_NAMES),
        ({"events": ["a", 5]}, EVENTS_NAMES),
        ({"events": ["a", None]}, EVENTS_NAMES),
        ({"expression": ""}, EXPRESSION),
        ({"expression": 5}, EXPRESSION),
        ({"expression": ["a"]}, EXPRESSION),
        ({"expression": {}}, EXPRESSION),
        ({"expression": {"source": ""}}, EXPRESSION),
        ({"expression": {"source": 5}}, EXPRESSION),
        ({"expression": {"language": "sql", "source": "x"}}, "Unsupported filter expression language"),
        ({"expression": {"language": "JMESPath", "source": "x"}}, "Unsupported filter expression language"),
        ({"expression": {"language": ["jmespath"], "source": "x"}}, "Unsupported filter expression language"),
        ({"expression": "a ["}, "Invalid subscription filter: invalid JMESPath expression at character 3"),
        (
            {"events": ["a"], "tags": LEAF, "expression": ")"},
            "Invalid subscription filter: invalid JMESPath expression at character 0",
        ),
    ],
)
@pytest.mark.parametrize("options", [ON, FilterOptions(), FilterOptions(events_enabled=False)])
def test_what_is_refused_whatever_is_switched_on(value: Any, reason: str, options: FilterOptions) -> None:
    assert refusal(value, options) == reason


def test_limits_of_events() -> None:
    assert compiled({"events": [str(number) for number in range(50)]})
    assert refusal({"events": ["a"] * 51}) == "filter.events exceeds maximum of 50 event names"
    assert compiled({"events": ["é" * 100]})
    too_long = "an event name in filter.events exceeds maximum length of 200 characters"
    assert refusal({"events": ["é" * 100 + "x"]}) == too_long
    assert refusal({"events": ["a", "x" * 201]}) == too_long


def test_limits_of_events_can_be_set_but_not_beyond_the_specified() -> None:
    small = FilterOptions(max_events=2, max_event_name=3)
    assert compiled({"events": ["abc", "def"]}, small)
    assert refusal({"events": ["a", "b", "c"]}, small) == "filter.events exceeds maximum of 2 event names"
    assert "length of 3 " in refusal({"events": ["abcd"]}, small)
    huge = FilterOptions(max_events=1000, max_event_name=1000)
    assert compiled({"events": ["x" * 256] * 64}, huge)
    assert refusal({"events": ["a"] * 65}, huge) == "filter.events exceeds maximum of 64 event names"
    assert "length of 256 " in refusal({"events": ["x" * 257]}, huge)


def test_without_tag_filtering_only_events_are_looked_at() -> None:
    off = FilterOptions()
    assert compiled({"events": ["a"], "tags": LEAF, "expression": "b"}, off) == Predicate(["a"])
    assert compiled({"tags": LEAF, "expression": "b"}, off) is None
    assert compiled(LEAF, off) is None
    assert refusal({"key": "k", "cmp": "bad"}, off) == "Invalid tags filter: unknown comparison operator"


def test_without_event_name_filtering_events_are_dropped() -> None:
    off = FilterOptions(events_enabled=False, tags_enabled=True)
    assert compiled({"events": ["a"]}, off) is None
    assert compiled({"events": ["x" * 5000] * 100, "tags": LEAF}, off) == Predicate(tags=LEAF)
    assert refusal({"events": [5]}, off) == EVENTS_NAMES


def test_a_giant_is_refused_at_once() -> None:
    giants: list[Any] = [
        {"events": ["a"] * 250_000},
        {"events": ["x" * 2**20]},
        {"expression": "(" * 2**20},
        {"expression": "(" * 4096},
        {"expression": {"source": "a" * 2**20}},
        {"expression": {"language": "x" * 2**20, "source": "a"}},
        {"tags": {"op": "and", "nodes": [{}] * 300_000}},
        {"op": "and", "nodes": [LEAF] * 30_000},
    ]
    for giant in giants:
        took = []
        for _ in range(3):
            started = time.thread_time()
            refusal(giant)
            took.append(time.thread_time() - started)
        assert min(took) < 0.05
    # Not looked at, so not refused either; but its type is.
    off = FilterOptions(events_enabled=False)
    started = time.thread_time()
    assert compiled({"events": ["a"] * 250_000}, off) is None
    assert time.thread_time() - started < 0.2


def test_half_a_character_breaks_nothing() -> None:
    half = "\ud800"
    predicate = compiled({"events": [half], "tags": {"key": half, "cmp": "eq", "val": half}, "expression": f"'{half}'"})
    assert predicate is not None
    assert predicate.matches(MessageView(Frame(half, tags={half: half}))) is False
    assert refusal({"key": "k", "cmp": "eq", "val": [half]}).startswith("Invalid tags filter shape")
    assert refusal({"events": [half * 67]}).startswith("an event name")


# What passes of one message.
RECORDED = Frame(
    "quote",
    "jm-1",
    '{"total":9}',
    tags={"v": "1", "a": "z"},
    message_id="jm-m",
    extras={"headers": {"class": "firm", "n": 7, "b": True, "sockudo_x": "1"}},
)


@pytest.mark.parametrize(
    ("source", "delivered"),
    [
        ("tags.v == '1'", True),
        ("tags.v > `0`", False),
        ("to_number(tags.v) > `0`", True),
        ("'b' > 'a'", False),
        ("!('b' > 'a')", True),
        ("`0`", True),
        ("''", False),
        ("`[]`", False),
        ("`{}`", False),
        ("`false`", False),
        ("`null`", False),
        ("headers.n == `7`", True),
        ("headers.n == `7.0`", True),
        ("headers.b", True),
        ("starts_with(event, 'qu')", True),
        ("ends_with(channel, '-1')", True),
        ("length(keys(tags)) == `2`", True),
        ("tags.zz", False),
        ("not_null(tags.zz, 'x')", True),
        ("sort(values(tags))[0] == '1'", True),
        ("channel == 'jm-1' && event == 'quote' || name", True),
        ("(tags | v) == '1'", True),
        ("tags.[v, a] | [1] == 'z'", True),
        ("name", False),
        ("userId", False),
        ("serial", False),
        ("streamId", False),
        ("messageId", True),
        ("action", False),
        ("extras", False),
        ("idempotencyKey", False),
        ("headers.sockudo_x", False),
        ("length(tags, tags)", False),
        ("abs('x')", False),
        ("type(serial) == 'null'", True),
        ("max_by(@, &x)", False),
        ("tags.*", True),
        ("join('-', values(tags)) == 'z-1'", True),
        ('merge(tags, `{"k":1}`).k == `1`', True),
        ("reverse('ab') == 'ba'", True),
        ("@", True),
        ("[0]", False),
        ("tags[?v]", False),
        ("headers.class == 'firm'", True),
        ("nofunc(@)", False),
        # The reference sees a string here, we see what is in it.
        ("data.total", True),
        ("data.total > `5`", True),
        ("contains(data, 'total')", False),
    ],
)
def test_the_expressions_of_the_reference(source: str, delivered: bool) -> None:
    predicate = compiled({"expression": source})
    assert predicate is not None
    assert predicate.matches(MessageView(RECORDED)) is delivered


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars |= st.sampled_from(["", "and", "or", "not", "xor", "eq", "in", "nin", "ex", "gt", "k", "5", "a == 'x'", "a ["])
json_values = st.recursive(
    scalars | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(st.text(max_size=3), below, max_size=3)
        | st.fixed_dictionaries({}, optional=dict.fromkeys(("op", "key", "cmp", "val", "vals", "nodes"), below))
        | st.fixed_dictionaries({}, optional=dict.fromkeys(("events", "tags", "expression"), below))
        | st.fixed_dictionaries({}, optional=dict.fromkeys(("language", "source"), below))
    ),
    max_leaves=20,
)


@pytest.mark.timeout(1200)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("filter", "tags_filter"), json_values)),
    st.builds(FilterOptions, events_enabled=st.booleans(), tags_enabled=st.booleans()),
)
def test_any_filter_is_a_predicate_or_refused(data: dict[str, Any], options: FilterOptions) -> None:
    try:
        predicate = compile_filter(data, options)
    except errors.SockudoError as refused:
        assert refused.spec is errors.FILTER_INVALID  # noqa: PT017 - most of them are refused, and nothing else happens
        assert refused.text.startswith("Invalid message format: ")  # noqa: PT017
        assert "\n" not in refused.text  # noqa: PT017
        return
    if predicate is not None:
        assert predicate.matches(MessageView(RECORDED)) in (True, False)
        assert compile_filter(data, options) == predicate
