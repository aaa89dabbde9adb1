"""What wings add to commands of the core: the table of commands holds them, and commands ask for them when they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sockudo.config import Settings
    from sockudo.doctor.examination import Check

__all__ = ["CommandWing", "command_wings"]

ForgetApp = Callable[["Settings", str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CommandWing:
    """What one wing adds; each function loads what it needs when it is called.

    ``checks`` are those of ``sockudo doctor``. ``forget_app`` has what an app keeps deleted once it is removed; it
    raises ConfigError and `errors.SockudoError`.
    """

    name: str
    checks: Callable[[], Sequence[Check]] = tuple
    forget_app: ForgetApp | None = None


def command_wings(context: typer.Context) -> Sequence[CommandWing]:
    """Those of the table that a command stands in."""
    wings: Sequence[CommandWing] = context.obj or ()
    return wings
