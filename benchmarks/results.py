"""What was measured: every run kept, and the medians and ratios that the tables are made of."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.generator import Figures
from benchmarks.settings import NOISY

__all__ = ["Results", "Spread"]

Spread = tuple[float, float, float]

_FAULTS = (("lost", "lost"), ("extra", "doubled"), ("gone", "disconnected"), ("unanswered", "unanswered"), ("http_errors", "refused"))


def _value(figures: Figures, path: tuple[str, ...]) -> float | None:
    found: Any = figures
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, (int, float)) else None


class Results:
    """All runs of one benchmark, by peer and load; ``meta`` says where, when and of what."""

    def __init__(self, meta: dict[str, Any], runs: list[dict[str, Any]] | None = None) -> None:
        self.meta = meta
        self.runs = runs if runs is not None else []

    @classmethod
    def read(cls, file: Path) -> Results:
        """Takes up what :meth:`write` wrote."""
        document = json.loads(file.read_text())
        return cls(document["meta"], document["runs"])

    def write(self, file: Path) -> None:
        """Everything, as one JSON document."""
        file.write_text(json.dumps({"meta": self.meta, "runs": self.runs}, indent=1) + "\n")

    def add(self, peer: str, load: str, repetition: int, figures: Figures) -> None:
        """Keeps one run."""
        self.runs.append({"peer": peer, "load": load, "repetition": repetition, "figures": figures})

    def of(self, peer: str, load: str) -> list[Figures]:
        """The figures of every run of a load on a peer."""
        return [run["figures"] for run in self.runs if run["peer"] == peer and run["load"] == load]

    def peers(self) -> list[str]:
        """Who was measured, the floor excepted, in the order of measuring."""
        return [name for name in dict.fromkeys(run["peer"] for run in self.runs) if name != "floor"]

    def fault(self, peer: str, load: str) -> str:
        """Why a peer is out of a load, or an empty string."""
        runs = self.of(peer, load)
        bad = [run for run in runs if not run["ok"]]
        if not bad:
            return ""
        worst = max(bad, key=lambda run: (run.get("lost", 0), run.get("gone", 0)))
        counts = [f"{worst[key]:,} {word}" for key, word in _FAULTS if worst.get(key)]
        return f"OUT in {len(bad)} of {len(runs)}: " + (", ".join(counts) or str(worst.get("said", "failed"))[:80])

    def spread(self, peer: str, load: str, *path: str) -> Spread | None:
        """Lowest, median and highest of one figure over the repetitions that went well."""
        found = [_value(run, path) for run in self.of(peer, load) if run["ok"]]
        values = [value for value in found if value is not None]
        return (min(values), statistics.median(values), max(values)) if values else None

    def lowest(self, peer: str, load: str, *path: str) -> float | None:
        """The lowest: for a longest pause, where a neighbour's share of the core shows in some repetitions only."""
        found = None if self.fault(peer, load) else self.spread(peer, load, *path)
        return found[0] if found else None

    def median(self, peer: str, load: str, *path: str) -> float | None:
        """The median of one figure; None when the peer is out or was not measured."""
        found = None if self.fault(peer, load) else self.spread(peer, load, *path)
        return found[1] if found else None

    def ratio(self, over: tuple[str, str], under: tuple[str, str], *path: str) -> float | None:
        """The median, over the repetitions, of one (peer, load) divided by another measured in the same repetition."""
        by_repetition: dict[int, dict[tuple[str, str], float]] = {}
        for run in self.runs:
            key = (run["peer"], run["load"])
            value = _value(run["figures"], path)
            if key in (over, under) and run["figures"]["ok"] and value:
                by_repetition.setdefault(run["repetition"], {})[key] = value
        ratios = [pair[over] / pair[under] for pair in by_repetition.values() if over in pair and under in pair]
        return statistics.median(ratios) if ratios else None

    def noisy(self) -> list[str]:
        """The runs during which something else used the machine, the worst first."""
        found = [run for run in self.runs if run["figures"].get("foreign_cores", 0) > NOISY]
        found.sort(key=lambda run: run["figures"]["foreign_cores"], reverse=True)
        return [f"{run['peer']} {run['load']} {run['figures']['foreign_cores']:.1f}" for run in found]
