"""Looks for faults of joined nodes with new seeds, until one is found or every round has passed.

A round runs simulated lives of a cluster (tests/simulation) and then real processes (tests/chaos) over each bus. They
are killed, cut off, paused and replaced, and Redis is emptied, fails over and moves slots. A failure shows its seed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

TESTS = Path(__file__).parent.parent
BUSES = ("redis", "nats", "postgres", "workers")
EXAMPLES = """examples:
  scripts/chaos                                     until a round fails
  scripts/chaos --rounds 1 --kills 1000             one round with many kills, some two hours for each bus
  scripts/chaos --rounds 1 --bus nats --only links  one bus, one kind of trouble
  scripts/chaos --rounds 1 --seed 4711              the round with the seed that a failure has shown
"""
KINDS = ("simulation", "kills", "links", "pauses", "replacement", "brokers")


class Step(NamedTuple):
    """One run of pytest: what it is called, what is run with which variables."""

    name: str
    arguments: Sequence[str]
    variables: Mapping[str, str]

    def run(self) -> tuple[bool, str]:
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *self.arguments]
        done = subprocess.run(
            command, cwd=TESTS.parent, env={**os.environ, **self.variables}, text=True, capture_output=True, check=False
        )
        return done.returncode == 0, done.stdout + done.stderr


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=0, metavar="N", help="how many; without it, until one fails")
    add("--seed", type=int, metavar="N", help="of the first round; the next one has the next number")
    add("--bus", action="append", choices=BUSES, help="only this one, may be repeated")
    add("--only", action="append", choices=KINDS, help="only this kind of trouble, may be repeated")
    add("--kills", type=int, default=50, metavar="N", help="processes that are killed over each bus (50)")
    add("--outage", type=float, default=30, metavar="S", help="seconds that a node is cut off (30)")
    add("--pause", type=float, default=40, metavar="S", help="seconds that a process stands still (40)")
    add("--lives", type=int, default=2000, metavar="N", help="simulated lives in each round (2000)")
    add("--jobs", type=int, default=1, metavar="N", help="steps at the same time (1)")
    return parser.parse_args()


def steps(chosen: argparse.Namespace, seed: int) -> Iterator[Step]:
    kinds, buses = chosen.only or KINDS, chosen.bus or BUSES
    if "simulation" in kinds:
        lives = {"SOCKUDO_SIMULATIONS": str(chosen.lives), "SOCKUDO_FIRST_SEED": str(seed % (1 << 30))}
        yield Step("simulation", ["tests/simulation", "--timeout=0"], lives)
    troubles = {
        "SOCKUDO_SEED": str(seed),
        "SOCKUDO_LONG": "1",
        "SOCKUDO_NODE_KILLS": str(chosen.kills),
        "SOCKUDO_OUTAGE": str(chosen.outage),
        "SOCKUDO_FAULTS": "4",
        "SOCKUDO_PAUSE": str(chosen.pause),
    }
    for kind in kinds:
        for bus in buses:
            if kind in ("kills", "pauses", "replacement") or (kind == "links" and bus != "workers"):
                word = "worker" if (kind, bus) == ("pauses", "workers") else bus
                yield Step(f"{kind}, {bus}", [f"tests/chaos/test_{kind}.py", "-k", word], troubles)
        if kind == "brokers" and "redis" in buses:
            yield Step("brokers, redis", ["tests/chaos/test_brokers.py"], troubles)


def told(output: str) -> list[str]:
    """The figures that the tests have printed."""
    lines = (line.strip(".") for line in output.splitlines())
    return [line for line in lines if line.startswith("figures: ")]


def main() -> int:
    chosen, console = options(), Console(soft_wrap=True)
    seed = random.SystemRandom().randrange(1 << 31) if chosen.seed is None else chosen.seed
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    number = 0
    while not chosen.rounds or number < chosen.rounds:
        console.print(f"Round {number + 1}, seed {seed + number}")
        todo = list(steps(chosen, seed + number))
        with Progress(*columns, console=console) as progress, ThreadPoolExecutor(chosen.jobs) as pool:
            bar = progress.add_task("", total=len(todo))
            running = {pool.submit(step.run): step for step in todo}
            for future in as_completed(running):
                passed, output = future.result()
                step = running[future]
                progress.update(bar, advance=1, description=step.name)
                for line in told(output):
                    console.print(f"  {step.name}: {line.removeprefix('figures: ')}", highlight=False)
                if not passed:
                    pool.shutdown(wait=False, cancel_futures=True)
                    progress.stop()
                    console.print(output, markup=False, highlight=False)
                    again = f"scripts/chaos --rounds 1 --seed {seed + number}"
                    console.print(f"{step.name} failed with the seed {seed + number}: {again}")
                    return 1
        number += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
