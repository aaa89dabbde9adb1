"""Compilers and package managers, and one line that says what is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.settings import BUILD, HERE

__all__ = ["Missing", "build_generator", "output_of", "run"]


class Missing(Exception):
    """Something cannot be built here; the text says in one line what to install."""


def run(*command: str | Path, hint: str, cwd: Path | None = None) -> None:
    """Runs a build step; a missing program or a failure raises Missing with ``hint`` and the last line it said."""
    try:
        done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    except FileNotFoundError:
        raise Missing(f"{command[0]} is missing: {hint}") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} did not end within ten minutes: {hint}") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()[-1:] or ["no message"]
        raise Missing(f"{command[0]} failed ({said[0].strip()[:160]}): {hint}")


def output_of(*command: str | Path) -> str:
    """What a program says, or nothing when it is not there."""
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


def _stale(target: Path, *sources: Path) -> bool:
    return not target.exists() or any(target.stat().st_mtime < source.stat().st_mtime for source in sources)


def build_generator() -> None:
    """Compiles the load generator and the floor when they are missing or older than their source. Raises Missing."""
    BUILD.mkdir(exist_ok=True)
    hint = "install a C compiler and OpenSSL's headers (Debian: apt install gcc libc6-dev libssl-dev)"
    for name in ("rawbench", "sendfloor"):
        if _stale(BUILD / name, HERE / f"{name}.c", *HERE.glob("*.h")):
            run("cc", "-O2", "-Wall", "-o", BUILD / name, HERE / f"{name}.c", "-lcrypto", "-lm", hint=hint)
