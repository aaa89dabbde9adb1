"""Lives of a cluster: what happens in each follows from its seed, and any part of it can be lived on its own."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from simulation.cluster import Cluster
from simulation.rules import BrokenRuleError
from simulation.steps import CALM, EASY, LOSSES, PICKS, STEPS, WILD, Picks
from support.virtual_time import run_in_virtual_time

__all__ = ["KINDS", "Failure", "Life", "Planned", "calm", "live", "outcome", "wild"]

_STEPS = 26
# Until a node that is lost is noticed and every node has compared what it knows with the others; little without faults.
_REST_SECONDS = {"wild": 50.0, "easy": 50.0, "losses": 50.0, "calm": 10.0}


class Planned(NamedTuple):
    """A step of a life: its number in the whole of it, what it does with which choices, and the wait behind it."""

    number: int
    does: str
    picks: Sequence[float]
    wait: float


class Life(NamedTuple):
    """What is going to happen to a cluster of so many nodes; ``kind`` names how it was made from the seed."""

    seed: int
    kind: str
    nodes: int
    steps: Sequence[Planned]

    def only(self, numbers: Sequence[int]) -> Life:
        """The same with these steps alone."""
        return self._replace(steps=[step for step in self.steps if step.number in numbers])

    @property
    def command(self) -> str:
        """What repeats it."""
        steps = ",".join(str(step.number) for step in self.steps)
        return f"PYTHONPATH=tests .venv/bin/python -m simulation {self.kind} --seed {self.seed} --steps {steps or '-'}"


class Failure(NamedTuple):
    """A life in which a rule was broken: which one, and what happened."""

    life: Life
    rule: str
    story: Sequence[str]

    def __str__(self) -> str:
        return "\n".join((f"seed {self.life.seed}: {self.rule}", *self.story, f"again: {self.life.command}"))


def wild(seed: int) -> Life:
    """A life with faults of every kind."""
    return _life(seed, "wild", WILD, 12.0)


def calm(seed: int) -> Life:
    """A life in which nodes come, and nothing fails."""
    return _life(seed, "calm", CALM, 1.0)


def easy(seed: int) -> Life:
    """A life in which nodes come and go, and nothing is lost on the way."""
    return _life(seed, "easy", EASY, 1.0)


def losses(seed: int) -> Life:
    """A life in which one node at a time goes."""
    return _life(seed, "losses", LOSSES, 1.0)


def _life(seed: int, kind: str, does: dict[Any, int], longest: float) -> Life:
    rng = random.Random(seed)
    nodes = rng.randint(2, 4)
    return Life(seed, kind, nodes, _plan(rng, does, longest))


def _plan(rng: random.Random, does: dict[Any, int], longest: float) -> list[Planned]:
    chosen = rng.choices([step.__name__ for step in does], tuple(does.values()), k=_STEPS)
    return [
        Planned(
            number,
            name,
            [rng.random() for _ in range(PICKS)],
            rng.choice((0, 0.003, 0.05, 0.5, 3.0, rng.uniform(0, longest))),
        )
        for number, name in enumerate(chosen)
    ]


KINDS: dict[str, Callable[[int], Life]] = {"wild": wild, "easy": easy, "losses": losses, "calm": calm}


async def live(life: Life) -> Failure | None:
    """Has a cluster live; what broke, if anything.

    Also what a task or a callback of a node raised is a failure: no one would see it.
    """
    cluster, loop = Cluster(life.seed, sound=life.kind == "calm"), asyncio.get_running_loop()
    story: list[str] = []
    raised: list[str] = []
    loop.set_exception_handler(lambda _, context: raised.append(_shown(context)))
    cluster.disturbed = life.kind != "calm"
    try:
        for _ in range(life.nodes):
            await cluster.add()
        await cluster.wait(0.5)
        for step in life.steps:
            at = loop.time()
            story.append(f"{at:8.3f}  [{step.number}] {step.does}")
            done = await STEPS[step.does](cluster, Picks(step.picks))
            story[-1] = f"{at:8.3f}  [{step.number}] {done or 'nothing'}"
            await cluster.wait(step.wait)
        cluster.heal()
        # Those that were refused until now learn that first.
        await cluster.wait(1)
        cluster.all_resume()
        story.append(f"{loop.time():8.3f}  at rest")
        await cluster.wait(_REST_SECONDS[life.kind])
        await cluster.check_at_rest()
        cluster.check_streams_at_rest()
        if life.kind != "wild":
            cluster.check_reported_once()
        if life.kind in ("calm", "losses") and cluster.unproven:
            raise BrokenRuleError(f"reports of {cluster.unproven} are known to no node")
    except BrokenRuleError as problem:
        story.append(f"{loop.time():8.3f}  broken")
        raised.insert(0, str(problem))
    for node in cluster.living:
        await node.end()
    return Failure(life, raised[0], story) if raised else None


def _shown(context: dict[str, Any]) -> str:
    return f"{context['message']}: {context.get('exception')!r}"


def outcome(life: Life) -> Failure | None:
    """What came of a life, in virtual time."""
    # It is short, and what it leaves goes at once: looking for circles takes longer.
    gc.disable()
    try:
        return run_in_virtual_time(live(life))
    finally:
        gc.enable()
