"""The refusal of a configuration: every problem at once, and words that people may have meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["ConfigError", "nearest"]


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` has a line for each: the place, the value, what it must be.

    ``located`` is the same for people, with the lines of the file where they are known.
    """

    def __init__(self, problems: Sequence[str], located: Sequence[str] | None = None) -> None:
        self.problems = tuple(problems)
        self.located = self.problems if located is None else tuple(located)
        super().__init__(self._text())

    def _text(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        return f"{len(self.problems)} problems in the configuration:{lines}"


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that a mistyped one most resembles, or None when none is close.

    ``cutoff`` is how much of the letters has to be the same, from 0 to 1.
    """
    import difflib  # only needed once something is wrong

    by_folded = {name.lower().replace("-", "_"): name for name in known}
    folded = word.lower().replace("-", "_")
    if folded in by_folded:
        return by_folded[folded]
    found = difflib.get_close_matches(folded, by_folded, n=1, cutoff=cutoff)
    return by_folded[found[0]] if found else None
