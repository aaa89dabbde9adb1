"""The ``sockudo`` command."""

from __future__ import annotations

from sockudo.cli.entry import main

__all__ = ["main"]
