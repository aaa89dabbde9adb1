"""Which process runs which file when several do: those that need the same costly thing stay together, long ones begin.

Browsers and databases are started once in each process that needs them, so few processes should. A long file that is
begun last keeps one process busy while the others have nothing left to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from xdist.scheduler import LoadFileScheduling

__all__ = ["Distribution", "turn"]

_TESTS: Final = Path(__file__).parents[1]

_TOGETHER: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "browser": (2, ("browser/", "clients/test_chromium.py", "clients/test_recovery_chromium.py")),
    "databases": (
        3,
        (
            "blackbox/test_push_processes.py",
            "cli/test_doctor_end_to_end.py",
            "promises/test_durability.py",
            "promises/test_failing_stores.py",
            "promises/test_webhooks_redis.py",
            "contract/",
        ),
    ),
}
"""What is needed, how many processes may have one of it, and the files that need it."""

_FIRST: Final = (
    "blackbox/test_push_processes.py",
    "browser/test_pages.py",
    "browser/test_restart.py",
    "promises/test_webhooks.py",
    "clients/test_recovery_plugin.py",
    "promises/test_push_providers.py",
    "cli/test_doctor_end_to_end.py",
    "blackbox/test_tracing.py",
    "blackbox/test_push_removal.py",
    "contract/",
    "browser/",
    "promises/",
    "process/",
    "hostile/",
    "blackbox/test_dashboard_",
    "test_package.py",
    "clients/",
    "cli/",
    "blackbox/",
)
"""Files, and beginnings of their paths, in the order in which they are begun; the rest follows."""


def turn(path: Path) -> int:
    """When a file is begun, for sorting."""
    return _first_of(_FIRST, path.relative_to(_TESTS).as_posix())


class Distribution(LoadFileScheduling):  # type: ignore[misc]
    """A file at a time, or all at once that belong together."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._files: dict[str, list[str]] = {need: [] for need in _TOGETHER}

    def _split_scope(self, nodeid: str) -> str:
        file = str(nodeid.partition("::")[0])
        for need, (processes, paths) in _TOGETHER.items():
            if _first_of(paths, file.removeprefix("tests/")) < len(paths):
                known = self._files[need]
                if file not in known:
                    known.append(file)
                return f"{need} {known.index(file) % processes}"
        return file


def _first_of(beginnings: tuple[str, ...], path: str) -> int:
    return next((number for number, each in enumerate(beginnings) if path.startswith(each)), len(beginnings))
