"""Lives a cluster's lives, from seeds, until one breaks a rule; then shows the fewest steps with which it does."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from itertools import count

import structlog
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from simulation.broken import RULES, broken
from simulation.lives import KINDS, Life, outcome
from simulation.shrinking import shrunk

EXAMPLES = """examples:
  python -m simulation wild                          until a rule is broken
  python -m simulation wild --seed 4711 --lives 1    one life
  python -m simulation wild --seed 4711 --steps 3,8  these steps of it alone
  python -m simulation calm --break claims           nodes that do not keep to a rule
"""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulation",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("kind", choices=tuple(KINDS), help="how lives are made from their seeds")
    add("--seed", type=int, default=0, metavar="N", help="of the first life; the next one has the next number (0)")
    add("--lives", type=int, metavar="N", help="how many; without it, until a rule is broken")
    add("--steps", metavar="N,…", help="of one life these steps alone; - is none")
    rules = "; ".join(f"{name}: {rule.says} ({rule.kind})" for name, rule in RULES.items())
    add("--break", dest="broken", choices=tuple(RULES), metavar="RULE", help=f"nodes do not keep to it. {rules}")
    return parser.parse_args()


def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    chosen = options()
    with nullcontext() if chosen.broken is None else broken(chosen.broken):
        return run(chosen)


def run(chosen: argparse.Namespace) -> int:
    if chosen.steps is not None:
        numbers = [int(number) for number in chosen.steps.split(",") if number.isdigit()]
        failure = outcome(KINDS[chosen.kind](chosen.seed).only(numbers))
        print(failure or "No rule was broken")
        return int(failure is not None)
    seeds = count(chosen.seed) if chosen.lives is None else range(chosen.seed, chosen.seed + chosen.lives)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        bar = progress.add_task(f"{chosen.kind} lives from seed {chosen.seed}", total=chosen.lives)
        for seed in seeds:
            life: Life = KINDS[chosen.kind](seed)
            failure = outcome(life)
            if failure is not None:
                progress.stop()
                print(f"seed {seed} breaks a rule; looking for the fewest steps …")
                print(shrunk(failure, outcome))
                return 1
            progress.advance(bar)
    return 0


if __name__ == "__main__":
    sys.exit(main())
