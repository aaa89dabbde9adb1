"""What the groups of commands have in common: how they are made, and how their commands show an example."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import typer

__all__ = ["command_group", "examples_with"]


def command_group(text: str, exit_codes: str | None = None) -> typer.Typer:
    """A group that shows its commands when none is given; ``exit_codes`` stands below them."""
    return typer.Typer(
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
