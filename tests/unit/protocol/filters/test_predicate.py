"""Predicates as a whole: the conjunction of their parts, their identity, and how they are shared."""

from __future__ import annotations

import gc
import json

import pytest

from sockudo import errors
from sockudo.protocol.filters import MessageView, Predicate, SharedPredicates
from sockudo.protocol.frames import Frame

LONDON = {"key": "venue", "cmp": "eq", "val": "ldn"}
BOMB = "|".join(["@", *["[@,@,@,@][]"] * 12])


def view(event: str = "quote", tags: dict[str, str] | None = None) -> MessageView:
    return MessageView(Frame(event, "news", tags=tags))


def tripped() -> Predicate:
    predicate = Predicate(expression=BOMB)
    for _ in range(3):
        predicate.matches(view())
    assert predicate.tripped
    return predicate


def test_events_are_exact_names() -> None:
    predicate = Predicate(["quote", "halt", "sockudo:message.update"])
    names = ["quote", "halt", "Quote", "quote2", "", "sockudo:message.update", "pusher:message.update"]
    assert [predicate.matches(view(name)) for name in names] == [True, True, False, False, False, True, False]


def test_all_parts_have_to_hold() -> None:
    predicate = Predicate(["quote"], LONDON, "starts_with(channel, 'n')")
    assert predicate.matches(view("quote", {"venue": "ldn"}))
    assert not predicate.matches(view("halt", {"venue": "ldn"}))
    assert not predicate.matches(view("quote", {"venue": "nyc"}))
    assert not Predicate(["quote"], LONDON, "starts_with(channel, 'x')").matches(view("quote", {"venue": "ldn"}))


def test_an_expression_is_asked_last() -> None:
    reports: list[tuple[str, str]] = []
    predicate = Predicate(["quote"], LONDON, "nofunc(@)")
    for event, tags in (("halt", {"venue": "ldn"}), ("quote", {"venue": "nyc"})):
        frame = Frame(event, "news", data="x" * 70_000, tags=tags)
        assert not predicate.matches(MessageView(frame, lambda *each: reports.append(each)))
    assert reports == []


def test_a_message_too_large_for_an_expression_still_reaches_the_others() -> None:
    message = MessageView(Frame("quote", "news", data="x" * 70_000, tags={"venue": "ldn"}))
    assert Predicate(["quote"], LONDON).matches(message)
    assert not Predicate(["quote"], LONDON, "event").matches(message)


def test_reports_name_the_predicate_by_its_id() -> None:
    reports: list[tuple[str, str]] = []
    predicate = Predicate(expression="nofunc(@)")
    predicate.matches(MessageView(Frame("quote"), lambda *each: reports.append(each)))
    assert reports == [("evaluation", predicate.id)]


def test_the_id_is_stable() -> None:
    predicate = Predicate(["b", "a"], {"key": "k", "cmp": "in", "vals": ["y", "x"]}, "data.total")
    assert predicate.id == "9d43fc791320f9ab8c811f961acbf9a9"
    assert repr(predicate) == f"Predicate({predicate.id})"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Predicate(["a", "b"]), Predicate(["b", "a", "b"])),
        (Predicate(tags=LONDON), Predicate(tags={**LONDON, "zz": 1, "op": None})),
        (
            Predicate(tags={"key": "k", "cmp": "in", "vals": ["x", 5, "x"]}),
            Predicate(tags={"key": "k", "cmp": "in", "vals": ["5", "x"]}),
        ),
        (Predicate(expression="a == 'é'"), Predicate(expression="a == 'é'")),
    ],
)
def test_predicates_that_ask_the_same_are_equal(one: Predicate, other: Predicate) -> None:
    assert one == other
    assert hash(one) == hash(other)
    assert one.id == other.id


def test_predicates_that_ask_something_else_are_not() -> None:
    different = [
        Predicate(["a"]),
        Predicate(["a", "b"]),
        Predicate(["a,b"]),
        Predicate(tags=LONDON),
        Predicate(tags={"op": "not", "nodes": [LONDON]}),
        Predicate(tags={"op": "and", "nodes": [LONDON]}),
        Predicate(tags={"op": "or", "nodes": [LONDON]}),
        Predicate(tags={"key": "venue", "cmp": "neq", "val": "ldn"}),
        Predicate(tags={"key": "venue", "cmp": "in", "vals": ["ldn"]}),
        Predicate(tags={"key": "venue", "cmp": "ex"}),
        Predicate(tags={"key": "venue", "cmp": "nex"}),
        Predicate(expression="a"),
        Predicate(expression="a "),
        Predicate(["a"], LONDON, "a"),
    ]
    assert len(set(different)) == len({predicate.id for predicate in different}) == len(different)
    assert different[0] != "a"


def test_the_text_says_what_is_asked() -> None:
    predicate = Predicate(["b", "a"], {"key": "kind", "cmp": "eq", "val": "x"}, "data.price > `1`")
    events, tags, expression = json.loads(predicate.text)
    assert (events, expression) == (["a", "b"], "data.price > `1`")
    assert "kind" in json.dumps(tags)
    assert json.loads(Predicate().text) == [[], None, None]


def test_a_repr_tells_nothing_of_the_filter() -> None:
    assert "secret" not in repr(Predicate(["secret"], None, "secret"))


def test_a_broken_part_is_refused() -> None:
    for tags, expression in (({}, None), (None, "a [")):
        with pytest.raises(errors.SockudoError) as refused:
            Predicate(tags=tags, expression=expression)
        assert refused.value.spec is errors.FILTER_INVALID


class TestSharing:
    def test_equal_predicates_become_one(self) -> None:
        shared = SharedPredicates()
        first = shared.share(Predicate(["a"]))
        assert shared.share(Predicate(["a"])) is first
        assert shared.share(Predicate(["b"])) is not first
        assert len(shared) == 1

    def test_nothing_is_kept_alive(self) -> None:
        shared = SharedPredicates()
        kept = [shared.share(Predicate(expression=f"a == `{number}`")) for number in range(100)]
        gc.disable()
        try:
            assert len(shared) == 100
            del kept[1:]
            assert len(shared) == 1
        finally:
            gc.enable()

    def test_a_tripped_predicate_is_a_new_start_for_those_who_come_later(self) -> None:
        shared = SharedPredicates()
        old = shared.share(tripped())
        fresh = shared.share(Predicate(expression=BOMB))
        assert fresh is not old
        assert fresh == old
        assert not fresh.tripped
        assert old.tripped
        assert shared.share(Predicate(expression=BOMB)) is fresh

    def test_the_end_of_a_tripped_predicate_leaves_its_successor(self) -> None:
        shared = SharedPredicates()
        old = shared.share(tripped())
        fresh = shared.share(Predicate(expression=BOMB))
        del old
        assert shared.share(Predicate(expression=BOMB)) is fresh

    def test_a_tripped_predicate_and_its_successor_do_not_answer_for_each_other(self) -> None:
        source = f"event == 'quote' || ({BOMB})"
        old, fresh = Predicate(expression=source), Predicate(expression=source)
        for _ in range(3):
            old.matches(view("halt"))
        message = view("quote")
        assert [old.matches(message), fresh.matches(message)] == [False, True]
        assert [fresh.matches(message), old.matches(message)] == [True, False]

    def test_predicates_without_expressions_never_trip(self) -> None:
        assert not Predicate(["a"], LONDON).tripped
