"""What the groups of commands have in common: how they are made, how their commands show an example, what wings add."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sockudo.config import Settings
    from sockudo.doctor.examination import Check

__all__ = ["CommandTable", "CommandWing", "command_group", "command_wings", "examples_with", "unwrapped"]


class CommandTable(typer.Typer):
    """A table of commands whose docstrings are their help, wrapped at the width of the terminal."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        def register(function: Any) -> Any:
            text = options.pop("help", None) or function.__doc__ or ""
            return super(CommandTable, self).command(name, help=unwrapped(text), **options)(function)

        return register


def unwrapped(text: str) -> str:
    """The text with each paragraph on one line."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def command_group(text: str, exit_codes: str | None = None) -> CommandTable:
    """A group that shows its commands when none is given; ``exit_codes`` stands below them."""
    return CommandTable(
        help=text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=exit_codes,
    )


def examples_with(exit_codes: str) -> Callable[[str], str]:
    """Makes the closing words of a command's help from an example of its use."""
    return partial(_closing, exit_codes)


def _closing(exit_codes: str, example: str) -> str:
    return f"Example: [bold]{example}[/bold]\n\n{exit_codes}"


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
