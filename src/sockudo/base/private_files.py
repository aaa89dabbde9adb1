"""Small files that hold a secret: written as a whole, and readable by their owner alone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["KeptSecret", "kept_secret", "write_private_file"]

_OTHERS = 0o077


class KeptSecret(NamedTuple):
    """``problem`` is why the file could not be used, in which case ``text`` ends with this process; None when kept."""

    text: str
    problem: OSError | None


def write_private_file(path: Path, line: str) -> None:
    """Replaces the file as a whole, and makes its folder; raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def kept_secret(path: Path, make: Callable[[], str]) -> KeptSecret:
    """The secret of this file; where there is none yet, the one that ``make`` returns is kept in it.

    A file that others can read is made the owner's alone. A secret that cannot be kept is returned all the same.
    """
    try:
        found = _read(path)
        if found:
            return KeptSecret(found, None)
        made = make()
    except OSError as problem:
        # What is there but cannot be read must not be replaced.
        return KeptSecret(make(), problem)
    try:
        write_private_file(path, made)
    except OSError as problem:
        return KeptSecret(made, problem)
    return KeptSecret(made, None)


def _read(path: Path) -> str:
    try:
        text = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return ""
    mode = path.stat().st_mode
    if mode & _OTHERS:
        path.chmod(mode & ~_OTHERS & 0o7777)
    return text
