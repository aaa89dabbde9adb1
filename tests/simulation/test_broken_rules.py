"""Nodes that do not keep to a rule are caught: what is broken on purpose is seen within a few lives."""

from __future__ import annotations

import pytest

from simulation.broken import RULES, broken
from simulation.lives import KINDS, outcome

# Several times of what docs/scaling.md says that it takes.
_LIVES = {
    "dead": 30,
    "incarnation": 30,
    "counter": 40,
    "burial": 40,
    "scrub": 60,
    "sequencer": 100,
    "attach": 60,
    "interrupt": 60,
    "floor": 100,
    "key": 10,
}


@pytest.mark.parametrize("name", _LIVES)
def test_a_broken_rule_is_seen(name: str) -> None:
    kind = KINDS[RULES[name].kind]
    with broken(name):
        assert any(outcome(kind(seed)) is not None for seed in range(_LIVES[name])), RULES[name].says
