"""Lives with faults of every kind: rules that hold at each step, and the truth that is left at rest."""

from __future__ import annotations

import pytest

from simulation.chunks import assert_no_rule_is_broken, chunks


@pytest.mark.parametrize("seeds", chunks(0.67), ids=lambda seeds: str(seeds[0]))
def test_whatever_happens_the_truth_is_left(seeds: range) -> None:
    assert_no_rule_is_broken("wild", seeds)
