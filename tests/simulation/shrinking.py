"""From a life that failed to the fewest steps with which it still does."""

from __future__ import annotations

from collections.abc import Callable

from simulation.lives import Failure, Life

__all__ = ["shrunk"]

_MOST_TRIES = 400


def shrunk(failure: Failure, fails: Callable[[Life], Failure | None], tries: int = _MOST_TRIES) -> Failure:
    """The same life without the steps that it fails without; each way in which it fails is as good.

    Takes out half of the steps, then smaller parts, down to single ones, until none can go or ``tries`` are over.
    """
    size = max(len(failure.life.steps) // 2, 1)
    while size and failure.life.steps:
        start, found = 0, False
        while start < len(failure.life.steps) and tries:
            steps = failure.life.steps
            fewer = failure.life._replace(steps=[*steps[:start], *steps[start + size :]])
            tries -= 1
            shorter = fails(fewer)
            if shorter is None:
                start += size
            else:
                failure, found = shorter, True
        if not tries:
            break
        size = size if found and size == 1 else size // 2
    return failure
