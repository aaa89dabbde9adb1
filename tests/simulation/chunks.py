"""The seeds that are lived in one run of the tests; ``SOCKUDO_SIMULATIONS`` is their number, from a first one on."""

from __future__ import annotations

import os

import pytest

from simulation.lives import KINDS, outcome
from simulation.shrinking import shrunk

__all__ = ["FIRST", "assert_no_rule_is_broken", "chunks"]

_SEEDS = int(os.environ.get("SOCKUDO_SIMULATIONS", "2000"))
FIRST = int(os.environ.get("SOCKUDO_FIRST_SEED", "0"))
_CHUNK = 20


def chunks(share: float) -> list[range]:
    """This share of the seeds, in parts that take some seconds each."""
    last = FIRST + max(round(_SEEDS * share), 1)
    return [range(first, min(first + _CHUNK, last)) for first in range(FIRST, last, _CHUNK)]


def assert_no_rule_is_broken(kind: str, seeds: range) -> None:
    """Lives those lives; what breaks a rule is shown with the fewest steps with which it does."""
    for seed in seeds:
        failure = outcome(KINDS[kind](seed))
        if failure is not None:
            pytest.fail(str(shrunk(failure, outcome)), pytrace=False)
