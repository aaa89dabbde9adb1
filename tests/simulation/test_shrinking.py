"""A life that fails is shown with the steps that it takes, in words, and with the command that repeats it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from simulation.cluster import Cluster
from simulation.lives import Failure, Life, Planned, outcome, wild
from simulation.rules import BrokenRuleError
from simulation.shrinking import shrunk


def life_of(count: int) -> Life:
    return Life(7, "wild", 2, [Planned(number, "heal", (), 0.0) for number in range(count)])


def numbers(life: Life) -> Sequence[int]:
    return [step.number for step in life.steps]


def failing(*needed: int) -> tuple[list[Life], object]:
    tried: list[Life] = []

    def fails(life: Life) -> Failure | None:
        tried.append(life)
        return Failure(life, "broken", ()) if set(needed) <= set(numbers(life)) else None

    return tried, fails


def test_steps_that_a_failure_does_not_need_are_left_out() -> None:
    for needed in ((), (0,), (39,), (3, 17), (0, 1, 38, 39), tuple(range(0, 40, 5))):
        _, fails = failing(*needed)
        found = shrunk(Failure(life_of(40), "broken", ()), fails)  # type: ignore[arg-type]  # a function
        assert numbers(found.life) == list(needed)


def test_tries_are_bounded_and_what_was_found_counts() -> None:
    tried, fails = failing(3, 17)
    found = shrunk(Failure(life_of(40), "broken", ()), fails, tries=5)  # type: ignore[arg-type]  # a function
    assert len(tried) == 5
    assert {3, 17} < set(numbers(found.life)) < set(range(40))


def test_a_fault_is_shown_with_its_steps_and_what_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node is not to be killed, says a rule that is broken on purpose."""
    rest = Cluster.check_at_rest

    async def no_node_died(cluster: Cluster) -> None:
        await rest(cluster)
        if any(node.carrier.dead for node in cluster.nodes):
            raise BrokenRuleError("a node died")

    monkeypatch.setattr(Cluster, "check_at_rest", no_node_died)
    seed = next(seed for seed in range(20) if any(step.does == "kill" for step in wild(seed).steps))
    failure = outcome(wild(seed))
    assert failure is not None
    shown = str(shrunk(failure, outcome))
    match = re.fullmatch(
        rf"seed {seed}: a node died\n +\d+\.\d{{3}}  \[(\d+)\] (kill|leave|roll) n\d\n +[\d.]+  at rest\n"
        rf" +[\d.]+  broken\nagain: PYTHONPATH=tests \.venv/bin/python -m simulation wild --seed {seed} --steps (\d+)",
        shown,
    )
    assert match is not None, shown
    assert match[1] == match[3]


def test_a_life_is_the_same_each_time() -> None:
    assert wild(3) == wild(3) != wild(4)
    assert wild(3).only([2, 5]).steps == [wild(3).steps[2], wild(3).steps[5]]
