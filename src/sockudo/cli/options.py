"""Options that mean the same wherever they stand, and how a command takes several of them as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Annotated, Any

import typer

from sockudo.cli.outcome import ExitCode, fail

__all__ = ["Command", "Everything", "Json", "JsonLines", "Limit", "Yes", "check_origin", "in_place_of"]

Json = Annotated[bool, typer.Option("--json", help="Print the server's reply as JSON.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show so many, the newest.")]
Everything = Annotated[bool, typer.Option("--all", help="Show all, page by page.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def check_origin(origin: str | None) -> None:
    """Refuses what no browser sends; where every origin may connect, the server would not notice."""
    if origin is None or origin == "null":
        return
    scheme, _, rest = origin.partition("://")
    if not scheme.isalnum() or not set(rest).isdisjoint("/?#@ ") or (not rest and scheme != "file"):
        fail(f"'{origin}' is not an origin.", ExitCode.USAGE, "It has no path: use the form https://shop.example.com.")


Command = Callable[..., None]


def in_place_of(
    parameter: str, options: Mapping[str, tuple[Any, Any]], read: Callable[..., Any]
) -> Callable[[Command], Command]:
    """Gives a command ``options`` in place of its ``parameter``, which then holds what ``read`` makes of them.

    ``options`` has annotation and default of each by its name, and ``read`` takes them under these names.
    """

    def decorated(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in options}
            command(**arguments, **{parameter: read(**given)})

        signature = inspect.signature(command, eval_str=True)
        parameters = [each for each in signature.parameters.values() if each.name != parameter]
        for name, (annotation, default) in options.items():
            parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
        wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
        wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return wrapped

    return decorated
