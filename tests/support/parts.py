"""Parts of the suite that this machine cannot run: skipped, and named at the end of the run."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["cannot_run", "is_missing", "missing_parts"]

_MISSING: dict[str, str] = {}


def cannot_run(part: str, reason: str) -> NoReturn:
    """Skips the test that asked and has the closing summary name the part and the reason."""
    # Processes of the tests have no use for it.
    import pytest

    is_missing(part, reason)
    pytest.skip(f"{part}: {reason}")


def is_missing(part: str, reason: str) -> None:
    """Has the closing summary name the part and the reason."""
    _MISSING[part] = reason


def missing_parts() -> dict[str, str]:
    """Part → reason, for the summary."""
    return dict(_MISSING)
