"""The ``sockudo`` command."""

from __future__ import annotations

from sockudo.cli.commands import main

__all__ = ["main"]
